"""Keep what covers the most demand: similarity-aware, our own.

Demand is what recent prompts asked for: every insert (asked for once, by its own prompt) and every hit, with all
entries that could have served it; it halves every `HALF_LIFE` events. By evicting an entry the cache loses the demand
that no other entry covers: of two similar donors, one is worth little however often it is used. The entry with the
least loss x seconds saved per byte goes first, then the one with the least share of demand that others cover too; after
each choice, the others are ranked again.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction.policy import Policy

HALF_LIFE = 500  # events
MEMORY = 8 * HALF_LIFE  # older demand weighs less than 0.4 %

Rank = tuple[float, float, float, str]


class Coverage(Policy):
    """Evicts first what alone covers the least demand."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._demand: deque[frozenset[str]] = deque()
        self._wanted: Counter[str] = Counter()  # demand that an entry could serve
        self.alive: set[str] = set()  # entries that can serve

    def observe(self, event: Event) -> None:
        """Note which entries could serve each request, and which are still resident."""
        if event.kind in (EventKind.INSERT, EventKind.HIT):
            self._ask_for(frozenset((event.entry_id, *event.covers)))
        if event.kind is EventKind.INSERT:
            self.alive.add(event.entry_id)
        elif event.kind is not EventKind.HIT:
            self.alive.discard(event.entry_id)

    @property
    def wanted(self) -> Collection[str]:
        """Entries that could have served recent requests; all others are worth nothing and go first."""
        return self._wanted.keys()

    def _ask_for(self, served_by: frozenset[str]) -> None:
        self._demand.append(served_by)
        self._wanted.update(served_by)
        if len(self._demand) > MEMORY:
            for entry_id in self._demand.popleft():
                self._wanted[entry_id] -= 1
                if not self._wanted[entry_id]:
                    del self._wanted[entry_id]

    def order(self, entries: Sequence[EntryRow], now: float) -> Iterator[str]:
        """Greedy: the least loss, again and again. Entries that may not go still cover demand."""
        remaining = {entry.id: entry for entry in entries}
        covers = _Covers.of(self._demand, self.alive | remaining.keys())
        ranks = {entry.id: covers.rank(entry) for entry in entries}
        heap = list(ranks.values())
        heapify(heap)
        while heap:
            rank = heappop(heap)
            if ranks.get(rank[-1]) != rank:  # ranked again since
                continue
            yield rank[-1]
            del ranks[rank[-1]]
            for entry_id in covers.without(rank[-1]) & ranks.keys():
                ranks[entry_id] = covers.rank(remaining[entry_id])
                heappush(heap, ranks[entry_id])


@dataclass(slots=True)
class _Covers:
    """For each recent request, latest first, the living entries that could serve it."""

    able: list[set[str]]
    ages: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # entry → where in `able`

    @classmethod
    def of(cls, demand: Sequence[frozenset[str]], alive: set[str]) -> "_Covers":
        found = cls([set(served_by & alive) for served_by in reversed(demand)])
        for age, able in enumerate(found.able):
            for entry_id in able:
                found.ages[entry_id].append(age)
        return found

    def rank(self, entry: EntryRow) -> Rank:
        """The demand that only this entry covers, and its share of all that it covers, by value; then use and id."""
        loss = share = 0.0
        for age in self.ages.get(entry.id, ()):
            number, weight = len(self.able[age]), 0.5 ** (age / HALF_LIFE)
            share += weight / number
            loss += weight if number == 1 else 0.0
        value = entry.seconds_saved / max(1, entry.num_bytes)
        return (loss * value, share * value, entry.last_used, entry.id)

    def without(self, entry_id: str) -> set[str]:
        """Remove an entry; return those that share demand with it."""
        ages = self.ages.pop(entry_id, [])
        for age in ages:
            self.able[age].discard(entry_id)
        return set().union(*(self.able[age] for age in ages))
