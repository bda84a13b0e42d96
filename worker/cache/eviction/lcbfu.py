"""Least computationally beneficial and frequently used (NIRVANA, arXiv 2312.04429): uses x compute saved per use.

An entry's creation counts as its first use, so that a new entry is worth what one hit would save.
"""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Lcbfu(Policy):
    """Least compute saved first."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By uses x seconds saved, last use, id."""
        ranked = sorted(entries, key=lambda entry: ((entry.hits + 1) * entry.seconds_saved, entry.last_used, entry.id))
        return (entry.id for entry in ranked)
