import json

import pytest

from shared.generation import Mode, RunPath
from shared.reasons import Reason
from worker.cache.decisions.match_settings import MatchSettings, Veto
from worker.cache.decisions.matching import MatchedEntity
from worker.cache.decisions.planning import PAPER, Case, Plan, Recipe, table_from_rows, table_to_rows
from worker.cache.decisions.replay import DecisionRow, EvictionRow
from worker.cache.decisions.types import EntryRow, Event, EventKind, HitKind, Neighbour
from worker.prompts.types import Entity, EntityKind, Extraction, FallbackReason

CAR = Entity(text="red car", head="car", attributes=("red",), kind=EntityKind.OBJECT)
EXTRACTION = Extraction(entities=(CAR,), style=("4k",), fallback_reason=FallbackReason.NO_NOUNS)
NEIGHBOUR = Neighbour(
    query=0, entry_id="a", text="car", head="car", attributes=(), kind=EntityKind.OBJECT, similarity=0.9, created=1.5
)
MATCH = MatchedEntity(query=0, text="red car", kind=EntityKind.OBJECT, entry_id="a", donor_text="car", similarity=0.9)
RECIPE = Recipe(path=RunPath.FAST, num_steps=8, schedule={"shift": 2.0}, reuse="blend", reuse_options={"weight": 0.5})
PLAN = Plan(
    recipe=RECIPE,
    full_num_steps=30,
    reason=Reason.ENTITY_HIT,
    hit=HitKind.OBJECT,
    matched=(MATCH,),
    candidates=("a", "b"),
    nearest=0.9,
)


@pytest.mark.parametrize(
    "value",
    [
        CAR,
        EXTRACTION,
        NEIGHBOUR,
        EntryRow(id="a", num_bytes=5, seconds_saved=1.5, created=1.0, last_hit=2.0, hits=3, entities=(CAR,)),
        Event(kind=EventKind.HIT, entry_id="a", at=2.0, covers=("a", "b"), entities=("car",), policy="lru"),
        MATCH,
        MatchSettings(veto=Veto.BETWEEN, max_donors=2),
        RECIPE,
        PLAN,
        EvictionRow(at=3.0, policy="lru", bytes_needed=7, victims=("a",), kept=("b",), seed=4),
        DecisionRow(
            at=1.0,
            mode=Mode.AUTO,
            extraction=EXTRACTION,
            neighbours=(NEIGHBOUR,),
            settings=MatchSettings(),
            table=PAPER,
            plan=PLAN,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_row_comes_back_from_json_unchanged(value: EntryRow) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_a_table_comes_back_from_json_unchanged() -> None:
    assert table_from_rows(json.loads(json.dumps(table_to_rows(PAPER)))) == PAPER


def test_a_case_that_a_table_leaves_out_keeps_its_default() -> None:
    table = table_from_rows({"scene": [RECIPE.to_dict()]})

    assert table[Case.SCENE] == (RECIPE,)
    assert table[Case.OBJECT] == PAPER[Case.OBJECT]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            {"scenery": []},
            "scenery is not a case of a plan; there are full, none, plain_fast, scene, object, both, prompt, layout",
        ),
        ({"none": []}, "the case none has no recipe; it needs one, since no look-up has to succeed for it"),
    ],
)
def test_a_table_that_could_leave_a_job_without_recipe_is_refused(rows: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError) as error:
        table_from_rows(rows)  # type: ignore[arg-type]

    assert str(error.value) == message
