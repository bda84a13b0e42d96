"""Rows and their indexes give the victims that the policies choose from the history, one by one."""

import random
from collections.abc import Collection
from itertools import count
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from db import cache, eviction, namespaces
from db.eviction import Asked
from db.models import EVICTION_ORDERS, CacheEntry, Job, Namespace, Pin
from db.states import EntryStatus, JobStatus
from worker.cache import room, trace
from worker.cache.decisions.replay import EvictionRow, replay
from worker.cache.eviction import POLICIES, s3fifo

BUDGET = 200


def make_space(session: Session, policy: str) -> Namespace:
    return namespaces.get_or_create(
        session, {"model": "m"}, scope="tenant", owner="ada", dims=3, byte_budget=BUDGET, policy=policy
    )


def publish(
    session: Session,
    space: Namespace,
    *,
    num_bytes: int,
    seconds_saved: float,
    thing: str = "a fox",
    tenant: str = "ada",
) -> bool:
    """Make room as a worker does, and publish; False when nothing gives way."""
    id_ = uuid4()
    entry = CacheEntry(
        id=id_,
        namespace_id=space.id,
        tenant=tenant,
        donor_job_id=uuid4(),
        donor_fence=1,
        prompt="a fox",
        name=f"latents/{id_}",
        num_bytes=num_bytes,
        schema_version=1,
        tensors={},
        seed=1,
        full_seconds=1.0,
    )
    namespaces.lock(session, space.id)
    if space.bytes_used + num_bytes > space.byte_budget:
        leaving = room.make(session, space, {}, num_bytes=num_bytes)
        cache.gone(session, space.id, [row.id for row in leaving])
    if not cache.reserve(session, space, entry):
        return False
    entity = cache.NewEntity(text=thing, head="fox", attributes=(), kind="object", embedding=[1.0, 0.0, 0.0])
    cache.publish(session, space, id_, [entity], seconds_saved=seconds_saved)
    return True


def resident(session: Session, space: Namespace) -> list[UUID]:
    query = select(CacheEntry.id).where(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.RESIDENT)
    return sorted(session.scalars(query))


@pytest.mark.parametrize("policy", [*EVICTION_ORDERS, "coverage"])
def test_victims_by_rows_are_those_of_the_policy_over_the_history(session: Session, policy: str) -> None:
    rng, space = random.Random(policy), make_space(session, policy)
    job = Job(
        tenant="ada",
        prompt="p",
        model="m",
        width=1,
        height=1,
        num_frames=1,
        fps=1,
        status=JobStatus.QUEUED,
    )
    session.add(job)
    session.flush()

    for number in count():
        there = resident(session, space)
        if there and rng.random() < 0.6:
            chosen = there[min(int(rng.paretovariate(0.8)) - 1, len(there) - 1)]
            namespaces.lock(session, space.id)
            cache.hit(session, space, chosen, job_id=job.id, fence=1, covers=[str(chosen)])
        elif there and number % 31 == 0:
            cache.quarantine(session, rng.choice(there), reason="test")
            cache.gone(session, space.id, [row.id for row in cache.unfinished(session, quarantine_s=-3600)])
        else:
            thing = f"thing {rng.randrange(60)}"  # some of them again after a short while
            value = rng.choice([1.0, 2.5, 7.0])
            publish(session, space, num_bytes=rng.randint(5, 30), seconds_saved=value, thing=thing)
        if there and number % 17 == 0:
            session.add(Pin(entry_id=there[0], job_id=job.id, fence=number))
            session.flush()
        if number % 17 == 8:
            session.execute(text("DELETE FROM cache_pins"))
        if number == 250:
            break

    rows = list(trace.read(session, space.id))
    assert sum(isinstance(row, EvictionRow) for row in rows) > 40
    assert replay(rows) == []
    assert replay(rows, policy="fifo" if policy != "fifo" else "lru") != []


@pytest.mark.parametrize("policy", [*EVICTION_ORDERS, "coverage"])
def test_so_are_those_of_one_tenant_among_the_entries_of_others(session: Session, policy: str) -> None:
    rng, space = random.Random(policy), make_space(session, policy)
    job = Job(tenant="ada", prompt="p", model="m", width=1, height=1, num_frames=1, fps=1, status=JobStatus.QUEUED)
    session.add(job)
    session.flush()

    for number in range(300):
        there = resident(session, space)
        if there and rng.random() < 0.5:
            namespaces.lock(session, space.id)
            cache.hit(session, space, rng.choice(there[:4]), job_id=job.id, fence=1, covers=[])
        elif number % 4 == 0:
            namespaces.lock(session, space.id)
            leaving = room.make(session, space, {}, bytes_needed=rng.randint(5, 40), tenant="eve")
            assert {row.tenant for row in leaving} <= {"eve"}
            cache.gone(session, space.id, [row.id for row in leaving])
        else:
            tenant, thing = rng.choice(["ada", "eve"]), f"thing {rng.randrange(20)}"
            publish(session, space, num_bytes=rng.randint(5, 30), seconds_saved=1.0, thing=thing, tenant=tenant)
        if there and number % 13 == 0:
            session.execute(text("DELETE FROM cache_pins"))
            session.add(Pin(entry_id=rng.choice(there), job_id=job.id, fence=number))

    rows = list(trace.read(session, space.id))
    assert sum(isinstance(row, EvictionRow) and row.tenant == "eve" for row in rows) > 10
    assert replay(rows) == []


@pytest.mark.parametrize("policy", EVICTION_ORDERS)
def test_too_little_to_give_up_means_no_victims(session: Session, policy: str) -> None:
    space = make_space(session, policy)
    for _ in range(4):
        assert publish(session, space, num_bytes=10, seconds_saved=1.0)

    def chosen(bytes_needed: int, kept: Collection[UUID] = ()) -> list[UUID]:
        asked = Asked(session=session, space=space, bytes_needed=bytes_needed, kept=frozenset(kept))
        return eviction.choose(asked, policy).ids

    first = chosen(1)
    assert len(first) == 1
    assert chosen(41) == []
    assert chosen(31, kept=first) == []
    assert len(chosen(30, kept=first)) == 3


def test_another_policy_takes_over_as_if_it_had_always_been_there(session: Session) -> None:
    space = make_space(session, "lru")
    for number in range(108):
        publish(session, space, num_bytes=20, seconds_saved=1.0 + number % 3)
        there = resident(session, space)
        cache.hit(session, space, there[number % len(there)], job_id=uuid4(), fence=1, covers=[])
        space.policy = [*EVICTION_ORDERS, "coverage"][number // 12]

    rows = list(trace.read(session, space.id))
    assert {row.policy for row in rows if isinstance(row, EvictionRow)} == {*EVICTION_ORDERS, "coverage"}
    assert replay(rows) == []


def test_every_policy_is_run() -> None:
    """By an index, but for the one that keeps everything and the one that reads what was asked for."""
    assert set(POLICIES) == {*EVICTION_ORDERS, "coverage", "none"}


def test_a_policy_without_an_index_is_refused_rather_than_evicting_nothing(session: Session) -> None:
    space = make_space(session, "newest")

    with pytest.raises(ValueError, match="no index orders entries by 'newest'"):
        room.choose(Asked(session=session, space=space, bytes_needed=1), {})


def test_s3fifo_has_the_bounds_of_its_reference() -> None:
    for name in ("SMALL_SHARE", "MAX_USES", "MAX_PASSED"):
        assert getattr(eviction, name) == getattr(s3fifo, name)


@pytest.mark.parametrize("policy", [*EVICTION_ORDERS, "coverage"])
def test_what_has_lent_as_often_as_it_may_goes_first(session: Session, policy: str) -> None:
    space = make_space(session, policy)
    space.settings = {"match": {"max_uses": 3}}
    for number in range(9):
        publish(session, space, num_bytes=20, seconds_saved=min(number, 1.0))  # the first saves nothing
    worn = [id_ for id_ in resident(session, space) if session.get_one(CacheEntry, id_).seconds_saved][4:6]
    for id_ in [*worn, *worn, *worn]:
        cache.hit(session, space, id_, job_id=uuid4(), fence=1, covers=[str(id_)])

    for _ in range(3):
        assert publish(session, space, num_bytes=20, seconds_saved=1.0)

    assert not set(worn) & set(resident(session, space))
    rows = list(trace.read(session, space.id))
    assert [len(row.victims) for row in rows if isinstance(row, EvictionRow)] == []  # 200 bytes: one more fits
    publish(session, space, num_bytes=20, seconds_saved=1.0)
    rows = list(trace.read(session, space.id))
    assert [len(row.victims) for row in rows if isinstance(row, EvictionRow)] == [1]  # now the policy chooses
    assert replay(rows) == []


@pytest.mark.parametrize(("policy", "max_uses", "finds_room"), [("lru", 0, True), ("none", 3, False)])
def test_what_lends_without_a_bound_or_is_kept_for_good_does_not_go_first(
    session: Session, policy: str, max_uses: int, finds_room: bool
) -> None:
    space = make_space(session, policy)
    space.settings = {"match": {"max_uses": max_uses}}
    for _ in range(10):
        publish(session, space, num_bytes=20, seconds_saved=1.0)
    popular = resident(session, space)[5]
    for _ in range(5):
        cache.hit(session, space, popular, job_id=uuid4(), fence=1, covers=[str(popular)])

    assert publish(session, space, num_bytes=20, seconds_saved=1.0) is finds_room

    assert popular in resident(session, space)


@pytest.mark.parametrize("policy", EVICTION_ORDERS)
def test_an_eviction_takes_few_statements_and_leaves_nothing_to_be_written(session: Session, policy: str) -> None:
    """Each costs two processes their turn: they, not the rows, are what an eviction at a time takes."""
    space = make_space(session, policy)
    for number in range(20):
        assert publish(session, space, num_bytes=10, seconds_saved=1.0, thing=f"thing {number}")
    entry = session.get_one(CacheEntry, resident(session, space)[0])
    cache.hit(session, space, entry.id, job_id=uuid4(), fence=1, covers=[])
    held, seen = namespaces.lock(session, space.id), list[str]()
    event.listen(session.get_bind(), "before_cursor_execute", lambda *given: seen.append(given[2]))

    leaving = room.make(session, held, {}, num_bytes=10)
    assert not session.is_modified(held)  # what the policy remembers went along
    cache.gone(session, held.id, [row.id for row in leaving])

    sent = [statement for statement in seen if not statement.startswith("PREPARE")]  # that is once a connection
    assert len(leaving) == 1
    assert len(sent) <= 6, sent
    remembered = space.bytes_used, space.num_entities, space.queues, space.sieve_at, space.eviction_age
    session.expire(space)
    assert remembered == (space.bytes_used, space.num_entities, space.queues, space.sieve_at, space.eviction_age)
    assert (space.bytes_used, space.num_entities) == (190, 19)
