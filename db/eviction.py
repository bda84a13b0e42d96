"""Which entries to evict first, from rows that all workers share: only about as many are read as are evicted.

`choose` gives the victims that the class of the same name in `worker.cache.eviction` chooses from the history; tests
compare the two. All functions need `namespaces.lock`.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache as once
from heapq import merge
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, bindparam, exists, func, select, text, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from db.models import EVICTION_ORDERS, CacheEntry, Namespace
from db.states import EntryStatus

CHUNK = 8  # rows in the first read
MAX_USES = 3  # s3fifo: uses are counted up to this
MAX_PASSED = 256  # s3fifo: most entries used again that one eviction spares
SMALL_SHARE = 0.1  # s3fifo: of the bytes
SMALL, MAIN = 0, 1  # s3fifo: queues

Hand = tuple[int, datetime, UUID]  # sieve: round and place in the queue of the last evicted entry
Found = Row[Any]  # of `_resident`


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The victims, in order, and the policy's state after they are gone."""

    ids: list[UUID]
    hand: Hand | None = None
    moves: Mapping[UUID, tuple[int, int, int]] = field(default_factory=dict)  # s3fifo: entry → queue, uses, place
    queues: Mapping[str, int] | None = None  # s3fifo
    ghosts: Sequence[tuple[int, UUID]] = ()  # s3fifo: places of entries whose entities are remembered


NOBODY = Choice(ids=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How many bytes are needed, and which entries may go."""

    session: Session
    space: Namespace
    bytes_needed: int
    kept: frozenset[UUID] = frozenset()  # in use
    tenant: str | None = None  # only this one's
    now: float = 0.0  # seeds the drawing of lots
    seed: int = 0

    def may_go(self, row: Found) -> bool:
        """Return whether a resident entry may be chosen."""
        return row.id not in self.kept and (self.tenant is None or row.tenant == self.tenant)


def choose(asked: Asked, policy: str) -> Choice:
    """Return the entries that a policy of `EVICTION_ORDERS` would evict; nothing is changed yet.

    None of them if all together are too small, as with `eviction.victims`. Raises `ValueError` for other policies.
    """
    if policy not in EVICTION_ORDERS:
        raise ValueError(f"no index orders entries by {policy!r}; there are {', '.join(EVICTION_ORDERS)}")
    if asked.bytes_needed <= 0:
        return NOBODY
    if policy == "s3fifo":
        return _Walk(asked=asked, state=queues_of(asked.space)).choice()
    if policy == "sieve":
        chosen = enough(_by_hand(asked), asked.bytes_needed)
        return Choice(ids=[row.id for row in chosen], hand=_turn(asked.space, chosen[-1]) if chosen else None)
    rows = _by_lot(asked) if policy == "random" else in_order(asked, policy)
    return Choice(ids=[row.id for row in enough(rows, asked.bytes_needed)])


def worn(asked: Asked, max_uses: int) -> list[UUID]:
    """Return entries that have lent to that many videos, for the bytes needed or as many as there are."""
    chosen: list[UUID] = []
    freed = 0
    for row in _rows(asked, _resident("lfu", "hits >= :max_uses"), max_uses=max_uses):
        if freed >= asked.bytes_needed:
            break
        chosen.append(row.id)
        freed += row.num_bytes
    return chosen


def in_order(asked: Asked, policy: str) -> Iterator[Found]:
    """Return the entries that may go in the order of a policy's columns, by its index."""
    return _rows(asked, _resident(policy))


def settle(session: Session, space: Namespace, choice: Choice, rows: Sequence[CacheEntry]) -> None:
    """Store the position of sieve's hand and the queues of s3fifo, before the chosen rows go."""
    if choice.moves:
        session.execute(_MOVE, _columns(choice.moves))
    for row in rows:
        if row.id in choice.moves:
            set_committed_value(row, "queue", choice.moves[row.id][0])
    if choice.ghosts:
        session.execute(
            _REMEMBER,
            {
                "space": space.id,
                "ids": [id_ for _, id_ in choice.ghosts],
                "places": [place for place, _ in choice.ghosts],
                "first": (choice.queues or {})["first_ghost"],
            },
        )
    # Last: any query in between would flush them in a statement of their own.
    if choice.hand is not None:
        space.sieve_round, space.sieve_at, space.sieve_id = choice.hand
    if choice.queues is not None:
        space.queues = dict(choice.queues)


def entered(session: Session, space: Namespace, row: CacheEntry, texts: Sequence[str]) -> None:
    """Give a newly resident entry its places in the queues; its columns of use are already set."""
    if space.sieve_at is not None and not session.scalar(select(_is_before(space, row))):
        space.sieve_round, space.sieve_at, space.sieve_id = space.sieve_round + 1, None, None  # start from the oldest
    row.sieve_round = space.sieve_round
    state = queues_of(space)
    row.queue = MAIN if _is_ghost(session, space, state, texts) else SMALL
    row.queue_uses, row.queue_place = 0, state["next"]
    state["next"] += 1
    space.queues = _with(state, row.queue, row.num_bytes)


def used(space: Namespace, row: CacheEntry) -> None:
    """Record a hit."""
    row.sieve_round = space.sieve_round + (1 if _is_ahead(space, row) else 2)
    row.queue_uses = min(MAX_USES, row.queue_uses + 1)


def left(space: Namespace, rows: Sequence[CacheEntry]) -> None:
    """Record that resident entries went, for whatever reason."""
    state = queues_of(space)
    for row in rows:
        state = _with(state, row.queue, -row.num_bytes)
    space.queues = state


def queues_of(space: Namespace) -> dict[str, int]:
    """Return s3fifo's state of its queues."""
    return {
        "next": 0,
        "small_bytes": 0,
        "main_bytes": 0,
        "num_main": 0,
        "first_ghost": 0,
        "next_ghost": 0,
    } | space.queues


def _with(state: Mapping[str, int], queue: int, num_bytes: int) -> dict[str, int]:
    """Return the state with one entry more, or one less, in a queue."""
    if queue == SMALL:
        return {**state, "small_bytes": state["small_bytes"] + num_bytes}
    number = state["num_main"] + (1 if num_bytes > 0 else -1)
    return {**state, "main_bytes": state["main_bytes"] + num_bytes, "num_main": number}


@once
def _resident(policy: str, condition: str = "true") -> Select[Any]:
    """Return the query of a namespace's resident entries in a policy's order, for `_read`.

    Only those that meet a condition, which may name values of its own. Built once, since building takes as long as
    executing.
    """
    rows = CacheEntry.__table__.c
    mine = select(*(rows[name] for name in _COLUMNS)).where(
        rows.namespace_id == bindparam("space"), rows.status == EntryStatus.RESIDENT.value, text(condition)
    )
    part = mine.offset(bindparam("seen", type_=Integer)).limit(bindparam("limit", type_=Integer))
    return part.order_by(*(rows[name] for name in EVICTION_ORDERS[policy]))


_COLUMNS = (
    "id",
    "num_bytes",
    "tenant",
    "published_at",
    "last_used",
    "seconds_saved",
    "sieve_round",
    "queue",
    "queue_uses",
    "queue_place",
)


def _rows(asked: Asked, query: Select[Any], **values: Any) -> Iterator[Found]:
    """Read the rows of a query whose entries may go, few at first."""
    return filter(asked.may_go, _read(asked, query, CHUNK + len(asked.kept), **values))


def _read(asked: Asked, query: Select[Any], limit: int, **values: Any) -> Iterator[Found]:
    seen = 0
    while True:
        part = {"space": asked.space.id, "seen": seen, "limit": limit, **values}
        rows = asked.session.execute(query, part).all()
        yield from rows
        if len(rows) < limit:
            return
        seen, limit = seen + len(rows), limit * 4


def enough(rows: Iterable[Found], bytes_needed: int) -> list[Found]:
    """Return the first of these entries that together have that many bytes; none if all have fewer, or 0 are needed."""
    if bytes_needed <= 0:
        return []
    chosen: list[Found] = []
    freed = 0
    for row in rows:
        chosen.append(row)
        freed += row.num_bytes
        if freed >= bytes_needed:
            return chosen
    return []


def _by_lot(asked: Asked) -> Iterator[Found]:
    """Entries from a random lot on, once around."""
    drawn = UUID(int=random.Random(f"{asked.seed}/{asked.now!r}").getrandbits(128))  # noqa: S311 - no secret
    sides = (_resident("random", side) for side in ("lot >= :drawn", "lot < :drawn"))
    return chain.from_iterable(_rows(asked, side, drawn=drawn) for side in sides)


def _by_hand(asked: Asked) -> Iterator[Found]:
    """Entries in the order in which the hand would take them: each mark spares an entry for one round.

    An unmarked entry that the hand has passed was in use then; its turn comes in the next round.
    """
    space, late = asked.space, list[Found]()
    rows = _rows(asked, _resident("sieve"))
    for row in rows:
        if _is_to_come(space, row):
            rows = chain([row], rows)
            break
        late.append(row)
    late.sort(key=lambda row: _turn(space, row))
    return merge(late, rows, key=lambda row: _turn(space, row))


def _turn(space: Namespace, row: Any) -> Hand:  # Any: a row of a query or of the table
    """Return when the hand takes an entry that is not used again: the round, and the place in the queue."""
    if _is_to_come(space, row):
        return (row.sieve_round, row.published_at, row.id)
    return (space.sieve_round + (0 if _is_ahead(space, row) else 1), row.published_at, row.id)


def _is_to_come(space: Namespace, row: Any) -> bool:  # Any: as above
    """Return whether the hand has yet to come to an entry's turn: else it has passed it, as it could not go then."""
    if row.sieve_round != space.sieve_round:
        return bool(row.sieve_round > space.sieve_round)
    return _is_ahead(space, row)


def _is_ahead(space: Namespace, row: Any) -> bool:  # Any: as above
    """Return whether the hand will still reach an entry in this round."""
    return space.sieve_at is None or (row.published_at, row.id) > (space.sieve_at, space.sieve_id)


def _is_before(space: Namespace, row: CacheEntry) -> ColumnElement[bool]:
    """Return whether the hand will still reach another entry in this round."""
    place = tuple_(CacheEntry.published_at, CacheEntry.id) > tuple_(space.sieve_at, space.sieve_id)
    resident = and_(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.RESIDENT)
    return exists().where(resident, CacheEntry.id != row.id, place)


def _is_ghost(session: Session, space: Namespace, state: Mapping[str, int], texts: Sequence[str]) -> bool:
    """Return whether s3fifo recently evicted an entry with one of these entities."""
    if state["first_ghost"] == state["next_ghost"] or not texts:
        return False
    values = {"space": space.id, "texts": list(texts), "first": state["first_ghost"]}
    return bool(session.scalar(_GHOST, values))


def _columns(moves: Mapping[UUID, tuple[int, int, int]]) -> dict[str, list[Any]]:
    queues, uses, places = zip(*moves.values(), strict=True)
    return {"ids": list(moves), "queues": list(queues), "uses": list(uses), "places": list(places)}


_MOVE = text(
    "UPDATE cache_entries SET queue = moved.queue, queue_uses = moved.uses, queue_place = moved.place FROM unnest("
    "CAST(:ids AS uuid[]), CAST(:queues AS smallint[]), CAST(:uses AS smallint[]), CAST(:places AS bigint[])) "
    "AS moved(id, queue, uses, place) WHERE moved.id = cache_entries.id"
)
_REMEMBER = text(
    "WITH forgotten AS (DELETE FROM cache_ghosts WHERE namespace_id = :space AND place < :first) "
    "INSERT INTO cache_ghosts (namespace_id, place, text) SELECT DISTINCT CAST(:space AS uuid), gone.place, row.text "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:places AS bigint[])) AS gone(id, place) "
    "JOIN cache_entities AS row ON row.entry_id = gone.id WHERE gone.place >= :first"
)
_GHOST = text(
    "SELECT EXISTS (SELECT 1 FROM cache_ghosts WHERE namespace_id = :space AND text = ANY(:texts) AND place >= :first)"
)


@dataclass(slots=True, kw_only=True)
class _Item:
    """An entry on its way through the queues of s3fifo."""

    id: UUID
    num_bytes: int
    queue: int
    uses: int
    may_go: bool


@dataclass(slots=True, kw_only=True)
class _Walk:
    """S3-FIFO from the heads of its queues on: entries used again move to the end of the main queue."""

    asked: Asked
    state: dict[str, int]  # as if nothing were evicted: `left` removes the victims
    moves: dict[UUID, tuple[int, int, int]] = field(default_factory=dict)
    ghosts: list[tuple[int, UUID]] = field(default_factory=list)
    heads: dict[int, Iterator[_Item]] = field(default_factory=dict)
    moved: deque[_Item] = field(default_factory=deque)  # the new end of the main queue
    again: deque[_Item] = field(default_factory=deque)  # kept at the head of the main queue
    gone_bytes: dict[int, int] = field(default_factory=lambda: {SMALL: 0, MAIN: 0})
    num_gone: int = 0  # of the main queue
    num_movable: int = 0  # of the main queue, with those that are gone: may go

    def choice(self) -> Choice:
        """Return the victims and the moves of the others."""
        self.heads = {queue: self._head(queue) for queue in (SMALL, MAIN)}
        self.num_movable = self._count_movable()
        ids: list[UUID] = []
        while sum(self.gone_bytes.values()) < self.asked.bytes_needed:
            item = self._next()
            if item is None:
                return NOBODY
            ids.append(item.id)
        return Choice(ids=ids, moves=self.moves, queues=self.state, ghosts=self.ghosts)

    def _next(self) -> _Item | None:
        small, main = (
            self.state[f"{name}_bytes"] - self.gone_bytes[q] for name, q in (("small", SMALL), ("main", MAIN))
        )
        if small >= SMALL_SHARE * (small + main):
            return self._from_small() or self._from_main()
        return self._from_main() or self._from_small()

    def _from_small(self) -> _Item | None:
        for item in self.heads[SMALL]:
            if item.uses > 1:
                self.state["small_bytes"] -= item.num_bytes
                self.state["main_bytes"] += item.num_bytes
                self.state["num_main"] += 1
                self.num_movable += item.may_go
                self._move(item, uses=0)
            elif item.may_go:
                self.gone_bytes[SMALL] += item.num_bytes
                self._remember(item)
                return item
        return None

    def _from_main(self) -> _Item | None:
        if self.num_movable <= self.num_gone:
            return None
        num_passed, stays = 0, deque[_Item]()
        while item := self._pop():
            if item.uses > 0 and num_passed < MAX_PASSED:
                num_passed += 1
                self._move(item, uses=item.uses - 1)
            elif item.may_go:
                self.gone_bytes[MAIN] += item.num_bytes
                self.num_gone += 1
                break
            else:
                stays.append(item)
        self.again.extendleft(reversed(stays))
        return item

    def _pop(self) -> _Item | None:
        if self.again:
            return self.again.popleft()
        return next(self.heads[MAIN], None) or (self.moved.popleft() if self.moved else None)

    def _move(self, item: _Item, *, uses: int) -> None:
        item.queue, item.uses = MAIN, uses
        self.moves[item.id] = (MAIN, uses, self.state["next"])
        self.state["next"] += 1
        self.moved.append(item)

    def _remember(self, item: _Item) -> None:
        self.ghosts.append((self.state["next_ghost"], item.id))
        self.state["next_ghost"] += 1
        least = self.state["next_ghost"] - (self.state["num_main"] - self.num_gone)
        self.state["first_ghost"] = max(self.state["first_ghost"], least)

    def _head(self, queue: int) -> Iterator[_Item]:
        for row in _read(self.asked, _resident("s3fifo", "queue = :queue"), CHUNK, queue=queue):
            may_go = self.asked.may_go(row)
            yield _Item(id=row.id, num_bytes=row.num_bytes, queue=queue, uses=row.queue_uses, may_go=may_go)

    def _count_movable(self) -> int:
        """Count who may go of the main queue, by the few that are pinned, or of a tenant by its own entries alone."""
        tenant, kept = self.asked.tenant, CacheEntry.id.in_(self.asked.kept)
        if tenant is not None:
            return self._count_main(CacheEntry.tenant == tenant, ~kept)
        return self.state["num_main"] - (self._count_main(kept) if self.asked.kept else 0)

    def _count_main(self, *conditions: ColumnElement[bool]) -> int:
        mine = and_(CacheEntry.namespace_id == self.asked.space.id, CacheEntry.status == EntryStatus.RESIDENT)
        query = select(func.count()).select_from(CacheEntry).where(mine, CacheEntry.queue == MAIN, *conditions)
        return self.asked.session.scalar(query) or 0
