"""Least recently used, the paper's policy: the entry that has shaped no video for the longest time goes."""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Lru(Policy):
    """Longest unused first."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By last use, then id."""
        return (entry.id for entry in sorted(entries, key=lambda entry: (entry.last_used, entry.id)))
