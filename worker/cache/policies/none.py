"""Keep everything: a full cache takes nothing more."""

from collections.abc import Iterator, Sequence

from worker.cache.policies.policy import Policy
from worker.cache.rows import EntryRow


class Keep(Policy):
    """Gives up nothing."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """No entry."""
        return iter(())
