"""A run that the service recorded, replayed in memory: every decision and every eviction comes out again."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select

from cli.main import main
from db.models import CacheEvent, JobMetric, Lookup, Namespace
from db.session import transaction
from worker.cache import planner, reembed
from worker.cache.decisions.planning import Plan
from worker.cache.simulation import recorded
from worker.cache.simulation.play import Capacity, Setup, play
from worker.cache.simulation.prepare import prepare
from worker.models.embedders import load_embedder

Start = Callable[..., Any]  # Any: the Service of conftest
PROMPTS = (
    "a red fox runs through a snowy forest",
    "two robots play chess in a library",
    "a red fox sleeps",
    "a wooden boat on a lake at night",
    "a lake at night",
    "an old castle on a hill",
    "the red fox again",
    "a blue fox",
    "a boat made of wood",
    "two robots dance",
    "a castle on a hill in the rain",
    "a red fox in a library",
)


@pytest.mark.parametrize(("policy", "max_uses"), [("lru", 20), ("sieve", 20), ("lru", 1)])
def test_a_recorded_run_gives_every_decision_and_eviction_again(
    start: Start, embedder: Any, policy: str, max_uses: int
) -> None:
    service = start(cache_policy=policy)
    service.run(PROMPTS[0])
    size = service.entries()[0].num_bytes
    with transaction(service.factory) as session:
        space = session.scalars(select(Namespace)).one()
        space.byte_budget = round(3.5 * size)
        space.settings = {"match": {"max_uses": max_uses}}
    for prompt in PROMPTS[1:]:
        service.run(prompt)
    with service.factory() as session:
        found = recorded.read(session)
        plans = [Plan.from_dict(row.plan) for row in session.scalars(select(Lookup).order_by(Lookup.id))]
        victims = _victims(session.scalars(select(CacheEvent).order_by(CacheEvent.id)).all())
    told: list[tuple[int, Plan | tuple[str, ...]]] = []

    prepared = prepare(found.requests, extract=planner.extractor(), embedder=embedder, floor=0.3)
    setup = Setup(capacity=Capacity(), policy=policy, isolation="tenant")
    play(prepared, found.sample.steps, setup, watch=lambda *said: told.append(said))

    again = [said for _, said in told if isinstance(said, Plan)]
    assert [_shown(plan) for plan in again] == [_shown(plan) for plan in plans]
    assert [said for _, said in told if isinstance(said, tuple)] == victims
    assert len(victims) >= 2
    assert sum(bool(plan.donors) for plan in plans) >= (3 if max_uses > 1 else 2)


def test_what_was_moved_to_another_embedder_since_lent_in_its_time(start: Start, embedder: Any) -> None:
    service = start()
    for prompt in (PROMPTS[0], PROMPTS[2], PROMPTS[6]):
        service.run(prompt)
    minilm = load_embedder("minilm")
    with transaction(service.factory) as session:
        move = reembed.begin(session, session.scalars(select(Namespace)).one(), minilm)
    assert reembed.step(service.factory, move, minilm) == 1
    with service.factory() as session:
        found = recorded.read(session)

    prepared = prepare(found.requests, extract=planner.extractor(), embedder=embedder, floor=0.3)
    played = play(prepared, found.sample.steps, Setup(capacity=Capacity(), policy="gdsf", isolation="tenant"))

    assert [reason.value for reason in played.reasons] == ["empty_cache", "entity_hit", "entity_hit"]


def test_the_record_answers_what_another_budget_would_have_done(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str, tmp_path: Any
) -> None:
    service = start()
    for prompt in (*PROMPTS[:6], "a tiger", "a red fox jumps"):
        service.run(prompt)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setattr("sys.argv", ["chai", "cache", "simulate", "--recorded", "--capacity", "recorded,1", "--json"])

    with pytest.raises(SystemExit, match="0"):
        main()

    runs = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    assert [run["capacity"] for run in runs] == ["recorded", "1 entries"]
    assert runs[0]["entity_hit_rate"] == 3 / 8
    assert runs[0]["bound_any_earlier_prompt"] == 3 / 8
    assert runs[1]["entity_hit_rate"] < 3 / 8


def test_what_a_full_run_takes_is_as_it_was_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str, tmp_path: Any
) -> None:
    service = start()
    service.run(PROMPTS[0])
    service.run("a red fox jumps")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    asked = ["chai", "cache", "simulate", "--recorded", "--full-seconds", "1000", "--no-bounds", "--json"]
    monkeypatch.setattr("sys.argv", asked)

    with pytest.raises(SystemExit, match="0"):
        main()

    (run,) = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    assert run["seconds_saved"] > 10  # what was measured is far less than a second


def test_a_full_run_is_reckoned_at_what_those_of_that_namespace_and_time_took(start: Start) -> None:
    service = start()
    service.run(PROMPTS[0])
    service.run(PROMPTS[0], tenant="bob")
    now = datetime.now(UTC)
    with transaction(service.factory) as session:
        ada, bob = session.scalars(select(Namespace).order_by(Namespace.created_at))
        for space, seconds, at in ((ada, 2.0, now), (ada, 6.0, now - timedelta(days=2)), (bob, 100.0, now)):
            row = {"path": "full", "outcome": "completed", "gpu_seconds": seconds, "created_at": at}
            session.add(JobMetric(job_id=uuid4(), attempt=1, fence=1, tenant="ada", namespace_id=space.id, **row))
        session.execute(delete(JobMetric).where(JobMetric.worker.is_not(None)))

        days = recorded.read(session, namespace_id=ada.id, since=now - timedelta(days=1)).full_seconds
        ever = recorded.read(session, namespace_id=ada.id).full_seconds

    assert (days, ever) == (2.0, 4.0)


def _shown(plan: Plan) -> tuple[object, ...]:
    matches = [(m.entry_id, m.text, m.donor_text, m.kind, round(m.similarity, 4)) for m in plan.matched]
    return (plan.recipe, plan.reason, plan.hit, matches, plan.candidates)


def _victims(log: Sequence[CacheEvent]) -> list[tuple[str, ...]]:
    found: dict[datetime, tuple[str, ...]] = {}
    for event in log:
        if event.kind == "evict":
            assert isinstance(event.entry_id, UUID)
            found[event.created_at] = (*found.get(event.created_at, ()), str(event.entry_id))
    return list(found.values())
