"""Rows of the latent cache: namespaces with their byte ledger, entries, entities, pins and events.

The ledger `namespaces.bytes_used` counts every byte that is reserved or on storage. It changes only under the lock of
the namespace row (`lock`), and so do the events: their ids are therefore in the order in which decisions were taken,
which is what lets a recorded run be replayed. An entity row stands exactly as long as its entry is resident, so a
look-up needs no other filter than the namespace.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache as once
from itertools import accumulate
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import IllegalTransition, NotFound
from db.models import EVICTION_ORDERS, CacheEntity, CacheEntry, CacheEvent, Job, Namespace, Pin
from db.states import EntryStatus, JobStatus, check_entry

# An exact scan of so many vectors takes milliseconds and never misses; see docs/performance.md.
EXACT_BELOW = 5_000
# A namespace with less than this share of the index is scanned exactly up to the second figure: among the vectors of
# others, the walk through the index would look at more than the scan does, and end early.
LEAST_SHARE, EXACT_BESIDE_OTHERS = 0.5, 40_000
SCAN_SHARE = 0.1  # of a namespace: once the index has been looked at so far in vain, an exact scan is cheaper
_SCAN_LIMITS = (2_000, 20_000)  # vectors; the second is pgvector's own
_OTHER_PLANS = (
    "enable_seqscan",
    "enable_bitmapscan",
    "enable_sort",
)  # what the planner prefers to HNSW in a small table
INDEXED_DIMS = frozenset({384, 512, 768})  # vector sizes with an HNSW index; others are scanned exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A stored entity near one entity of the prompt."""

    query: int  # index of the prompt's entity
    entry_id: UUID
    text: str
    head: str
    attributes: tuple[str, ...]
    kind: str
    similarity: float  # cosine, 1 is equal
    created: float  # seconds since 1970: when the entry was made


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntity:
    """An entity of a new entry."""

    text: str
    head: str
    attributes: tuple[str, ...]
    kind: str
    embedding: Sequence[float]  # unit norm


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that shapes latents; equal identities may share, others never meet."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def namespace(
    session: Session, identity: Mapping[str, Any], *, scope: str, owner: str, dims: int, **initial: Any
) -> Namespace:
    """Return the namespace of an identity; make it with `initial` (byte_budget, policy, admission) when it is new."""
    full = {**identity, "scope": scope, "owner": owner}
    key = fingerprint(full)
    known = select(Namespace).where(Namespace.fingerprint == key)
    row = session.scalars(known).one_or_none()
    if row is None:
        values = {"fingerprint": key, "identity": full, "scope": scope, "owner": owner, "dims": dims, **initial}
        session.execute(insert(Namespace).values(values).on_conflict_do_nothing())
        row = session.scalars(known).one()
    return row


def lock(session: Session, namespace_id: UUID) -> Namespace:
    """Hold the namespace until the end of the transaction: the ledger and the events are the caller's alone.

    Rows that refer to the namespace may be inserted meanwhile: decisions go on, and two attempts that have written
    their metrics do not wait for each other in a circle.
    """
    query = select(Namespace).where(Namespace.id == namespace_id).with_for_update(key_share=True)
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def neighbours(
    session: Session,
    space: Namespace,
    vectors: Sequence[Sequence[float]],
    *,
    texts: Sequence[str] | None = None,
    limit: int = 10,
    search: str = "auto",
    ef_search: int = 100,
) -> list[Found]:
    """Return the `limit` nearest stored entities of each vector, inside the namespace only; of equal ones the youngest.

    `search` is `exact`, `hnsw`, or `auto`: exact while that is cheap, by the size of the namespace and by its share of
    the index. The index holds each text of a namespace once. Its scan is iterative: without that, entities of other
    namespaces and freshly evicted ones would use up the candidates and a hit would be missed. What equals one of
    `texts` is found without it, and where it finds too little, an exact scan follows.
    """
    if not vectors:
        return []
    asked = _Asked(space=space, vectors=vectors, texts=texts or [""] * len(vectors), limit=limit)
    if not _is_indexed(session, space, search):
        return [_found(row) for row in _rows(session, asked, range(len(vectors)), indexed=False)]
    least, most = _SCAN_LIMITS
    forced = dict.fromkeys(_OTHER_PLANS, "off") if search == "hnsw" else {}
    scan = {
        "hnsw.iterative_scan": "strict_order",
        "hnsw.ef_search": str(ef_search),
        "hnsw.max_scan_tuples": str(min(most, max(least, round(space.num_entities * SCAN_SHARE)))),
    }
    _set(session, scan | forced)
    rows = _rows(session, asked, range(len(vectors)), indexed=True)
    _set(session, dict.fromkeys(forced, "on"))
    full = {row.query for row in rows if row.num_vectors >= limit}
    short = [query for query in range(len(vectors)) if query not in full]
    if short and search == "auto":
        rows = [*(row for row in rows if row.query in full), *_rows(session, asked, short, indexed=False)]
    return sorted(map(_found, rows), key=lambda near: near.query)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a look-up looks for."""

    space: Namespace
    vectors: Sequence[Sequence[float]]
    texts: Sequence[str]
    limit: int


def _is_indexed(session: Session, space: Namespace, search: str) -> bool:
    if search == "exact" or space.dims not in INDEXED_DIMS:
        return False
    if search == "hnsw" or space.num_entities < EXACT_BELOW:
        return search == "hnsw"
    if space.num_entities >= EXACT_BESIDE_OTHERS:
        return True
    everybody = select(func.sum(Namespace.num_entities)).where(Namespace.dims == space.dims)
    return space.num_entities >= LEAST_SHARE * (session.scalar(everybody) or 0)


def _set(session: Session, settings: Mapping[str, str]) -> None:
    """Change settings of the server until the end of the transaction."""
    if settings:
        session.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def _rows(session: Session, asked: _Asked, queries: Sequence[int], *, indexed: bool) -> Sequence[Any]:
    """Return rows (Any: of a textual query) for some of the vectors, the nearest first."""
    values = {
        "queries": list(queries),
        "vectors": [_literal(asked.vectors[query]) for query in queries],
        "texts": [asked.texts[query] for query in queries],
        "namespace_id": asked.space.id,
        "limit": asked.limit,
    }
    return session.execute(_statement(asked.space.dims, indexed=indexed), values).all()


def _found(row: Any) -> Found:  # Any: a row of a textual query
    return Found(
        query=row.query,
        entry_id=row.entry_id,
        text=row.text,
        head=row.head,
        attributes=tuple(row.attributes),
        kind=row.kind,
        similarity=1.0 - float(row.distance),
        created=float(row.created),
    )


@once
def _statement(dims: int, *, indexed: bool) -> Any:  # Any: text() has no static columns
    # Only the halfvec expression matches an HNSW index; the plain vector is scanned, through the namespace's own index.
    # Found by half precision, ranked by full: both ways to search give one order.
    own = f"namespace_id = :namespace_id AND dims = {dims} AND NOT is_copy"
    by = f"embedding::halfvec({dims}) <=> q.vector::halfvec({dims})" if indexed else "embedding <=> q.vector"
    equal = f"UNION ALL (SELECT text, embedding FROM cache_entities WHERE {own} AND text = q.text LIMIT :limit)"  # noqa: S608
    return text(
        f"""
        SELECT q.query, near.*, extract(epoch FROM cache_entries.created_at) AS created
        FROM unnest(CAST(:queries AS int[]), CAST(CAST(:vectors AS text[]) AS vector[]), CAST(:texts AS text[]))
             AS q(query, vector, text)
        CROSS JOIN LATERAL (
            SELECT row.*, first.distance, first.num_vectors
            FROM (
                SELECT text, embedding, embedding <=> q.vector AS distance, count(*) OVER () AS num_vectors
                FROM (
                    (SELECT text, embedding FROM cache_entities WHERE {own} ORDER BY {by} LIMIT :limit)
                    {equal if indexed else ""}
                ) AS candidates
                GROUP BY text, embedding
            ) AS first
            CROSS JOIN LATERAL (
                SELECT id, entry_id, text, head, attributes, kind FROM cache_entities
                WHERE namespace_id = :namespace_id AND text = first.text AND embedding = first.embedding
                ORDER BY id DESC LIMIT :limit
            ) AS row
            ORDER BY first.distance, row.id DESC
            LIMIT :limit
        ) AS near
        JOIN cache_entries ON cache_entries.id = near.entry_id
        ORDER BY q.query, near.distance, near.id DESC
        """,  # noqa: S608 - the only thing put into the text is an integer of ours
    )


def _literal(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in vector) + "]"


def pin(session: Session, entry_ids: Sequence[UUID], *, job_id: UUID, fence: int) -> list[CacheEntry]:
    """Keep entries from eviction while a job uses them; return those that are still resident, in the order given."""
    query = select(CacheEntry).where(CacheEntry.id.in_(entry_ids), CacheEntry.status == EntryStatus.RESIDENT)
    # FOR SHARE meets the evictor's FOR UPDATE: one of the two sees the other.
    rows = {row.id: row for row in session.scalars(query.with_for_update(read=True))}
    if rows:
        values = [{"entry_id": id_, "job_id": job_id, "fence": fence} for id_ in rows]
        session.execute(insert(Pin).values(values).on_conflict_do_nothing())
    return [rows[id_] for id_ in entry_ids if id_ in rows]


def unpin(session: Session, *, job_id: UUID, fence: int) -> None:
    """Let go of everything that an attempt pinned."""
    session.execute(delete(Pin).where(Pin.job_id == job_id, Pin.fence == fence))


def events(session: Session, space: Namespace, *, after: int = 0) -> list[CacheEvent]:
    """Return what happened in a namespace since the event `after`, in order: all that a policy chooses by."""
    query = select(CacheEvent).where(CacheEvent.namespace_id == space.id, CacheEvent.id > after)
    return list(session.scalars(query.order_by(CacheEvent.id)))


def pinned(session: Session, space: Namespace) -> set[UUID]:
    """Return the entries of a namespace that running attempts hold."""
    query = select(Pin.entry_id).join(CacheEntry).where(CacheEntry.namespace_id == space.id)
    return set(session.scalars(query))


def entities(session: Session, entry_ids: Iterable[UUID]) -> dict[UUID, list[CacheEntity]]:
    """Return the entities of entries, by entry."""
    found: dict[UUID, list[CacheEntity]] = {}
    for entity in session.scalars(select(CacheEntity).where(CacheEntity.entry_id.in_(list(entry_ids)))):
        found.setdefault(entity.entry_id, []).append(entity)
    return found


def evict(
    session: Session,
    space: Namespace,
    entry_ids: Sequence[UUID],
    *,
    policy: str,
    reason: str,
    detail: Mapping[str, Any] | None = None,
    even_pinned: bool = False,
) -> list[CacheEntry]:
    """Take entries out of every look-up and return them; their bytes count until `gone`. Needs `lock`.

    What a running attempt has pinned stays, unless `even_pinned`: then that attempt finds the file missing and runs in
    full mode. Two statements on purpose: the pins are read after the entries are locked, so none can slip in between.
    """
    query = select(CacheEntry).where(CacheEntry.id.in_(entry_ids), CacheEntry.status == EntryStatus.RESIDENT)
    rows = list(session.scalars(query.with_for_update(skip_locked=not even_pinned)))
    held = set() if even_pinned else pinned(session, space)
    rows = [row for row in rows if row.id not in held]
    _withdraw(session, space, rows, EntryStatus.EVICTING, reason)
    space.eviction_age = max([space.eviction_age, *(row.priority for row in rows)])
    now = _now(session)
    session.add_all(
        CacheEvent(
            namespace_id=space.id,
            kind="evict",
            num_bytes=row.num_bytes,
            created_at=now,
            entry_id=row.id,
            policy=policy,
            detail=dict(detail or {}),
        )
        for row in rows
    )
    session.flush()
    return rows


def first_to_go(
    session: Session, space: Namespace, *, policy: str, bytes_needed: int, kept: Collection[UUID]
) -> list[UUID]:
    """Return the entries that a policy of `EVICTION_ORDERS` gives up for so many bytes, but for those `kept`.

    Empty when all of them together are too few: as `eviction.victims` says it. Reads as many rows as go, by an index.
    """
    if bytes_needed <= 0:
        return []
    order = [getattr(CacheEntry, name) for name in EVICTION_ORDERS[policy]]
    resident_rows = and_(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.RESIDENT)
    query = select(CacheEntry.id, CacheEntry.num_bytes).where(resident_rows).order_by(*order)
    limit = 64 + len(kept)
    while True:
        rows = session.execute(query.limit(limit)).all()
        chosen = _enough([(row.id, row.num_bytes) for row in rows if row.id not in kept], bytes_needed)
        if chosen or len(rows) < limit:
            return chosen
        limit *= 8


def _enough(rows: Sequence[tuple[UUID, int]], bytes_needed: int) -> list[UUID]:
    """Return the first of these entries that have so many bytes together; none when all have less."""
    for index, freed in enumerate(accumulate(num_bytes for _, num_bytes in rows)):
        if freed >= bytes_needed:
            return [id_ for id_, _ in rows[: index + 1]]
    return []


def quarantine(session: Session, entry_id: UUID, *, reason: str) -> CacheEntry | None:
    """Keep a broken entry out of every look-up; None when it is no longer resident."""
    space = lock(session, session.get_one(CacheEntry, entry_id).namespace_id)
    query = select(CacheEntry).where(CacheEntry.id == entry_id, CacheEntry.status == EntryStatus.RESIDENT)
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None:
        return None
    _withdraw(session, space, [row], EntryStatus.QUARANTINED, reason)
    _event(session, space, "quarantine", row.num_bytes, entry_id=row.id, detail={"reason": reason})
    return row


def _withdraw(session: Session, space: Namespace, rows: Sequence[CacheEntry], to: EntryStatus, reason: str) -> None:
    now = _now(session)
    for row in rows:
        check_entry(EntryStatus(row.status), to)
        row.status, row.reason, row.ended_at = to, reason, now
    removed = session.execute(
        delete(CacheEntity)
        .where(CacheEntity.entry_id.in_([row.id for row in rows]))
        .returning(CacheEntity.text, CacheEntity.is_copy),
    ).all()
    _promote(session, space, {entity.text for entity in removed if not entity.is_copy})
    space.num_entities -= len(removed)
    session.flush()


def _promote(session: Session, space: Namespace, texts: Collection[str]) -> None:
    """Put a copy into the vector index for each vector that went out of it."""
    if texts:
        session.execute(
            text(
                "UPDATE cache_entities SET is_copy = false WHERE id IN ("
                "SELECT min(row.id) FROM cache_entities AS row WHERE namespace_id = :namespace_id "
                "AND text = ANY(:texts) GROUP BY text, embedding HAVING bool_and(is_copy))"
            ),
            {"namespace_id": space.id, "texts": list(texts)},
        )


def gone(session: Session, space: Namespace, entry_ids: Sequence[UUID]) -> int:
    """Give back the bytes of evicted entries whose files are removed; return how many bytes. Needs `lock`."""
    freed = session.execute(
        update(CacheEntry)
        .where(CacheEntry.id.in_(entry_ids), CacheEntry.status == EntryStatus.EVICTING)
        .values(status=EntryStatus.GONE)
        .returning(CacheEntry.num_bytes),
        execution_options={"synchronize_session": "fetch"},
    )
    total = sum(freed.scalars())
    space.bytes_used -= total
    session.flush()
    return total


def leaving(session: Session, space: Namespace) -> list[CacheEntry]:
    """Return entries that are evicted but whose files may still be there."""
    evicting = and_(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.EVICTING)
    return list(session.scalars(select(CacheEntry).where(evicting)))


def clock(session: Session) -> float:
    """Return the database's clock in seconds since 1970."""
    return _now(session).timestamp()


def reserve(session: Session, space: Namespace, entry: CacheEntry) -> bool:
    """Book the bytes of an entry about to be written; False when they do not fit. Needs `lock`."""
    if space.bytes_used + entry.num_bytes > space.byte_budget:
        return False
    space.bytes_used += entry.num_bytes
    session.add(entry)
    session.flush()
    return True


def refuse(session: Session, space: Namespace, *, job_id: UUID, fence: int, num_bytes: int, reason: str) -> None:
    """Note that an entry was not admitted. Needs `lock`."""
    _event(session, space, "refuse", num_bytes, job_id=job_id, fence=fence, detail={"reason": reason})


def publish(
    session: Session, space: Namespace, entry_id: UUID, found: Sequence[NewEntity], *, seconds_saved: float = 0.0
) -> None:
    """Let a written entry serve look-ups; raise `IllegalTransition` when the sweeper took it. Needs `lock`."""
    row = session.scalars(select(CacheEntry).where(CacheEntry.id == entry_id).with_for_update()).one()
    check_entry(EntryStatus(row.status), EntryStatus.RESIDENT)
    row.status = EntryStatus.RESIDENT
    row.seconds_saved = seconds_saved
    row.published_at = _used(session, space, row)
    indexed = _indexed(session, space, found)
    session.add_all(
        CacheEntity(
            is_copy=(entity.text, _literal(entity.embedding)) in indexed,
            entry_id=entry_id,
            namespace_id=space.id,
            text=entity.text,
            head=entity.head,
            attributes=list(entity.attributes),
            kind=entity.kind,
            dims=space.dims,
            embedding=list(entity.embedding),
        )
        for entity in found
    )
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
        detail={"seconds_saved": seconds_saved, "entities": [entity.text for entity in found]},
    )


def _indexed(session: Session, space: Namespace, found: Sequence[NewEntity]) -> set[tuple[str, str]]:
    """Return which texts with their vectors are in the vector index already."""
    query = text(
        "SELECT given.text, given.vector FROM unnest(CAST(:texts AS text[]), CAST(:vectors AS text[])) "
        "AS given(text, vector) WHERE EXISTS (SELECT 1 FROM cache_entities AS row WHERE NOT is_copy "
        "AND namespace_id = :namespace_id AND row.text = given.text AND embedding = CAST(given.vector AS vector))"
    )
    texts, vectors = [entity.text for entity in found], [_literal(entity.embedding) for entity in found]
    rows = session.execute(query, {"namespace_id": space.id, "texts": texts, "vectors": vectors})
    return {(row.text, row.vector) for row in rows}


def abandon(session: Session, entry_id: UUID) -> str | None:
    """Mark an entry whose writer gave up; return its file's name, for `gone` after the unlink."""
    row = session.scalars(select(CacheEntry).where(CacheEntry.id == entry_id).with_for_update()).one()
    if row.status != EntryStatus.WRITING:
        return None
    row.status, row.reason = EntryStatus.EVICTING, "abandoned"
    session.flush()
    return row.name


def hit(session: Session, space: Namespace, entry_id: UUID, *, job_id: UUID, fence: int, covers: Sequence[str]) -> None:
    """Record that an entry served a finished job, and which others could have. Needs `lock`."""
    row = session.get_one(CacheEntry, entry_id, populate_existing=True)
    row.hits += 1
    values = {"entry_id": entry_id, "job_id": job_id, "fence": fence, "detail": {"covers": list(covers)}}
    _event(session, space, "hit", row.num_bytes, created_at=_used(session, space, row), **values)


def _used(session: Session, space: Namespace, row: CacheEntry) -> datetime:
    """Note a use of an entry, its making the first, where eviction looks; return the time of it."""
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
    """Return entries on their way out whose worker may be dead; their files are to be unlinked, then `gone`.

    That is: evicted ones; those whose writer no longer runs under the fence that it wrote them with; and quarantined
    ones after `quarantine_s`, so that an operator can look at the file. Pins of ended attempts are dropped.
    """
    _drop_dead_pins(session)
    _mark_abandoned(session)
    looked_at = CacheEntry.ended_at < func.now() - timedelta(seconds=quarantine_s)
    leaving = or_(
        CacheEntry.status == EntryStatus.EVICTING, and_(CacheEntry.status == EntryStatus.QUARANTINED, looked_at)
    )
    rows = list(session.scalars(select(CacheEntry).where(leaving).limit(limit).with_for_update(skip_locked=True)))
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
    """Return the file names of every entry that has, or may have, a file."""
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
    for column, value in (
        (CacheEntry.namespace_id, namespace_id),
        (CacheEntry.tenant, tenant),
        (CacheEntry.donor_job_id, job_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(CacheEntry.created_at < before)
    return list(session.scalars(query))


def namespaces(session: Session) -> list[Namespace]:
    """Return all namespaces, the oldest first."""
    return list(session.scalars(select(Namespace).order_by(Namespace.created_at)))


def entry(session: Session, entry_id: UUID) -> CacheEntry:
    """Return an entry; raise `NotFound`."""
    row = session.get(CacheEntry, entry_id)
    if row is None:
        raise NotFound(f"no cache entry {entry_id}")
    return row


def namespace_of(session: Session, row: CacheEntry) -> Namespace:
    """Return the namespace of an entry."""
    return session.get_one(Namespace, row.namespace_id)


def set_budget(session: Session, space: Namespace, byte_budget: int) -> None:
    """Change a budget; raise `IllegalTransition` while more is in use. Needs `lock`."""
    if byte_budget < space.bytes_used:
        raise IllegalTransition(f"{space.bytes_used} bytes are in use; evict down to {byte_budget} first")
    space.byte_budget = byte_budget
    session.flush()


def occupancy(space: Namespace) -> dict[str, int]:
    """Return how full a namespace is, from its own row: counting entries would cost every decision a scan."""
    return {"entities": space.num_entities, "bytes": space.bytes_used, "byte_budget": space.byte_budget}


def num_resident(session: Session, space: Namespace) -> int:
    """Count the entries that serve look-ups."""
    resident_rows = and_(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.RESIDENT)
    return session.scalars(select(func.count()).select_from(CacheEntry).where(resident_rows)).one()
