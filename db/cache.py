"""Entries of the latent cache from writing to removal, with their entities, pins and events.

Functions that change the bytes of a namespace, or its events, need the lock (`namespaces.lock`). An entity row exists
exactly as long as its entry is resident, so a look-up (`db.cache_search`) needs no filter but the namespace.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache as once
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Row,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.util import identity_key

from db import cache_search, eviction, namespaces
from db.errors import NotFound
from db.models import CacheEntity, CacheEntry, CacheEvent, Job, Namespace, Pin
from db.prepared import Prepared
from db.states import EntryStatus, JobStatus, check_entry

# Where a script that looks into the cache begins: a namespace, the right to change it, what is near in it.
namespace, lock, neighbours = namespaces.get_or_create, namespaces.lock, cache_search.neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntity:
    """An entity of a new entry."""

    text: str
    head: str
    attributes: tuple[str, ...]
    kind: str
    embedding: Sequence[float]  # unit norm


def unpin(session: Session, *, job_id: UUID, fence: int) -> None:
    """Release everything that an attempt pinned."""
    session.execute(delete(Pin).where(Pin.job_id == job_id, Pin.fence == fence))


def events(session: Session, space: Namespace, *, after: int = 0) -> list[CacheEvent]:
    """Return the events of a namespace after the event `after`, in order: all that a policy needs to choose."""
    query = select(CacheEvent).where(CacheEvent.namespace_id == space.id, CacheEvent.id > after)
    return list(session.scalars(query.order_by(CacheEvent.id)))


def log(session: Session, *, namespace_id: UUID | None, since: datetime | None) -> list[CacheEvent]:
    """Return the events of a namespace, or of all, from a time on, in order."""
    query = select(CacheEvent).order_by(CacheEvent.id)
    if namespace_id is not None:
        query = query.where(CacheEvent.namespace_id == namespace_id)
    if since is not None:
        query = query.where(CacheEvent.created_at >= since)
    return list(session.scalars(query))


def latest_demand(session: Session, space: Namespace, *, after: int, limit: int) -> tuple[list[Row[Any]], int]:
    """Return a namespace's latest insertions and hits after the event `after`, in order, and the last event's id.

    That is the last event of any kind, so that the next call reads no eviction twice.
    """
    rows = session.execute(_latest_demand(), {"space": space.id, "after": after, "limit": limit}).all()
    return [row for row in reversed(rows) if row.id is not None], rows[0].last_id or after


@once
def _latest_demand() -> Select[Any]:
    event = CacheEvent.__table__.c
    mine = and_(event.namespace_id == bindparam("space"), event.id > bindparam("after"))
    last = select(func.max(event.id).label("last_id")).where(mine).subquery()
    asked = select(*event).where(mine, event.kind.in_(("insert", "hit")))
    latest = asked.order_by(event.id.desc()).limit(bindparam("limit", type_=Integer)).subquery()
    return select(last.c.last_id, *latest.c).select_from(last.outerjoin(latest, true()))


def still_resident(session: Session, entry_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these entries serve look-ups."""
    query = select(CacheEntry.id).where(CacheEntry.id.in_(list(entry_ids)), CacheEntry.status == EntryStatus.RESIDENT)
    return set(session.scalars(query))


def pinned(session: Session, space: Namespace) -> set[UUID]:
    """Return the entries of a namespace that running attempts hold."""
    query = select(Pin.entry_id).join(CacheEntry).where(CacheEntry.namespace_id == space.id)
    return set(session.scalars(query))


def entities(session: Session, entry_ids: Iterable[UUID]) -> dict[UUID, list[CacheEntity]]:
    """Return the entities of entries, by entry."""
    found: dict[UUID, list[CacheEntity]] = {}
    for entity in session.scalars(select(CacheEntity).where(CacheEntity.entry_id.in_(list(entry_ids)))):
        assert entity.entry_id, "asked for by it"
        found.setdefault(entity.entry_id, []).append(entity)
    return found


def evict(
    session: Session,
    space: Namespace,
    entry_ids: Sequence[UUID],
    *,
    policy: str,
    reason: str,
    even_pinned: bool = False,
) -> list[CacheEntry]:
    """Take entries out of every look-up and return them; their bytes count until `gone`. Needs the lock.

    Entries pinned by a running attempt stay, unless `even_pinned`: then that attempt finds the file missing and runs in
    full mode.
    """
    rows = take(session, space, entry_ids, even_pinned=even_pinned)
    withdraw(session, space, rows, policy=policy, reason=reason, now=_now(session))
    return rows


def take(
    session: Session, space: Namespace, entry_ids: Sequence[UUID], *, even_pinned: bool = False
) -> list[CacheEntry]:
    """Lock and return those of the entries that are resident here and unused, in the order given. Needs the lock.

    An entry moved since it was chosen belongs to another namespace. Two statements on purpose: the pins are read after
    the entries are locked, so that none can slip in between.
    """
    if not entry_ids:
        return []
    taken = _TAKE_RESIDENT if even_pinned else _TAKE_UNUSED
    values = {"space": space.id, "ids": list(entry_ids)}
    found = session.scalars(taken, values, execution_options={"populate_existing": True})
    rows = {row.id: row for row in found}
    return [rows[id_] for id_ in entry_ids if id_ in rows]


_ENTRY = CacheEntry.__table__.columns

_TAKE_RESIDENT = (
    select(CacheEntry)
    .where(CacheEntry.namespace_id == bindparam("space"), CacheEntry.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
    .where(CacheEntry.status == EntryStatus.RESIDENT)
    .with_for_update()
)

# One message; the second statement has to know which entries the first one found locked by others.
_TAKE_UNUSED = select(CacheEntry).from_statement(
    text(
        f"""
        SELECT set_config('chai.taken', coalesce(string_agg(CAST(id AS text), ','), ''), true) FROM (
            SELECT id FROM cache_entries WHERE id = ANY(CAST(:ids AS uuid[]))
            AND namespace_id = :space AND status = 'resident' FOR UPDATE SKIP LOCKED
        ) AS locked;
        SELECT {", ".join(column.name for column in _ENTRY)} FROM cache_entries
        WHERE id = ANY(CAST(string_to_array(current_setting('chai.taken'), ',') AS uuid[]))
        AND NOT EXISTS (SELECT FROM cache_pins WHERE entry_id = cache_entries.id)
        """  # noqa: S608 - what is put into the text is ours
    ).columns(*_ENTRY)
)


def withdraw(
    session: Session,
    space: Namespace,
    rows: Sequence[CacheEntry],
    *,
    policy: str | None,
    reason: str,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Take the rows of `take` out of every look-up, in one statement, and record it in their order. Needs the lock."""
    if rows:
        space.eviction_age = max([space.eviction_age, *(row.priority for row in rows)])
        _withdraw(session, space, rows, EntryStatus.EVICTING, reason, now, event="evict", policy=policy, detail=detail)


def quarantine(session: Session, entry_id: UUID, *, reason: str) -> CacheEntry | None:
    """Take a broken entry out of every look-up and return it; None if it is no longer resident."""
    space = namespaces.lock(session, session.get_one(CacheEntry, entry_id).namespace_id)
    rows = take(session, space, [entry_id], even_pinned=True)
    if not rows:
        return None
    detail = {"reason": reason}
    _withdraw(session, space, rows, EntryStatus.QUARANTINED, reason, _now(session), event="quarantine", detail=detail)
    return rows[0]


def _withdraw(
    session: Session,
    space: Namespace,
    rows: Sequence[CacheEntry],
    to: EntryStatus,
    reason: str,
    now: datetime,
    *,
    event: str,
    policy: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    for row in rows:
        check_entry(EntryStatus(row.status), to)
    eviction.left(space, rows)
    remembered = {name: getattr(space, name) for name in _REMEMBERED}
    values = {
        "ids": [row.id for row in rows],
        "space": space.id,
        "status": to.value,
        "reason": reason,
        "now": now,
        "event": event,
        "policy": policy,
        "detail": json.dumps(dict(detail or {})),
        **remembered,
        "queues": json.dumps(space.queues),
    }
    with session.no_autoflush:  # the policy's state is written in the same statement
        ((num_entities,),) = _WITHDRAW.run(session, values)
    for name, value in (remembered | {"num_entities": num_entities}).items():
        set_committed_value(space, name, value)
    for row in rows:
        for name, value in (("status", to), ("reason", reason), ("ended_at", now)):
            set_committed_value(row, name, value)


_REMEMBERED = ("eviction_age", "sieve_round", "sieve_at", "sieve_id", "queues")  # of a namespace, by its policies

# Vectors go with the last entity of their text; one that came in the row of an entity stays for the others of the text.
# It is planned for a namespace of the mean size, which beside many small ones is a thousandth of a large one. OFFSET 0
# and ARRAY leave no plan but to look up each text: joined, all vectors of the namespace would be read.
_WITHDRAW = Prepared(
    "withdraw",
    {
        "ids": "uuid[]",
        "space": "uuid",
        "status": "text",
        "reason": "text",
        "now": "timestamptz",
        "event": "text",
        "policy": "text",
        "detail": "jsonb",
        "eviction_age": "float8",
        "sieve_round": "int",
        "sieve_at": "timestamptz",
        "sieve_id": "uuid",
        "queues": "jsonb",
    },
    """
    WITH given AS (SELECT id, place FROM unnest(:ids) WITH ORDINALITY AS given(id, place)),
    gone AS (
        UPDATE cache_entries SET status = :status, reason = :reason, ended_at = :now FROM given
        WHERE cache_entries.id = given.id RETURNING given.place, given.id, num_bytes
    ),
    logged AS (
        INSERT INTO cache_events (namespace_id, kind, num_bytes, created_at, entry_id, policy, detail)
        SELECT :space, :event, num_bytes, :now, id, :policy, :detail FROM gone ORDER BY place
    ),
    removed AS (
        DELETE FROM cache_entities WHERE entry_id = ANY(:ids)
        RETURNING id, text, is_copy, dims, embedding
    ),
    alone AS (
        SELECT text FROM (SELECT DISTINCT text FROM removed) AS named WHERE NOT EXISTS (
            SELECT 1 FROM cache_entities AS other WHERE namespace_id = :space AND other.text = named.text
            AND entry_id IS NOT NULL AND entry_id <> ALL(:ids) OFFSET 0
        )
    ),
    ended AS (
        DELETE FROM cache_entities WHERE id = ANY(ARRAY(
            SELECT vector.id FROM alone CROSS JOIN LATERAL (
                SELECT id FROM cache_entities WHERE namespace_id = :space AND text = alone.text
                AND NOT is_copy AND entry_id IS NULL OFFSET 0
            ) AS vector
        ))
    ),
    moved AS (
        INSERT INTO cache_entities (namespace_id, text, head, attributes, kind, dims, embedding)
        SELECT DISTINCT ON (removed.text)
            :space, removed.text, '', CAST('{}' AS text[]), 'vector', dims, embedding
        FROM removed WHERE NOT is_copy AND text NOT IN (SELECT text FROM alone) AND NOT EXISTS (
            SELECT 1 FROM cache_entities AS other WHERE namespace_id = :space AND other.text = removed.text
            AND NOT other.is_copy AND other.id NOT IN (SELECT id FROM removed) OFFSET 0
        )
    )
    UPDATE namespaces SET num_entities = num_entities - (SELECT count(*) FROM removed), eviction_age = :eviction_age,
        sieve_round = :sieve_round, sieve_at = :sieve_at, sieve_id = :sieve_id, queues = :queues
    WHERE id = :space RETURNING num_entities
    """,
)


def _store_vectors(session: Session, space: Namespace, texts: Sequence[str], vectors: Sequence[str]) -> None:
    """Insert a row with the vector of each text that has none yet."""
    if texts:
        query = text(
            "INSERT INTO cache_entities (namespace_id, text, head, attributes, kind, dims, embedding) "
            "SELECT DISTINCT ON (given.text) :namespace_id, given.text, '', '{}', 'vector', :dims, "
            "CAST(given.vector AS halfvec) FROM unnest(CAST(:texts AS text[]), CAST(:vectors AS text[])) "
            "AS given(text, vector) WHERE NOT EXISTS (SELECT 1 FROM cache_entities AS row WHERE NOT row.is_copy "
            "AND row.namespace_id = :namespace_id AND row.text = given.text)"
        )
        values = {"namespace_id": space.id, "dims": space.dims, "texts": list(texts), "vectors": list(vectors)}
        session.execute(query, values)


def gone(session: Session, namespace_id: UUID, entry_ids: Sequence[UUID]) -> int:
    """Free the bytes of evicted entries whose files are removed; return how many bytes. Takes the lock itself."""
    freed = session.execute(_GONE, {"space": namespace_id, "ids": list(entry_ids)}).one()
    space = session.identity_map.get(identity_key(Namespace, namespace_id))
    if space is not None:
        set_committed_value(space, "bytes_used", freed.bytes_used)
    for entry_id in freed.ids:
        if (row := session.identity_map.get(identity_key(CacheEntry, entry_id))) is not None:
            set_committed_value(row, "status", EntryStatus.GONE)
    return int(freed.num_bytes)


# The lock comes first, in a statement of its own, as everywhere: who has an entry before it could wait in a circle.
_GONE = text(
    """
    SELECT FROM namespaces WHERE id = :space FOR NO KEY UPDATE;
    WITH freed AS (
        UPDATE cache_entries SET status = 'gone' WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'evicting'
        RETURNING id, num_bytes
    ),
    total AS (SELECT coalesce(sum(num_bytes), 0) AS num_bytes, array_agg(id) AS ids FROM freed)
    UPDATE namespaces SET bytes_used = bytes_used - total.num_bytes FROM total WHERE namespaces.id = :space
    RETURNING bytes_used, total.num_bytes, coalesce(total.ids, '{}') AS ids
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an eviction must know of its namespace."""

    now: datetime
    pinned: set[UUID]  # entries that running attempts hold
    leaving: list[CacheEntry]  # evicted, but their files may still be there
    most_hits: int  # of a resident entry


def standing(session: Session, space: Namespace) -> Standing:
    """Return which entries are held, which are leaving and the most hits of any, with the database's time."""
    rows = _STANDING.run(session, {"space": space.id})
    ids = [row.id for row in rows if row.what == "leaving"]
    leaving = list(session.scalars(select(CacheEntry).where(CacheEntry.id.in_(ids)))) if ids else []
    now = next(row for row in rows if row.what == "now")
    pins = {row.id for row in rows if row.what == "pinned"}
    return Standing(now=now.at, pinned=pins, leaving=leaving, most_hits=now.hits or 0)


_STANDING = Prepared(
    "standing",
    {"space": "uuid"},
    "SELECT 'now' AS what, NULL::uuid AS id, clock_timestamp() AS at, (SELECT hits FROM cache_entries "
    "WHERE namespace_id = :space AND status = 'resident' ORDER BY hits DESC LIMIT 1) AS hits "
    "UNION ALL SELECT 'pinned', entry_id, NULL, NULL FROM cache_pins "  # a join might read the whole namespace
    "WHERE (SELECT namespace_id FROM cache_entries WHERE id = entry_id) = :space "
    "UNION ALL SELECT 'leaving', id, NULL, NULL FROM cache_entries WHERE namespace_id = :space AND status = 'evicting'",
)


def reserve(session: Session, space: Namespace, entry: CacheEntry) -> bool:
    """Book the bytes of an entry about to be written; False when they do not fit. Needs the lock."""
    if space.bytes_used + entry.num_bytes > space.byte_budget:
        return False
    space.bytes_used += entry.num_bytes
    session.add(entry)
    session.flush()
    return True


def refuse(session: Session, space: Namespace, *, job_id: UUID, fence: int, num_bytes: int, reason: str) -> None:
    """Note that an entry was not admitted. Needs the lock."""
    _event(session, space, "refuse", num_bytes, job_id=job_id, fence=fence, detail={"reason": reason})


def publish(
    session: Session, space: Namespace, entry_id: UUID, found: Sequence[NewEntity], *, seconds_saved: float = 0.0
) -> None:
    """Make a written entry resident; raise `IllegalTransition` if the sweeper took it. Needs the lock."""
    row = session.scalars(select(CacheEntry).where(CacheEntry.id == entry_id).with_for_update()).one()
    check_entry(EntryStatus(row.status), EntryStatus.RESIDENT)
    row.status = EntryStatus.RESIDENT
    row.seconds_saved = seconds_saved
    row.published_at = _used(session, space, row)
    texts, vectors = [entity.text for entity in found], [cache_search.literal(entity.embedding) for entity in found]
    eviction.entered(session, space, row, texts)
    session.add_all(
        CacheEntity(
            is_copy=True,
            entry_id=entry_id,
            namespace_id=space.id,
            text=entity.text,
            head=entity.head,
            attributes=list(entity.attributes),
            kind=entity.kind,
            dims=space.dims,
        )
        for entity in found
    )
    _store_vectors(session, space, texts, vectors)
    space.num_entities += len(found)
    _event(
        session,
        space,
        "insert",
        row.num_bytes,
        created_at=row.published_at,
        entry_id=entry_id,
        job_id=row.donor_job_id,
        fence=row.donor_fence,
        detail={"seconds_saved": seconds_saved, "entities": [entity.text for entity in found], "tenant": row.tenant},
    )


def movable(session: Session, source: Namespace, target: Namespace, *, limit: int) -> list[UUID]:
    """Return resident entries that another namespace has room for, the longest unused first.

    If there is not room for all, those unused for longest are left out.
    """
    mine = and_(CacheEntry.namespace_id == source.id, CacheEntry.status == EntryStatus.RESIDENT)
    query = select(CacheEntry.id, CacheEntry.num_bytes).where(mine)
    over = source.bytes_used - (target.byte_budget - target.bytes_used)
    chosen: list[UUID] = []
    for row in session.execute(query.order_by(CacheEntry.last_used, CacheEntry.id)):
        if over > 0:
            over -= row.num_bytes
        elif len(chosen) < limit:
            chosen.append(row.id)
        else:
            break
    held = pinned(session, source) if chosen else set()
    return [id_ for id_ in chosen if id_ not in held]


def move(
    session: Session, source: Namespace, target: Namespace, found: Mapping[UUID, Sequence[NewEntity]]
) -> list[CacheEntry]:
    """Move entries to another namespace, where these entities find them, and return them. Needs both locks.

    They enter in the order given, as new ones do. Entries in use stay, as do those that the target has no room for.
    """
    rows = take(session, source, list(found))
    while rows and target.bytes_used + sum(row.num_bytes for row in rows) > target.byte_budget:
        rows.pop()
    withdraw(session, source, rows, policy="reembed", reason="reembedded", now=_now(session))
    for row in rows:
        source.bytes_used -= row.num_bytes
        target.bytes_used += row.num_bytes
        row.written_for = row.written_for or source.fingerprint
        row.namespace_id, row.status, row.reason, row.ended_at, row.hits = target.id, EntryStatus.WRITING, None, None, 0
        session.flush()
        publish(session, target, row.id, found[row.id], seconds_saved=row.seconds_saved)
    return rows


def abandon(session: Session, entry_id: UUID) -> str | None:
    """Mark an entry whose writer gave up; return the name of its file. Unlink that, then call `gone`."""
    row = session.scalars(select(CacheEntry).where(CacheEntry.id == entry_id).with_for_update()).one()
    if row.status != EntryStatus.WRITING:
        return None
    row.status, row.reason = EntryStatus.EVICTING, "abandoned"
    session.flush()
    return row.name


def hit(session: Session, space: Namespace, entry_id: UUID, *, job_id: UUID, fence: int, covers: Sequence[str]) -> None:
    """Record that an entry served a finished job, and which others could have served it. Needs the lock."""
    row = session.get_one(CacheEntry, entry_id, populate_existing=True)
    row.hits += 1
    eviction.used(space, row)
    values = {"entry_id": entry_id, "job_id": job_id, "fence": fence, "detail": {"covers": list(covers)}}
    _event(session, space, "hit", row.num_bytes, created_at=_used(session, space, row), **values)


def _used(session: Session, space: Namespace, row: CacheEntry) -> datetime:
    """Record a use of an entry (the first is its making) for eviction; return its time."""
    uses, value = row.hits + 1, row.seconds_saved / max(1, row.num_bytes)
    row.use, row.priority = uses * row.seconds_saved, space.eviction_age + uses * value
    row.last_used = _now(session)
    return row.last_used


def _now(session: Session) -> datetime:
    # The clock, not the start of the transaction: under the lock, times rise with the ids.
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def _event(
    session: Session, space: Namespace, kind: str, num_bytes: int, *, created_at: datetime | None = None, **values: Any
) -> None:
    now = created_at or _now(session)
    session.add(CacheEvent(namespace_id=space.id, kind=kind, num_bytes=num_bytes, created_at=now, **values))
    session.flush()


def unfinished(session: Session, *, quarantine_s: float, limit: int = 200) -> list[CacheEntry]:
    """Return leaving entries whose worker may be dead; the caller unlinks their files, then calls `gone`.

    These are evicted ones; those whose writer no longer runs under the fence that it wrote them with; and quarantined
    ones after `quarantine_s`, which gives an operator time to look at the file. Pins of ended attempts are dropped.
    """
    _drop_dead_pins(session)
    _mark_abandoned(session)
    looked_at = CacheEntry.ended_at < func.now() - timedelta(seconds=quarantine_s)
    leaving = or_(
        CacheEntry.status == EntryStatus.EVICTING, and_(CacheEntry.status == EntryStatus.QUARANTINED, looked_at)
    )
    some = select(CacheEntry).where(leaving).order_by(func.random()).limit(limit)  # random, since some may never go
    rows = list(session.scalars(some.with_for_update(skip_locked=True)))
    for row in rows:
        row.status = EntryStatus.EVICTING
    session.flush()
    return rows


def _running(job_id: Any, fence: Any) -> ColumnElement[bool]:  # Any: columns of either table
    return exists().where(Job.id == job_id, Job.fence == fence, Job.status == JobStatus.IN_PROGRESS)


def _drop_dead_pins(session: Session) -> None:
    session.execute(
        delete(Pin).where(~_running(Pin.job_id, Pin.fence)), execution_options={"synchronize_session": False}
    )


def _mark_abandoned(session: Session) -> None:
    orphaned = and_(
        CacheEntry.status == EntryStatus.WRITING, ~_running(CacheEntry.donor_job_id, CacheEntry.donor_fence)
    )
    session.execute(
        update(CacheEntry).where(orphaned).values(status=EntryStatus.EVICTING, reason="abandoned", ended_at=func.now()),
        execution_options={"synchronize_session": False},
    )


def names(session: Session) -> set[str]:
    """Return the file names of all entries that have, or may have, a file."""
    return set(session.scalars(select(CacheEntry.name).where(CacheEntry.status != EntryStatus.GONE)))


def listing(
    session: Session, *, namespace_id: UUID | None = None, status: EntryStatus | None = None, limit: int = 100
) -> list[CacheEntry]:
    """Return entries, the newest first."""
    query = select(CacheEntry).order_by(CacheEntry.created_at.desc()).limit(limit)
    if namespace_id:
        query = query.where(CacheEntry.namespace_id == namespace_id)
    if status:
        query = query.where(CacheEntry.status == status)
    return list(session.scalars(query))


def resident(
    session: Session,
    *,
    namespace_id: UUID | None = None,
    tenant: str | None = None,
    job_id: UUID | None = None,
    before: datetime | None = None,
) -> list[CacheEntry]:
    """Return the resident entries, the oldest first: of a namespace, a tenant, a donor job, or older than a time."""
    query = select(CacheEntry).where(CacheEntry.status == EntryStatus.RESIDENT).order_by(CacheEntry.created_at)
    for compared, value in (
        (CacheEntry.namespace_id, namespace_id),
        (CacheEntry.tenant, tenant),
        (CacheEntry.donor_job_id, job_id),
    ):
        if value is not None:
            query = query.where(compared == value)
    if before is not None:
        query = query.where(CacheEntry.created_at < before)
    return list(session.scalars(query))


def entries(session: Session, ids: Collection[UUID]) -> dict[UUID, CacheEntry]:
    """Return the existing ones of these entries, in any status, by id."""
    return {row.id: row for row in session.scalars(select(CacheEntry).where(CacheEntry.id.in_(ids)))}


def entry(session: Session, entry_id: UUID) -> CacheEntry:
    """Return an entry; raise `NotFound`."""
    row = session.get(CacheEntry, entry_id)
    if row is None:
        raise NotFound(f"no cache entry {entry_id}")
    return row
