"""Keep what covers the most demand: similarity-aware, our own.

Demand is what recent prompts asked for: every insert (asked for once, by its own prompt) and every hit, with all
entries that could have served it; it fades by half every `HALF_LIFE` events. What the cache loses with an entry is the
demand that no other entry covers: one of two alike donors is worth little however often it is used. Least loss x
seconds saved per byte goes first, then the least share of demand that others cover too; after each choice the rest is
reckoned anew.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import ClassVar

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy

HALF_LIFE = 500  # events
MEMORY = 8 * HALF_LIFE  # older demand weighs less than 0.4 %


class Coverage(Policy):
    """Least demand that only it covers, first."""

    reads_events: ClassVar[bool] = True

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._demand: deque[frozenset[str]] = deque(maxlen=MEMORY)
        self._alive: set[str] = set()

    def observe(self, event: Event) -> None:
        """Remembers who could serve what was asked for, and who is still there."""
        if event.kind in (EventKind.INSERT, EventKind.HIT):
            self._demand.append(frozenset((event.entry_id, *event.covers)))
            self._alive.add(event.entry_id)
        else:
            self._alive.discard(event.entry_id)

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Greedy: the least loss, again and again. Entries that may not go still cover demand."""
        remaining = {entry.id: entry for entry in entries}
        alive = self._alive | remaining.keys()
        while remaining:
            loss, share = self._worth(alive)
            ranks = {entry.id: _rank(entry, loss[entry.id], share[entry.id]) for entry in remaining.values()}
            victim = min(remaining, key=ranks.__getitem__)
            del remaining[victim]
            alive.discard(victim)
            yield victim

    def _worth(self, alive: set[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Demand that only an entry covers, and its share of what it covers with others, by entry."""
        loss: dict[str, float] = defaultdict(float)
        share: dict[str, float] = defaultdict(float)
        for age, served_by in enumerate(reversed(self._demand)):
            able = served_by & alive
            for entry_id in able:
                share[entry_id] += 0.5 ** (age / HALF_LIFE) / len(able)
                loss[entry_id] += 0.5 ** (age / HALF_LIFE) if len(able) == 1 else 0.0
        return loss, share


def _rank(entry: EntryRow, loss: float, share: float) -> tuple[float, float, float, str]:
    value = entry.seconds_saved / max(1, entry.num_bytes)
    return (loss * value, share * value, entry.last_used, entry.id)
