"""What an eviction policy is.

A policy reads the history of a namespace through `observe`, and `order` says which entries go first. It deletes
nothing. It depends only on events and rows, so that a simulator, a replay of recorded decisions and the tests get the
same answers from the same input. The service runs only `coverage` this way, one for each namespace and process
(`worker.cache.room`); for the others it reads an index (`db.eviction`), and tests check that both choose the same
victims.
"""

from collections.abc import Iterable, Iterator, Sequence

from worker.cache.decisions.types import EntryRow, Event


class Policy:
    """Reads events, orders entries. The default reads nothing."""

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def observe(self, event: Event) -> None:
        """Read events, which come in the order in which they were recorded."""

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Yield the ids of `entries`, first to go first. Does not change the policy's state."""
        raise NotImplementedError


def victims(
    policy: Policy, entries: Sequence[EntryRow], events: Iterable[Event], *, bytes_needed: int, now: float
) -> list[str]:
    """The entries to evict so that `bytes_needed` become free; `entries` are those that may go (resident, not pinned).

    `events` are those that the policy has not seen yet. The list is empty if even evicting all that the policy would
    evict does not free enough: then nothing is evicted and the new entry is refused.
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
