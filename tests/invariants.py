"""What must hold after any fault (docs/reliability.md), asked of the tables and the storage alone."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep
from db.models import CacheEntry, Job, JobMetric, Namespace
from db.session import transaction
from db.states import FINAL, EntryStatus, JobStatus
from shared.storage import LATENTS, VIDEOS, Storage


def check(factory: sessionmaker[Session], storage_url: str, accepted: Iterable[UUID], *, grace_s: float = 0.0) -> None:
    """Assert every rule once all `accepted` jobs have ended. `grace_s`: what an expired lease may still wait for."""
    storage = Storage(storage_url)
    sweep(storage, factory, older_s=0)
    with transaction(factory) as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        _no_job_lost(jobs, accepted)
        _no_dead_lease(session, grace_s)
        _one_row_an_attempt(session, jobs)
        _files_are_rows(session, storage, jobs)
        _ledger_is_true(session, storage)


def _no_job_lost(jobs: dict[UUID, Job], accepted: Iterable[UUID]) -> None:
    lost = [id_ for id_ in accepted if id_ not in jobs]
    assert not lost, f"accepted jobs without a row: {lost}"
    waiting = {id_: jobs[id_].status for id_ in accepted if jobs[id_].status not in FINAL}
    assert not waiting, f"jobs that have not ended: {waiting}"


def _no_dead_lease(session: Session, grace_s: float) -> None:
    silent_s = func.extract("epoch", func.clock_timestamp() - Job.lease_until)
    dead = session.scalars(select(Job.id).where(Job.status == JobStatus.IN_PROGRESS, silent_s > grace_s)).all()
    assert not dead, f"in progress without a live lease: {dead}"


def _one_row_an_attempt(session: Session, jobs: dict[UUID, Job]) -> None:
    rows = session.execute(select(JobMetric.job_id, JobMetric.attempt, JobMetric.outcome)).all()
    for id_, job in jobs.items():
        attempts = sorted(row.attempt for row in rows if row.job_id == id_)
        ended = job.attempt if job.status in FINAL else job.attempt - 1
        assert attempts[:ended] == list(range(1, ended + 1)), f"job {id_}: attempts {job.attempt}, rows {attempts}"
        assert len(attempts) == len(set(attempts)), f"job {id_}: two rows for an attempt: {attempts}"
        completed = [row for row in rows if row.job_id == id_ and row.outcome == "completed"]
        assert len(completed) == (job.status == JobStatus.COMPLETED), f"job {id_}: {len(completed)} completed rows"


def _files_are_rows(session: Session, storage: Storage, jobs: dict[UUID, Job]) -> None:
    files = {file.name: file.num_bytes for file in storage.files(VIDEOS)}
    outputs = {job.output["name"]: job.output["bytes"] for job in jobs.values() if job.output}
    assert files == outputs, f"files {files}, rows {outputs}"


def _ledger_is_true(session: Session, storage: Storage) -> None:
    entries = session.scalars(select(CacheEntry).where(CacheEntry.status != EntryStatus.GONE)).all()
    for space in session.scalars(select(Namespace)):
        owned = sum(entry.num_bytes for entry in entries if entry.namespace_id == space.id)
        assert space.bytes_used == owned, f"namespace {space.id}: ledger {space.bytes_used}, entries {owned}"
    files = {file.name: file.num_bytes for file in storage.files(LATENTS)}
    resident = {entry.name: entry.num_bytes for entry in entries if entry.status == EntryStatus.RESIDENT}
    assert resident.items() <= files.items(), f"resident entries {resident}, files {files}"
