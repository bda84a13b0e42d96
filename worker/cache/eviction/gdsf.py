"""Greedy-Dual-Size-Frequency (Cherkasova 1998): seconds saved per byte, with an age that rises at every eviction.

priority = L at the last use + uses x seconds saved / bytes;     L = the highest priority evicted so far
"""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy


class Gdsf(Policy):
    """Least value per byte first."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._age = 0.0  # L
        self._value: dict[str, float] = {}  # of one use, per byte
        self._uses: dict[str, int] = {}
        self._priority: dict[str, float] = {}

    def observe(self, event: Event) -> None:
        """Raise the priority at a use; an eviction raises the age for all later uses."""
        if event.kind is EventKind.INSERT:
            self._value[event.entry_id] = event.seconds_saved / max(1, event.num_bytes)
            self._uses[event.entry_id] = 0
        if event.kind in (EventKind.INSERT, EventKind.HIT) and event.entry_id in self._value:
            self._uses[event.entry_id] += 1
            self._priority[event.entry_id] = self._age + self._uses[event.entry_id] * self._value[event.entry_id]
        if event.kind in (EventKind.EVICT, EventKind.QUARANTINE):
            priority = self._priority.pop(event.entry_id, 0.0)
            self._value.pop(event.entry_id, None)
            if event.kind is EventKind.EVICT:
                self._age = max(self._age, priority)

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By priority, then last use, then id. An entry without history counts by its row."""

        def rank(entry: EntryRow) -> tuple[float, float, str]:
            unseen = (entry.hits + 1) * entry.seconds_saved / max(1, entry.num_bytes)
            return (self._priority.get(entry.id, unseen), entry.last_used, entry.id)

        return (entry.id for entry in sorted(entries, key=rank))
