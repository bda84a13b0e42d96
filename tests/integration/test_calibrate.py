"""From measurements to the service's decision: what calibration stores is what a job runs."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import metrics, namespaces
from db.models import Namespace
from db.session import transaction
from shared.generation import Mode, RunPath
from shared.reasons import Reason
from worker.cache import tables
from worker.cache.decisions.planning import PAPER, Case, Plan, Recipe, Table, decide, table_from_rows
from worker.cache.decisions.types import Neighbour
from worker.cache.namespaces import SpaceSettings, plan_key
from worker.prompts.types import Entity, EntityKind, Extraction
from worker.quality.evidence import Bound, Choice, Measured, Verdict, choose
from worker.quality.plan_table import Calibration, with_misses, write

BOUND = Bound(ranking={"accuracy": 0.01}, num_errors=1.0)
IDENTITY = {"model": "small", "revision": "r", "width": 32}
PROMPT = Extraction(
    entities=(Entity(text="red ball", head="ball"), Entity(text="green wall", head="wall", kind=EntityKind.SCENE))
)
SCENE_HIT = (
    Neighbour(
        query=1,
        entry_id="e1",
        text="green wall",
        head="wall",
        attributes=("green",),
        kind=EntityKind.SCENE,
        similarity=1.0,
        created=0.0,
    ),
)


def measured(name: str, evaluations: int, accuracy: float, *, way: str | None = None) -> Measured:
    path = RunPath.FULL if name == "full" else RunPath.FAST
    options = {"skipped_steps": 1} if way else {}
    return Measured(
        name=name,
        recipe=Recipe(path=path, num_steps=evaluations, reuse=way, reuse_options=options, source="calibrated"),
        evaluations=evaluations,
        seconds=evaluations / 100,
        losses={"accuracy": (0.95 - accuracy,) * 30},
    )


FULL = measured("full", 30, 0.95)
SCHEDULES = [measured("3", 3, 0.85), measured("6", 6, 0.95)]


def calibration(with_scene_donor: Measured) -> Calibration:
    """What `chai calibrate` finds when a scene's donor does this, and nothing else is worth a donor."""
    without_hit = choose(FULL, SCHEDULES, [], BOUND)
    hits: Mapping[Case, Choice] = {
        Case.SCENE: choose(FULL, SCHEDULES, [with_scene_donor], BOUND),
        Case.OBJECT: without_hit,
        Case.BOTH: without_hit,
    }
    return Calibration(choices=with_misses(hits, without_hit), num_prompts=30, seed=0, bound=BOUND)


def stored_table(factory: sessionmaker[Session], found: Calibration) -> Table:
    with transaction(factory) as session:
        metrics.set_plans(session, "key", found.rows("key"))
    with factory() as session:
        return table_from_rows(metrics.plans(session, "key"))


def scene_plan(table: Table) -> Plan:
    return decide(Mode.AUTO, PROMPT, SCENE_HIT, table)


def test_where_reuse_hurts_a_hit_runs_the_plain_schedule_and_says_so(session_factory: sessionmaker[Session]) -> None:
    found = calibration(measured("3 + donor", 3, 0.60, way="cache_attention"))

    plan = scene_plan(stored_table(session_factory, found))

    assert found.choices[Case.SCENE].verdict is Verdict.PLAIN
    assert (plan.recipe.num_steps, plan.recipe.reuse, plan.donors) == (6, None, ())
    assert plan.reason is Reason.PLAIN_IS_BETTER


def test_where_no_donor_helps_a_miss_is_fast_and_leaves_none_behind(session_factory: sessionmaker[Session]) -> None:
    table = stored_table(session_factory, calibration(measured("3 + donor", 3, 0.60, way="cache_attention")))

    plan = decide(Mode.AUTO, PROMPT, (), table)

    assert (plan.recipe.num_steps, plan.path) == (6, RunPath.FAST)


def test_where_reuse_helps_a_hit_reads_its_donor(session_factory: sessionmaker[Session]) -> None:
    found = calibration(measured("3 + donor", 3, 0.95, way="resume"))

    plan = scene_plan(stored_table(session_factory, found))

    assert found.choices[Case.SCENE].verdict is Verdict.REUSE
    assert (plan.recipe.num_steps, plan.recipe.reuse, plan.donors) == (3, "resume", ("e1",))
    assert plan.reason is Reason.ENTITY_HIT


def test_where_reuse_helps_a_miss_keeps_its_latents(session_factory: sessionmaker[Session]) -> None:
    table = stored_table(session_factory, calibration(measured("3 + donor", 3, 0.95, way="resume")))

    plan = decide(Mode.AUTO, PROMPT, (), table)

    assert (plan.recipe.num_steps, plan.path) == (6, RunPath.FULL)


def test_full_mode_stays_full_mode(session_factory: sessionmaker[Session]) -> None:
    table = stored_table(session_factory, calibration(measured("3 + donor", 3, 0.95, way="resume")))

    assert decide(Mode.FULL, PROMPT, SCENE_HIT, table).recipe.num_steps == 30


def test_a_new_calibration_takes_the_place_of_the_old_one(session_factory: sessionmaker[Session]) -> None:
    stored_table(session_factory, calibration(measured("3 + donor", 3, 0.95, way="resume")))

    table = stored_table(session_factory, calibration(measured("3 + donor", 3, 0.60, way="resume")))

    assert table[Case.SCENE][0].reuse is None


@pytest.fixture
def space(session_factory: sessionmaker[Session]) -> Namespace:
    values: dict[str, Any] = {"byte_budget": 1, "policy": "lru", "admission": "all"}
    with transaction(session_factory) as session:
        return namespaces.get_or_create(session, IDENTITY, scope="tenant", owner="ada", dims=384, **values)


def test_plans_beside_a_card_hold_until_the_database_has_its_own(
    session_factory: sessionmaker[Session], space: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "plans.json"
    write(calibration(measured("3 + donor", 3, 0.95, way="resume")), file, namespace_key=plan_key(space))

    with transaction(session_factory) as session:
        shipped, unnamed = (
            tables.table_for(session, space, SpaceSettings(), file, plans) for plans in ("measured", "paper")
        )
        own = calibration(measured("3 + donor", 3, 0.60, way="resume"))
        metrics.set_plans(session, plan_key(space), own.rows(plan_key(space)))
        stored = tables.table_for(session, space, SpaceSettings(), file, "measured")
        by_name = tables.table_for(session, space, SpaceSettings(table="measured"), file)

    assert (shipped[Case.SCENE][0].reuse, stored[Case.SCENE][0].reuse) == ("resume", None)
    assert unnamed == PAPER
    assert by_name == shipped


def test_a_card_that_names_no_plans_there_are_is_told_which_there_are(
    session_factory: sessionmaker[Session], space: Namespace, tmp_path: Path
) -> None:
    with (
        session_factory() as session,
        pytest.raises(ValueError, match=r"^there are no plans 'best', but paper, nirvana, plain, measured$"),
    ):
        tables.table_for(session, space, SpaceSettings(), tmp_path / "plans.json", "best")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plans: plans | {"key": "of another revision"}, "measured for other weights, another size or another"),
        (lambda plans: plans | {"recipes": {"layouts": []}}, "no table of plans .*layouts is not a case of a plan"),
        (lambda plans: plans | {"recipes": {"none": [{"steps": 4}]}}, "no table of plans .*path"),
        (lambda plans: {"recipes": plans["recipes"]}, "no table of plans .*key"),
        (lambda plans: [], "no table of plans"),
    ],
)
def test_plans_that_are_of_something_else_or_broken_are_named_once_and_not_used(
    session_factory: sessionmaker[Session],
    space: Namespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Any], Any],
    reason: str,
) -> None:
    file = tmp_path / "wan" / "plans.json"
    file.parent.mkdir()
    write(calibration(measured("3 + donor", 3, 0.95, way="resume")), file, namespace_key=plan_key(space))
    file.write_text(json.dumps(change(json.loads(file.read_text()))))

    with session_factory() as session:
        found = [tables.table_for(session, space, SpaceSettings(), file, "measured") for _ in range(2)]

    assert found == [table_from_rows({})] * 2
    (said,) = [record.message for record in caplog.records if "is not used" in record.message]
    assert re.search(reason, said)
    assert said.startswith(str(file))
    assert "chai calibrate --model wan" in said


def test_what_is_written_says_what_it_rests_on(tmp_path: Path) -> None:
    file = tmp_path / "plans.json"

    write(calibration(measured("3 + donor", 3, 0.60, way="resume")), file, namespace_key="k")

    quality = json.loads(file.read_text())["quality"]["scene"]
    assert (quality["verdict"], quality["plan"], quality["clips"]) == ("plain", "6", 30)
    assert quality["losses"]["accuracy"]["mean"] == pytest.approx(0)
