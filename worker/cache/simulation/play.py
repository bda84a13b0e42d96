"""Takes requests in turn through look-up, plan, admission and eviction, as the service would have done.

Every namespace has its budget in bytes; a full run that is admitted evicts by the policy until it fits. A recorded
trace says when each job was decided, under which budget, and when it ended; in any other, each job ends before the next
begins.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from shared.generation import RunPath
from shared.reasons import Reason
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit
from worker.cache.decisions.planning import PAPER, Plan, Table
from worker.cache.decisions.types import HitKind
from worker.cache.eviction import ADMISSIONS
from worker.cache.simulation.lookup import Resident, Rules
from worker.cache.simulation.orders import Order, order
from worker.cache.simulation.prepare import Prepared, Request

Space = tuple[str, str]  # tenant (empty if all share) and size of the videos


class Phase(IntEnum):
    """What happens to a request at a step."""

    DECIDE = 0  # it is looked up, and its donors are held
    ROOM = 1  # room is made for what it leaves
    END = 2  # its hits are counted, its latents can serve, its donors are released
    REMOVE = 3  # its entry is removed, though not by the policy
    DROP = 4  # it produced nothing: its donors are released


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The room of each namespace: bytes, entries of mean size, or a share of what all its prompts would leave.

    If none is set, the recorded budget.
    """

    num_bytes: int | None = None
    num_entries: int | None = None
    share: float | None = None

    def of(self, sizes: Sequence[int], recorded: int | None = None) -> int:
        """Return the budget in bytes of a namespace whose prompts would leave latents of these sizes."""
        if self.num_bytes is not None:
            return self.num_bytes
        if self.num_entries is not None:
            return round(self.num_entries * sum(sizes) / len(sizes))
        if self.share is None:
            return sum(sizes) if recorded is None else recorded
        return max(max(sizes), round(self.share * sum(sizes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a replay tries."""

    capacity: Capacity
    policy: str = "lru"
    admission: str = "all"
    settings: MatchSettings | None = None  # None: those recorded with each request
    table: Table | None = None  # None: as recorded, else the paper's
    isolation: str = "shared"  # shared, tenant
    entry_bytes: int = 650_000  # if a request does not say: 240p and 3 s (the paper's in 16 bits: 1.3 MB)
    seconds_saved: float = 1.0  # by one hit, if a request does not say
    seed: int = 0
    budget_times: float = 1.0  # factor on every budget
    max_chain: int = 0  # as in the settings of a namespace


@dataclass(slots=True)
class Played:
    """The outcome of each request, in order."""

    indices: list[int] = field(default_factory=list)
    hits: list[HitKind] = field(default_factory=list)  # NONE also if a hit was not used
    reasons: list[Reason] = field(default_factory=list)
    savings: list[float] = field(default_factory=list)  # share of the steps of a full run
    donors: list[tuple[str, ...]] = field(default_factory=list)  # names of the entries used; empty without a hit
    num_evictions: int = 0
    num_refused: int = 0
    num_entries: int = 0  # at the end
    least_free: int | None = None  # bytes, over all namespaces and times
    seconds: float = 0.0  # that the replay took


Watch = Callable[[int, Plan | tuple[str, ...]], None]  # called with each plan, and each choice of victims
Orders = Callable[[str, int, Space, Mapping[str, int]], Order]  # by policy, seed, namespace and names of entries


@dataclass(slots=True)
class _Place:
    """A namespace."""

    resident: Resident
    order: Order
    budget: int
    used: int = 0
    sightings: Counter[str] = field(default_factory=Counter)
    worn: dict[str, tuple[int, int]] = field(default_factory=dict)  # entries at the limit of uses → uses, last use


def sequence(indices: Iterable[int]) -> Iterator[tuple[Phase, int]]:
    """Return the steps of requests of which each ends before the next begins."""
    for index in indices:
        yield Phase.DECIDE, index
        yield Phase.ROOM, index
        yield Phase.END, index


def play(
    prepared: Prepared,
    steps: Iterable[tuple[Phase, int]],
    setup: Setup,
    rules: Mapping[MatchSettings, Rules] | None = None,
    *,
    orders: Orders | None = None,
    watch: Watch | None = None,
) -> Played:
    """Replay requests, given by index in `prepared`; replays under the same settings can share `rules`.

    Raises ValueError for an unknown policy or admission, a budget that is not positive, and settings with a
    lower threshold than was prepared.
    """
    return _Player(prepared, list(steps), setup, dict(rules or {}), orders, watch).play()


class _Player:
    def __init__(
        self,
        prepared: Prepared,
        steps: list[tuple[Phase, int]],
        setup: Setup,
        rules: dict[MatchSettings, Rules],
        orders: Orders | None,
        watch: Watch | None,
    ) -> None:
        if setup.admission not in ADMISSIONS:
            raise ValueError(f"{setup.admission!r} is not an admission; there are {', '.join(ADMISSIONS)}")
        self.prepared, self.steps, self.setup, self.watch = prepared, steps, setup, watch
        self.rules = rules
        self.played = Played()
        self.names = [request.entry_id or f"request {index:09d}" for index, request in enumerate(prepared.requests)]
        self.sizes = [
            setup.entry_bytes if request.num_bytes is None else request.num_bytes for request in prepared.requests
        ]
        self.now = 0  # number of the step, as the time: policies need the order only
        self.plans: dict[int, Plan] = {}  # of requests that have not ended yet
        self.held: Counter[str] = Counter()  # donors of these requests
        self.chains: dict[int, int] = {}  # fast request → number of runs from its latents back to a full one
        self.booked: set[int] = set()  # requests whose latents have room but cannot serve yet
        self.by_name = {name: index for index, name in enumerate(self.names)}
        self.wants_covers = watch is not None or setup.policy == "coverage"
        self.places = self._places(orders or (lambda policy, seed, *_: order(policy, seed=seed)))
        self.default_rules = self._rules_of(setup.settings) if setup.settings else None

    def _places(self, orders: Orders) -> list[_Place]:
        """Return the namespace of each request."""
        sizes: dict[Space, list[int]] = {}
        keys: dict[int, Space] = {}
        recorded: dict[Space, int | None] = {}
        for phase, index in self.steps:
            if phase is Phase.DECIDE:
                request = self.prepared.requests[index]
                keys[index] = ("" if self.setup.isolation == "shared" else request.tenant, request.size)
                sizes.setdefault(keys[index], []).append(self.sizes[index])
                recorded[keys[index]] = request.budget
        times = self.setup.budget_times
        budgets = {key: round(times * self.setup.capacity.of(found, recorded[key])) for key, found in sizes.items()}
        if self.setup.capacity != Capacity() and any(budget <= 0 for budget in budgets.values()):
            raise ValueError("the capacity is 0: nothing can be kept; give at least one entry")
        places = {
            key: _Place(
                resident=Resident(self.prepared, self.names.__getitem__),
                order=orders(self.setup.policy, self.setup.seed, key, self.by_name),
                budget=budget,
            )
            for key, budget in budgets.items()
        }
        self.spaces = places
        empty = next(iter(places.values()), None)
        assert empty is not None or not self.steps, "steps name requests"
        return [places[keys[index]] if index in keys else empty for index in range(len(self.names))]  # type: ignore[misc]

    def play(self) -> Played:
        does = {Phase.DECIDE: self._decide, Phase.ROOM: self._room, Phase.END: self._end, Phase.REMOVE: self._remove}
        does[Phase.DROP] = self._drop
        start = time.perf_counter()
        for phase, index in self.steps:
            self.now += 1
            does[phase](index)
        self.played.seconds = time.perf_counter() - start
        self.played.num_entries = sum(len(place.resident) for place in self.spaces.values())
        return self.played

    def _settings(self, request: Request) -> MatchSettings:
        return self.setup.settings or request.settings or MatchSettings()

    def _rules_of(self, settings: MatchSettings) -> Rules:
        found = self.rules.get(settings)
        if found is None:
            found = self.rules[settings] = Rules(self.prepared, settings)
        return found

    def _resize(self, place: _Place, index: int) -> None:
        """Give a namespace the budget under which a request was decided, and evict what exceeds it.

        If the policy cannot free enough, the budget stays, as in the service.
        """
        recorded = self.prepared.requests[index].budget
        if recorded is None or self.setup.capacity != Capacity() or self.setup.isolation != "tenant":
            return
        budget = round(self.setup.budget_times * recorded)
        over = place.used - budget
        chosen = self._victims(index, place, over) if over > 0 else []
        if chosen or over <= 0:
            self._evict(chosen, place)
            place.budget = budget

    def _decide(self, index: int) -> None:
        request, place = self.prepared.requests[index], self.places[index]
        self._resize(place, index)
        rules = self.default_rules or self._rules_of(self._settings(request))
        table = self.setup.table or request.table or PAPER
        plan = planning.answer(request.mode, self._look_up(index, rules, table), table)
        self.plans[index] = plan
        played = self.played
        played.indices.append(index)
        played.reasons.append(plan.reason)
        if plan.recipe.reuse is None:
            played.hits.append(HitKind.NONE)
            played.savings.append(0.0)
            played.donors.append(())
        else:
            played.hits.append(plan.hit)
            played.savings.append(plan.steps_saved / plan.full_num_steps)
            played.donors.append(plan.donors)
            for donor in plan.donors:
                self.held[donor] += 1
        if self.setup.admission != "all":
            place.sightings.update({entity.text for entity in self.prepared.extractions[index].entities})
        if self.watch is not None:
            self.watch(index, plan)

    def _look_up(self, index: int, rules: Rules, table: Table) -> Hit:
        def under(rules: Rules) -> Hit:
            return self.places[index].resident.look_up(index, rules, all_candidates=self.wants_covers)

        loose = replace(rules.settings, look_conflicts=False)
        return planning.with_layout(under(rules), table, lambda: under(self._rules_of(loose)))

    def _room(self, index: int) -> None:
        plan = self.plans.get(index)
        if plan is None or not self.prepared.requests[index].leaves or not self._lends(index, plan):
            return
        place, size = self.places[index], self.sizes[index]
        if size > place.budget or not self._is_admitted(index, place):
            self.played.num_refused += 1
            return
        needed = place.used + size - place.budget
        if needed > 0:
            chosen = self._victims(index, place, needed)
            if self.watch is not None:
                self.watch(index, tuple(chosen))
            if not chosen:
                self.played.num_refused += 1
                return
            self._evict(chosen, place)
        place.used += size
        free = place.budget - place.used
        if self.played.least_free is None or free < self.played.least_free:
            self.played.least_free = free
        self.booked.add(index)

    def _victims(self, index: int, place: _Place, needed: int) -> list[str]:
        """Return what to evict to free so many bytes, first what can lend no more; nothing if that is not enough."""
        kept = [name for name, number in self.held.items() if number]
        worn: list[str] = []
        for name in sorted(place.worn, key=lambda name: (place.worn[name], name)):
            if needed > 0 and name not in kept:
                worn.append(name)
                needed -= self.sizes[self.by_name[name]]
        if needed <= 0:
            return worn
        rest = place.order.victims(needed, self.now, {*kept, *worn} if worn else kept, self.names[index])
        return worn + rest if rest else []

    def _lends(self, index: int, plan: Plan) -> bool:
        """Say whether a run leaves its latents, and note how many runs lie between them and a full run."""
        if plan.path is RunPath.FULL:
            return True
        self.chains[index] = 1 + max((self.chains.get(self.by_name[donor], 0) for donor in plan.donors), default=0)
        return self.chains[index] <= self.setup.max_chain

    def _is_admitted(self, index: int, place: _Place) -> bool:
        if self.setup.admission == "all":
            return True
        entities = self.prepared.extractions[index].entities
        own = Counter({entity.text for entity in entities})
        earlier = {entity.text: place.sightings[entity.text] - own[entity.text] for entity in entities}
        return ADMISSIONS[self.setup.admission](entities, earlier)

    def _end(self, index: int) -> None:
        plan = self.plans.pop(index, None)
        if plan is None:
            return
        request, place = self.prepared.requests[index], self.places[index]
        for donor in plan.donors:
            self._let_go(donor)
            if self.by_name[donor] in place.resident:
                place.order.hit(donor, self.now, plan.candidates)
                uses = place.resident.used(self.by_name[donor])
                if 0 < self._settings(request).max_uses <= uses and self.setup.policy != "none":
                    place.worn[donor] = (uses, self.now)
        if index in self.booked:
            self.booked.discard(index)
            place.resident.add(index)
            saved = self.setup.seconds_saved if request.seconds_saved is None else request.seconds_saved
            texts = tuple(entity.text for entity in self.prepared.extractions[index].entities)
            place.order.insert(self.names[index], self.now, self.sizes[index], saved, texts)

    def _drop(self, index: int) -> None:
        plan = self.plans.pop(index, None)
        for donor in plan.donors if plan is not None else ():
            self._let_go(donor)
        if index in self.booked:
            self.booked.discard(index)
            self.places[index].used -= self.sizes[index]

    def _let_go(self, donor: str) -> None:
        self.held[donor] -= 1
        if not self.held[donor]:
            del self.held[donor]

    def _remove(self, index: int) -> None:
        place = self.places[index]
        if index in place.resident:
            self._take(index, place, is_eviction=False)

    def _evict(self, names: Sequence[str], place: _Place) -> None:
        for name in names:
            self._take(self.by_name[name], place, is_eviction=True)
        self.played.num_evictions += len(names)

    def _take(self, index: int, place: _Place, *, is_eviction: bool) -> None:
        place.resident.remove(index)
        place.worn.pop(self.names[index], None)
        place.order.remove(self.names[index], self.now, is_eviction=is_eviction)
        place.used -= self.sizes[index]
        assert place.used >= 0, "the ledger counts what is resident or booked"
