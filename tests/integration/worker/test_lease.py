"""A lease is extended while its block runs, and says when it is over."""

import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from running import wait_until
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, heartbeats, jobs
from db.errors import LeaseLost
from db.jobs import Claim
from db.models import Batch, Job
from db.session import connect, sessions, transaction
from worker.app import Presence
from worker.asking import Asking
from worker.errors import Cancelled, Stopped, Unfit
from worker.gate import Gate
from worker.jobs.lease import Lease, claim_job
from worker.settings import WorkerSettings

Factory = sessionmaker[Session]
LEASE_S = 2.0  # a machine with other work beats late


@pytest.fixture
def settings(database_url: str, storage_url: str, tmp_path: Path) -> WorkerSettings:
    given = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "models_dir": tmp_path}
    return WorkerSettings.model_validate(given | {"lease_s": LEASE_S, "progress_s": 0.05})


@pytest.fixture
def claim(session_factory: Factory) -> Claim:
    """A job in progress."""
    asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 17, "fps": 8}
    with transaction(session_factory) as session:
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id
        found = jobs.claim(session, id_, owner="w", lease_s=LEASE_S)
    assert found is not None
    return found


def until_raised(lease: Lease, error: type[Exception]) -> None:
    def check_for_a_while() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            lease.check()
            time.sleep(0.02)

    with pytest.raises(error):
        check_for_a_while()


def test_a_lease_outlives_its_length_while_the_block_runs(
    session_factory: Factory, claim: Claim, settings: WorkerSettings
) -> None:
    """The length that the claim set is over by the database's clock, and the job is still held."""
    with Lease(session_factory, claim, settings) as lease:
        while not _is_past(session_factory, claim.job.lease_until):
            lease.check()
            time.sleep(0.05)
        with transaction(session_factory) as session:
            swept = jobs.sweep(session, max_lost=3)
            held = session.get_one(Job, claim.job.id).lease_until

    assert swept.requeued == []
    assert held > claim.job.lease_until


def test_a_machine_without_threads_is_not_to_begin(
    session_factory: Factory, claim: Claim, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with Lease(session_factory, claim, settings) as lease, pytest.raises(Unfit, match="can't start new thread: end"):
        lease.check()


def _is_past(session_factory: Factory, moment: datetime) -> bool:
    with session_factory() as session:
        return bool(session.scalar(select(func.clock_timestamp() > moment)))


def test_progress_reaches_the_row(session_factory: Factory, claim: Claim, settings: WorkerSettings) -> None:
    with Lease(session_factory, claim, settings) as lease:
        for step in range(1, 11):
            lease.check(step=step, progress=5 * step)
            time.sleep(0.03)
        deadline = time.monotonic() + 30
        while (job := _row(session_factory, claim)).step is None and time.monotonic() < deadline:
            lease.check()
            time.sleep(0.05)

    assert job.step > 1
    assert job.progress == 5 * job.step


def _row(session_factory: Factory, claim: Claim) -> Job:
    with transaction(session_factory) as session:
        return session.get_one(Job, claim.job.id)


def test_a_cancelled_job_stops_at_its_next_check(
    session_factory: Factory, claim: Claim, settings: WorkerSettings
) -> None:
    with Lease(session_factory, claim, settings) as lease:
        with transaction(session_factory) as session:
            jobs.request_cancel(session, "ada", claim.job.id)

        until_raised(lease, Cancelled)


def test_a_job_whose_window_closed_stops_at_its_next_check(
    session_factory: Factory, claim: Claim, settings: WorkerSettings
) -> None:
    window = {"start": "00:00", "end": "00:01", "tz": "UTC", "at_end": "stop"}
    with transaction(session_factory) as session:
        batch = Batch(tenant="ada", name="night", manifest_key="m", run_window=window)
        session.add(batch)
        session.flush()
        session.get_one(Job, claim.job.id).batch_id = claim.job.batch_id = batch.id
    with Lease(session_factory, claim, settings) as lease:
        lease.check()
        with transaction(session_factory) as session:
            session.get_one(Batch, batch.id).is_held = True

        until_raised(lease, Stopped)


def test_a_job_that_was_given_back_stops_at_its_next_check(
    session_factory: Factory, claim: Claim, settings: WorkerSettings
) -> None:
    with Lease(session_factory, claim, settings) as lease:
        with transaction(session_factory) as session:
            jobs.release(session, owner="w")

        until_raised(lease, LeaseLost)


def test_a_lease_without_an_answer_of_the_database_ends_by_itself(
    session_factory: Factory, claim: Claim, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(session_factory, claim, settings)
    monkeypatch.setattr(lease, "_beat", lambda **_: False)

    with lease:
        lease.check()
        while not lease.is_expired:
            time.sleep(0.05)
        with pytest.raises(LeaseLost, match=r"no heartbeat for \d+\.\d s"):
            lease.check()


def test_a_row_that_another_transaction_holds_is_nobody_elses(
    engine: Engine, database_url: str, claim: Claim, settings: WorkerSettings
) -> None:
    """A machine that died between a statement and its commit holds the row for up to 15 s; leases may be shorter."""
    hurried = connect(database_url, pool_size=1, lock_patience_s=0.1)
    with (
        engine.connect() as dead,
        Lease(sessions(hurried), claim, settings.model_copy(update={"lease_s": 1.0})) as lease,
    ):
        dead.execute(text("SELECT FROM jobs FOR UPDATE"))
        held_until = time.monotonic() + 1.5
        while time.monotonic() < held_until:
            lease.check()
            time.sleep(0.02)
        dead.rollback()
        wait_until(lambda: _is_extended(sessions(engine), claim))
        lease.check()
    hurried.dispose()


def test_a_claim_whose_answer_was_lost_goes_back_to_the_queue(engine: Engine) -> None:
    """The server took the commit and fell before it said so: nobody would work on the job until its lease is over."""
    factory, answers = sessions(engine), iter([True])
    asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 17, "fps": 8}
    with transaction(factory) as session:
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id
    unheard = sessions(engine)

    @event.listens_for(unheard, "after_commit")
    def lose(_: Session) -> None:
        if next(answers, False):
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    assert claim_job(unheard, id_, owner="w", lease_s=30) is None

    with factory() as session:
        job = session.get_one(Job, id_)
        assert (job.status, job.attempt, job.num_lost) == ("queued", 1, 0)
    assert claim_job(unheard, id_, owner="w", lease_s=30) is not None


def _is_extended(factory: Factory, claim: Claim) -> bool:
    with factory() as session:
        held = session.get_one(Job, claim.job.id)
        return held.fence == claim.fence and bool(session.scalar(select(held.lease_until > func.clock_timestamp())))


def test_a_step_waits_a_bounded_time_for_a_heartbeat_that_hangs(
    session_factory: Factory, claim: Claim, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.jobs.lease.BEAT_PATIENCE_S", 0.2)
    hangs = threading.Event()

    def hanging() -> Session:
        hangs.wait(20)
        return session_factory()

    with Lease(hanging, claim, settings) as lease:  # type: ignore[arg-type]  # as a network that swallows all
        while not lease.is_expired:
            time.sleep(0.05)
        began_at = time.monotonic()
        with pytest.raises(LeaseLost):
            lease.check()
        waited_s = time.monotonic() - began_at
        hangs.set()

    assert waited_s < 1.0


def test_a_heartbeat_that_breaks_in_a_way_that_nobody_foresaw_is_sent_again(
    session_factory: Factory, claim: Claim, settings: WorkerSettings
) -> None:
    """The thread that sends them goes on: without it the job would be another's."""
    errors = [RuntimeError("can't start new thread"), MemoryError()]

    def breaking() -> Session:
        if errors:
            raise errors.pop()
        return session_factory()

    def held_until() -> datetime | None:
        with session_factory() as session:
            return session.get_one(Job, claim.job.id).lease_until

    before = held_until()
    with Lease(breaking, claim, settings):
        wait_until(lambda: held_until() != before)


def test_a_worker_that_could_not_say_that_it_lives_says_so_again(
    database_url: str, session_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job is handed to a worker whose thread of signs has ended."""
    errors, beat = [RuntimeError("can't start new thread")], heartbeats.beat

    def breaking(*args: object) -> None:
        if errors:
            raise errors.pop()
        beat(*args)

    monkeypatch.setattr("worker.app.PRESENCE_S", 0.1)
    monkeypatch.setattr(heartbeats, "beat", breaking)
    presence = Presence(database_url, "w", ["bulk"], [], Gate(), Asking("redis://127.0.0.1:1"))
    presence.start()

    try:
        wait_until(lambda: _is_seen(session_factory))
    finally:
        presence.stop()


def _is_seen(session_factory: Factory) -> bool:
    with session_factory() as session:
        return bool(heartbeats.seen(session, "worker"))
