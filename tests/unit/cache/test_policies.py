"""Every policy against an independent reference on seeded traces: each choice of victims is compared."""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import pytest

from worker.cache.decisions.replay import apply
from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction import ADMISSIONS, POLICIES, victims
from worker.prompts.types import Entity

CAPACITY = 40


def entries_of(events: list[Event]) -> list[EntryRow]:
    """The entries that a history leaves resident."""
    return list(reduce(apply, events, {}).values())


def requests(seed: int, length: int = 400) -> Iterator[tuple[float, int]]:
    """Time and thing asked for: few things often, many once."""
    rng = random.Random(seed)
    for i in range(length):
        yield i + rng.random(), min(int(rng.paretovariate(0.7)), 60)


def play(name: str, seed: int, *, reference: Any = None, unit: bool = False) -> tuple[list[Event], list[list[str]]]:
    """Runs a policy on a trace; with a reference, checks each choice. Returns the events and the choices."""
    rng = random.Random(seed + 1)
    size_of = {thing: 1 if unit else rng.randint(1, 9) for thing in range(61)}
    cost_of = {thing: rng.choice([1.0, 5.0, 20.0]) for thing in range(61)}
    held: dict[int, str] = {}
    events: list[Event] = []
    choices: list[list[str]] = []
    policy = POLICIES[name](seed=seed)
    rows: dict[str, EntryRow] = {}
    seen = 0

    def record(event: Event) -> None:
        events.append(event)
        apply(rows, event)
        if reference is not None:
            reference.see(event)

    for now, thing in requests(seed):
        if thing in held:
            near = tuple(held[other] for other in (thing, thing + 1) if other in held)  # alike things cover each other
            record(Event(kind=EventKind.HIT, entry_id=held[thing], at=now, covers=near))
            continue
        resident = list(rows.values())
        needed = sum(entry.num_bytes for entry in resident) + size_of[thing] - (10 if unit else CAPACITY)
        chosen = victims(policy, resident, events[seen:], bytes_needed=needed, now=now)
        seen = len(events)
        if len(choices) % 20 == 0:  # a fresh policy that reads the whole history agrees
            fresh = POLICIES[name](seed=seed)
            assert chosen == victims(fresh, resident, events, bytes_needed=needed, now=now)
        if reference is not None:
            assert chosen == reference.choose(needed), f"at {now}"
        choices.append(chosen)
        for entry_id in chosen:
            record(Event(kind=EventKind.EVICT, entry_id=entry_id, at=now, policy=name))
            held = {other: kept for other, kept in held.items() if kept != entry_id}
        if needed <= 0 or chosen:
            held[thing] = f"{thing}-{len(events)}"
            record(
                Event(
                    kind=EventKind.INSERT,
                    entry_id=held[thing],
                    at=now,
                    num_bytes=size_of[thing],
                    seconds_saved=cost_of[thing],
                    entities=(f"thing {thing}",),
                )
            )
    return events, choices


class Ranked:
    """Reference of the policies that rank entries: a table of values and a minimum."""

    def __init__(self, value: Callable[[dict[str, Any]], Any]) -> None:
        self.value, self.rows = value, {}

    def see(self, event: Event) -> None:
        if event.kind is EventKind.INSERT:
            row = {"id": event.entry_id, "size": event.num_bytes, "cost": event.seconds_saved}
            self.rows[event.entry_id] = row | {"born": event.at, "used": event.at, "hits": 0}
        elif event.kind is EventKind.HIT:
            self.rows[event.entry_id]["hits"] += 1
            self.rows[event.entry_id]["used"] = event.at
        else:
            del self.rows[event.entry_id]

    def choose(self, needed: int) -> list[str]:
        left, out = dict(self.rows), []
        while needed > 0:
            worst = min(left.values(), key=self.value)
            out.append(worst["id"])
            needed -= left.pop(worst["id"])["size"]
        return out


class LruQueue:
    """Reference of LRU and FIFO: an ordered dict."""

    def __init__(self, *, moves: bool) -> None:
        self.moves, self.queue = moves, OrderedDict()

    def see(self, event: Event) -> None:
        if event.kind is EventKind.INSERT:
            self.queue[event.entry_id] = event.num_bytes
        elif event.kind is EventKind.EVICT:
            del self.queue[event.entry_id]
        elif self.moves:
            self.queue.move_to_end(event.entry_id)

    def choose(self, needed: int) -> list[str]:
        out, freed = [], 0
        for entry_id, size in self.queue.items():
            if freed >= needed:
                break
            out.append(entry_id)
            freed += size
        return out


class GdsfTable(Ranked):
    """Reference of GDSF: priorities fixed at each use, an age that evictions raise."""

    def __init__(self) -> None:
        super().__init__(lambda row: (row["h"], row["used"]))
        self.age = 0.0

    def see(self, event: Event) -> None:
        if event.kind is EventKind.EVICT:
            self.age = max(self.age, self.rows[event.entry_id]["h"])
        super().see(event)
        if event.kind is not EventKind.EVICT:
            row = self.rows[event.entry_id]
            row["h"] = self.age + (row["hits"] + 1) * (row["cost"] / row["size"])


class SieveList:
    """Reference of SIEVE: the paper's list with a hand, newest at the left."""

    def __init__(self) -> None:
        self.line, self.marks, self.hand, self.sizes = [], {}, None, {}

    def see(self, event: Event) -> None:
        if event.kind is EventKind.INSERT:
            self.line.insert(0, event.entry_id)
            self.marks[event.entry_id], self.sizes[event.entry_id] = False, event.num_bytes
        elif event.kind is EventKind.HIT:
            self.marks[event.entry_id] = True

    def choose(self, needed: int) -> list[str]:
        out = []
        while needed > 0:
            at = self.line.index(self.hand) if self.hand else len(self.line) - 1
            while self.marks[self.line[at]]:
                self.marks[self.line[at]] = False
                at = at - 1 if at > 0 else len(self.line) - 1
            self.hand = self.line[at - 1] if at > 0 else None
            out.append(self.line.pop(at))
            needed -= self.sizes[out[-1]]
        return out


class S3FifoQueues:
    """Reference of S3-FIFO: two deques and a ghost, oldest at the left."""

    def __init__(self) -> None:
        self.small, self.main, self.ghost = deque(), deque(), deque()
        self.freq, self.size, self.thing = {}, {}, {}

    def see(self, event: Event) -> None:
        if event.kind is EventKind.INSERT:
            self.freq[event.entry_id], self.size[event.entry_id] = 0, event.num_bytes
            self.thing[event.entry_id] = event.entities[0]
            (self.main if event.entities[0] in self.ghost else self.small).append(event.entry_id)
        elif event.kind is EventKind.HIT:
            self.freq[event.entry_id] = min(self.freq[event.entry_id] + 1, 3)

    def choose(self, needed: int) -> list[str]:
        out = []
        while needed > 0:
            used = {queue: sum(self.size[i] for i in getattr(self, queue)) for queue in ("small", "main")}
            is_small = (used["small"] >= 0.1 * (used["small"] + used["main"]) or not self.main) and self.small
            victim = (self.from_small() or self.from_main()) if is_small else self.from_main()
            out.append(victim)
            needed -= self.size[victim]
        return out

    def from_small(self) -> str | None:
        while self.small:
            entry_id = self.small.popleft()
            if self.freq[entry_id] <= 1:
                self.ghost.append(self.thing[entry_id])
                while len(self.ghost) > len(self.main):
                    self.ghost.popleft()
                return entry_id
            self.freq[entry_id] = 0
            self.main.append(entry_id)
        return None

    def from_main(self) -> str | None:
        while self.main:
            entry_id = self.main.popleft()
            if self.freq[entry_id] == 0:
                return entry_id
            self.freq[entry_id] -= 1
            self.main.append(entry_id)
        return self.from_small()


class CoverageByHand(Ranked):
    """Reference of coverage: for each candidate, the demand that would be served by nobody without it."""

    def __init__(self) -> None:
        super().__init__(lambda row: self.worth(row))
        self.asked: list[set[str]] = []
        self.gone: set[str] = set()

    def see(self, event: Event) -> None:
        super().see(event)
        if event.kind is not EventKind.EVICT:
            self.asked.append({event.entry_id, *event.covers})

    def worth(self, row: dict[str, Any]) -> tuple[float, float, float]:
        lost = shared = 0.0
        for age, able in enumerate(reversed(self.asked)):
            if row["id"] in able:
                lost += 0.5 ** (age / 500) * (len(able - self.gone) == 1)
                shared += 0.5 ** (age / 500) / len(able - self.gone)
        value = row["cost"] / row["size"]
        return (lost * value, shared * value, row["used"])

    def choose(self, needed: int) -> list[str]:
        self.gone = set().union(*self.asked) - self.rows.keys() if self.asked else set()
        left, out = dict(self.rows), []
        while needed > 0:
            out.append(min(left.values(), key=self.worth)["id"])
            self.gone.add(out[-1])
            needed -= left.pop(out[-1])["size"]
        return out


REFERENCES: dict[str, Callable[[], Any]] = {
    "fifo": lambda: LruQueue(moves=False),
    "lru": lambda: LruQueue(moves=True),
    "lfu": lambda: Ranked(lambda row: (row["hits"], row["used"])),
    "lcbfu": lambda: Ranked(lambda row: ((row["hits"] + 1) * row["cost"], row["used"])),
    "gdsf": GdsfTable,
    "sieve": SieveList,
    "s3fifo": S3FifoQueues,
    "coverage": CoverageByHand,
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", REFERENCES)
def test_a_policy_chooses_as_its_reference_does(name: str, seed: int) -> None:
    _, choices = play(name, seed, reference=REFERENCES[name]())

    assert sum(map(len, choices)) > 50


def test_keeping_everything_gives_nothing_up() -> None:
    _, choices = play("none", 0)

    assert all(chosen == [] for chosen in choices)


def test_random_choices_repeat_with_their_seed_and_change_with_it() -> None:
    assert play("random", 3) == play("random", 3)
    entries = [EntryRow(id=str(i), num_bytes=1, seconds_saved=1.0, created=0.0) for i in range(10)]
    firsts = {victims(POLICIES["random"](seed=s), entries, [], bytes_needed=1, now=0.0)[0] for s in range(200)}
    assert len(firsts) == 10


def hits(name: str) -> int:
    return sum(event.kind is EventKind.HIT for seed in range(5) for event in play(name, seed, unit=True)[0])


def test_policies_that_count_uses_beat_chance_on_skewed_traffic() -> None:
    assert min(map(hits, ("lfu", "gdsf", "sieve", "s3fifo"))) > hits("random")


@pytest.mark.parametrize("name", POLICIES)
def test_too_little_to_give_up_means_no_victims(name: str) -> None:
    entries = [EntryRow(id="a", num_bytes=5, seconds_saved=1.0, created=0.0)]

    assert victims(POLICIES[name](), entries, [], bytes_needed=6, now=1.0) == []


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "none"])
def test_an_entry_without_history_can_still_go(name: str) -> None:
    """The history may have been cut, or the policy chosen only now."""
    entries = [EntryRow(id=i, num_bytes=5, seconds_saved=1.0, created=0.0) for i in "ab"]

    assert sorted(victims(POLICIES[name](), entries, [], bytes_needed=10, now=1.0)) == ["a", "b"]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "none"])
def test_a_pinned_entry_stays_and_the_next_goes(name: str) -> None:
    """Pinned entries are left out of `entries`; policies that keep queues know them from the history."""
    events, _ = play(name, 11)
    resident = entries_of(events)
    first = victims(POLICIES[name](), resident, events, bytes_needed=1, now=1e3)[0]
    others = [entry for entry in resident if entry.id != first]

    chosen = victims(POLICIES[name](), others, events, bytes_needed=1, now=1e3)

    assert len(chosen) == 1
    assert first not in chosen


@pytest.mark.parametrize("name", POLICIES)
def test_entries_removed_by_others_are_forgotten(name: str) -> None:
    """Purged and quarantined entries, and those that another policy evicted before this one was chosen."""
    events, _ = play(name, 12)
    for kind, policy in ((EventKind.QUARANTINE, None), (EventKind.EVICT, "other")):
        for entry in entries_of(events)[::2]:
            events.append(Event(kind=kind, entry_id=entry.id, at=1e3, policy=policy))
    resident = entries_of(events)

    chosen = victims(
        POLICIES[name](), resident, events, bytes_needed=sum(entry.num_bytes for entry in resident), now=1e3
    )

    assert set(chosen) == (set() if name == "none" else {entry.id for entry in resident})


def test_the_hand_of_sieve_stays_where_it_is_when_an_older_entry_is_purged() -> None:
    events = [Event(kind=EventKind.INSERT, entry_id=i, at=float(at), num_bytes=1) for at, i in enumerate("abcd")]
    events += [
        Event(kind=EventKind.HIT, entry_id="a", at=5.0),
        Event(kind=EventKind.EVICT, entry_id="b", at=6.0, policy="sieve"),
        Event(kind=EventKind.QUARANTINE, entry_id="a", at=7.0),
    ]

    assert victims(POLICIES["sieve"](), entries_of(events), events, bytes_needed=2, now=8.0) == ["c", "d"]


def test_coverage_lets_the_double_go_before_the_only_one_of_its_kind() -> None:
    def event(kind: EventKind, entry_id: str, at: float, *covers: str) -> Event:
        return Event(kind=kind, entry_id=entry_id, at=at, num_bytes=1, seconds_saved=1.0, covers=covers)

    events = [event(EventKind.INSERT, entry_id, at) for at, entry_id in enumerate(["dog 1", "dog 2", "castle"])]
    events += [event(EventKind.HIT, "dog 1", 10 + i, "dog 1", "dog 2") for i in range(20)]
    events += [event(EventKind.HIT, "castle", 40)]

    chosen = victims(POLICIES["coverage"](), entries_of(events), events, bytes_needed=2, now=50)

    assert chosen == ["dog 1", "castle"]  # one dog of two, and after it the castle before the only dog


@pytest.mark.parametrize(
    ("name", "sightings", "admitted"),
    [("all", {}, True), ("second_sighting", {}, False), ("second_sighting", {"dog": 1}, True)],
)
def test_admission(name: str, sightings: dict[str, int], admitted: bool) -> None:
    entities = [Entity(text="dog", head="dog"), Entity(text="beach", head="beach")]

    assert ADMISSIONS[name](entities, sightings) is admitted
