"""When a donor's layout may be taken: the same things, as many, of the same motion, before such a scene, and no donor
too often."""

import pytest

from shared.generation import GenerationParams, Mode, RunPath
from shared.model_cards import ModelCard
from shared.reasons import Reason
from worker.cache import packed, tables
from worker.cache.decisions.planning import PAPER, Case, Recipe, decide, overlent_layouts, receipt
from worker.cache.decisions.types import Neighbour
from worker.prompts.entities import extract
from worker.prompts.types import Extraction

ENTERING = Recipe(path=RunPath.FAST, num_steps=2, reuse="own_trajectory", source="calibrated")
TABLE = {**PAPER, Case.LAYOUT: (ENTERING,)}
STORED = "a small red ball drifts left over a striped field"


def stored(prompt: str, extraction: Extraction) -> list[Neighbour]:
    """The entities of a stored prompt that are equal to one of the prompt asked."""
    return [
        Neighbour.of(entity, query=query, entry_id="donor", similarity=1.0, created=0.0)
        for query, ours in enumerate(extraction.entities)
        for entity in extract(prompt).entities
        if entity.text == ours.text
    ]


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a small red ball is gliding to the left", Reason.LAYOUT_HIT),  # in words of its own; the scene is left open
        ("a small red ball is gliding to the left above a plain wall", Reason.ENTITY_HIT),  # another scene
        ("over a striped field, a small red ball floats leftwards", Reason.LAYOUT_HIT),  # scene and thing
        ("a small red ball drifts right over a plain wall", Reason.ENTITY_HIT),  # another motion
        ("a small red ball rests on a plain wall", Reason.ENTITY_HIT),
        ("a small red ball and a dog drift left over a plain wall", Reason.ENTITY_HIT),  # another number
        ("two small red balls drift left over a plain wall", Reason.CONFLICT),  # an article counts
        ("a dog drifts left over a striped field", Reason.ENTITY_HIT),  # the scene alone
        ("a small blue ball drifts left over a striped field", Reason.LAYOUT_HIT),  # another colour in the same scene
        ("a small blue ball drifts up over a striped field", Reason.CONFLICT),
        ("two small blue balls drift left over a striped field", Reason.CONFLICT),
    ],
)
def test_a_layout_is_taken_only_where_things_number_and_motion_are_shared(prompt: str, reason: Reason) -> None:
    extraction = extract(prompt)

    plan = decide(Mode.AUTO, extraction, stored(STORED, extraction), TABLE)

    assert plan.reason is reason
    assert receipt(plan)["layout"] == ("donor" if reason is Reason.LAYOUT_HIT else "own")


def test_a_thing_of_another_colour_may_be_called_by_a_synonym() -> None:
    extraction = extract("a blue boat glides left over a calm sea")

    plan = decide(Mode.AUTO, extraction, stored("a red ship drifts left over a calm sea", extraction), TABLE)

    assert plan.reason is Reason.LAYOUT_HIT


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        ("a crimson wall", Reason.LAYOUT_HIT),  # no scene that matches, but of that colour
        ("a striped red wall", Reason.LAYOUT_HIT),
        ("a blue wall", Reason.ENTITY_HIT),
        ("a red and blue wall", Reason.ENTITY_HIT),
        ("a striped wall", Reason.ENTITY_HIT),
    ],
)
def test_another_scene_lends_a_layout_only_where_it_has_the_same_colours(scene: str, reason: Reason) -> None:
    extraction = extract(f"a small ball drifts left over {scene}")

    plan = decide(Mode.AUTO, extraction, stored("a small ball drifts left over a red carpet", extraction), TABLE)

    assert plan.reason is reason


def test_where_no_motion_is_named_no_layout_is_shared() -> None:
    extraction = extract("a small red ball over a plain wall")

    plan = decide(Mode.AUTO, extraction, stored("a small red ball over a striped field", extraction), TABLE)

    assert plan.reason is Reason.ENTITY_HIT


def test_an_entry_from_before_layouts_were_noted_lends_none() -> None:
    extraction = extract(STORED)
    near = [
        Neighbour.from_dict({**one.to_dict(), "attributes": [word for word in one.attributes if ":" not in word]})
        for one in stored(STORED, extraction)
    ]

    assert decide(Mode.AUTO, extraction, near, TABLE).reason is Reason.ENTITY_HIT


def test_recorded_neighbours_keep_their_layout() -> None:
    near = stored(STORED, extract(STORED))

    assert packed.unpack(packed.pack(near)) == tuple(near)


def test_who_names_a_seed_or_a_number_of_steps_gets_no_donors_layout() -> None:
    card = ModelCard(name="m", title="m", source="m", sizes=("32x32",), fps=8, frames=(5,))
    size = {"prompt": STORED, "model": "m", "width": 32, "height": 32, "num_frames": 5, "fps": 8}

    assert Case.LAYOUT in tables.recipes(GenerationParams(**size), card, TABLE)
    assert Case.LAYOUT not in tables.recipes(GenerationParams(**size, seed=0), card, TABLE)
    assert Case.LAYOUT not in tables.recipes(GenerationParams(**size, num_inference_steps=3), card, TABLE)


def test_levels_of_a_plan_go_with_its_number_of_steps() -> None:
    card = ModelCard(name="m", title="m", source="m", sizes=("32x32",), fps=8, frames=(5,))
    size = {"prompt": STORED, "model": "m", "width": 32, "height": 32, "num_frames": 5, "fps": 8}
    two = Recipe(path=RunPath.FAST, num_steps=2, schedule={"levels": [0.9, 0.5], "shift": 2}, source="calibrated")

    (asked,) = tables.recipes(GenerationParams(**size, num_inference_steps=4), card, {Case.SCENE: (two,)})[Case.SCENE]

    assert (asked.num_steps, asked.schedule) == (4, {"shift": 2})


def test_a_donor_lends_its_layout_to_a_share_of_the_jobs_and_no_more() -> None:
    assert overlent_layouts({"a"}, 48, {}, share=0.02) == {"a"}  # one of 49 were more than 2 %
    assert overlent_layouts({"a"}, 49, {}, share=0.02) == frozenset()
    assert overlent_layouts({"a", "b"}, 999, {"a": 20, "b": 19}, share=0.02) == {"a"}

    extraction = extract(STORED)
    plan = decide(Mode.AUTO, extraction, stored(STORED, extraction), TABLE, overlent={"donor"})
    assert plan.reason is Reason.ENTITY_HIT  # by the plan of its kind


def test_without_a_plan_for_layouts_their_kind_answers() -> None:
    extraction = extract(STORED)

    assert decide(Mode.AUTO, extraction, stored(STORED, extraction)).reason is Reason.ENTITY_HIT
