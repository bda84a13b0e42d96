"""First in, first out: the oldest entry goes."""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Fifo(Policy):
    """Oldest first."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By age, then id."""
        return (entry.id for entry in sorted(entries, key=lambda entry: (entry.created, entry.id)))
