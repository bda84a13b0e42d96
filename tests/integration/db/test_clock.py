"""A database whose clock somebody sets: what was noted before is of another time."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, clock, heartbeats, jobs, keys, outbox
from db.models import ApiKey, Delivery, Heartbeat, Job
from db.session import transaction

Factory = sessionmaker[Session]
LEASE_S, HOUR = 30.0, timedelta(hours=1)


@pytest.fixture
def accept(session_factory: Factory) -> Callable[[], UUID]:
    def accept_() -> UUID:
        size = {"width": 32, "height": 32, "num_frames": 8, "fps": 8}
        with transaction(session_factory) as session:
            return acceptance.accept(session, Job(tenant="ada", prompt="a", model="tiny", **size))[0].id

    return accept_


def in_s(session: Session, column: object, id_: UUID) -> float:
    """How far a time lies ahead."""
    return float(session.scalar(select(func.extract("epoch", column - func.clock_timestamp())).where(Job.id == id_)))


def test_a_clock_that_is_set_back_an_hour_keeps_no_dead_lease_and_no_lost_message_for_an_hour(
    session_factory: Factory, session: Session, accept: Callable[[], UUID]
) -> None:
    dead, lost, given_back = accept(), accept(), accept()
    with transaction(session_factory) as other:
        for id_ in (dead, given_back):
            claim = jobs.claim(other, id_, owner="w", lease_s=LEASE_S)
            assert claim is not None
        jobs.refuse(other, claim, max_faults=8, code="x", message="x")  # waits for five seconds
        outbox.handed_over(other, [lost])
        heartbeats.beat(other, "worker:dead")
        other.add(Delivery(key="k", tenant="ada", url="https://a.example", payload={}, tried_at=func.now()))
    with transaction(session_factory) as other:  # as if all of it had been written before the clock was set
        ahead = {name: getattr(Job, name) + HOUR for name in ("lease_until", "published_at", "retry_at", "queued_at")}
        other.execute(update(Job).values(ahead), execution_options={"synchronize_session": False})
        other.execute(update(Heartbeat).values(seen_at=Heartbeat.seen_at + HOUR))
        late = {"tried_at": func.now() + HOUR, "due_at": func.now() + HOUR + timedelta(seconds=60)}
        other.execute(update(Delivery).values(late))

    with transaction(session_factory) as other:
        clock.follow(other, lease_s=LEASE_S)

    assert 0 < in_s(session, Job.lease_until, dead) <= clock.LEASES * LEASE_S
    assert in_s(session, Job.published_at, lost) <= 0
    assert 0 < in_s(session, Job.retry_at, given_back) <= 5
    assert heartbeats.seen(session, "worker") == []
    assert session.scalar(select(Delivery.due_at - func.now())) <= timedelta(seconds=60)


def test_what_living_parts_wrote_just_now_stays_as_it_is(
    session_factory: Factory, session: Session, accept: Callable[[], UUID]
) -> None:
    id_ = accept()
    with transaction(session_factory) as other:
        assert jobs.claim(other, id_, owner="w", lease_s=2 * LEASE_S) is not None  # a worker with a longer lease
        heartbeats.beat(other, "worker:w")
    before = session.get_one(Job, id_).lease_until

    with transaction(session_factory) as other:
        clock.follow(other, lease_s=LEASE_S)

    session.expire_all()
    assert session.get_one(Job, id_).lease_until == before
    assert [beat.name for beat in heartbeats.seen(session, "worker")] == ["worker:w"]


def test_a_key_is_not_shut_out_for_as_long_as_the_clock_was_set_back(session: Session) -> None:
    _, key = keys.create(session, "ada", max_per_minute=3)
    assert keys.take(session, key.prefix, 3) == 0
    session.execute(update(ApiKey).values(minute_at=func.now() + HOUR))

    assert keys.take(session, key.prefix, 3) == 0
