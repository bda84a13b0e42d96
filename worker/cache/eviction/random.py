"""A seeded random choice: the control that every policy has to beat.

Every entry has a fixed random lot. One value is drawn, and the entries with the next higher lots go.
"""

from collections.abc import Iterator, Sequence
from hashlib import md5
from random import Random as Generator
from uuid import UUID

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Random(Policy):
    """Any order; the same for the same seed, time and entries."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """By lot, from the drawn value on, once around."""
        drawn = UUID(int=Generator(f"{self.seed}/{now!r}").getrandbits(128))  # noqa: S311 - no secret
        lots = sorted((_lot(entry.id), entry.id) for entry in entries)
        yield from (entry_id for lot, entry_id in lots if lot >= drawn)
        yield from (entry_id for lot, entry_id in lots if lot < drawn)


def _lot(entry_id: str) -> UUID:
    return UUID(md5(entry_id.encode(), usedforsecurity=False).hexdigest())
