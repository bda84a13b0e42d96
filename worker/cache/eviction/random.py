"""A seeded random choice: the control that every policy has to beat."""

from collections.abc import Iterator, Sequence
from random import Random as Generator

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Random(Policy):
    """Any order; the same for the same seed, time and entries."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """A shuffle."""
        ids = sorted(entry.id for entry in entries)
        Generator(f"{self.seed}/{now!r}").shuffle(ids)  # noqa: S311 - no secret
        return iter(ids)
