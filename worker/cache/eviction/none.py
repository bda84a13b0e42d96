"""Keep everything: a full cache accepts nothing more."""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow
from worker.cache.eviction.policy import Policy


class Keep(Policy):
    """Evicts nothing."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """No entry."""
        return iter(())
