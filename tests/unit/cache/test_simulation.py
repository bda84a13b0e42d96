"""The simulator answers as the service's own look-up and policies do, and keeps the laws of caches."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.generation import Mode
from worker import prompts
from worker.cache import planner
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan
from worker.cache.decisions.replay import apply
from worker.cache.decisions.types import EntryRow, Event, EventKind, HitKind
from worker.cache.eviction import ADMISSIONS, POLICIES, victims
from worker.cache.simulation import bounds, prepare, protocol, study
from worker.cache.simulation.lookup import FAR, Resident, Rules
from worker.cache.simulation.orders import RANKS, order
from worker.cache.simulation.play import Capacity, Phase, Played, Setup, play, sequence
from worker.cache.simulation.prepare import Prepared, Request, rules
from worker.models.embedders import load_embedder
from worker.prompts.types import Entity, EntityKind, Extraction

LINES = (Path(__file__).parents[2] / "data/entities.jsonl").read_text().splitlines()
PROMPTS = [json.loads(line)["prompt"] for line in LINES]
EQUAL = MatchSettings(min_coverage=0.0, by_rarity=False, max_uses=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    rng = random.Random(3)
    requests = [Request(prompt=prompt, at=0.0) for prompt in rng.choices(PROMPTS, k=400)]
    return prepare.prepare(
        requests,
        extract=planner.extractor(),
        embedder=load_embedder(),
        floor=0.4,
        folder=tmp_path_factory.mktemp("phrases"),
    )


def things(asked: Sequence[int], sizes: Sequence[int] | None = None) -> Prepared:
    """A trace of whole prompts, of which equal ones serve each other and no others do."""
    names = sorted(set(asked))
    number = {thing: index for index, thing in enumerate(names)}
    of = [Entity(text=f"thing {thing}", head="thing", kind=EntityKind.PROMPT) for thing in asked]
    return Prepared(
        requests=[
            Request(prompt=entity.text, at=0.0, num_bytes=None if sizes is None else sizes[index])
            for index, entity in enumerate(of)
        ],
        extractions=[Extraction(entities=(entity,)) for entity in of],
        vectors=[[number[thing]] for thing in asked],
        kinds=[[number[thing]] for thing in asked],
        entities=[(Entity(text=f"thing {thing}", head="thing", kind=EntityKind.PROMPT), None) for thing in names],
        near=[[(1.0, index)] for index in range(len(names))],
        floor=0.5,
    )


def rate(played: Played) -> float:
    return sum(kind is not HitKind.NONE for kind in played.hits) / len(played.hits)


def replay(trace: Prepared, policy: str, entries: int, **more: Any) -> Played:
    setup = Setup(capacity=Capacity(num_entries=entries), policy=policy, settings=EQUAL, entry_bytes=1)
    return play(trace, sequence(range(len(trace.requests))), setup, **more)


@pytest.mark.parametrize(
    "settings",
    [
        MatchSettings.of_embedder("use-multilingual-v3", {}),
        MatchSettings(head_threshold=0.5, related_threshold=0.45, heads_need_synonyms=False, style_conflicts=False),
        MatchSettings(veto="never", by_rarity=False, min_coverage=0.4, min_weight=0.0, neighbours_per_entity=3),  # type: ignore[arg-type]
        MatchSettings(max_donors=2),
        MatchSettings(max_uses=2),
    ],
    ids=["default", "weak", "strict coverage", "two donors", "worn donors"],
)
def test_every_look_up_is_the_one_of_the_service(prepared: Prepared, settings: MatchSettings) -> None:
    rules, rng = Rules(prepared, settings), random.Random(1)
    by_name = {f"entry {index:04d}": index for index in range(len(prepared.requests))}
    resident = Resident(prepared, "entry {:04d}".format)
    for index in range(len(prepared.requests)):
        near = resident.neighbours(index, settings.neighbours_per_entity)
        expected = planning.look_up(prepared.extractions[index], near, settings)
        found = resident.look_up(index, rules, all_candidates=True)

        plan = planning.answer(Mode.AUTO, found)
        assert plan.matched == expected.matched
        assert plan.candidates == expected.candidates
        if found.nearest != FAR:
            assert plan == planning.answer(Mode.AUTO, expected)
        for entry in map(by_name.__getitem__, plan.donors):
            resident.used(entry)
        if rng.random() < 0.6:
            resident.add(index)
        if len(resident) > 60:
            resident.remove(min(entry for entry in range(index) if entry in resident))


def test_what_was_prepared_is_not_done_again(tmp_path: Path) -> None:
    class Once:
        """An embedder that may be asked for each phrase once."""

        name, dim = "once", 4

        def __init__(self) -> None:
            self.seen: list[str] = []

        def embed(self, phrases: list[str]) -> list[list[float]]:
            self.seen += phrases
            return [[1.0, 0.0, 0.0, 0.0] for _ in phrases]

        def knows(self, phrase: str) -> bool:
            return phrase != "quokka"

    def prepared_with(embedder: Once, prompts: list[str]) -> Prepared:
        requests = [Request(prompt=prompt, at=0.0) for prompt in prompts]
        return prepare.prepare(requests, extract=planner.extractor(), embedder=embedder, floor=0.5, folder=tmp_path)

    first, second = Once(), Once()
    before = prepared_with(first, ["a red fox", "a quokka"])
    after = prepared_with(second, ["a quokka", "a red fox", "a boat"])

    assert (sorted(first.seen), second.seen) == (["quokka", "red fox"], ["boat"])
    assert before.extractions[1] == after.extractions[0]
    assert after.extractions[0].entities[0].is_opaque


@given(
    policy=st.sampled_from(sorted(RANKS)),
    steps=st.lists(st.tuples(st.sampled_from(["insert", "hit", "evict", "purge"]), st.integers(0, 9)), max_size=60),
)
def test_the_heap_chooses_whom_the_policy_chooses(policy: str, steps: list[tuple[str, int]]) -> None:
    heap, reader = order(policy), POLICIES[policy]()
    rows: dict[str, EntryRow] = {}

    def see(event: Event) -> None:
        reader.observe(event)
        apply(rows, event)

    for at, (what, number) in enumerate(steps):
        name, size = f"entry {at}", 1 + number
        if what == "insert":
            heap.insert(name, at, size, 1.0 + number % 3, ())
            see(Event(kind=EventKind.INSERT, entry_id=name, at=at, num_bytes=size, seconds_saved=1.0 + number % 3))
        elif what == "evict":
            chosen = victims(reader, list(rows.values()), (), bytes_needed=size, now=at)
            assert heap.victims(size, at, (), "new") == chosen
            for gone in chosen:
                heap.remove(gone, at, is_eviction=True)
                see(Event(kind=EventKind.EVICT, entry_id=gone, at=at, policy=policy))
        elif rows:
            name = sorted(rows)[number % len(rows)]
            if what == "hit":
                heap.hit(name, at, ())
                see(Event(kind=EventKind.HIT, entry_id=name, at=at))
            else:
                heap.remove(name, at, is_eviction=False)
                see(Event(kind=EventKind.QUARANTINE, entry_id=name, at=at))


@given(asked=st.lists(st.integers(0, 12), min_size=1, max_size=80))
def test_more_room_never_costs_lru_a_hit(asked: list[int]) -> None:
    rates = [rate(replay(things(asked), "lru", entries)) for entries in (1, 2, 3, 5, 8, 13)]

    assert rates == sorted(rates)


@given(asked=st.lists(st.integers(0, 12), min_size=1, max_size=80), entries=st.integers(1, 8))
def test_no_policy_beats_the_one_that_knows_the_future_nor_that_one_the_bound(asked: list[int], entries: int) -> None:
    trace = things(asked)
    serves = bounds.serves(trace, range(len(asked)), Rules(trace, EQUAL))

    best = rate(replay(trace, "?", entries, orders=lambda *of: bounds.Clairvoyant(range(len(asked)), of[3], serves)))

    assert best <= sum(map(bool, serves.values())) / len(asked)
    for policy in POLICIES:
        assert rate(replay(trace, policy, entries)) <= best, policy


@given(
    asked=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=60),
    policy=st.sampled_from(sorted(POLICIES)),
    admission=st.sampled_from(sorted(ADMISSIONS)),
    num_bytes=st.integers(1, 40),
)
def test_the_ledger_stays_between_nothing_and_the_budget(
    asked: list[tuple[int, int]], policy: str, admission: str, num_bytes: int
) -> None:
    trace = things([thing for thing, _ in asked], [size for _, size in asked])
    setup = Setup(capacity=Capacity(num_bytes=num_bytes), policy=policy, admission=admission, settings=EQUAL)

    played = play(trace, sequence(range(len(asked))), setup)  # asserts that no eviction frees more than is used

    assert played.least_free is None or 0 <= played.least_free <= num_bytes
    assert len(played.hits) == len(asked)


def test_no_setting_hits_what_no_earlier_prompt_could_serve(prepared: Prepared) -> None:
    settings = MatchSettings.of_embedder("use-multilingual-v3", {})
    everything = range(len(prepared.requests))
    serves = bounds.serves(prepared, everything, Rules(prepared, settings))

    for policy in ("lru", "lfu", "coverage"):
        for share in (0.05, 0.3, 1.0):
            setup = Setup(capacity=Capacity(share=share), policy=policy, settings=settings)
            played = play(prepared, sequence(everything), setup)
            hit = [index for index, kind in zip(played.indices, played.hits, strict=True) if kind is not HitKind.NONE]
            assert hit
            assert all(serves[index] for index in hit)


def test_tenants_and_sizes_that_are_apart_share_nothing() -> None:
    requests = [
        Request(prompt="thing 1", at=0.0, tenant=tenant, size=size)
        for tenant, size in [("a", "1x1"), ("a", "2x2"), ("b", "1x1"), ("a", "1x1")]
    ]
    trace = Prepared(**{**{name: getattr(things([1] * 4), name) for name in Prepared.__slots__}, "requests": requests})

    hits = {
        isolation: [
            kind is not HitKind.NONE
            for kind in play(
                trace,
                sequence(range(4)),
                Setup(capacity=Capacity(num_entries=4), settings=EQUAL, isolation=isolation),
            ).hits
        ]
        for isolation in ("shared", "tenant")
    }

    assert hits == {"shared": [False, False, True, True], "tenant": [False, False, False, True]}


def test_what_is_held_by_a_running_job_is_not_evicted() -> None:
    trace = things([1, 2, 1, 3, 1])
    told: list[Plan | tuple[str, ...]] = []
    decide, room, end = Phase.DECIDE, Phase.ROOM, Phase.END
    steps = [*sequence([0, 1]), (decide, 2), (decide, 3), (room, 3), (end, 3), (room, 2), (end, 2), *sequence([4])]
    setup = Setup(capacity=Capacity(num_entries=2), settings=EQUAL, entry_bytes=1)

    played = play(trace, steps, setup, watch=lambda _, what: told.append(what))

    assert ("request 000000001",) in told  # the older one served the third request, which still ran
    assert [kind is not HitKind.NONE for kind in played.hits] == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("budgets", "entries", "evictions"),
    [
        pytest.param([3, 3, 3, 3], 3, 1, id="it stayed"),
        pytest.param([3, 3, 1, 1], 1, 3, id="it shrank to one entry"),
        pytest.param([3, 3, 0, 0], 0, 2, id="nothing was kept any more"),
        pytest.param([1, 1, 3, 3], 3, 1, id="it grew"),
    ],
)
def test_recorded_requests_find_the_budget_under_which_they_were_decided(
    budgets: list[int], entries: int, evictions: int
) -> None:
    trace = things([1, 2, 3, 4], [1] * 4)
    requests = [replace(request, budget=budget) for request, budget in zip(trace.requests, budgets, strict=True)]

    played = play(
        replace(trace, requests=requests),
        sequence(range(4)),
        Setup(capacity=Capacity(), settings=EQUAL, isolation="tenant"),
    )

    assert (played.num_entries, played.num_evictions) == (entries, evictions)


def test_a_look_up_may_fetch_thousands_of_rows() -> None:
    settings = replace(EQUAL, by_rarity=True, neighbours_per_entity=5000)
    setup = Setup(capacity=Capacity(share=1.0), settings=settings)

    (found,) = study.limits(things([1, 1]), [setup], [study.Sample.of(range(2))], warmup=0)

    assert found.reachable == 0.5


def test_several_setups_on_the_same_samples_are_compared_pair_by_pair(prepared: Prepared) -> None:
    settings = MatchSettings.of_embedder("use-multilingual-v3", {})
    setups = [Setup(capacity=Capacity(share=share), settings=settings) for share in (0.05, 1.0)]
    drawn = [study.Sample.of(found) for found in protocol.samples(400, num_used=200, num_samples=3, in_order=False)]

    ran = study.study(prepared, setups, drawn, warmup=20)
    limits = study.limits(prepared, setups, drawn, warmup=20)

    difference, (low, high) = ran.difference(1)
    assert low < difference < high
    assert difference == pytest.approx(ran.figures[1].hit_rate - ran.figures[0].hit_rate)
    for found, limit in zip(ran.figures, limits, strict=True):
        assert limit.clairvoyant is not None
        assert found.hit_rate <= limit.clairvoyant <= limit.reachable
        assert found.hit_rate_interval[0] < found.hit_rate < found.hit_rate_interval[1]
        assert sum(found.by_kind.values()) == pytest.approx(1)


def test_processes_find_what_one_finds(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "WORTH_A_PROCESS", 0)
    setups = [Setup(capacity=Capacity(share=0.1), settings=MatchSettings())]
    drawn = [study.Sample.of(range(start, start + 150)) for start in (0, 200)]

    many, one = (study.study(prepared, setups, drawn, warmup=0, num_processes=number) for number in (2, 1))

    assert many.figures == one.figures


@pytest.mark.parametrize(("longest", "entries"), [(0, 1), (1, 2), (3, 4)])
def test_fast_runs_leave_entries_as_far_from_a_full_run_as_is_asked(longest: int, entries: int) -> None:
    setup = Setup(capacity=Capacity(num_entries=9), settings=EQUAL, entry_bytes=1, max_chain=longest)

    played = play(things([7] * 6), sequence(range(6)), setup)

    assert (played.num_entries, rate(played)) == (entries, 5 / 6)


def test_after_so_many_uses_a_full_run_leaves_a_fresh_entry() -> None:
    setup = Setup(capacity=Capacity(num_entries=9), settings=replace(EQUAL, max_uses=2), entry_bytes=1)

    played = play(things([7] * 6), sequence(range(6)), setup)

    assert [reason.value for reason in played.reasons] == [
        "empty_cache",
        *["prompt_hit"] * 2,
        "renewal",
        *["prompt_hit"] * 2,
    ]
    assert played.num_entries == 2


def test_the_share_of_the_donors_that_lend_most_is_told() -> None:
    played = replay(things([*range(20), *[0] * 9, *range(20)]), "lru", entries=30)

    assert [len(donors) for donors in played.donors[:21]] == [*[0] * 20, 1]
    assert protocol.figures([played], warmup=0).top_donors_share == (10 + 9) / 29  # one of ten uses, nine of one
    assert protocol.figures([played], warmup=25).top_donors_share == (5 + 9) / 24
    assert protocol.figures([replay(things([*range(9)]), "lru", entries=9)], warmup=0).top_donors_share is None


@pytest.mark.parametrize("file", ["entities.py", "english/noun_rules.py", "readers/lexicon.txt"])
def test_what_is_kept_of_prompts_is_read_anew_when_a_rule_or_a_word_has_changed(tmp_path: Path, file: str) -> None:
    before = rules()
    folder = tmp_path / "prompts"
    copytree(Path(prompts.__file__).parent, folder, ignore=ignore_patterns("__pycache__"))

    assert rules(folder) == before
    with (folder / file).open("a") as changed:
        changed.write("# another rule\n")
    rules.cache_clear()
    assert rules(folder) != before
