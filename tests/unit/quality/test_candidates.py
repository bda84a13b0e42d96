"""Which plans are tried, for models of many steps and of few."""

from types import SimpleNamespace

import pytest

from shared.generation import RunPath
from shared.model_cards import ModelCard
from worker.cache.decisions.planning import Case
from worker.quality import candidates
from worker.reuse import registry as ways


def card(full: int, fast: int, family: str = "diffusers", guidance: float = 5.0) -> ModelCard:
    return ModelCard(
        name="m",
        title="m",
        source="m",
        sizes=("32x32",),
        fps=8,
        frames=(5,),
        full_steps=full,
        fast_steps=fast,
        family=family,
        guidance_scale=guidance,
    )


@pytest.mark.parametrize(
    ("full", "fast", "counts"),
    [
        (50, 13, (25, 17, 13, 12, 10, 6)),
        (30, 8, (15, 10, 8, 6, 4)),
        (8, 8, (7, 6, 5, 4)),
        (4, 4, (3, 2)),
        (2, 2, (1,)),
        (1, 1, ()),
    ],
)
def test_the_steps_that_are_tried_follow_from_the_cards_own(full: int, fast: int, counts: tuple[int, ...]) -> None:
    assert candidates.step_counts(card(full, fast)) == counts


def test_a_pipeline_is_offered_no_options_of_a_schedule_that_it_does_not_have() -> None:
    assert {str(one.recipe.schedule) for one in candidates.plain(card(50, 13))} == {"{}"}
    assert any(one.recipe.schedule.get("spacing") for one in candidates.plain(card(30, 8, "opensora")))


def test_schedules_without_guidance_are_tried_too() -> None:
    found = [one.recipe for one in candidates.plain(card(30, 8, "opensora"))]
    unguided = [recipe for recipe in found if recipe.schedule.get("unguided_steps") == recipe.num_steps]

    assert {recipe.num_steps for recipe in unguided} == {recipe.num_steps for recipe in found}
    quadratic = {recipe.num_steps for recipe in unguided if recipe.schedule.get("spacing") == "quadratic"}
    assert quadratic == set(candidates.step_counts(card(30, 8)))


@pytest.mark.parametrize("family", ["opensora", "diffusers"])
@pytest.mark.parametrize(("full", "fast"), [(50, 13), (30, 8), (8, 8), (4, 4), (2, 2)])
def test_every_way_of_reuse_runs_fewer_steps_than_a_miss_and_can_be_built(family: str, full: int, fast: int) -> None:
    own = card(full, fast, family)
    for base in (candidates.full(own), *candidates.plain(own)):
        levels = [1000 * (1 - step / base.recipe.num_steps / 9) for step in range(base.recipe.num_steps)]
        found = [*candidates.reusing(own, base), *candidates.entering(own, base, levels)]
        assert len({one.name for one in found}) == len(found)
        for one in found:
            assert 1 <= one.recipe.num_evaluated_steps < base.recipe.num_evaluated_steps
            assert (one.lender, one.recipe.path) == (base.name, RunPath.FAST)
            ways.check(one.recipe.reuse, one.recipe.reuse_options)


def test_the_same_way_with_other_donors_is_another_candidate() -> None:
    own = card(30, 8)
    (by_full, by_half) = (candidates.reusing(own, base) for base in (candidates.full(own), candidates.plain(own)[0]))

    assert not {one.name for one in by_full} & {one.name for one in by_half}


def test_what_a_model_refuses_is_named_by_way() -> None:
    model = SimpleNamespace(refuses=lambda way, options: "Not here." if way == "cache_attention" else None)
    own = card(30, 8)

    found = candidates.refused(model, candidates.reusing(own, candidates.full(own)))

    assert found == {"cache_attention": "Not here."}


def test_a_layout_is_entered_after_the_first_step_and_after_the_last_high_one() -> None:
    own = card(10, 5)
    levels = [1000.0, 980.0, 950.0, 905.0, 850.0, 700.0, 500.0, 300.0, 200.0, 100.0]

    found = candidates.entering(own, candidates.full(own), levels)

    assert [one.recipe.reuse_options for one in found] == [{"skipped_steps": 1}, {"skipped_steps": 3}]
    assert {one.cases for one in found} == {(Case.LAYOUT,)}
    assert candidates.entering(own, candidates.full(own), [1000.0, 850.0]) == []  # none high enough


def test_few_unguided_steps_are_tried_with_a_layout_and_without_it() -> None:
    own = card(30, 8, "opensora")
    plain = {str(one.recipe.schedule) for one in candidates.plain(own)}
    entering = candidates.entering(own, candidates.full(own), [1000.0])

    assert {one.recipe.num_evaluated_steps for one in entering} == {1, 2, 3}
    assert {str(one.recipe.schedule) for one in entering} <= plain


def test_who_names_numbers_of_steps_gets_no_others() -> None:
    own = card(30, 8, "opensora")

    assert {one.recipe.num_steps for one in candidates.plain(own, (4,))} == {4}
    assert {one.recipe.num_steps for one in candidates.entering(own, candidates.full(own), [1000.0], (2,))} == {2}
