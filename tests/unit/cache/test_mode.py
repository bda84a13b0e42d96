import pytest

from shared.generation import GenerationParams, Mode, RunPath
from shared.model_cards import ModelCard
from shared.reasons import Reason
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import (
    NIRVANA,
    NIRVANA_MATCH,
    PAPER,
    TABLES,
    Case,
    Recipe,
    Table,
    decide,
    receipt,
    without_donors,
)
from worker.cache.decisions.types import HitKind, Neighbour
from worker.cache.tables import recipes
from worker.prompts.entities import whole_prompt
from worker.prompts.types import Entity, EntityKind, Extraction

DOG = Entity(text="brown dog", head="dog", attributes=("brown",))
BEACH = Entity(text="beach", head="beach", kind=EntityKind.SCENE)
PROMPT = Extraction(entities=(DOG, BEACH))


def near(similarity: float, *, query: int = 0, entry_id: str = "a", colour: str = "brown") -> Neighbour:
    entity = PROMPT.entities[query]
    text = entity.text.replace("brown", colour)
    return Neighbour(
        query=query,
        entry_id=entry_id,
        text=text,
        head=entity.head,
        attributes=(colour,) if query == 0 else (),
        kind=entity.kind,
        similarity=similarity,
        created=0.0,
    )


MASKED = Recipe(path=RunPath.FAST, num_steps=3, reuse="residual", reuse_options={"masked": True}, source="calibrated")
PLAIN_4 = Recipe(path=RunPath.FAST, num_steps=4, schedule={"unguided_steps": 1}, source="calibrated")


@pytest.mark.parametrize(
    ("mode", "neighbours", "path", "num_steps", "reuse", "reason"),
    [
        (Mode.AUTO, [near(0.9)], RunPath.FAST, 8, "cache_attention", Reason.ENTITY_HIT),
        (Mode.AUTO, [], RunPath.FULL, 30, None, Reason.EMPTY_CACHE),
        (Mode.AUTO, [near(0.6)], RunPath.FULL, 30, None, Reason.ONLY_RELATED),
        (Mode.AUTO, [near(0.2)], RunPath.FULL, 30, None, Reason.NO_MATCH),
        (Mode.AUTO, [near(0.9, colour="black")], RunPath.FULL, 30, None, Reason.CONFLICT),
        (Mode.FULL, [near(0.9)], RunPath.FULL, 30, None, Reason.FULL_REQUESTED),
        (Mode.FAST, [near(0.9)], RunPath.FAST, 8, "cache_attention", Reason.ENTITY_HIT),
        (Mode.FAST, [near(0.6)], RunPath.FAST, 8, None, Reason.FAST_REQUESTED_NO_HIT),
        (Mode.FAST, [], RunPath.FAST, 8, None, Reason.FAST_REQUESTED_NO_HIT),
    ],
)
def test_the_mode_asked_for_and_the_neighbours_decide(
    mode: Mode, neighbours: list[Neighbour], path: RunPath, num_steps: int, reuse: str | None, reason: Reason
) -> None:
    plan = decide(mode, PROMPT, neighbours)

    assert (plan.path, plan.recipe.num_steps, plan.recipe.reuse, plan.reason) == (path, num_steps, reuse, reason)
    assert plan.steps_saved == 30 - num_steps
    assert bool(plan.donors) == (reuse is not None)


def test_the_paper_plan_attends_to_the_cache_at_steps_2_3_and_4() -> None:
    plan = decide(Mode.AUTO, PROMPT, [near(0.9)])

    assert plan.recipe.reuse_options == {"steps": [2, 3, 4]}
    assert plan.donors == ("a",)


def test_a_calibrated_recipe_replaces_the_paper_one_for_its_kind_of_hit_only() -> None:
    table: Table = {**PAPER, Case.SCENE: (MASKED,)}

    assert decide(Mode.AUTO, PROMPT, [near(0.9, query=1)], table).recipe == MASKED
    assert decide(Mode.AUTO, PROMPT, [near(0.9, query=0)], table).recipe == PAPER[Case.OBJECT][0]


def test_where_reuse_was_measured_to_hurt_no_donor_is_used() -> None:
    plan = decide(Mode.AUTO, PROMPT, [near(0.9)], {**PAPER, Case.OBJECT: (PLAIN_4,)})

    assert (plan.recipe, plan.donors, plan.reason) == (PLAIN_4, (), Reason.PLAIN_IS_BETTER)
    assert plan.hit is HitKind.OBJECT


def test_fast_stays_fast_where_calibration_answers_a_hit_with_full_mode() -> None:
    table: Table = {**PAPER, Case.OBJECT: PAPER[Case.FULL]}

    assert decide(Mode.AUTO, PROMPT, [near(0.9)], table).path is RunPath.FULL
    assert decide(Mode.FAST, PROMPT, [near(0.9)], table).recipe == PAPER[Case.PLAIN_FAST][0]


def test_the_deepest_recipe_that_the_similarity_allows_is_taken() -> None:
    deep = Recipe(path=RunPath.FAST, num_steps=2, reuse="residual", min_similarity=0.95)
    shallow = Recipe(path=RunPath.FAST, num_steps=4, reuse="residual", min_similarity=0.85)
    table: Table = {**PAPER, Case.OBJECT: (shallow, deep)}

    assert decide(Mode.AUTO, PROMPT, [near(0.97)], table).recipe == deep
    assert decide(Mode.AUTO, PROMPT, [near(0.90)], table).recipe == shallow
    weak = decide(Mode.AUTO, PROMPT, [near(0.82)], table)
    assert (weak.path, weak.reason, weak.donors) == (RunPath.FULL, Reason.HIT_TOO_WEAK, ())


@pytest.mark.parametrize(
    ("similarity", "skipped"),
    [(0.99, 15), (0.95, 15), (0.94, 12), (0.90, 12), (0.86, 9), (0.76, 6), (0.66, 3), (0.64, None)],
)
def test_nirvana_resumes_deeper_the_more_alike_whole_prompts_are(similarity: float, skipped: int | None) -> None:
    prompt = whole_prompt("A dog on the beach")
    neighbour = Neighbour(
        query=0,
        entry_id="a",
        text="a dog at the beach",
        head="a dog at the beach",
        attributes=(),
        kind=EntityKind.PROMPT,
        similarity=similarity,
        created=0.0,
    )

    plan = decide(Mode.AUTO, prompt, [neighbour], NIRVANA, NIRVANA_MATCH)

    if skipped is None:
        assert plan.path is RunPath.FULL
    else:
        assert (plan.recipe.reuse, plan.recipe.reuse_options) == ("resume", {"skipped_steps": skipped})
        assert (plan.steps_saved, plan.reason) == (skipped, Reason.PROMPT_HIT)


@pytest.mark.parametrize(("mode", "path"), [(Mode.AUTO, RunPath.FULL), (Mode.FAST, RunPath.FAST)])
def test_a_donor_that_cannot_be_read_costs_time_and_no_job(mode: Mode, path: RunPath) -> None:
    plan = without_donors(decide(mode, PROMPT, [near(0.9)]), mode)

    assert (plan.path, plan.donors, plan.reason, plan.recipe.reuse) == (path, (), Reason.DONOR_UNUSABLE, None)
    assert plan.candidates == ("a",)


@pytest.mark.parametrize(("mode", "steps"), [(Mode.AUTO, 30), (Mode.FAST, 8), (Mode.FULL, 30)])
def test_plain_plans_use_no_donor_whatever_is_found(mode: Mode, steps: int) -> None:
    plan = decide(mode, PROMPT, [near(1.0)], TABLES["plain"])

    assert (plan.donors, plan.recipe.num_steps) == ((), steps)
    assert plan.reason in (Reason.NO_DONOR_PLANS, Reason.FULL_REQUESTED)


def test_settings_reach_the_look_up() -> None:
    assert decide(Mode.AUTO, PROMPT, [near(0.85)], settings=MatchSettings(same_threshold=0.9)).path is RunPath.FAST
    strict = MatchSettings(same_threshold=0.9, head_threshold=0.9)
    assert decide(Mode.AUTO, PROMPT, [near(0.85)], settings=strict).path is RunPath.FULL


def test_every_reason_has_a_sentence() -> None:
    assert all(reason.sentence.endswith(".") or ":" in reason.sentence for reason in Reason)


def test_every_reason_for_no_donor_has_a_few_words_for_a_table() -> None:
    assert {reason for reason in Reason if not reason.short} == {reason for reason in Reason if reason.is_hit}


def test_the_receipt_of_a_hit_on_an_own_video() -> None:
    plan = decide(Mode.AUTO, PROMPT, [near(0.91234)])

    block = receipt(plan, own_donors={"a": "video_1"}, gpu_seconds_saved=2.5)

    assert block == {
        "path": "fast",
        "reason": "entity_hit",
        "explanation": "An earlier video shows part of this prompt.",
        "hit": "object",
        "matched": [{"entity": "brown dog", "kind": "object", "similarity": 0.9123, "donor_entity": "brown dog"}],
        "similarity": 0.9123,
        "donors": ["video_1"],
        "reuse": "cache_attention",
        "steps": 8,
        "layout": "own",
        "steps_saved": 22,
        "gpu_seconds_saved": 2.5,
        "unread": [],
    }


def test_the_receipt_of_a_hit_on_a_foreign_video_names_neither_it_nor_its_words() -> None:
    plan = decide(Mode.AUTO, PROMPT, [near(0.9, entry_id="theirs")])

    block = receipt(plan)

    assert block["donors"] == []
    assert block["matched"][0]["donor_entity"] is None
    assert "theirs" not in str(block)


def test_seconds_saved_stay_unknown_until_they_were_measured() -> None:
    assert receipt(decide(Mode.AUTO, PROMPT, [near(0.9)]))["gpu_seconds_saved"] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0; it must be at least 1"),
        ({"num_steps": 8, "min_similarity": 1.5}, "min_similarity is 1.5; it must lie between 0 and 1"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Recipe(path=RunPath.FAST, **values)  # type: ignore[arg-type]

    assert str(error.value) == message


def test_with_few_steps_a_donor_that_would_skip_none_is_not_read() -> None:
    card = ModelCard(
        name="m", title="m", source="m", sizes=("32x32",), fps=8, frames=(5,), full_steps=4, family="diffusers"
    )
    params = GenerationParams(prompt="a", model="m", width=32, height=32, num_frames=5, fps=8)

    table = recipes(params, card, NIRVANA)

    assert [recipe.num_skipped_steps for recipe in table[Case.PROMPT]] == [2, 2, 1, 1]
    assert {recipe.num_steps for recipe in table[Case.PROMPT]} == {4}
