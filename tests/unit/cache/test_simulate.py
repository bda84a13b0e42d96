"""A recorded run goes through JSON and comes out of the replay with every decision and every eviction as it was."""

import json
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest

from shared.generation import Mode, RunPath
from shared.reasons import Reason
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import PAPER, decide
from worker.cache.decisions.replay import DecisionRow, EvictionRow, apply, replay, rerun
from worker.cache.decisions.types import EntryRow, Event, EventKind, Neighbour
from worker.cache.eviction import POLICIES, victims
from worker.prompts.entities import extract
from worker.prompts.types import Extraction

PROMPTS = [
    json.loads(line)["prompt"] for line in (Path(__file__).parents[2] / "data/entities.jsonl").read_text().splitlines()
]
BUDGET = 60


@cache
def trigrams(text: str) -> frozenset[str]:
    return frozenset(text[i : i + 3] for i in range(max(1, len(text) - 2)))


@cache
def similarity(ours: str, theirs: str) -> float:
    """A stand-in for a cosine: shared letters of three."""
    a, b = trigrams(ours), trigrams(theirs)
    return len(a & b) / (len(a) * len(b)) ** 0.5


def neighbours_of(extraction: Extraction, stored: dict[str, Extraction], rows: dict[str, EntryRow]) -> list[Neighbour]:
    return [
        Neighbour(
            query=query,
            entry_id=entry_id,
            text=theirs.text,
            head=theirs.head,
            attributes=theirs.attributes,
            kind=theirs.kind,
            similarity=similarity(ours.text, theirs.text),
            created=rows[entry_id].created,
        )
        for query, ours in enumerate(extraction.entities)
        for entry_id in rows
        for theirs in stored[entry_id].entities
        if similarity(ours.text, theirs.text) > 0.3
    ]


def record(policy: str, num_jobs: int = 240) -> list[Any]:
    """A service in small: decides, runs, inserts and evicts, and writes down what it did."""
    trace: list[Any] = []
    rows: dict[str, EntryRow] = {}
    stored: dict[str, Extraction] = {}
    settings = MatchSettings(max_donors=2)

    def happened(event: Event) -> None:
        trace.append(event)
        apply(rows, event)

    for job in range(num_jobs):
        now = 1000.0 + job
        extraction = extract(PROMPTS[job * 7 % 90])
        near = neighbours_of(extraction, stored, rows)
        mode = Mode.FAST if job % 10 == 0 else Mode.AUTO
        plan = decide(mode, extraction, near, PAPER, settings)
        trace.append(
            DecisionRow(
                at=now,
                mode=mode,
                extraction=extraction,
                neighbours=tuple(near),
                settings=settings,
                table=PAPER,
                plan=plan,
            )
        )
        for donor in plan.donors:
            happened(Event(kind=EventKind.HIT, entry_id=donor, at=now, covers=plan.candidates))
        if plan.path is RunPath.FULL:
            size = 1 + job % 5
            needed = sum(row.num_bytes for row in rows.values()) + size - BUDGET
            pinned = tuple(list(rows)[:1])
            chosen = victims(
                POLICIES[policy](seed=5),
                [row for row in rows.values() if row.id not in pinned],
                [event for event in trace if isinstance(event, Event)],
                bytes_needed=needed,
                now=now,
            )
            if needed > 0:
                trace.append(
                    EvictionRow(at=now, policy=policy, bytes_needed=needed, victims=tuple(chosen), kept=pinned, seed=5)
                )
            for entry_id in chosen:
                happened(Event(kind=EventKind.EVICT, entry_id=entry_id, at=now, policy=policy))
            if needed <= 0 or chosen:
                stored[f"entry {job}"] = extraction
                texts = tuple(entity.text for entity in extraction.entities)
                happened(
                    Event(
                        kind=EventKind.INSERT,
                        entry_id=f"entry {job}",
                        at=now,
                        num_bytes=size,
                        seconds_saved=1.0 + job % 3,
                        entities=texts,
                    )
                )
    return trace


def through_json(trace: list[Any]) -> list[Any]:
    lines = [json.dumps([type(row).__name__, row.to_dict()]) for row in trace]
    types = {kind.__name__: kind for kind in (DecisionRow, EvictionRow, Event)}
    return [types[name].from_dict(row) for name, row in map(json.loads, lines)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_recorded_run_replays_to_every_decision_and_every_eviction(policy: str) -> None:
    trace = record(policy)
    decisions = [row for row in trace if isinstance(row, DecisionRow)]
    evictions = [row for row in trace if isinstance(row, EvictionRow)]

    assert replay(through_json(trace)) == []
    assert len(decisions) >= 200
    assert len({row.plan.reason for row in decisions}) >= 4
    assert len(evictions) > 20


def test_a_changed_plan_is_found() -> None:
    trace = record("lru")
    index = next(i for i, row in enumerate(trace) if isinstance(row, DecisionRow) and row.plan.donors)
    trace[index] = replace(trace[index], plan=replace(trace[index].plan, reason=Reason.NO_MATCH))

    (difference,) = replay(trace)

    assert (difference.index, difference.recorded.reason) == (index, Reason.NO_MATCH)


def test_a_changed_victim_is_found() -> None:
    trace = record("lru")
    index = next(i for i, row in enumerate(trace) if isinstance(row, EvictionRow))
    trace[index] = replace(trace[index], victims=("another",))

    assert [difference.index for difference in replay(trace)] == [index]


def test_other_settings_and_policies_show_what_would_change() -> None:
    trace = record("lru")
    strict = MatchSettings(same_threshold=1.0, head_threshold=1.0, max_donors=2)

    fewer = [plan for _, _, plan in rerun(trace, settings=strict) if not isinstance(plan, tuple)]

    assert sum(bool(plan.donors) for plan in fewer) < sum(isinstance(row, Event) and row.kind == "hit" for row in trace)
    assert any(isinstance(difference.replayed, tuple) for difference in replay(trace, policy="fifo"))


def test_an_unknown_policy_is_refused_by_name() -> None:
    with pytest.raises(ValueError) as error:
        replay([], policy="belady")

    assert str(error.value) == (
        "'belady' is not an eviction policy; "
        "there are none, fifo, lru, lfu, lcbfu, gdsf, sieve, s3fifo, random, coverage"
    )


def test_entries_follow_from_the_events() -> None:
    events = [
        Event(kind=EventKind.INSERT, entry_id="a", at=1.0, num_bytes=5, seconds_saved=2.0),
        Event(kind=EventKind.INSERT, entry_id="b", at=2.0, num_bytes=6, seconds_saved=2.0),
        Event(kind=EventKind.HIT, entry_id="b", at=3.0),
        Event(kind=EventKind.QUARANTINE, entry_id="a", at=4.0),
    ]

    left = EntryRow(id="b", num_bytes=6, seconds_saved=2.0, created=2.0, last_hit=3.0, hits=1)
    assert reduce(apply, events, {}) == {"b": left}
