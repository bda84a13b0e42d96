"""The rule of calibration on constructed measurements."""

import pytest

from lab.calibration.choose import Measured, Tolerance, Verdict, choose
from shared.generation import RunPath
from worker.cache.decisions.planning import Recipe

TOLERANCE = Tolerance(accuracy=0.01, distance=0.01, num_errors=1.0)
PROMPTS = 40


def measured(
    name: str, evaluations: float, accuracy: float, *, distance: float = 0.1, way: str | None = None
) -> Measured:
    """A plan with a known mean; prompts scatter alike for every plan, so differences are exact."""
    scatter = [0.02 * (i % 5 - 2) for i in range(PROMPTS)]
    return Measured(
        name=name,
        recipe=Recipe(path=RunPath.FAST, num_steps=max(1, round(evaluations)), reuse=way, source="calibrated"),
        evaluations=evaluations,
        seconds=evaluations / 100,
        accuracies=tuple(accuracy + value for value in scatter),
        distances=(distance,) * PROMPTS,
    )


FULL = measured("full", 30, 0.95)
PLAIN = [measured("2", 2, 0.80), measured("4", 4, 0.90), measured("8", 8, 0.95)]


def test_where_reuse_hurts_no_reuse_is_chosen() -> None:
    harmful = measured("4 + donor", 4, 0.70, way="cache_attention")

    choice = choose(FULL, PLAIN, [harmful], TOLERANCE)

    assert (choice.chosen.name, choice.verdict) == ("8", Verdict.PLAIN)
    assert choice.chosen.recipe.reuse is None


def test_where_reuse_keeps_quality_at_fewer_evaluations_it_is_chosen() -> None:
    helpful = measured("3 + donor", 3, 0.95, way="resume")

    choice = choose(FULL, PLAIN, [helpful], TOLERANCE)

    assert (choice.chosen.name, choice.verdict) == ("3 + donor", Verdict.REUSE)


def test_the_cheapest_of_two_good_ways_is_chosen() -> None:
    ways = [measured("4 + donor", 4, 0.96, way="resume"), measured("3 + donor", 3, 0.95, way="resume")]

    assert choose(FULL, PLAIN, ways, TOLERANCE).chosen.name == "3 + donor"


def test_reuse_that_costs_as_much_as_a_good_schedule_is_not_chosen() -> None:
    dear = measured("8 + donor", 8, 0.97, way="resume")

    assert choose(FULL, PLAIN, [dear], TOLERANCE).verdict is Verdict.PLAIN


def test_reuse_that_only_equals_the_schedule_of_its_cost_is_not_chosen() -> None:
    plain = [*PLAIN, measured("3", 3, 0.95)]
    idle = measured("3 + donor", 3, 0.95, way="blend")

    assert choose(FULL, plain, [idle], TOLERANCE).chosen.name == "3"


def test_a_plan_that_drifts_from_its_prompts_does_not_keep() -> None:
    blurred = measured("2 + donor", 2, 0.95, distance=0.13, way="blend")

    assert choose(FULL, PLAIN, [blurred], TOLERANCE).verdict is Verdict.PLAIN


def test_full_mode_stays_when_nothing_keeps() -> None:
    choice = choose(FULL, PLAIN[:2], [], TOLERANCE)

    assert (choice.chosen, choice.verdict) == (FULL, Verdict.FULL)


@pytest.mark.parametrize(("num_errors", "kept"), [(0.0, True), (3.0, False)])
def test_doubt_counts_against_a_plan(num_errors: float, kept: bool) -> None:
    doubtful = Measured(
        name="doubtful",
        recipe=Recipe(path=RunPath.FAST, num_steps=2),
        evaluations=2,
        seconds=0.02,
        accuracies=tuple(a + (0.3 if i % 2 else -0.3) for i, a in enumerate(FULL.accuracies)),
        distances=FULL.distances,
    )

    assert Tolerance(num_errors=num_errors).keeps(doubtful, FULL) is kept
