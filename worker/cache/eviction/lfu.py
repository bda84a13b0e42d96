"""Least frequently used: the entry with the fewest hits goes; of equal ones the longest unused."""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Lfu(Policy):
    """Fewest hits first."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By hits, last use, id."""
        return (entry.id for entry in sorted(entries, key=lambda entry: (entry.hits, entry.last_used, entry.id)))
