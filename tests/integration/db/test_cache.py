"""Rows of the latent cache on a real database: look-up, ledger, pins, eviction."""

import random
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep_entries
from db import acceptance, cache, cache_search, decisions, jobs, namespaces
from db.errors import IllegalTransition, LeaseLost
from db.jobs import Claim
from db.models import CacheEntity, CacheEntry, CacheEvent, Job, JobMetric, Lookup, Namespace, Pin, Veto
from db.session import transaction
from db.states import EntryStatus
from shared.storage import StorageError

Factory = sessionmaker[Session]
DIMS = 384


def unit(rng: random.Random) -> list[float]:
    vector = [rng.gauss(0, 1) for _ in range(DIMS)]
    norm = sum(value * value for value in vector) ** 0.5
    return [value / norm for value in vector]


def make_space(session: Session, *, owner: str = "ada", byte_budget: int = 10_000) -> Namespace:
    return namespaces.get_or_create(
        session, {"model": "tiny"}, scope="tenant", owner=owner, dims=DIMS, byte_budget=byte_budget
    )


def new_entry(space: Namespace, *, num_bytes: int = 100, tenant: str = "ada") -> CacheEntry:
    id_ = uuid4()
    return CacheEntry(
        id=id_,
        namespace_id=space.id,
        tenant=tenant,
        donor_job_id=uuid4(),
        donor_fence=1,
        prompt="a fox",
        name=f"latents/{id_}.safetensors",
        num_bytes=num_bytes,
        schema_version=1,
        tensors={},
        seed=7,
        full_seconds=2.5,
    )


def store(session: Session, space: Namespace, *vectors: list[float], num_bytes: int = 100) -> UUID:
    entry = new_entry(space, num_bytes=num_bytes)
    namespaces.lock(session, space.id)
    assert cache.reserve(session, space, entry)
    found = [
        cache.NewEntity(text=f"fox {vector[0]}", head="fox", attributes=("red",), kind="object", embedding=vector)
        for vector in vectors
    ]
    cache.publish(session, space, entry.id, found)
    return entry.id


def test_the_same_identity_finds_the_same_namespace_and_another_owner_does_not(session: Session) -> None:
    assert make_space(session).id == make_space(session).id
    assert make_space(session, owner="eve").id != make_space(session).id


@pytest.mark.parametrize("search", ["exact", "hnsw", "auto"])
def test_a_look_up_gives_the_nearest_of_each_vector_in_one_statement(session: Session, search: str) -> None:
    rng = random.Random(0)
    space, vectors = make_space(session), [unit(rng) for _ in range(20)]
    ids = [store(session, space, vector) for vector in vectors]

    found = cache_search.neighbours(session, space, [vectors[3], vectors[8]], limit=2, search=search)

    assert [(near.query, near.entry_id) for near in found[::2]] == [(0, ids[3]), (1, ids[8])]
    assert found[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert (found[0].text, found[0].attributes) == (f"fox {vectors[3][0]}", ("red",))


def test_a_look_up_never_leaves_its_namespace(session: Session) -> None:
    vector = unit(random.Random(0))
    theirs, ours = make_space(session, owner="eve"), make_space(session)
    store(session, theirs, vector)

    assert cache_search.neighbours(session, ours, [vector], search="hnsw") == []


def test_the_index_still_finds_the_nearest_live_entity_after_all_nearer_ones_were_evicted(session: Session) -> None:
    """F23: without an iterative scan, evicted rows that no vacuum has removed would use up the candidates."""
    rng = random.Random(1)
    space = make_space(session, byte_budget=10**9)
    target = unit(rng)
    near = [[t + 0.02 * n for t, n in zip(target, unit(rng), strict=True)] for _ in range(300)]
    doomed = [store(session, space, vector) for vector in near]
    survivor = store(session, space, unit(rng))
    session.commit()

    space = namespaces.lock(session, space.id)
    cache.evict(session, space, doomed, policy="lru", reason="test")
    session.commit()

    found = cache_search.neighbours(session, space, [target], limit=1, search="hnsw", ef_search=40)
    assert [near.entry_id for near in found] == [survivor]


def test_a_reservation_beyond_the_budget_is_refused_and_changes_nothing(session: Session) -> None:
    space = make_space(session, byte_budget=150)
    store(session, space, unit(random.Random(0)))

    assert not cache.reserve(session, space, new_entry(space))
    assert space.bytes_used == 100


def test_bytes_come_back_only_when_the_file_is_gone(session: Session) -> None:
    space = make_space(session)
    id_ = store(session, space, unit(random.Random(0)))

    cache.evict(session, space, [id_], policy="lru", reason="room")
    assert (space.bytes_used, space.num_entities) == (100, 0)

    assert cache.gone(session, space.id, [id_]) == 100
    assert space.bytes_used == 0
    assert cache.gone(session, space.id, [id_]) == 0  # a sweeper that comes second frees nothing twice


def test_a_pinned_entry_is_not_evicted(session: Session) -> None:
    space = make_space(session)
    id_ = store(session, space, unit(random.Random(0)))
    claim = running(session)
    assert [row.id for row in decisions.record(session, claim, space, [id_], **DECISION)] == [id_]

    assert cache.evict(session, space, [id_], policy="lru", reason="room") == []
    cache.unpin(session, job_id=claim.job.id, fence=claim.fence)
    assert [row.id for row in cache.evict(session, space, [id_], policy="lru", reason="room")] == [id_]


def running_job() -> Job:
    return Job(tenant="ada", prompt="a fox", model="tiny", width=32, height=32, num_frames=8, fps=8)


def running(session: Session) -> Claim:
    claim = jobs.claim(session, acceptance.accept(session, running_job())[0].id, owner="w", lease_s=30)
    assert claim
    return claim


DECISION = {
    "entities": [],
    "neighbours": {},
    "settings": {},
    "plan": {},
    "reason": "entity_hit",
    "occupancy": {},
    "timings": {},
}


def test_an_evicted_entry_cannot_be_pinned(session: Session) -> None:
    space = make_space(session)
    evicted, there = (store(session, space, unit(random.Random(i))) for i in range(2))
    cache.evict(session, space, [evicted], policy="lru", reason="room")

    found = decisions.record(session, running(session), space, [evicted, there], **DECISION)

    assert [row.id for row in found] == [there]
    assert session.scalars(select(Pin.entry_id)).all() == [there]


def test_an_attempt_that_lost_its_job_records_and_pins_nothing(session: Session) -> None:
    space = make_space(session)
    id_ = store(session, space, unit(random.Random(0)))
    claim = running(session)
    jobs.release(session, owner="w")

    with pytest.raises(LeaseLost):
        decisions.record(session, claim, space, [id_], **DECISION)

    assert session.scalars(select(Lookup)).all() == session.scalars(select(Pin)).all() == []


def test_a_decision_knows_every_column_of_its_namespace_and_changes_none_by_it(session: Session) -> None:
    space = make_space(session)
    names = list(Namespace.__table__.columns.keys())

    found = decisions.known(session, space.fingerprint, plan_key="")

    assert found
    assert [getattr(found.space, name) for name in names] == [getattr(space, name) for name in names]
    assert found.space not in session


def test_all_entities_are_counted_only_where_the_way_to_search_depends_on_them(session: Session) -> None:
    sizes = (cache_search.CODES_BELOW - 1, cache_search.CODES_BELOW, cache_search.CODES_BESIDE_OTHERS)
    spaces = [make_space(session, owner=str(size)) for size in sizes]
    for space, size in zip(spaces, sizes, strict=True):
        space.num_entities = size

    found = [decisions.known(session, space.fingerprint, plan_key="") for space in spaces]

    assert [known and known.num_entities for known in found] == [None, sum(sizes), None]
    for space, known in zip(spaces, found, strict=True):
        way = cache_search.way_to_search(session, space)
        assert known
        assert cache_search.way_to_search(session, space, num_entities=known.num_entities) == way


def test_a_decision_is_recorded_once(session: Session) -> None:
    space = make_space(session)
    claim = running(session)

    for reason in ("entity_hit", "miss"):
        assert decisions.record(session, claim, space, [], **(DECISION | {"reason": reason})) == []

    assert session.scalars(select(Lookup.reason)).all() == ["entity_hit"]


def test_a_match_that_was_found_wrong_is_left_out(session: Session) -> None:
    """Two texts are kept apart whichever entry has the second; equal ones only for the entry that was wrong."""
    space = make_space(session)
    vectors = [unit(random.Random(i)) for i in range(2)]
    ids = [store(session, space, vectors[0]) for _ in range(2)] + [store(session, space, vectors[1])]
    stored, other = (f"fox {vector[0]}" for vector in vectors)
    for donor_text in (stored, other):
        pair = {"text": stored, "donor_text": donor_text, "entry_id": ids[0]}
        session.add(Veto(job_id=uuid4(), namespace_id=space.id, **pair))
    session.flush()

    def found(text: str) -> set[UUID]:
        return {row.entry_id for row in cache_search.neighbours(session, space, vectors[:1], texts=[text])}

    assert found(stored) == {ids[1]}
    assert found("another text") == set(ids)


def test_pinning_and_evicting_at_once_never_both_succeed(session_factory: Factory) -> None:
    """F14: whichever comes second sees the first."""
    with transaction(session_factory) as session:
        space = make_space(session, byte_budget=10**9)
        ids = [store(session, space, unit(random.Random(i))) for i in range(30)]
        claim = running(session)
    pins: list[UUID] = []
    evictions: list[UUID] = []

    def pin() -> None:
        for id_ in ids:
            with transaction(session_factory) as session:
                pins.extend(row.id for row in decisions.record(session, claim, space, [id_], **DECISION))

    def evict() -> None:
        for id_ in ids:
            with transaction(session_factory) as session:
                held = namespaces.lock(session, space.id)
                evictions.extend(row.id for row in cache.evict(session, held, [id_], policy="lru", reason="room"))

    threads = [threading.Thread(target=work) for work in (pin, evict)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(pins).isdisjoint(evictions)
    assert len(pins) + len(evictions) == len(ids)


def test_many_writers_and_evictors_never_pass_the_budget(session_factory: Factory) -> None:
    """F15: the ledger is right after every commit, and the database refuses anything else."""
    budget, failures = 1_000, []
    with transaction(session_factory) as session:
        space_id = make_space(session, byte_budget=budget).id

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            with transaction(session_factory) as session:
                space = namespaces.lock(session, space_id)
                entry = new_entry(space, num_bytes=rng.randint(50, 400))
                kept = cache.resident(session, namespace_id=space.id)
                while not cache.reserve(session, space, entry):
                    oldest = kept.pop(0)
                    cache.evict(session, space, [oldest.id], policy="fifo", reason="room")
                    cache.gone(session, space.id, [oldest.id])
                cache.publish(session, space, entry.id, [])
            with transaction(session_factory) as session:
                failures.extend(broken_ledgers(session))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with session_factory() as session:
        assert session.scalar(select(func.count()).where(CacheEvent.kind == "insert")) == 8 * 12


def broken_ledgers(session: Session) -> list[Namespace]:
    used = (
        select(func.coalesce(func.sum(CacheEntry.num_bytes), 0))
        .where(CacheEntry.namespace_id == Namespace.id, CacheEntry.status != EntryStatus.GONE)
        .scalar_subquery()
    )
    wrong = (Namespace.bytes_used != used) | (Namespace.bytes_used > Namespace.byte_budget)
    return list(session.scalars(select(Namespace).where(wrong)))


def test_a_quarantined_entry_serves_nothing_and_is_swept_after_its_time(session: Session) -> None:
    space, vector = make_space(session), unit(random.Random(0))
    id_ = store(session, space, vector)

    cache.quarantine(session, id_, reason="checksum")

    assert cache_search.neighbours(session, space, [vector]) == []
    assert cache.unfinished(session, quarantine_s=3600) == []
    session.commit()  # the sweeper's transaction begins after it
    assert [row.id for row in cache.unfinished(session, quarantine_s=0)] == [id_]


def test_an_entry_whose_writer_died_is_swept(session: Session) -> None:
    space = make_space(session)
    entry = new_entry(space)
    cache.reserve(session, space, entry)

    assert [row.id for row in cache.unfinished(session, quarantine_s=0)] == [entry.id]
    with pytest.raises(IllegalTransition, match="a cache entry cannot go from evicting to resident"):
        cache.publish(session, space, entry.id, [])


def test_an_entry_being_written_by_a_running_job_is_left_alone(session: Session) -> None:
    space, job = make_space(session), acceptance.accept(session, running_job())[0]
    claim = jobs.claim(session, job.id, owner="w", lease_s=30)
    assert claim
    entry = new_entry(space)
    entry.donor_job_id, entry.donor_fence = job.id, claim.fence
    cache.reserve(session, space, entry)

    assert cache.unfinished(session, quarantine_s=0) == []


def test_pins_of_ended_attempts_are_dropped(session: Session) -> None:
    space = make_space(session)
    id_ = store(session, space, unit(random.Random(0)))
    job = acceptance.accept(session, running_job())[0]
    session.add(Pin(entry_id=id_, job_id=job.id, fence=9))

    cache.unfinished(session, quarantine_s=0)

    assert session.scalars(select(Pin)).all() == []


def test_events_come_in_the_order_and_with_rising_times_in_which_they_happened(session: Session) -> None:
    space = make_space(session)
    first, second = (store(session, space, unit(random.Random(i))) for i in range(2))
    for id_ in (second, first, second):
        cache.hit(session, space, id_, job_id=uuid4(), fence=1, covers=[str(id_)])

    events = cache.events(session, space)

    assert [(event.kind, event.entry_id) for event in events] == [
        *(("insert", id_) for id_ in (first, second)),
        *(("hit", id_) for id_ in (second, first, second)),
    ]
    assert [event.created_at for event in events] == sorted({event.created_at for event in events})
    assert cache.events(session, space, after=events[3].id) == events[4:]


def test_entity_rows_stand_exactly_as_long_as_their_entry_is_resident(session: Session) -> None:
    space = make_space(session)
    id_ = store(session, space, unit(random.Random(0)), unit(random.Random(1)))
    assert space.num_entities == 2

    cache.evict(session, space, [id_], policy="lru", reason="room")

    assert (space.num_entities, session.scalars(select(CacheEntity)).all()) == (0, [])


def test_a_budget_below_what_is_used_is_refused(session: Session) -> None:
    space = make_space(session)
    store(session, space, unit(random.Random(0)))

    with pytest.raises(IllegalTransition, match="100 bytes are in use; evict down to 50 first"):
        namespaces.set_budget(session, space, 50)


def test_attempts_that_wrote_their_metrics_do_not_wait_for_each_other_to_lock_the_namespace(
    session_factory: Factory,
) -> None:
    """Each row refers to the namespace: with a stronger lock two finishing jobs would wait in a circle."""
    with transaction(session_factory) as session:
        space_id = make_space(session).id

    with transaction(session_factory) as first, transaction(session_factory) as second:
        for session in (first, second):
            values = {"attempt": 1, "fence": 1, "tenant": "ada", "outcome": "completed", "namespace_id": space_id}
            session.add(JobMetric(job_id=uuid4(), **values))
            session.flush()
        assert namespaces.lock(first, space_id).id == space_id  # or fails after the lock timeout


class Stuck:
    """A storage in which some files cannot be removed."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def remove(self, name: str) -> None:
        if name in self.names:
            raise StorageError(f"{name}: locked")


def test_entries_whose_files_cannot_be_removed_keep_no_other_for_ever(session, session_factory) -> None:
    space = make_space(session, byte_budget=1_000_000)
    for _ in range(32):
        cache.reserve(session, space, new_entry(space))
    session.commit()
    names = [row.name for row in cache.unfinished(session, quarantine_s=0, limit=100)]
    session.commit()
    storage: Any = Stuck(set(names[:12]))

    swept: set[str] = set()
    for _ in range(50):
        with suppress(StorageError):  # ten that refuse may come first now and then
            swept |= set(sweep_entries(storage, session_factory, quarantine_s=0))

    assert swept == set(names[12:])
