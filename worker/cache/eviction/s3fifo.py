"""S3-FIFO (SOSP 2023): a small queue filters what is used once, a main queue keeps what is used again.

Entry ids never come back, so the ghost list remembers entities: an entry that shows an entity of an evicted one goes
straight to the main queue.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import ClassVar

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy

SMALL_SHARE = 0.1  # of the bytes


class S3Fifo(Policy):
    """The small queue while it is over its share, else the main queue."""

    reads_events: ClassVar[bool] = True

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.small: dict[str, int] = {}  # id → uses, oldest first
        self.main: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.entities: dict[str, tuple[str, ...]] = {}
        self.ghost: deque[tuple[str, ...]] = deque()

    def observe(self, event: Event) -> None:
        """Queues, counts (to 3), and repeats the moves that led to an eviction of its own."""
        entry_id = event.entry_id
        if event.kind is EventKind.INSERT:
            is_back = any(text in texts for texts in self.ghost for text in event.entities)
            (self.main if is_back else self.small)[entry_id] = 0
            self.sizes[entry_id], self.entities[entry_id] = event.num_bytes, event.entities
        elif event.kind is EventKind.HIT:
            queue = self.small if entry_id in self.small else self.main
            if entry_id in queue:
                queue[entry_id] = min(3, queue[entry_id] + 1)
        elif entry_id in self.sizes and not (event.policy == "s3fifo" and self._evict({entry_id})):
            self._forget(entry_id)

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Entries without history first, then as the queues say, one eviction after the other."""
        evictable = {entry.id for entry in entries}
        yield from sorted(evictable - self.sizes.keys())
        ahead = deepcopy(self)
        while (victim := ahead._evict(evictable)) is not None:
            yield victim

    def _evict(self, evictable: set[str]) -> str | None:
        small_bytes = sum(self.sizes[entry_id] for entry_id in self.small)
        if small_bytes >= SMALL_SHARE * sum(self.sizes.values()):
            return self._from_small(evictable) or self._from_main(evictable)
        return self._from_main(evictable) or self._from_small(evictable)

    def _from_small(self, evictable: set[str]) -> str | None:
        for entry_id, uses in list(self.small.items()):
            if uses > 1:
                del self.small[entry_id]
                self.main[entry_id] = 0
            elif entry_id in evictable:
                self.ghost.append(self._forget(entry_id))
                while len(self.ghost) > len(self.main):
                    self.ghost.popleft()
                return entry_id
        return None

    def _from_main(self, evictable: set[str]) -> str | None:
        while evictable & self.main.keys():
            for entry_id, uses in list(self.main.items()):
                if uses > 0:
                    del self.main[entry_id]
                    self.main[entry_id] = uses - 1
                elif entry_id in evictable:
                    self._forget(entry_id)
                    return entry_id
        return None

    def _forget(self, entry_id: str) -> tuple[str, ...]:
        self.small.pop(entry_id, None)
        self.main.pop(entry_id, None)
        self.sizes.pop(entry_id)
        return self.entities.pop(entry_id)
