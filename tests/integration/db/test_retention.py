"""What retention deletes, and what it must never touch, on a real database."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, cache, decisions, metrics, namespaces, quality_checks, retention
from db.eviction import Asked
from db.models import CacheEntry, CacheEvent, Job, JobMetric, Lookup, Namespace, Pin, QualityCheck
from db.retention import Forgotten
from db.session import transaction
from db.states import EntryStatus
from worker.cache import room, trace
from worker.cache.decisions.replay import EvictionRow, replay

KEPT = timedelta(days=90)
ENTRY_BYTES = 100


def make_space(session: Session, *, entries: int = 100) -> Namespace:
    budget = entries * ENTRY_BYTES
    return namespaces.get_or_create(
        session, {"model": "tiny"}, scope="tenant", owner="ada", dims=384, byte_budget=budget
    )


def stored(session: Session, space: Namespace, *, hits: int = 0) -> UUID:
    """Write and publish an entry, and let it serve."""
    id_ = uuid4()
    entry = CacheEntry(
        id=id_,
        namespace_id=space.id,
        tenant="ada",
        donor_job_id=uuid4(),
        donor_fence=1,
        prompt="a fox",
        name=f"latents/{id_}.safetensors",
        num_bytes=ENTRY_BYTES,
        schema_version=1,
        tensors={},
        seed=7,
        full_seconds=2.5,
    )
    held = namespaces.lock(session, space.id)
    assert cache.reserve(session, held, entry)
    cache.publish(session, held, id_, [], seconds_saved=2.0)
    for _ in range(hits):
        cache.hit(session, held, id_, job_id=uuid4(), fence=1, covers=[])
    return id_


def end(session: Session, space: Namespace, *entry_ids: UUID) -> None:
    """Evict entries and remove their files."""
    held = namespaces.lock(session, space.id)
    cache.evict(session, held, entry_ids, policy="lru", reason="test", even_pinned=True)
    cache.gone(session, held.id, entry_ids)


def age(session: Session, *, days: int = 100) -> None:
    """Make everything that is recorded so far older."""
    session.flush()
    for table, columns in {
        CacheEntry: ("created_at", "ended_at"),
        CacheEvent: ("created_at",),
        Lookup: ("created_at",),
        JobMetric: ("created_at",),
        QualityCheck: ("created_at",),
    }.items():
        earlier = {name: getattr(table, name) - timedelta(days=days) for name in columns}
        session.execute(update(table).values(earlier), execution_options={"synchronize_session": False})
    details = "UPDATE cache_events SET detail = jsonb_set(detail, '{at}', to_jsonb((detail->>'at')::float - :s))"
    session.execute(text(details + " WHERE detail ? 'at'"), {"s": days * 86_400})


def forget(session: Session, *, limit: int = 1000) -> Forgotten:
    found = retention.forget(session, older=KEPT, limit=limit)
    session.commit()
    session.expire_all()
    return found


def accept(session: Session, *, status: str = "completed") -> Job:
    values = {"model": "tiny", "width": 32, "height": 32, "num_frames": 17, "fps": 8}
    job, _ = acceptance.accept(session, Job(tenant="ada", prompt="a fox", **values))
    if status != "queued":
        job.status, job.output = status, {"name": "videos/x.mp4"} if status == "completed" else None
        job.lease_until = func.now() if status == "in_progress" else None
    session.flush()
    return job


def measure(session: Session, space: Namespace, job: Job, *, gpu_seconds: float = 1.0, **columns: Any) -> None:
    values = {"attempt": 1, "fence": 1, "outcome": "completed", "path": "full"} | columns
    row = JobMetric(job_id=job.id, tenant="ada", namespace_id=space.id, gpu_seconds=gpu_seconds, **values)
    session.add(row)
    session.flush()


def look_up(session: Session, space: Namespace, job: Job) -> None:
    lists: dict[str, Any] = {name: [] for name in ("entities", "neighbours")}
    pairs: dict[str, Any] = {name: {} for name in ("settings", "plan", "occupancy", "timings")}
    session.add(Lookup(job_id=job.id, fence=1, attempt=1, namespace_id=space.id, reason="r", **lists, **pairs))
    session.flush()


def ids_of(session: Session, table: type[Any]) -> set[Any]:
    return set(session.scalars(select(table.id)))


def entries_with_events(session: Session) -> set[UUID | None]:
    return set(session.scalars(select(CacheEvent.entry_id)))


def test_an_entry_that_went_long_ago_goes_with_all_its_events(session: Session) -> None:
    space = make_space(session)
    old = stored(session, space, hits=3)
    end(session, space, old)
    age(session)
    live, recent = stored(session, space, hits=1), stored(session, space)
    end(session, space, recent)

    found = forget(session)

    assert found == Forgotten(entries=1, events=5, lookups=0, metrics=0, checks=0, is_all=True)
    assert ids_of(session, CacheEntry) == entries_with_events(session) == {live, recent}


def test_an_entry_that_went_lately_keeps_the_events_of_its_old_days(session: Session) -> None:
    space = make_space(session)
    entry = stored(session, space, hits=2)
    age(session)
    end(session, space, entry)

    assert forget(session).num_rows == 0

    assert [event.kind for event in cache.events(session, space)] == ["insert", "hit", "hit", "evict"]


@pytest.mark.parametrize("status", [status for status in EntryStatus if status is not EntryStatus.GONE])
def test_an_entry_with_a_file_stays_with_its_events_however_old(session: Session, status: EntryStatus) -> None:
    """The ledger and the sweeper need the row, a policy the events."""
    space = make_space(session)
    entry = stored(session, space, hits=2)
    session.execute(update(CacheEntry).values(status=status, ended_at=func.now()))
    age(session)

    assert forget(session).num_rows == 0

    assert ids_of(session, CacheEntry) == {entry}
    assert session.get_one(Namespace, space.id).bytes_used == ENTRY_BYTES


def test_an_abandoned_entry_goes_by_the_time_it_was_made(session: Session) -> None:
    space = make_space(session)
    stored(session, space)
    session.execute(update(CacheEntry).values(status=EntryStatus.GONE, reason="abandoned"))
    session.execute(text("DELETE FROM cache_events"))
    age(session)

    assert forget(session).entries == 1


def test_an_entry_that_a_running_job_still_holds_stays(session: Session) -> None:
    """Purged under a job's hands: the job will record its hit on the row."""
    space = make_space(session)
    entry, job = stored(session, space), accept(session, status="in_progress")
    session.add(Pin(entry_id=entry, job_id=job.id, fence=0))
    session.flush()
    end(session, space, entry)
    age(session)

    assert forget(session).num_rows == 0
    cache.unpin(session, job_id=job.id, fence=0)
    assert forget(session).entries == 1

    assert ids_of(session, CacheEntry) == set(session.scalars(select(Pin.entry_id))) == set()


def test_old_refusals_go_and_leave_the_events_of_live_entries_between_them(session: Session) -> None:
    space = make_space(session)
    for _ in range(3):
        cache.refuse(
            session, namespaces.lock(session, space.id), job_id=uuid4(), fence=1, num_bytes=9, reason="no room"
        )
        live = stored(session, space)
    age(session)
    cache.refuse(session, namespaces.lock(session, space.id), job_id=uuid4(), fence=1, num_bytes=9, reason="no room")

    assert forget(session).events == 3

    assert [event.kind for event in cache.events(session, space)] == ["insert"] * 3 + ["refuse"]
    assert live in entries_with_events(session)


def test_decisions_and_figures_go_when_they_are_old_and_their_job_has_ended(session: Session) -> None:
    space = make_space(session)
    ended, waiting, running = (accept(session, status=status) for status in ("failed", "queued", "in_progress"))
    for job in (ended, waiting, running):
        look_up(session, space, job)
        measure(session, space, job, outcome="lost")
    age(session)
    recent = accept(session)
    look_up(session, space, recent)
    measure(session, space, recent, outcome="lost")

    found = forget(session)

    assert found == Forgotten(entries=0, events=0, lookups=1, metrics=1, checks=0, is_all=True)
    kept = {waiting.id, running.id, recent.id}
    assert set(session.scalars(select(Lookup.job_id))) == set(session.scalars(select(JobMetric.job_id))) == kept
    assert session.get_one(Job, ended.id).status == "failed"


def test_the_figures_from_which_savings_are_reckoned_stay_though_nothing_ran_for_long(session: Session) -> None:
    space, number = make_space(session), metrics.MEAN_OF + 7
    for path, gpu_seconds in (("full", 5.0), ("fast", 1.0)):
        for i in range(number):
            measure(session, space, accept(session), path=path, gpu_seconds=gpu_seconds + i)
    age(session)
    before = decisions.known(session, space.fingerprint, plan_key="")

    assert forget(session).metrics == 14

    assert before
    assert sorted(before.seconds) == ["fast", "full"]
    after = decisions.known(session, space.fingerprint, plan_key="")
    assert after
    assert after.seconds == before.seconds
    assert forget(session).metrics == 0


def check(
    session: Session, space: Namespace, *, status: str = "done", kind: str = "both", similarity: float = 0.9
) -> None:
    loss = 0.1 if status == "done" else None
    case = {"namespace_key": "k", "kind": kind, "similarity": similarity, "is_refused": False, "judge": "pixels"}
    session.add(QualityCheck(job_id=uuid4(), namespace_id=space.id, status=status, loss=loss, **case))


def test_checks_go_but_for_those_under_way_and_the_latest_by_which_thresholds_move(session: Session) -> None:
    space = make_space(session)
    for number in range(quality_checks.NUM_LOSSES + 3):
        check(session, space, similarity=number / 1000)
    for status in ("waiting", "running", "lost"):
        check(session, space, status=status)
    check(session, space, kind="scene")
    age(session)
    before = quality_checks.losses(session, "k", "both", judge="pixels", since=None)

    assert forget(session).checks == 4  # three that are done, one that is lost

    assert quality_checks.losses(session, "k", "both", judge="pixels", since=None) == before
    assert len(quality_checks.losses(session, "k", "scene", judge="pixels", since=None)) == 1
    assert forget(session).checks == 0


def test_a_batch_is_bounded_and_the_next_goes_on_until_nothing_is_old(session: Session) -> None:
    space = make_space(session)
    doomed = [stored(session, space, hits=4) for _ in range(6)]
    end(session, space, *doomed)
    for _ in range(12):
        look_up(session, space, accept(session))
    age(session)
    live = stored(session, space)

    found = [forget(session, limit=5) for _ in range(9)]

    assert all(max(batch.entries, batch.events, batch.lookups) <= 5 for batch in found)
    assert [batch.lookups for batch in found[:4]] == [5, 5, 2, 0]
    assert (sum(batch.entries for batch in found), sum(batch.events for batch in found)) == (6, 36)
    assert [batch.is_all for batch in found] == [False] * 7 + [True] * 2  # 36 events, 5 at a time
    assert forget(session, limit=5).num_rows == 0
    assert ids_of(session, CacheEntry) == {live}


def test_whoever_reads_the_history_between_two_batches_sees_no_entry_that_is_gone(session: Session) -> None:
    space = make_space(session)
    space.policy = "coverage"  # chooses by the history
    doomed = [stored(session, space, hits=3) for _ in range(4)]
    end(session, space, *doomed)
    age(session)
    live = stored(session, space)

    while not forget(session, limit=3).is_all:
        choice = room.choose(Asked(session=session, space=space, bytes_needed=1), {})
        assert choice.ids == [live]


def test_two_relays_never_wait_for_each_other(session_factory: sessionmaker[Session]) -> None:
    with transaction(session_factory) as session:
        space = make_space(session)
        end(session, space, *[stored(session, space) for _ in range(4)])
        for _ in range(4):
            look_up(session, space, accept(session))
        age(session)

    with session_factory() as one, session_factory() as other:
        first = retention.forget(one, older=KEPT, limit=3)
        second = retention.forget(other, older=KEPT, limit=3)
        other.commit()
        one.commit()
        third = retention.forget(one, older=KEPT, limit=9)
        one.commit()

    assert (first.lookups, second.lookups, third.lookups) == (3, 1, 0)
    assert first.events + second.events + third.events == 8
    assert first.entries + second.entries + third.entries == 4


def test_what_remains_replays_as_it_was_recorded(session: Session) -> None:
    space = make_space(session, entries=3)
    histories: room.Histories = {}

    def fill(number: int) -> None:
        for _ in range(number):
            held = namespaces.lock(session, space.id)
            leaving = room.make(session, held, histories, num_bytes=ENTRY_BYTES)
            cache.gone(session, held.id, [entry.id for entry in leaving])
            stored(session, space, hits=1)

    fill(10)
    age(session)
    histories.clear()
    fill(6)
    session.commit()

    assert forget(session).entries == 7

    rows = list(trace.read(session, space.id))
    assert sum(isinstance(row, EvictionRow) for row in rows) == 6
    assert replay(rows) == []
