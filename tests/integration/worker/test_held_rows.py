"""Rows that a machine holds which nobody can reach any more: another connection, in a transaction that does not end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep_entries
from db import acceptance, jobs
from db.errors import LeaseLost
from db.models import CacheEvent, Job, JobMetric, Pin
from db.session import connect, sessions, transaction
from db.states import EntryStatus, JobStatus
from shared.generation import GenerationParams
from shared.storage import LATENTS, Storage, StoredFile
from worker.app import release
from worker.jobs.context import JobContext
from worker.jobs.lease import Lease, claim_job
from worker.jobs.outcomes import discard
from worker.models.opensora.model import OpenSoraModel
from worker.models.video_model import Step
from worker.runtime import open_runtime

Start = Callable[..., Any]  # Any: the Service of conftest

RED_FOX = "a red fox runs through a snowy forest"
SAME_FOX = "a red fox sleeps on a wooden bench"
ELSE = "two robots play chess in a library"
PATIENCE_S = 0.2
NAMESPACES = "SELECT FROM namespaces FOR NO KEY UPDATE"


@pytest.fixture
def lost(engine: Engine) -> Callable[..., Any]:
    """Opens the transaction of a machine that is out of reach."""

    @contextmanager
    def hold(*statements: str) -> Iterator[None]:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
            yield
            connection.rollback()

    return hold


@pytest.fixture
def hurried(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions of a worker with short leases: it waits for no lock for long."""
    engine = connect(database_url, lock_patience_s=PATIENCE_S)
    yield sessions(engine)
    engine.dispose()


@pytest.fixture
def service(start: Start, hurried: sessionmaker[Session]) -> Any:
    started = start()
    started.runtime.factory = hurried
    return started


class Cut(Storage):
    """Storage that does something right after the next latents are written."""

    def __init__(self, url: str, then: Callable[[], object]) -> None:
        super().__init__(url)
        self._then = then

    def write(self, name: str, content: bytes) -> StoredFile:
        file = super().write(name, content)
        if name.startswith(LATENTS):
            self._then()
        return file


def assert_ended_at_once(service: Any, job: Job) -> None:
    with service.factory() as session:
        outcomes = session.scalars(select(JobMetric.outcome).where(JobMetric.job_id == job.id)).all()
        assert session.scalar(select(func.count()).select_from(Pin)) == 0
    assert (job.status, outcomes) == (JobStatus.COMPLETED, ["completed"])


def num_hits(service: Any) -> int:
    with service.factory() as session:
        return session.scalar(select(func.count()).where(CacheEvent.kind == "hit")) or 0


def test_a_full_run_whose_namespace_is_held_is_published_and_its_latents_are_swept(service: Any, lost: Any) -> None:
    service.run(ELSE)
    held = lost(NAMESPACES)
    service.runtime.storage = Cut(service.storage.url, held.__enter__)

    job = service.run(RED_FOX)
    held.__exit__(None, None, None)

    assert_ended_at_once(service, job)
    assert [entry.status for entry in service.entries()] == [EntryStatus.RESIDENT, EntryStatus.WRITING]
    service.runtime.storage = service.storage
    swept = sweep_entries(service.storage, service.factory, quarantine_s=0)
    assert swept == [service.entries()[1].name]
    assert [entry.status for entry in service.entries()] == [EntryStatus.RESIDENT, EntryStatus.GONE]
    service.check_ledger()
    assert service.run(SAME_FOX).path == "full"
    assert service.run(RED_FOX).path == "fast"  # the cache works as before
    service.check_ledger()


def test_a_full_run_finds_no_room_in_a_namespace_that_is_held_and_is_published(service: Any, lost: Any) -> None:
    service.run(ELSE)

    with lost(NAMESPACES):
        job = service.run(RED_FOX)

    assert_ended_at_once(service, job)
    assert [entry.prompt for entry in service.entries()] == [ELSE]
    service.check_ledger()


def test_a_donor_whose_hits_are_being_counted_by_the_lost_machine_lends_all_the_same(service: Any, lost: Any) -> None:
    service.run(RED_FOX)

    with lost(NAMESPACES, "UPDATE cache_entries SET hits = hits + 1"):
        job = service.run(SAME_FOX)

    assert_ended_at_once(service, job)
    assert (job.path, job.receipt["reason"]) == ("fast", "entity_hit")
    assert num_hits(service) == 0
    service.run(SAME_FOX)
    assert num_hits(service) == service.entries()[0].hits == 1


def test_a_donor_that_the_lost_machine_was_evicting_is_as_good_as_gone(service: Any, lost: Any) -> None:
    service.run(RED_FOX)

    with lost(NAMESPACES, "SELECT FROM cache_entries FOR UPDATE"):
        job = service.run(SAME_FOX)

    assert_ended_at_once(service, job)
    assert (job.path, job.receipt["reason"]) == ("full", "donor_unusable")


def test_a_broken_donor_that_cannot_go_into_quarantine_now_costs_the_job_nothing(service: Any, lost: Any) -> None:
    service.run(RED_FOX)
    (service.folder / service.entries()[0].name).unlink()

    with lost(NAMESPACES):
        job = service.run(SAME_FOX)

    assert_ended_at_once(service, job)
    assert (job.path, job.receipt["reason"]) == ("full", "donor_unusable")
    assert service.entries()[0].status == EntryStatus.RESIDENT
    service.run(SAME_FOX)
    assert service.entries()[0].status == EntryStatus.QUARANTINED


def test_a_job_whose_row_is_held_is_left_to_a_later_message(
    session_factory: sessionmaker[Session], hurried: sessionmaker[Session], lost: Any
) -> None:
    with transaction(session_factory) as session:
        asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id

    with lost("UPDATE jobs SET published_at = now()"):
        assert claim_job(hurried, id_, owner="w", lease_s=30) is None

    assert claim_job(hurried, id_, owner="w", lease_s=30) is not None


def test_a_job_whose_row_is_held_while_its_worker_is_told_to_stop_goes_back_once_it_is_free(
    service: Any, pipeline: Any, lost: Any, database_url: str
) -> None:
    class Told(OpenSoraModel):
        def sample(self, *args: Any, **options: Any) -> Iterator[Step]:
            for number, step in enumerate(super().sample(*args, **options)):
                if number == 1:
                    with lost("SELECT FROM jobs FOR UPDATE"):
                        service.runtime.gate.stop()
                        release(database_url, service.runtime.owner)
                time.sleep(0.1)  # steps are slower than heartbeats
                yield step

    service = service.with_settings(progress_s=0.05)
    service.runtime.load = lambda card, _: Told(pipeline, card)

    job = service.run(RED_FOX)

    assert (job.status, job.num_lost) == (JobStatus.QUEUED, 0)


@pytest.mark.parametrize("comes_in_time", [True, False])
def test_a_video_whose_commit_is_still_under_way_keeps_its_file(
    service: Any, session_factory: sessionmaker[Session], comes_in_time: bool
) -> None:
    """The answer of the commit was lost, and the lease is over: the row, once it is free, says whose the file is."""
    with transaction(session_factory) as session:
        asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id
        claim = jobs.claim(session, id_, owner="w", lease_s=30)
    assert claim is not None
    held = Lease(session_factory, claim, service.runtime.settings)
    attempt = JobContext(claim=claim, params=GenerationParams.of(claim.job), seed=1, lease=held)
    service.storage.write(attempt.video_name, b"a video")

    with session_factory() as unanswered:
        jobs.complete(unanswered, claim, output={"name": attempt.video_name}, receipt={})
        soon = threading.Timer(PATIENCE_S / 2 if comes_in_time else 3 * PATIENCE_S, unanswered.commit)
        soon.start()
        discard(service.runtime, attempt, LeaseLost("no heartbeat for 31 s"))
        soon.join()

    assert service.storage.read(attempt.video_name) == b"a video"


def test_a_dead_child_s_job_whose_row_is_held_for_a_moment_does_not_wait_for_its_lease(
    session_factory: sessionmaker[Session], engine: Engine
) -> None:
    with transaction(session_factory) as session:
        asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id
        jobs.claim(session, id_, owner="w", lease_s=30)

    with engine.connect() as server:
        server.execute(text("SELECT FROM jobs FOR UPDATE"))  # what it still does for the dead
        soon = threading.Timer(0.3, server.rollback)
        soon.start()
        with transaction(session_factory) as session:
            lost = jobs.recover(session, owner="w", max_lost=3)
        soon.join()

    assert lost.requeued == [id_]


@pytest.mark.parametrize(("lease_s", "patience_ms"), [(2, 500), (30, 5000)])
def test_a_worker_waits_for_no_lock_longer_than_from_one_heartbeat_to_the_next(
    service: Any, lease_s: float, patience_ms: int
) -> None:
    """The job's own row may be held meanwhile, and its heartbeat waits for that."""
    settings = service.runtime.settings.model_copy(update={"lease_s": lease_s})

    with open_runtime(settings, owner="w").factory() as session:
        limit = text("SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'")
        assert session.scalar(limit) == patience_ms
        session.get_bind().dispose()
