"""SIEVE (NSDI 2024): a queue in order of insertion and a hand that moves from old to new, around and around.

A hit marks an entry. To evict, the hand passes marked entries, removing their marks, and stops at the first unmarked
one. Here a mark is a number: the round in which the hand will take the entry. So passed entries need no update, and
rows of a database can represent the same state (`db.eviction`).
"""

from collections.abc import Iterator, Sequence

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy

Turn = tuple[int, int]  # round, place in the queue


class Sieve(Policy):
    """Evicts the first unmarked entry from the hand on."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._turns: dict[str, Turn] = {}  # oldest first
        self._hand: Turn = (0, -1)  # of the last evicted entry
        self._num_seen = 0

    def observe(self, event: Event) -> None:
        """Insert at the new end, mark at a hit, move the hand at an eviction of its own."""
        round_, _ = self._hand
        if event.kind is EventKind.INSERT:
            if self._turns and not self._is_ahead(next(reversed(self._turns))):
                self._hand = (round_ := round_ + 1, -1)  # past the newest: start again from the oldest
            self._turns[event.entry_id] = (round_, self._num_seen)
            self._num_seen += 1
        elif event.entry_id not in self._turns:
            return
        elif event.kind is EventKind.HIT:
            _, place = self._turns[event.entry_id]
            self._turns[event.entry_id] = (round_ + (1 if self._is_ahead(event.entry_id) else 2), place)
        else:
            if event.kind is EventKind.EVICT and event.policy == "sieve":
                self._hand = self._turn(event.entry_id)
            del self._turns[event.entry_id]

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """In the order in which the hand would take them without further uses; entries without history come first."""
        evictable = {entry.id for entry in entries}
        yield from sorted(evictable - self._turns.keys())
        yield from sorted(evictable & self._turns.keys(), key=self._turn)

    def _turn(self, entry_id: str) -> Turn:
        """When the hand takes it. The turn of a passed entry, which was in use, comes in the next round."""
        turn = self._turns[entry_id]
        if turn > self._hand:
            return turn
        return (self._hand[0] + (0 if self._is_ahead(entry_id) else 1), turn[1])

    def _is_ahead(self, entry_id: str) -> bool:
        """Whether the hand will still reach it in this round."""
        return self._turns[entry_id][1] > self._hand[1]
