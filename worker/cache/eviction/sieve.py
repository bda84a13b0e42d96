"""SIEVE (NSDI 2024): a queue in order of insertion and a hand that moves from old to new.

A hit marks an entry. To evict, the hand passes marked entries, taking their marks, and stops at the first without one.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy


class Sieve(Policy):
    """First without a mark, from the hand on."""

    reads_events: ClassVar[bool] = True

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._queue: list[str] = []  # oldest first
        self._marked: set[str] = set()
        self._hand = 0  # index of the next entry to look at

    def observe(self, event: Event) -> None:
        """Inserts at the new end, marks at a hit, moves the hand at an eviction of its own."""
        if event.kind is EventKind.INSERT:
            self._queue.append(event.entry_id)
        elif event.kind is EventKind.HIT:
            self._marked.add(event.entry_id)
        elif event.entry_id in self._queue:
            position = self._queue.index(event.entry_id)
            if event.kind is EventKind.EVICT and event.policy == "sieve":
                for passed in self._walk(position):
                    self._marked.discard(passed)
                self._hand = position
            elif position < self._hand:
                self._hand -= 1
            del self._queue[position]
            if self._hand >= len(self._queue):  # past the newest: start again from the oldest
                self._hand = 0
            self._marked.discard(event.entry_id)

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Once around for those without a mark, once more for the others; entries without history come first."""
        evictable = {entry.id for entry in entries}
        known = set(self._queue)
        yield from sorted(evictable - known)
        around = self._queue[self._hand :] + self._queue[: self._hand]
        yield from (entry_id for entry_id in around if entry_id in evictable and entry_id not in self._marked)
        yield from (entry_id for entry_id in around if entry_id in evictable and entry_id in self._marked)

    def _walk(self, position: int) -> list[str]:
        """What the hand passes on its way to `position`."""
        if self._queue[position] in self._marked:
            return list(self._queue)  # all were marked: a full round took every mark
        if position >= self._hand:
            return self._queue[self._hand : position]
        return self._queue[self._hand :] + self._queue[:position]
