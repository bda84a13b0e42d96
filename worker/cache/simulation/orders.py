"""The order of eviction, updated event by event: a heap for the policies that order by an entry's row alone.

The other policies read the history. Tests check that the choices are those of `worker.cache.eviction`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Protocol

from worker.cache.decisions.replay import apply
from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction import POLICIES, victims

Rank = tuple[float | str, ...]


class Order(Protocol):
    """The resident entries of a namespace, in the order of their eviction."""

    def insert(self, name: str, at: float, num_bytes: int, seconds_saved: float, texts: tuple[str, ...]) -> None:
        """Take note of a new entry."""

    def hit(self, name: str, at: float, covers: tuple[str, ...]) -> None:
        """Take note of a hit; `covers` names all entries that could have served it."""

    def remove(self, name: str, at: float, *, is_eviction: bool) -> None:
        """Take note of an entry that was removed, by this policy or otherwise."""

    def victims(self, bytes_needed: int, now: float, kept: Collection[str], entering: str) -> list[str]:
        """Return what to evict to free so many bytes for the entry `entering`; nothing if they cannot be freed."""


@dataclass(slots=True)
class _Row:
    num_bytes: int
    seconds_saved: float
    created: float
    last_used: float
    hits: int = 0
    priority: float = 0.0  # for gdsf
    rank: Rank = ()


class Heap:
    """The policies that order by an entry's row."""

    def __init__(self, rank: Callable[[str, _Row], Rank]) -> None:
        self._rank = rank
        self._rows: dict[str, _Row] = {}
        self._heap: list[tuple[Rank, str]] = []
        self._age = 0.0  # gdsf: the highest priority evicted so far

    def insert(self, name: str, at: float, num_bytes: int, seconds_saved: float, texts: tuple[str, ...]) -> None:
        """Take note of a new entry."""
        self._rows[name] = row = _Row(num_bytes, seconds_saved, created=at, last_used=at)
        self._used(name, row)

    def hit(self, name: str, at: float, covers: tuple[str, ...]) -> None:
        """Take note of a hit."""
        row = self._rows.get(name)
        if row is not None:
            row.hits += 1
            row.last_used = at
            self._used(name, row)

    def remove(self, name: str, at: float, *, is_eviction: bool) -> None:
        """Take note of an entry that went."""
        row = self._rows.pop(name)
        if is_eviction:
            self._age = max(self._age, row.priority)

    def victims(self, bytes_needed: int, now: float, kept: Collection[str], entering: str) -> list[str]:
        """Return what goes for so many bytes; nothing when that is not enough."""
        if bytes_needed <= 0:
            return []
        chosen: list[str] = []
        back: list[tuple[Rank, str]] = []
        freed = 0
        while freed < bytes_needed and self._heap:
            rank, name = heappop(self._heap)
            row = self._rows.get(name)
            if row is None or row.rank is not rank:
                continue  # removed, or used since
            back.append((rank, name))
            if name not in kept:
                chosen.append(name)
                freed += row.num_bytes
        for item in back:
            heappush(self._heap, item)
        return chosen if freed >= bytes_needed else []

    def _used(self, name: str, row: _Row) -> None:
        row.priority = self._age + (row.hits + 1) * (row.seconds_saved / max(1, row.num_bytes))
        row.rank = self._rank(name, row)
        heappush(self._heap, (row.rank, name))
        if len(self._heap) > 4 * len(self._rows) + 64:
            self._heap = [(row.rank, name) for name, row in self._rows.items()]
            heapify(self._heap)


class ByHistory:
    """Any policy, given every event."""

    def __init__(self, policy: str, seed: int) -> None:
        self._name = policy
        self._policy = POLICIES[policy](seed=seed)
        self._rows: dict[str, EntryRow] = {}

    def insert(self, name: str, at: float, num_bytes: int, seconds_saved: float, texts: tuple[str, ...]) -> None:
        """Take note of a new entry."""
        self._see(
            Event(
                kind=EventKind.INSERT,
                entry_id=name,
                at=at,
                num_bytes=num_bytes,
                seconds_saved=seconds_saved,
                entities=texts,
            )
        )

    def hit(self, name: str, at: float, covers: tuple[str, ...]) -> None:
        """Take note of a hit."""
        self._see(Event(kind=EventKind.HIT, entry_id=name, at=at, covers=covers))

    def remove(self, name: str, at: float, *, is_eviction: bool) -> None:
        """Take note of an entry that went."""
        kind = EventKind.EVICT if is_eviction else EventKind.QUARANTINE
        self._see(Event(kind=kind, entry_id=name, at=at, policy=self._name if is_eviction else None))

    def victims(self, bytes_needed: int, now: float, kept: Collection[str], entering: str) -> list[str]:
        """Return what goes for so many bytes; nothing when that is not enough."""
        rows = [row for name, row in self._rows.items() if name not in kept]
        return victims(self._policy, rows, (), bytes_needed=bytes_needed, now=now)

    def _see(self, event: Event) -> None:
        self._policy.observe(event)
        apply(self._rows, event)


def _fifo(name: str, row: _Row) -> Rank:
    return (row.created, name)


def _lru(name: str, row: _Row) -> Rank:
    return (row.last_used, name)


def _lfu(name: str, row: _Row) -> Rank:
    return (row.hits, row.last_used, name)


def _lcbfu(name: str, row: _Row) -> Rank:
    return ((row.hits + 1) * row.seconds_saved, row.last_used, name)


def _gdsf(name: str, row: _Row) -> Rank:
    return (row.priority, row.last_used, name)


RANKS = {"fifo": _fifo, "lru": _lru, "lfu": _lfu, "lcbfu": _lcbfu, "gdsf": _gdsf}


def order(policy: str, *, seed: int = 0) -> Order:
    """Return the order of a policy; raise ValueError when there is none of that name."""
    if policy not in POLICIES:
        raise ValueError(f"{policy!r} is not an eviction policy; there are {', '.join(POLICIES)}")
    return Heap(RANKS[policy]) if policy in RANKS else ByHistory(policy, seed)
