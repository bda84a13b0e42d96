"""What an eviction policy is.

A policy reads the history of a namespace through `observe` and answers `order`: which entries go first. It deletes
nothing. What a policy knows comes from the events and rows alone, so whoever feeds it the same gets the same answer: a
simulator as it goes, a replay of recorded decisions, the tests. The service runs no policy but `coverage` this way, one
for each namespace and process (`worker.cache.room`); for the others it reads an index (`db.eviction`), and tests hold
the two to the same victims.
"""

from collections.abc import Iterable, Iterator, Sequence

from worker.cache.decisions.types import EntryRow, Event


class Policy:
    """Reads events, orders entries. The default reads nothing."""

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def observe(self, event: Event) -> None:
        """Takes note of what happened; events come in the order in which they were recorded."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Ids of `entries`, the first to go first. Changes nothing that the policy knows."""
        raise NotImplementedError


def victims(
    policy: Policy, entries: Sequence[EntryRow], events: Iterable[Event], *, bytes_needed: int, now: float
) -> list[str]:
    """The entries to evict so that `bytes_needed` become free; `entries` are those that may go (resident, not pinned).

    `events` are those that the policy has not seen yet. The list is empty when evicting all that the policy would give
    up does not free enough: then nothing is evicted and the new entry is refused.
    """
    for event in events:
        policy.observe(event)
    if bytes_needed <= 0:
        return []
    sizes = {entry.id: entry.num_bytes for entry in entries}
    chosen: list[str] = []
    freed = 0
    for entry_id in policy.order(entries, now):
        chosen.append(entry_id)
        freed += sizes[entry_id]
        if freed >= bytes_needed:
            return chosen
    return []
