"""The statements that move a job, each on a real database."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import job_counts
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, job_lists, jobs, metrics, outbox
from db.errors import Conflict, LeaseLost, NotFound
from db.models import Job, JobMetric
from db.session import transaction
from db.states import JobStatus, Queue

Factory = sessionmaker[Session]
LEASE_S = 30.0


def new_job(**values: object) -> Job:
    given = {"tenant": "ada", "prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
    return Job(**(given | values))


@pytest.fixture
def accept(session_factory: Factory) -> Callable[..., UUID]:
    def accept_(**values: object) -> UUID:
        with transaction(session_factory) as session:
            return acceptance.accept(session, new_job(**values))[0].id

    return accept_


@pytest.fixture
def claim(session_factory: Factory) -> Callable[..., jobs.Claim]:
    def claim_(id_: UUID, *, owner: str = "w1", lease_s: float = LEASE_S) -> jobs.Claim:
        with transaction(session_factory) as session:
            claimed = jobs.claim(session, id_, owner=owner, lease_s=lease_s)
        assert claimed is not None
        return claimed

    return claim_


def test_an_accepted_job_waits_for_the_relay_from_its_own_transaction_on(session: Session) -> None:
    job, is_new = acceptance.accept(session, new_job())

    assert is_new
    assert [waiting.id for waiting in outbox.pick(session, Queue.INTERACTIVE, [], limit=5)] == [job.id]
    session.rollback()
    assert outbox.pick(session, Queue.INTERACTIVE, [], limit=5) == []
    assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_the_same_key_and_request_give_the_first_job(accept: Callable[..., UUID]) -> None:
    first = accept(idempotency_key="k", request_hash="h")

    assert accept(idempotency_key="k", request_hash="h") == first


def test_the_same_key_with_another_request_is_a_conflict(accept: Callable[..., UUID]) -> None:
    accept(idempotency_key="k", request_hash="h")

    with pytest.raises(Conflict, match="Idempotency-Key 'k' was used before with a different request; use a new one"):
        accept(idempotency_key="k", request_hash="other")


def test_of_many_claims_at_once_one_wins(accept: Callable[..., UUID], session_factory: Factory) -> None:
    id_, won = accept(), []
    barrier = threading.Barrier(8)

    def try_() -> None:
        barrier.wait()
        with transaction(session_factory) as session:
            won.append(jobs.claim(session, id_, owner="w", lease_s=LEASE_S))

    threads = [threading.Thread(target=try_) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [claimed is not None for claimed in won].count(True) == 1


def test_a_late_worker_can_write_nothing(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    late = claim(accept(), lease_s=-0.001)
    with transaction(session_factory) as session:
        jobs.sweep(session, max_lost=3)

    for write in (
        lambda s: jobs.beat(s, late, lease_s=LEASE_S),
        lambda s: jobs.complete(s, late, output={"name": "x"}, receipt={}),
        lambda s: jobs.fail(s, late, code="c", message="m"),
        lambda s: jobs.cancelled(s, late),
    ):
        with pytest.raises(LeaseLost, match="fence 1 is no longer current"), transaction(session_factory) as session:
            write(session)


def test_an_expired_lease_returns_the_job_with_a_metrics_row(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    claim(id_, lease_s=-0.001)

    with transaction(session_factory) as session:
        swept = jobs.sweep(session, max_lost=3)

    assert swept.requeued == [id_]
    with session_factory() as session:
        job = session.get_one(Job, id_)
        assert (job.status, job.num_lost, job.fence) == (JobStatus.QUEUED, 1, 2)
        assert session.scalars(select(JobMetric.outcome)).all() == ["lost"]


def test_a_lease_that_ended_while_the_database_was_down_is_held_against_nobody(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    """Three outages in a night are no prompt that kills workers."""
    id_ = accept()
    claim(id_)
    with transaction(session_factory) as session:
        before = func.pg_postmaster_start_time() - timedelta(seconds=1)
        session.execute(update(Job).where(Job.id == id_).values(lease_until=before))

    with transaction(session_factory) as session:
        swept = jobs.sweep(session, max_lost=1)

    assert (swept.requeued, swept.failed) == ([id_], [])
    with session_factory() as session:
        job = session.get_one(Job, id_)
        assert (job.status, job.num_lost, job.fence) == (JobStatus.QUEUED, 0, 2)
        assert session.scalars(select(JobMetric.outcome)).all() == ["released"]


def test_a_job_that_keeps_killing_workers_fails(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    for _ in range(3):
        claim(id_, lease_s=-0.001)
        with transaction(session_factory) as session:
            jobs.sweep(session, max_lost=3)

    with session_factory() as session:
        job = session.get_one(Job, id_)
        assert (job.status, job.error_code) == (JobStatus.FAILED, "worker_lost")
        assert job.error_message == (
            "3 workers died or fell silent while running this prompt; "
            "try another prompt or size, or ask the operator for the worker's log"
        )


def test_a_released_job_is_queued_again_and_no_loss_is_counted(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    claim(id_, owner="leaving")

    with transaction(session_factory) as session:
        released = jobs.release(session, owner="leaving")

    assert released == [id_]
    with session_factory() as session:
        job = session.get_one(Job, id_)
        assert (job.status, job.num_lost, job.attempt) == (JobStatus.QUEUED, 0, 1)


def test_cancel_ends_what_waits_and_asks_what_runs(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    waiting, running = accept(), accept()
    claimed = claim(running)

    with transaction(session_factory) as session:
        assert jobs.request_cancel(session, "ada", waiting).status == JobStatus.CANCELLED
        assert jobs.request_cancel(session, "ada", running).status == JobStatus.IN_PROGRESS

    with transaction(session_factory) as session:
        assert jobs.beat(session, claimed, lease_s=LEASE_S) is True


def test_a_lease_that_expires_after_a_cancel_ends_the_job_instead_of_running_it_again(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    claim(id_, lease_s=-0.001)
    with transaction(session_factory) as session:
        jobs.request_cancel(session, "ada", id_)

    with transaction(session_factory) as session:
        swept = jobs.sweep(session, max_lost=3)

    assert (swept.cancelled, swept.requeued) == ([id_], [])


def test_another_tenants_job_is_not_there(accept: Callable[..., UUID], session: Session) -> None:
    id_ = accept()

    with pytest.raises(NotFound, match=f"no job {id_}"):
        jobs.get(session, "eve", id_)


def test_a_removed_job_is_hidden_at_once_and_purged_when_it_has_ended(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    claimed = claim(id_)
    with transaction(session_factory) as session:
        jobs.remove(session, "ada", id_)

    with transaction(session_factory) as session:
        assert job_lists.page(session, "ada", limit=10) == []
        assert jobs.purge(session) == []
        jobs.complete(session, claimed, output={"name": "videos/x.mp4"}, receipt={})
    with transaction(session_factory) as session:
        assert jobs.purge(session) == ["videos/x.mp4"]


def test_pages_follow_the_cursor_without_gaps(accept: Callable[..., UUID], session: Session) -> None:
    ids = [accept() for _ in range(5)]

    first = job_lists.page(session, "ada", limit=2)
    second = job_lists.page(session, "ada", limit=2, after=first[-1].id)
    third = job_lists.page(session, "ada", limit=2, after=second[-1].id)

    assert [job.id for job in first + second + third] == ids[::-1]


def test_bulk_jobs_wait_behind_every_interactive_one(accept: Callable[..., UUID], session: Session) -> None:
    bulk = accept(queue=Queue.BULK)
    accept()

    assert job_counts.position(session, session.get_one(Job, bulk)) == 1


def refuse(factory: Factory, claim: jobs.Claim, max_faults: int = 8) -> JobStatus:
    with transaction(factory) as session:
        return jobs.refuse(session, claim, max_faults=max_faults, code="codec", message="ask the operator")


def test_a_job_that_one_machine_could_not_run_is_anothers_at_once_and_its_own_after_a_pause(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()

    assert refuse(session_factory, claim(id_, owner="sick")) == JobStatus.QUEUED

    with transaction(session_factory) as session:
        assert jobs.claim(session, id_, owner="sick", lease_s=LEASE_S) is None
        session.execute(update(Job).values(retry_at=func.now() - text("interval '1 s'")))
        assert jobs.claim(session, id_, owner="sick", lease_s=LEASE_S) is not None
        session.rollback()
    assert claim(id_, owner="sound").job.num_lost == 0


def test_a_job_that_many_machines_could_not_run_waits_for_all_and_fails_at_last(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    for owner in ("a", "b", "c"):
        refuse(session_factory, claim(id_, owner=owner))

    with transaction(session_factory) as session:
        assert jobs.claim(session, id_, owner="d", lease_s=LEASE_S) is None
        assert outbox.pick(session, Queue.INTERACTIVE, [], limit=5) == []
        session.execute(update(Job).values(retry_at=func.now()))
    assert refuse(session_factory, claim(id_, owner="d"), max_faults=4) == JobStatus.FAILED
    with transaction(session_factory) as session:
        job = session.get_one(Job, id_)
    assert (job.error_code, job.num_lost, job.num_faults) == ("codec", 0, 4)


def test_a_first_run_that_warms_up_does_not_move_what_a_run_usually_takes(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    for seconds in (4.0, 0.5):
        claimed = claim(accept())
        with transaction(session_factory) as session:
            jobs.complete(session, claimed, output={"name": "x", "bytes": 1}, receipt={})
            stages = {"load": 9.0, "turn": 9.0, "denoise": seconds}
            metrics.record(session, claimed, outcome="completed", path="full", gpu_seconds=seconds, stage_s=stages)

    with transaction(session_factory) as session:
        found = metrics.spread(session, model="tiny", width=32, height=32, num_frames=8)["full"]
    assert (found.usual_s, found.wall_s) == (0.5, 2.25)


WAYS_BACK: dict[str, Callable[[Session, jobs.Claim], object]] = {
    "its worker is stopped": lambda session, claim: jobs.release(session, owner=claim.owner),
    "the window of its run closes": jobs.stopped,
    "its attempt breaks": lambda session, claim: jobs.give_back(session, claim, max_lost=1, code="x", message="x"),
    "its machine is at fault": lambda session, claim: jobs.refuse(session, claim, max_faults=1, code="x", message="x"),
    "its worker dies": lambda session, claim: jobs.recover(session, owner=claim.owner, max_lost=1),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_a_job_that_its_user_took_back_does_not_wait_again_whyever_its_attempt_ends(
    way: str, accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    held = claim(accept())
    with transaction(session_factory) as session:
        jobs.request_cancel(session, "ada", held.job.id)

    with transaction(session_factory) as session:
        WAYS_BACK[way](session, held)

    with session_factory() as session:
        job = session.get_one(Job, held.job.id)
        assert (job.status, job.error_code, job.lease_until) == (JobStatus.CANCELLED, None, None)
        assert job.finished_at is not None


def test_an_attempt_that_did_nothing_is_told_nothing_of_the_one_before(
    accept: Callable[..., UUID], claim: Callable[..., jobs.Claim], session_factory: Factory
) -> None:
    id_ = accept()
    first = claim(id_)
    with transaction(session_factory) as session:
        jobs.beat(session, first, lease_s=LEASE_S, progress=60, step=5, path="fast", num_steps=8, receipt={"mode": "x"})
        jobs.release(session, owner="w1")

    with session_factory() as session:
        job = session.get_one(Job, id_)
        assert (job.progress, job.step, job.num_steps, job.path, job.receipt) == (0, None, None, None, {})
    claim(id_)
    with transaction(session_factory) as session:
        jobs.recover(session, owner="w1", max_lost=3)

    with session_factory() as session:
        rows = session.execute(select(JobMetric.outcome, JobMetric.path).order_by(JobMetric.attempt))
        assert [tuple(row) for row in rows] == [("released", "fast"), ("lost", None)]
