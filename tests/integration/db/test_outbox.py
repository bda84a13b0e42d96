"""What is handed over next: the order, and what finding it costs."""

import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, batches, jobs, outbox
from db.models import Batch, Job
from db.session import transaction
from db.states import Queue

Factory = sessionmaker[Session]
NUM_QUEUED, NUM_TENANTS, NUM_RUNS = 50_000, 20, 60


@pytest.fixture
def accept(session_factory: Factory) -> Callable[..., UUID]:
    def accept_(tenant: str = "ada", run: UUID | None = None, **values: object) -> UUID:
        size = {"width": 32, "height": 32, "num_frames": 8, "fps": 8}
        custom_id = None if run is None else str(uuid4())
        job = Job(tenant=tenant, batch_id=run, custom_id=custom_id, prompt="a", model="tiny", **size, **values)
        with transaction(session_factory) as session:
            return acceptance.accept(session, job)[0].id

    return accept_


@pytest.fixture
def open_run(session_factory: Factory) -> Callable[..., UUID]:
    def open_(tenant: str = "ada") -> UUID:
        with transaction(session_factory) as session:
            return batches.open_(session, tenant, name="n", manifest_key=str(uuid4()))[0].id

    return open_


def picked(session: Session, *, limit: int = 10, queue: Queue = Queue.INTERACTIVE) -> list[UUID]:
    return [job.id for job in outbox.pick(session, queue, outbox.in_flight(session), limit=limit)]


def test_priority_comes_before_age(accept: Callable[..., UUID], session: Session) -> None:
    late, second, first = accept(priority=9), accept(priority=5), accept(priority=0)

    assert picked(session) == [first, second, late]


def test_a_run_of_one_line_does_not_stand_behind_the_many_of_another(
    accept: Callable[..., UUID], open_run: Callable[..., UUID], session: Session
) -> None:
    long, short = open_run(), open_run()
    many = [accept(run=long) for _ in range(6)]
    one = accept(run=short)

    assert picked(session, limit=3) == [many[0], one, many[1]]


def test_a_tenant_with_one_run_gets_as_much_as_one_with_three(
    accept: Callable[..., UUID], open_run: Callable[..., UUID], session: Session
) -> None:
    for run in [open_run("ada") for _ in range(3)]:
        for _ in range(5):
            accept("ada", run=run)
    bob = open_run("bob")
    his = {accept("bob", run=bob) for _ in range(5)}

    assert len(his & set(picked(session, limit=8))) == 4


def test_who_has_many_running_waits_for_who_has_none(
    accept: Callable[..., UUID], session_factory: Factory, session: Session
) -> None:
    running, handed, third = (accept("ada") for _ in range(3))
    with transaction(session_factory) as other:
        jobs.claim(other, running, owner="w", lease_s=30)
        outbox.handed_over(other, {handed})
    bobs = [accept("bob") for _ in range(3)]

    assert picked(session) == [*bobs[:2], third, bobs[2]]


def test_a_job_that_a_worker_gave_back_is_first_and_knows_its_attempt(
    accept: Callable[..., UUID], session_factory: Factory, session: Session
) -> None:
    urgent, back = accept("ada", priority=0), accept("bob", priority=9)
    with transaction(session_factory) as other:
        jobs.claim(other, back, owner="w", lease_s=30)
        jobs.release(other, owner="w")

    first, second = outbox.pick(session, Queue.INTERACTIVE, [], limit=5)

    assert (first.id, first.attempt, second.id, second.attempt) == (back, 2, urgent, 1)


def test_the_wait_of_a_job_is_counted_from_its_acceptance_or_its_return(
    accept: Callable[..., UUID], session_factory: Factory
) -> None:
    id_ = accept()
    time.sleep(0.3)
    with transaction(session_factory) as session:
        outbox.handed_over(session, {id_})
        first = jobs.claim(session, id_, owner="w", lease_s=30)
    time.sleep(0.2)
    with transaction(session_factory) as session:
        jobs.release(session, owner="w")
    with transaction(session_factory) as session:
        second = jobs.claim(session, id_, owner="w", lease_s=30)

    assert first
    assert second
    assert first.queue_wait_s >= 0.3
    assert second.queue_wait_s < 0.2


def test_two_relays_never_hand_over_the_same_job(accept: Callable[..., UUID], session_factory: Factory) -> None:
    ids = [accept() for _ in range(4)]

    with session_factory() as one, session_factory() as other:
        mine = outbox.take(one, ids[:2])
        theirs = outbox.take(other, ids)

    assert (mine, theirs) == (set(ids[:2]), set(ids[2:]))


def test_a_job_cancelled_after_the_pick_is_not_taken(
    accept: Callable[..., UUID], session_factory: Factory, session: Session
) -> None:
    ids = [accept(), accept()]
    with transaction(session_factory) as other:
        jobs.request_cancel(other, "ada", ids[0])

    assert outbox.take(session, ids) == {ids[1]}


def test_what_is_lost_waits_again_once_it_is_old_enough(accept: Callable[..., UUID], session: Session) -> None:
    ids = {accept(), accept()}
    outbox.handed_over(session, ids)

    assert outbox.unclaimed(session, Queue.INTERACTIVE, older_s=60) == {}
    assert outbox.unclaimed(session, Queue.INTERACTIVE, older_s=-1) == dict.fromkeys(ids, 1)
    assert set(outbox.take_back(session, ids)) == ids
    assert set(picked(session)) == ids


def test_a_run_is_held_back_without_the_line_whose_row_a_lost_machine_holds(
    accept: Callable[..., UUID], open_run: Callable[..., UUID], session: Session, session_factory: Factory
) -> None:
    run = open_run()
    held, other = accept(run=run), accept(run=run)
    outbox.handed_over(session, {held, other})
    session.commit()

    with session_factory() as lost:
        jobs.get(lost, "ada", held, lock=True)
        outbox.hold_back(session, run)
        session.commit()

    assert picked(session) == [other]


def test_runs_end_without_what_a_lost_machine_holds(
    accept: Callable[..., UUID], open_run: Callable[..., UUID], session: Session, session_factory: Factory
) -> None:
    """The relay that ends them hands the jobs of everybody over in between."""
    cancelled, ended, held_run = open_run(), open_run(), open_run()
    held, other = accept(run=cancelled), accept(run=cancelled)
    lines = [accept(run=run) for run in (ended, held_run)]
    for run in (ended, held_run):
        batches.seal(session, session.get_one(Batch, run), num_bad_lines=0)
    for line in lines:
        jobs.request_cancel(session, "ada", line)
    batches.cancel(session, session.get_one(Batch, cancelled))
    session.commit()

    with session_factory() as lost:
        jobs.get(lost, "ada", held, lock=True)
        batches.get(lost, "ada", held_run, lock=True)
        assert batches.finish(session) == [ended]
        session.commit()

    assert {id_: session.get_one(Job, id_).status for id_ in (held, other)} == {held: "queued", other: "cancelled"}
    assert batches.finish(session) == [held_run]
    session.expire_all()
    assert session.get_one(Job, held).status == "cancelled"


def test_picking_from_fifty_thousand_reads_indexes_and_sorts_nothing_long(session: Session) -> None:
    """Milliseconds, then, on any machine: how many, `make bench` says."""
    _fill(session)

    chosen = outbox.pick(session, Queue.BULK, outbox.in_flight(session), limit=20)

    assert len(chosen) == 20
    assert len({job.tenant for job in chosen}) == NUM_TENANTS
    plan = "\n".join(session.scalars(text(f"EXPLAIN {outbox._pick(None)}"), {"queue": "bulk", "limit": 20}))
    assert "Seq Scan on jobs" not in plan  # the few runs may be read whole
    assert plan.count("Sort Key") <= 1  # of the few that came back


def _fill(session: Session) -> None:
    """Queue lines of runs of every tenant, beside as many jobs that have ended."""
    make_runs = (
        "INSERT INTO batches (tenant, name, manifest_key) "
        "SELECT 't' || n % :tenants, 'n', n::text FROM generate_series(1, :runs) AS n"
    )
    session.execute(text(make_runs), {"tenants": NUM_TENANTS, "runs": NUM_RUNS})
    make_jobs = (
        "INSERT INTO jobs (tenant, prompt, model, width, height, num_frames, fps, queue, batch_id, status, created_at) "
        "SELECT run.tenant, 'a', 'tiny', 32, 32, 8, 8, 'bulk', run.id, ended.status, now() - n * interval '1 ms' "
        "FROM generate_series(1, :number) AS n "
        "JOIN (SELECT *, row_number() OVER (ORDER BY id) AS nr FROM batches) AS run ON run.nr = n % :runs + 1 "
        "CROSS JOIN (VALUES ('queued'), ('cancelled')) AS ended (status)"
    )
    session.execute(text(make_jobs), {"number": NUM_QUEUED, "runs": NUM_RUNS})
    session.execute(text("ANALYZE jobs"))
