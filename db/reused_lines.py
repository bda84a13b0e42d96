"""Lines of a run that an earlier run of its series has made, or will make: of a changed list, only new lines run.

A line is identified by its request, whatever its name and place; lines with the same request each have their own video.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

from sqlalchemy import Select, String, and_, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from db.models import Batch, Job, ReusedLine
from db.states import FINAL, BatchStatus, JobStatus

LIVE = (BatchStatus.OPEN, BatchStatus.IN_PROGRESS, BatchStatus.PAUSED)


def ids(batch_id: UUID) -> Select[UUID]:
    """Return a query for the jobs that a run uses but that belong to another run."""
    return select(ReusedLine.job_id).where(ReusedLine.batch_id == batch_id)


def known(session: Session, batch_id: UUID, names: Collection[str]) -> dict[str, tuple[ReusedLine, Job]]:
    """Return those of these lines that the run has from an earlier one, by custom id."""
    query = (
        select(ReusedLine, Job)
        .join(Job, Job.id == ReusedLine.job_id)
        .where(ReusedLine.batch_id == batch_id, ReusedLine.custom_id.in_(names))
    )
    return {row.ReusedLine.custom_id: (row.ReusedLine, row.Job) for row in session.execute(query)}


def of_jobs(session: Session, batch_id: UUID, jobs: Collection[Job]) -> dict[UUID, ReusedLine]:
    """Return the line that each of these jobs makes in a run other than its own, by job."""
    query = select(ReusedLine).where(ReusedLine.batch_id == batch_id, ReusedLine.job_id.in_([job.id for job in jobs]))
    return {row.job_id: row for row in session.scalars(query)}


def number(session: Session, batch_id: UUID) -> int:
    """Return how many lines of a run use videos of another run."""
    return session.scalar(select(func.count()).where(ReusedLine.batch_id == batch_id)) or 0


def reuse(session: Session, batch: Batch, lines: Sequence[Job]) -> dict[str, tuple[ReusedLine, Job]]:
    """Give lines that are new in a run the videos of earlier runs of its series; return those lines by custom id.

    A video that failed, was cancelled or removed, or whose file has expired, is made again.
    """
    found = of_earlier(session, batch, lines)
    rows = [
        {"batch_id": batch.id, "custom_id": line.custom_id, "job_id": found[line.custom_id or ""].id}
        | {"line": line.line, "request_hash": line.request_hash}
        for line in lines
        if line.custom_id in found
    ]
    if rows:
        session.execute(insert(ReusedLine), rows)
    return known(session, batch.id, found)


def of_earlier(session: Session, batch: Batch, lines: Sequence[Job]) -> dict[str, Job]:
    """Return, by custom id, the videos of earlier runs of its series that a run would get for these lines."""
    if batch.series is None or not lines:
        return {}
    return {line.custom_id or "": job for line, job in _pairs(lines, _candidates(session, batch, lines))}


def _candidates(session: Session, batch: Batch, lines: Sequence[Job]) -> list[Job]:
    is_there = and_(Job.status == JobStatus.COMPLETED, or_(Job.expires_at.is_(None), Job.expires_at > func.now()))
    will_be = and_(Job.status.not_in(FINAL), ~Job.cancel_requested)
    query = (
        select(Job)
        .join(Batch, Batch.id == Job.batch_id)
        .where(
            Job.tenant == batch.tenant,
            Job.line_key.in_({line.line_key for line in lines}),
            Job.deleted_at.is_(None),
            or_(is_there, will_be),
            Batch.series == batch.series,
            Batch.id != batch.id,
            Job.id.not_in(ids(batch.id)),
        )
        .order_by((Job.status == JobStatus.COMPLETED).desc(), Job.created_at, Job.id)
    )
    return list(session.scalars(query))


def _pairs(lines: Sequence[Job], candidates: Sequence[Job]) -> Iterator[tuple[Job, Job]]:
    """Pair lines with videos of the same request, first those of the same name; use no video twice."""
    left: defaultdict[str | None, list[Job]] = defaultdict(list)
    for job in candidates:
        left[job.line_key].append(job)
    for line in sorted(lines, key=lambda line: all(job.custom_id != line.custom_id for job in left[line.line_key])):
        same = left[line.line_key]
        if same:
            job = next((job for job in same if job.custom_id == line.custom_id), same[0])
            same.remove(job)
            yield line, job


def hand_on(session: Session, job_ids: Collection[UUID]) -> tuple[set[UUID], set[UUID]]:
    """Give jobs that are about to be cancelled to the runs that wait for them; return these, and those left for later.

    The jobs' rows are locked, so that no run begins to wait meanwhile. A job is left for later if the row of the run
    that waits for it is locked, as while lines are added: waiting for it could deadlock.
    """
    waited_for = (
        select(ReusedLine.job_id, func.min(ReusedLine.batch_id.cast(String)).label("batch"))
        .join(Batch, Batch.id == ReusedLine.batch_id)
        .join(Job, Job.id == ReusedLine.job_id)
        .where(Job.id.in_(job_ids), Job.status.not_in(FINAL), ~Job.cancel_requested, Batch.status.in_(LIVE))
        .group_by(ReusedLine.job_id)
    )
    heirs = {row.job_id: UUID(row.batch) for row in session.execute(waited_for)}
    if not heirs:
        return set(), set()
    free = select(Batch.id).where(Batch.id.in_(heirs.values()))
    runs = set(session.scalars(free.with_for_update(read=True, key_share=True, skip_locked=True)))
    pairs = [(run, job_id) for job_id, run in heirs.items() if run in runs]
    mine = tuple_(ReusedLine.batch_id, ReusedLine.job_id).in_(pairs)
    session.execute(
        update(Job)
        .where(Job.id == ReusedLine.job_id, mine)
        .values({name: getattr(ReusedLine, name) for name in ("batch_id", "custom_id", "line", "request_hash")}),
        execution_options={"synchronize_session": False},
    )
    session.execute(delete(ReusedLine).where(mine), execution_options={"synchronize_session": False})
    handed = {job_id for _, job_id in pairs}
    return handed, heirs.keys() - handed
