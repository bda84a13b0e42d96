"""Rows of the latent cache: namespaces with their byte ledger, entries, entities, pins and events.

The ledger `namespaces.bytes_used` counts every byte that is reserved or on storage. It changes only under the lock of
the namespace row (`lock`), and so do the events: their ids are therefore in the order in which decisions were taken,
which is what lets a recorded run be replayed. An entity row stands exactly as long as its entry is resident, so a
look-up needs no other filter than the namespace.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache as once
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Integer,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    column,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.util import identity_key

from db import eviction
from db.errors import IllegalTransition, NotFound
from db.models import CacheEntity, CacheEntry, CacheEvent, Job, Namespace, Pin
from db.prepared import Prepared
from db.session import waited_in_vain
from db.states import EntryStatus, JobStatus, check_entry

# How a namespace is searched, by its entities; docs/performance.md says what each way costs. The signs of all its
# vectors are as good as exact at a fraction of the time. The walk through the index takes the same time at any size,
# but finds less, and among the vectors of others it looks at more than it finds.
EXACT_BELOW = 8_000
CODES_BELOW, CODES_BESIDE_OTHERS = 60_000, 500_000
LEAST_SHARE = 0.5  # of all entities: with less, the second limit counts
EF_SEARCH = 100  # how wide the walk is: how many of the nearest it goes on from
EF_SEARCH_AGAIN = 1_000  # the widest there is, for what a first walk has missed in the largest namespaces
NUM_CODES = 256  # nearest by their signs, of which the nearest are returned
DOUBTFUL = 0.5  # similarity: where the codes find nothing nearer, all is alike far, and the order of signs says little
SCAN_SHARE = 0.1  # of a namespace: once the index has been looked at so far in vain, a scan is cheaper
_SCAN_LIMITS = (2_000, 20_000)  # vectors; the second is pgvector's own
_SCAN_AGAIN, _MEMORY_AGAIN = 100_000, 8  # vectors that the widest walk looks at, and how many `work_mem` it may take
_OTHER_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_sort")  # what the planner prefers in a small table
INDEXED_DIMS = frozenset({384, 512, 768})  # vector sizes with an HNSW index; others are scanned exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A stored entity near one entity of the prompt."""

    query: int  # index of the prompt's entity
    entry: str  # its id
    text: str
    head: str
    attributes: tuple[str, ...]
    kind: str
    similarity: float  # cosine, 1 is equal
    created: float  # seconds since 1970: when the entry was made
    uses: int  # videos that the entry has lent to

    @property
    def entry_id(self) -> UUID:
        """The entry that it is of."""
        return UUID(self.entry)


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
    return session.scalars(_LOCK, {"id": namespace_id}, execution_options={"populate_existing": True}).one()


def try_lock(session: Session, namespace_id: UUID) -> Namespace | None:
    """Hold the namespace as `lock` does; None when another holds it for too long, and the transaction goes on.

    It may be a machine that nobody can reach any more: what must not wait for that one does without the ledger.
    """
    try:
        with session.begin_nested():
            return lock(session, namespace_id)
    except OperationalError as error:
        if waited_in_vain(error):
            return None
        raise


_LOCK = select(Namespace).where(Namespace.id == bindparam("id")).with_for_update(key_share=True)


def way_to_search(session: Session, space: Namespace, search: str = "auto", *, num_entities: int | None = None) -> str:
    """Return how a namespace is searched for a setting that may be `auto`: `exact`, `codes`, or `walk` and `hnsw`.

    By its size; a large one by its share of the index as well, which holds `num_entities`, if known. The last two go
    through the index: `walk` completes what finds too little, `hnsw` is for tests of the index alone.
    """
    if search != "auto":
        return search if search != "hnsw" or space.dims in INDEXED_DIMS else "exact"
    if space.num_entities < EXACT_BELOW:
        return "exact"
    if space.num_entities < CODES_BELOW or space.dims not in INDEXED_DIMS:
        return "codes"
    if space.num_entities >= CODES_BESIDE_OTHERS:
        return "walk"
    if num_entities is None:
        everybody = select(func.sum(Namespace.num_entities)).where(Namespace.dims == space.dims)
        num_entities = session.scalar(everybody) or 0
    return "walk" if space.num_entities >= LEAST_SHARE * num_entities else "codes"


def neighbours(
    session: Session,
    space: Namespace,
    vectors: Sequence[Sequence[float]],
    *,
    texts: Sequence[str] | None = None,
    limit: int = 10,
    search: str = "auto",
    ef_search: int | None = None,
    least: float = -1.0,
) -> list[Found]:
    """Return the `limit` nearest stored entities of each vector, inside the namespace only; of equal ones the youngest.

    Those are left out that an operator found to be no match for the vector's text (`db.vetoes`).

    `search` is a way or setting of `way_to_search`; or `again`, for whom a walk gave nothing that is of use: that is by
    codes, and in the largest namespaces a wider walk, which takes the same time at any size.

    The index holds each text of a namespace once. Its scan is iterative: without that, entities of other namespaces and
    freshly evicted ones would use up the candidates and a hit would be missed. What equals one of `texts` is found
    without it, and is enough where there is enough of it; where a walk finds too little, a look `again` follows.

    Nothing less alike than `least` matters to the caller: with nothing that near it gets what it gets, and no vector is
    compared with all others to tell how far they are.
    """
    if not vectors:
        return []
    asked = _Asked(space=space, vectors=vectors, texts=texts or [""] * len(vectors), limit=limit, least=least)
    way = way_to_search(session, space, search)
    everything = range(len(vectors))
    if way == "exact":
        rows = _rows(session, asked, everything, way=way)
    elif way == "codes":
        rows = _by_codes(session, asked, everything)
    elif way == "again":
        rows = _again(session, asked, everything)
    else:
        rows = _walk(session, asked, everything, ef_search=ef_search or EF_SEARCH, is_forced=way == "hnsw")
        full = {row.query for row in rows if row.num_vectors >= limit}
        short = [query for query in everything if query not in full]
        if short and way == "walk":
            rows = [*(row for row in rows if row.query in full), *_again(session, asked, short)]
            rows.sort(key=lambda row: row.query)
    return list(map(_found, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a look-up looks for."""

    space: Namespace
    vectors: Sequence[Sequence[float]]
    texts: Sequence[str]
    limit: int
    least: float


def _again(session: Session, asked: _Asked, queries: Sequence[int]) -> Sequence[Any]:
    """Return rows as `_rows` does, for what a walk has missed: by codes, or where there are many by a wider walk."""
    if asked.space.num_entities < CODES_BESIDE_OTHERS:
        return _by_codes(session, asked, queries)
    return _walk(session, asked, queries, ef_search=EF_SEARCH_AGAIN, tuples=_SCAN_AGAIN, memory=_MEMORY_AGAIN)


def _walk(
    session: Session,
    asked: _Asked,
    queries: Sequence[int],
    *,
    ef_search: int,
    tuples: int | None = None,
    memory: int = 1,
    is_forced: bool = False,
) -> Sequence[Any]:
    """Return rows as `_rows` does, through the index."""
    least, most = _SCAN_LIMITS
    tuples = tuples or min(most, max(least, round(asked.space.num_entities * SCAN_SHARE)))
    settings = {"ef_search": ef_search, "max_scan_tuples": tuples, "memory": memory}
    rows = _rows(session, asked, queries, way="forced walk" if is_forced else "walk", **settings)
    if is_forced:
        session.execute(select(*(func.set_config(name, "on", True) for name in _OTHER_PLANS)))
    return rows


def _by_codes(session: Session, asked: _Asked, queries: Sequence[int]) -> Sequence[Any]:
    """Return rows as `_rows` does, those of vectors without a neighbour near enough by an exact scan.

    Signs miss none that is more alike than `DOUBTFUL`: who asks for no others needs no scan.
    """
    rows = _rows(session, asked, queries, way="codes")
    if asked.least >= DOUBTFUL:
        return rows
    sure = {row.query for row in rows if 1 - row.distance >= DOUBTFUL}
    doubtful = [query for query in queries if query not in sure]
    if not doubtful:
        return rows
    exact = _rows(session, asked, doubtful, way="exact")
    return sorted([*(row for row in rows if row.query in sure), *exact], key=lambda row: row.query)


def _rows(session: Session, asked: _Asked, queries: Sequence[int], *, way: str, **settings: int) -> Sequence[Any]:
    """Return rows (Any: of a textual query) for some of the vectors, by vector, the nearest first.

    `settings` of a walk go along in the same message, and hold until the end of the transaction.
    """
    values = {
        "queries": list(queries),
        "vectors": [_literal(asked.vectors[query]) for query in queries],
        "texts": [asked.texts[query] for query in queries],
        "space": asked.space.id,
        "num_codes": max(NUM_CODES, asked.limit),
    }
    own = asked.space.id if "walk" in way else None
    search, call = _search(way, asked.space.dims, asked.limit, own)
    search.on(session)
    return session.execute(call, values | settings).all()


def _found(row: Any) -> Found:  # Any: a row of a textual query
    query, entry, name, head, attributes, kind, distance, _, created, uses = row
    return Found(
        query=query,
        entry=entry,
        text=name,
        head=head,
        attributes=tuple(attributes),
        kind=kind,
        similarity=1.0 - distance,
        created=created,
        uses=uses,
    )


# The inner query names nothing but what the index on the codes holds, so that it is scanned alone.
_NEAR_BY_CODES = (
    "SELECT text, embedding FROM cache_entities WHERE id = ANY(ARRAY(SELECT id FROM cache_entities WHERE "
    "namespace_id = :space AND NOT is_copy AND NOT q.is_full ORDER BY code <~> q.code LIMIT :num_codes))"
)
_SETTINGS = (
    "SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = :ef_search; "
    "SET LOCAL hnsw.max_scan_tuples = :max_scan_tuples; SET LOCAL hnsw.scan_mem_multiplier = :memory; "
)


@once
def _search(way: str, dims: int, limit: int, space_id: UUID | None) -> tuple[Prepared, Any]:  # Any: no static columns
    """Return the search by a way, and how to call it.

    A walk through the index is planned for its namespace: for one of unknown size the planner would not go that way.
    """
    own = f"namespace_id = :space AND NOT is_copy AND dims = {dims}"
    given = f"SELECT text, embedding FROM cache_entities WHERE {own}"  # noqa: S608 - an integer of ours
    equal = f"({given} AND text = q.text LIMIT 1)"
    # The cast of the column is what the index is on.
    walk = (
        f"({given} AND NOT q.is_full ORDER BY embedding::halfvec({dims}) <=> q.vector LIMIT {limit}) UNION ALL {equal}"
    )
    nearest = {
        "exact": f"{given} ORDER BY embedding <=> q.vector LIMIT {limit}",
        "codes": f"({_NEAR_BY_CODES} ORDER BY embedding <=> q.vector LIMIT {limit}) UNION ALL {equal}",
        "walk": walk,
        "forced walk": walk,
    }[way]
    statement = f"""
        SELECT q.query, near.entry, near.text, near.head, near.attributes, near.kind, near.distance, near.num_vectors,
            CAST(extract(epoch FROM cache_entries.created_at) AS float8) AS created, cache_entries.hits AS uses
        FROM (
            SELECT given.*, binary_quantize(given.vector) AS code, {limit} = (
                SELECT count(*) FROM (
                    SELECT FROM cache_entities AS equal WHERE namespace_id = :space AND equal.text = given.text
                    AND entry_id IS NOT NULL LIMIT {limit}
                ) AS first
            ) AS is_full  -- as many are equal as are asked for: nothing is nearer
            FROM unnest(:queries, CAST(:vectors AS halfvec[]), :texts) AS given(query, vector, text)
            OFFSET 0
        ) AS q
        CROSS JOIN LATERAL (
            SELECT row.*, first.distance, first.num_vectors
            FROM (
                SELECT text, embedding <=> q.vector AS distance,
                    CASE WHEN q.is_full THEN {limit} ELSE count(*) OVER () END AS num_vectors
                FROM ({nearest}) AS candidates
                GROUP BY text, embedding ORDER BY distance
            ) AS first
            CROSS JOIN LATERAL (
                SELECT id, entry_id, CAST(entry_id AS text) AS entry, text, head, attributes, kind FROM cache_entities
                WHERE namespace_id = :space AND text = first.text AND entry_id IS NOT NULL
                ORDER BY id DESC LIMIT {limit}
            ) AS row
            ORDER BY first.distance, row.id DESC
            LIMIT {limit}
        ) AS near
        JOIN cache_entries ON cache_entries.id = near.entry_id
        WHERE NOT EXISTS (
            SELECT FROM vetoes WHERE vetoes.namespace_id = :space AND vetoes.text = q.text
            AND vetoes.donor_text = near.text AND (vetoes.text <> near.text OR vetoes.entry_id = near.entry_id)
        )
        ORDER BY q.query, near.distance, near.id DESC
        """  # noqa: S608 - what is put into the text is ours: integers and names
    types = {"queries": "int[]", "vectors": "text[]", "texts": "text[]"}
    types |= {"num_codes": "int"} if way == "codes" else {}
    name = f"{way.replace(' ', '_')}_{dims}_{limit}"
    before = _SETTINGS if "walk" in way else ""
    if way == "forced walk":
        before += "".join(f"SET LOCAL {setting} = off; " for setting in _OTHER_PLANS)
    if space_id is None:
        search = Prepared(name, types | {"space": "uuid"}, statement)
    else:
        search = Prepared(f"{name}_{space_id.hex}", types, statement.replace(":space", f"CAST('{space_id}' AS uuid)"))
    return search, text(before + search.call)


def _literal(vector: Sequence[float]) -> str:
    return _format(len(vector)) % tuple(vector)


@once
def _format(dims: int) -> str:
    return "[" + ",".join(["%.5g"] * dims) + "]"  # half precision has four digits; one call is twice as fast as many


def unpin(session: Session, *, job_id: UUID, fence: int) -> None:
    """Let go of everything that an attempt pinned."""
    session.execute(delete(Pin).where(Pin.job_id == job_id, Pin.fence == fence))


def events(session: Session, space: Namespace, *, after: int = 0) -> list[CacheEvent]:
    """Return what happened in a namespace since the event `after`, in order: all that a policy chooses by."""
    query = select(CacheEvent).where(CacheEvent.namespace_id == space.id, CacheEvent.id > after)
    return list(session.scalars(query.order_by(CacheEvent.id)))


def latest_demand(session: Session, space: Namespace, *, after: int, limit: int) -> tuple[list[Row[Any]], int]:
    """Return the latest insertions and hits since the event `after`, in order, as columns; and the last event's id.

    Of a namespace. The last one of any kind: who asks again from there on reads no eviction twice.
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
    """Take entries out of every look-up and return them; their bytes count until `gone`. Needs `lock`.

    What a running attempt has pinned stays, unless `even_pinned`: then that attempt finds the file missing and runs in
    full mode.
    """
    rows = take(session, space, entry_ids, even_pinned=even_pinned)
    withdraw(session, space, rows, policy=policy, reason=reason, now=_now(session))
    return rows


def take(
    session: Session, space: Namespace, entry_ids: Sequence[UUID], *, even_pinned: bool = False
) -> list[CacheEntry]:
    """Lock entries that are resident and that nobody uses, and return them, in the order given. Needs `lock`.

    Two statements on purpose: the pins are read after the entries are locked, so none can slip in between.
    """
    if not entry_ids:
        return []
    taken = _TAKE_RESIDENT if even_pinned else _TAKE_UNUSED
    found = session.scalars(taken, {"ids": list(entry_ids)}, execution_options={"populate_existing": True})
    rows = {row.id: row for row in found}
    return [rows[id_] for id_ in entry_ids if id_ in rows]


_ENTRY = CacheEntry.__table__.columns
_TAKE_RESIDENT = (
    select(CacheEntry)
    .where(CacheEntry.id == any_(bindparam("ids", type_=ARRAY(Uuid))), CacheEntry.status == EntryStatus.RESIDENT)
    .with_for_update()
)
# One message; the second statement has to know which entries the first one found locked by others.
_TAKE_UNUSED = select(CacheEntry).from_statement(
    text(
        f"""
        SELECT set_config('chai.taken', coalesce(string_agg(CAST(id AS text), ','), ''), true) FROM (
            SELECT id FROM cache_entries WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'resident'
            FOR UPDATE SKIP LOCKED
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
    """Take the rows of `take` out of every look-up, in one statement, and record it in their order. Needs `lock`."""
    if rows:
        space.eviction_age = max([space.eviction_age, *(row.priority for row in rows)])
        _withdraw(session, space, rows, EntryStatus.EVICTING, reason, now, event="evict", policy=policy, detail=detail)


def quarantine(session: Session, entry_id: UUID, *, reason: str) -> CacheEntry | None:
    """Keep a broken entry out of every look-up; None when it is no longer resident."""
    space = lock(session, session.get_one(CacheEntry, entry_id).namespace_id)
    query = select(CacheEntry).where(CacheEntry.id == entry_id, CacheEntry.status == EntryStatus.RESIDENT)
    row = session.scalars(query.with_for_update()).one_or_none()
    if row is None:
        return None
    detail = {"reason": reason}
    _withdraw(session, space, [row], EntryStatus.QUARANTINED, reason, _now(session), event="quarantine", detail=detail)
    return row


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
    with session.no_autoflush:  # what the policy remembers goes along in the same statement
        _WITHDRAW.on(session)
        num_entities = session.execute(_CALL_WITHDRAW, values).scalar_one()
    for name, value in (remembered | {"num_entities": num_entities}).items():
        set_committed_value(space, name, value)
    for row in rows:
        for name, value in (("status", to), ("reason", reason), ("ended_at", now)):
            set_committed_value(row, name, value)


_REMEMBERED = ("eviction_age", "sieve_round", "sieve_at", "sieve_id", "queues")  # of a namespace, by its policies

# Vectors go with the last entity of their text; one that came in the row of an entity stays for the others of the text.
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
            AND entry_id IS NOT NULL AND entry_id <> ALL(:ids)
        )
    ),
    ended AS (
        DELETE FROM cache_entities WHERE namespace_id = :space AND NOT is_copy AND entry_id IS NULL
        AND text IN (SELECT text FROM alone)
    ),
    moved AS (
        INSERT INTO cache_entities (namespace_id, text, head, attributes, kind, dims, embedding)
        SELECT DISTINCT ON (removed.text)
            :space, removed.text, '', CAST('{}' AS text[]), 'vector', dims, embedding
        FROM removed WHERE NOT is_copy AND text NOT IN (SELECT text FROM alone) AND NOT EXISTS (
            SELECT 1 FROM cache_entities AS other WHERE namespace_id = :space AND other.text = removed.text
            AND NOT other.is_copy AND other.id NOT IN (SELECT id FROM removed)
        )
    )
    UPDATE namespaces SET num_entities = num_entities - (SELECT count(*) FROM removed), eviction_age = :eviction_age,
        sieve_round = :sieve_round, sieve_at = :sieve_at, sieve_id = :sieve_id, queues = :queues
    WHERE id = :space RETURNING num_entities
    """,
)
_CALL_WITHDRAW = text(_WITHDRAW.call)


def _store_vectors(session: Session, space: Namespace, texts: Sequence[str], vectors: Sequence[str]) -> None:
    """Make a row for the vector of each text that has none yet."""
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
    """Give back the bytes of evicted entries whose files are removed; return how many bytes. Takes the lock itself."""
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
    """What an eviction has to know of its namespace."""

    now: datetime
    pinned: set[UUID]  # entries that running attempts hold
    leaving: list[CacheEntry]  # evicted, but their files may still be there
    most_hits: int  # of a resident entry


def standing(session: Session, space: Namespace) -> Standing:
    """Return who is held, who is on the way out and whether anybody is worn, by the database's clock."""
    _STANDING.on(session)
    rows = session.execute(_CALL_STANDING, {"space": space.id}).all()
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
    "UNION ALL SELECT 'pinned', cache_pins.entry_id, NULL, NULL FROM cache_pins JOIN cache_entries ON id = entry_id "
    "WHERE namespace_id = :space "
    "UNION ALL SELECT 'leaving', id, NULL, NULL FROM cache_entries WHERE namespace_id = :space AND status = 'evicting'",
)
_CALL_STANDING = text(_STANDING.call).columns(
    column("what", Text), column("id", Uuid), column("at", DateTime(timezone=True)), column("hits", Integer)
)


def lock_total(session: Session) -> None:
    """Hold what all namespaces use together until the end of the transaction; to be taken before any `lock`."""
    session.execute(select(func.pg_advisory_xact_lock(_TOTAL)))


_TOTAL = 0x63686169_0001  # any fixed number


def total_used(session: Session) -> int:
    """Return the bytes that all namespaces use."""
    return int(session.scalar(select(func.coalesce(func.sum(Namespace.bytes_used), 0))) or 0)


def tenant_used(session: Session, space: Namespace, tenant: str) -> int:
    """Return the bytes that a tenant's entries take up in a namespace."""
    mine = and_(CacheEntry.namespace_id == space.id, CacheEntry.tenant == tenant, CacheEntry.status != EntryStatus.GONE)
    return int(session.scalar(select(func.coalesce(func.sum(CacheEntry.num_bytes), 0)).where(mine)) or 0)


def longest_unused(session: Session) -> UUID | None:
    """Return the namespace whose longest unused entry has been so for longer than that of any other.

    Where the policy keeps everything, nothing is to be had.
    """
    resident_rows = and_(CacheEntry.namespace_id == Namespace.id, CacheEntry.status == EntryStatus.RESIDENT)
    first = select(CacheEntry.last_used).where(resident_rows).order_by(CacheEntry.last_used).limit(1).scalar_subquery()
    gives_up = select(Namespace.id, first.label("since")).where(Namespace.policy != "none").subquery()
    query = select(gives_up.c.id).where(gives_up.c.since.is_not(None)).order_by(gives_up.c.since).limit(1)
    return session.scalar(query)


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
    texts, vectors = [entity.text for entity in found], [_literal(entity.embedding) for entity in found]
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

    Where there is not room for all, those stay that were unused for even longer.
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
    """Let entries serve in another namespace, found by these entities, and return them. Needs `lock` of both.

    They enter in the order given, as new ones do. What is in use stays, and what the target has no room for.
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
    eviction.used(space, row)
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
