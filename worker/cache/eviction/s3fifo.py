"""S3-FIFO (SOSP 2023): a small queue filters entries that are used once, a main queue keeps those used again.

Entry ids never recur, so the ghost list holds entities: an entry with an entity of an evicted one enters the main queue
directly.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from copy import deepcopy

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy

SMALL_SHARE = 0.1  # of the bytes
MAX_USES = 3  # uses are counted up to this
MAX_PASSED = 256  # entries of the main queue that one eviction spares: then the first goes, used or not


class S3Fifo(Policy):
    """Evicts from the small queue while it is over its share, else from the main queue."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.small: dict[str, int] = {}  # id → uses, oldest first
        self.main: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.entities: dict[str, tuple[str, ...]] = {}
        self.ghost: deque[tuple[str, ...]] = deque()
        self.remembered: Counter[str] = Counter()  # texts in the ghost list
        self.small_bytes = self.main_bytes = 0

    def observe(self, event: Event) -> None:
        """Queue entries, count uses (to 3), and repeat the moves that led to an eviction of its own."""
        entry_id = event.entry_id
        if event.kind is EventKind.INSERT:
            is_back = any(self.remembered[text] > 0 for text in event.entities)
            (self.main if is_back else self.small)[entry_id] = 0
            self._count(is_main=is_back, num_bytes=event.num_bytes)
            self.sizes[entry_id], self.entities[entry_id] = event.num_bytes, event.entities
        elif event.kind is EventKind.HIT:
            queue = self.small if entry_id in self.small else self.main
            if entry_id in queue:
                queue[entry_id] = min(MAX_USES, queue[entry_id] + 1)
        elif entry_id in self.sizes and not (event.policy == "s3fifo" and self._evict({entry_id})):
            self._forget(entry_id)

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Entries without history first, then by the queues, one eviction after the other."""
        evictable = {entry.id for entry in entries}
        yield from sorted(evictable - self.sizes.keys())
        ahead = deepcopy(self)
        while (victim := ahead._evict(evictable)) is not None:
            evictable.discard(victim)
            yield victim

    def _evict(self, evictable: set[str]) -> str | None:
        if self.small_bytes >= SMALL_SHARE * (self.small_bytes + self.main_bytes):
            return self._from_small(evictable) or self._from_main(evictable)
        return self._from_main(evictable) or self._from_small(evictable)

    def _from_small(self, evictable: set[str]) -> str | None:
        for entry_id, uses in list(self.small.items()):
            if uses > 1:
                del self.small[entry_id]
                self._count(is_main=False, num_bytes=-self.sizes[entry_id])
                self.main[entry_id] = 0
                self._count(is_main=True, num_bytes=self.sizes[entry_id])
            elif entry_id in evictable:
                self._remember(self._forget(entry_id))
                return entry_id
        return None

    def _from_main(self, evictable: set[str]) -> str | None:
        num_passed = 0
        while not evictable.isdisjoint(self.main):
            for entry_id, uses in list(self.main.items()):
                if uses > 0 and num_passed < MAX_PASSED:
                    num_passed += 1
                    del self.main[entry_id]
                    self.main[entry_id] = uses - 1
                elif entry_id in evictable:
                    self._forget(entry_id)
                    return entry_id
        return None

    def _remember(self, texts: tuple[str, ...]) -> None:
        self.ghost.append(texts)
        self.remembered.update(texts)
        while len(self.ghost) > len(self.main):
            self.remembered.subtract(self.ghost.popleft())

    def _count(self, *, is_main: bool, num_bytes: int) -> None:
        if is_main:
            self.main_bytes += num_bytes
        else:
            self.small_bytes += num_bytes

    def _forget(self, entry_id: str) -> tuple[str, ...]:
        self._count(is_main=entry_id in self.main, num_bytes=-self.sizes.pop(entry_id))
        self.small.pop(entry_id, None)
        self.main.pop(entry_id, None)
        return self.entities.pop(entry_id)
