"""The rule of calibration on constructed measurements."""

from dataclasses import replace

import pytest

from shared.generation import RunPath
from worker.cache.decisions.planning import Recipe
from worker.quality.evidence import Bound, Measured, Verdict, choose, least_likely, most_likely

BOUND = Bound(ranking={"accuracy": 0.01, "distance": 0.01}, num_errors=1.0)
PROMPTS = 40
FULL_ACCURACY, FULL_DISTANCE = 0.95, 0.1


def measured(
    name: str, evaluations: float, accuracy: float, *, distance: float = 0.1, way: str | None = None
) -> Measured:
    """A plan with a known mean; prompts scatter alike for every plan, so differences to full mode's are exact."""
    accuracies, distances = (FULL_ACCURACY - accuracy,) * PROMPTS, (distance - FULL_DISTANCE,) * PROMPTS
    return Measured(
        name=name,
        recipe=Recipe(path=RunPath.FAST, num_steps=max(1, round(evaluations)), reuse=way, source="calibrated"),
        evaluations=evaluations,
        seconds=evaluations / 100,
        losses={"accuracy": accuracies, "distance": distances},
    )


FULL = measured("full", 30, 0.95)
PLAIN = [measured("2", 2, 0.80), measured("4", 4, 0.90), measured("8", 8, 0.95)]


def test_where_reuse_hurts_no_reuse_is_chosen() -> None:
    harmful = measured("4 + donor", 4, 0.70, way="cache_attention")

    choice = choose(FULL, PLAIN, [harmful], BOUND)

    assert (choice.chosen.name, choice.verdict) == ("8", Verdict.PLAIN)
    assert choice.chosen.recipe.reuse is None


def test_where_reuse_keeps_quality_at_fewer_evaluations_it_is_chosen() -> None:
    helpful = measured("3 + donor", 3, 0.95, way="resume")

    choice = choose(FULL, PLAIN, [helpful], BOUND)

    assert (choice.chosen.name, choice.verdict) == ("3 + donor", Verdict.REUSE)


def test_the_cheapest_of_two_good_ways_is_chosen() -> None:
    ways = [measured("4 + donor", 4, 0.96, way="resume"), measured("3 + donor", 3, 0.95, way="resume")]

    assert choose(FULL, PLAIN, ways, BOUND).chosen.name == "3 + donor"


def test_reuse_that_costs_as_much_as_a_good_schedule_is_not_chosen() -> None:
    dear = measured("8 + donor", 8, 0.97, way="resume")

    assert choose(FULL, PLAIN, [dear], BOUND).verdict is Verdict.PLAIN


def test_reuse_that_only_equals_the_schedule_of_its_cost_is_not_chosen() -> None:
    plain = [*PLAIN, measured("3", 3, 0.95)]
    idle = measured("3 + donor", 3, 0.95, way="blend")

    assert choose(FULL, plain, [idle], BOUND).chosen.name == "3"


def test_reuse_at_a_cost_that_no_schedule_was_measured_at_has_to_beat_the_cheapest() -> None:
    plain = [measured("4", 4, 0.95), measured("8", 8, 0.95)]
    idle, helpful = measured("1 + donor", 1, 0.95, way="resume"), measured("2 + donor", 2, 0.99, way="resume")

    assert choose(FULL, plain, [idle], BOUND).chosen.name == "4"
    assert choose(FULL, plain, [idle, helpful], BOUND).chosen.name == "2 + donor"
    assert choose(FULL, [], [helpful], BOUND).chosen is FULL


def test_only_a_loss_beyond_doubt_is_hopeless() -> None:
    scattered = replace(FULL, losses={"accuracy": (0.0, 0.2) * 20, "distance": (0.0,) * 40})  # .1 ± .016
    doubtful = replace(FULL, losses={"accuracy": (-0.08, 0.1) * 20, "distance": (0.0,) * 40})  # .01 ± .014
    early = replace(FULL, losses={"accuracy": (0.2,) * 29, "distance": (0.0,) * 29})

    assert BOUND.is_hopeless(scattered)
    assert not BOUND.is_hopeless(doubtful)
    assert not BOUND.keeps(doubtful)
    assert not BOUND.is_hopeless(early)


def test_too_many_bad_ones_beyond_doubt_are_hopeless_whatever_the_mean() -> None:
    bad, good = 10 * BOUND.ranking["accuracy"] + 0.01, -0.1
    many = replace(FULL, losses={"accuracy": (bad,) * 18 + (good,) * 42, "distance": (0.0,) * 60})
    some = replace(FULL, losses={"accuracy": (bad,) * 10 + (good,) * 50, "distance": (0.0,) * 60})

    assert BOUND.is_hopeless(many)  # 18 of 60: a tenth is excluded
    assert not BOUND.is_hopeless(some)
    assert not BOUND.keeps(some)


def test_a_donor_has_to_beat_a_schedule_that_was_given_up_on_the_prompts_of_both() -> None:
    short = replace(PLAIN[0], losses={judge: losses[:30] for judge, losses in PLAIN[0].losses.items()})
    unseen = replace(PLAIN[0], losses=dict.fromkeys(PLAIN[0].losses, ()))
    helpful = measured("2 + donor", 2, 0.95, way="resume")

    assert choose(FULL, [short, *PLAIN[1:]], [helpful], BOUND).verdict is Verdict.REUSE
    assert choose(FULL, [unseen, *PLAIN[1:]], [helpful], BOUND).verdict is Verdict.PLAIN


def test_a_plan_that_drifts_from_its_prompts_does_not_keep() -> None:
    blurred = measured("2 + donor", 2, 0.95, distance=0.13, way="blend")

    assert choose(FULL, PLAIN, [blurred], BOUND).verdict is Verdict.PLAIN


def test_full_mode_stays_when_nothing_keeps() -> None:
    choice = choose(FULL, PLAIN[:2], [], BOUND)

    assert (choice.chosen, choice.verdict) == (FULL, Verdict.FULL)


@pytest.mark.parametrize(("num_errors", "kept"), [(0.0, True), (3.0, False)])
def test_doubt_counts_against_a_plan(num_errors: float, kept: bool) -> None:
    doubtful = Measured(
        name="doubtful",
        recipe=Recipe(path=RunPath.FAST, num_steps=2),
        evaluations=2,
        seconds=0.02,
        losses={"accuracy": tuple(0.3 if i % 2 else -0.3 for i in range(PROMPTS))},
    )

    assert Bound(ranking={"accuracy": 0.01}, num_errors=num_errors, max_bad=1.0).keeps(doubtful) is kept


def test_a_few_bad_videos_among_many_good_ones_are_enough_to_refuse() -> None:
    """On the mean it loses nothing; 3 of 40 bad may be 18 %, 95 % sure."""
    losses = [0.15] * 3 + [-0.02] * (PROMPTS - 3)
    unlucky = Measured(
        name="unlucky",
        recipe=Recipe(path=RunPath.FAST, num_steps=2),
        evaluations=2,
        seconds=0.02,
        losses={"accuracy": tuple(losses)},
    )
    bound = Bound(ranking={"accuracy": 0.01}, num_errors=1.0)

    assert bound.why_not(unlucky) == "accuracy: 3 of 40 bad, maybe 18%, allowed 10%"


def test_fewer_prompts_than_the_bound_needs_decide_nothing() -> None:
    few = Bound(ranking={"accuracy": 0.01}, min_prompts=PROMPTS + 1)

    assert few.why_not(PLAIN[2]) == "40 prompts, 41 are needed"
    assert choose(FULL, PLAIN, [measured("3 + donor", 3, 0.99, way="resume")], few).verdict is Verdict.FULL


def test_nearness_alone_takes_a_schedule_and_never_a_donor() -> None:
    near = Bound(measuring={"accuracy": 0.01, "distance": 0.01}, num_errors=1.0)
    helpful = measured("3 + donor", 3, 0.99, way="resume")

    choice = choose(FULL, PLAIN, [helpful], near)

    assert (choice.chosen.name, choice.verdict) == ("8", Verdict.PLAIN)


@pytest.mark.parametrize(
    ("bad", "count", "share"),
    [
        (0, 29, 0.098145),  # 1 - 0.05 ** (1 / 29)
        (0, 1, 0.95),
        (5, 5, 1.0),
        (2, 50, 0.120613),  # scipy.stats.beta.ppf(0.95, 3, 48)
    ],
)
def test_the_share_of_bad_ones_is_bounded_as_by_clopper_and_pearson(bad: int, count: int, share: float) -> None:
    assert most_likely(bad, count) == pytest.approx(share, abs=1e-5)
    assert least_likely(count - bad, count) == pytest.approx(1 - share, abs=1e-5)


def test_of_thousands_of_videos_the_share_of_bad_ones_is_still_told() -> None:
    assert most_likely(1500, 3000) == pytest.approx(0.515, abs=1e-3)
    assert least_likely(1500, 3000) == pytest.approx(0.485, abs=1e-3)
