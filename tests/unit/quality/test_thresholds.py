"""When the monitor moves a threshold, and where to."""

import random
from uuid import UUID

import pytest

from shared.generation import RunPath
from shared.reasons import Reason
from worker.cache.decisions.planning import NEVER, Case, Mode, Recipe, decide
from worker.cache.decisions.types import Neighbour
from worker.prompts.types import Entity, Extraction
from worker.quality.thresholds import Loss, Rule, above, below, demanding, is_chosen, relaxed, threshold_of

RULE = Rule(tolerance=0.02)
REUSING = Recipe(path=RunPath.FAST, num_steps=8, reuse="cache_attention")


def losses(number, *, mean, similarity=(0.70, 1.0), spread=0.1, seed=0):
    rng = random.Random(seed)
    return [Loss(similarity=rng.uniform(*similarity), loss=rng.gauss(mean, spread)) for _ in range(number)]


def test_too_few_checks_move_nothing():
    assert RULE.move(0.0, 0.0, losses(19, mean=0.9)) is None


def test_checks_that_lose_nothing_move_nothing():
    assert RULE.move(0.0, 0.0, losses(200, mean=0.0)) is None


def test_a_clear_loss_raises_to_the_step_above_the_weakest_hit():
    found = [*losses(30, mean=0.3, similarity=(0.83, 0.99)), Loss(similarity=0.81, loss=0.3)]

    move = RULE.move(0.0, 0.0, found)

    assert move is not None
    assert (move.old, move.new, move.evidence.count) == (0.0, 0.85, 31)
    assert move.evidence.mean == pytest.approx(0.3, abs=0.06)


def test_a_loss_that_may_be_chance_raises_nothing():
    """Mean 0.05, error 0.02: less than two errors above the tolerance."""
    found = [Loss(similarity=0.9, loss=0.05 + sign * 0.109) for sign in (-1, 1)] * 15

    assert RULE.move(0.0, 0.0, found) is None
    assert Rule(tolerance=0.02, num_errors=1).move(0.0, 0.0, found) is not None


def test_a_lasting_drift_raises_step_by_step_until_no_donor_is_used():
    threshold, seen = 0.0, []
    for round_ in range(20):
        served = [one for one in losses(200, mean=0.3, seed=round_) if one.similarity >= threshold]
        move = RULE.move(threshold, 0.0, served)
        if move is None:
            break
        threshold = move.new
        seen.append(threshold)

    assert seen == [0.75, 0.8, 0.85, 0.9, 0.95, 1.0]  # nothing is above 1.0 but equal phrases
    assert RULE.move(1.0, 0.0, [Loss(similarity=1.0, loss=0.3)] * 20) is not None
    assert above(1.0) == above(0.9999999) == NEVER


def test_only_the_weak_hits_lose_and_only_they_go():
    """Below 0.85 a donor costs 0.3, above it nothing."""

    def world(seed):
        weak = losses(60, mean=0.3, similarity=(0.70, 0.85), seed=seed)
        return weak + losses(60, mean=0.0, similarity=(0.85, 1.0), seed=seed + 1)

    threshold = 0.0
    for seed in range(0, 40, 2):
        served = [one for one in world(seed) if one.similarity >= threshold]
        move = RULE.move(threshold, 0.0, served)
        threshold = threshold if move is None else move.new

    assert threshold == 0.85


def test_refused_hits_that_lose_nothing_are_let_in_again():
    refused = losses(60, mean=-0.02, similarity=(0.86, 0.94), spread=0.05)

    move = RULE.move(0.95, 0.0, refused)

    assert move is not None
    assert (move.old, move.new) == (0.95, 0.85)


def test_refused_hits_are_let_in_as_far_down_as_they_lose_nothing():
    good = losses(40, mean=-0.02, similarity=(0.91, 0.94), spread=0.02)
    bad = losses(40, mean=0.4, similarity=(0.71, 0.88), spread=0.02)

    move = RULE.move(0.95, 0.0, good + bad)

    assert move is not None
    assert 0.85 <= move.new <= 0.9


def test_recovery_goes_back_to_the_floor_and_no_lower():
    move = RULE.move(NEVER, 0.75, losses(100, mean=-0.02, similarity=(0.76, 1.0), spread=0.05))

    assert move is not None
    assert move.new == 0.75
    assert RULE.move(0.75, 0.75, losses(100, mean=-0.02, similarity=(0.5, 0.74), spread=0.05)) is None


def test_losses_of_refused_hits_that_stay_lower_nothing():
    assert RULE.move(NEVER, 0.0, losses(200, mean=0.3)) is None


def test_chance_alone_raises_in_few_of_many_cases():
    """The figure of docs/lab/cache.md: looked at after every check up to 200, no true loss."""

    def is_raised(seed):
        found = losses(200, mean=0.0, spread=0.15, seed=seed)
        return any(RULE.move(0.0, 0.0, found[:count]) for count in range(20, 201, 5))

    assert sum(map(is_raised, range(200))) <= 10


@pytest.mark.parametrize(
    ("similarity", "up", "down"),
    [
        (0.0, 0.05, 0.0),
        (0.7, 0.75, 0.65),  # on a step: the next one either way
        (0.72, 0.75, 0.7),
        (0.9999999, NEVER, 0.95),  # what an embedder gives for equal phrases
    ],
)
def test_steps_lie_on_a_grid(similarity, up, down):
    assert (above(similarity), below(similarity)) == (up, down)


def test_only_recipes_with_a_donor_demand_more():
    plain = Recipe(path=RunPath.FAST, num_steps=8)
    raised = demanding([REUSING, plain], 0.9)

    assert [(recipe.min_similarity, recipe.source) for recipe in raised] == [(0.9, "monitor"), (0.0, "paper")]
    assert threshold_of(raised) == 0.9
    assert threshold_of([plain]) is None
    assert [recipe.min_similarity for recipe in relaxed(raised)] == [0.0, 0.0]


def test_a_case_at_the_end_of_the_scale_uses_no_donor_even_for_equal_phrases():
    fox = Entity(text="red fox", head="fox", attributes=("red",))
    near = [
        Neighbour(query=0, entry_id="e", text="red fox", head="fox", attributes=("red",), kind=fox.kind,
                  similarity=1.0, created=0.0)
    ]  # fmt: skip
    full = Recipe(path=RunPath.FULL, num_steps=30)
    table = {Case.FULL: (full,), Case.NONE: (full,), Case.OBJECT: (REUSING,), Case.BOTH: (REUSING,)}
    guarded = {case: demanding(recipes, NEVER) for case, recipes in table.items()}

    assert decide(Mode.AUTO, Extraction(entities=(fox,)), near, table).reason is Reason.ENTITY_HIT
    assert decide(Mode.AUTO, Extraction(entities=(fox,)), near, guarded).reason is Reason.HIT_TOO_WEAK


def test_a_share_of_the_jobs_is_chosen_and_the_same_ones_each_time():
    rng = random.Random(0)
    ids = [UUID(int=rng.getrandbits(128)) for _ in range(5000)]
    chosen = [is_chosen(id_, 0.02) for id_ in ids]

    assert 70 <= sum(chosen) <= 130
    assert chosen == [is_chosen(id_, 0.02) for id_ in ids]
    assert not any(is_chosen(id_, 0.0) for id_ in ids)
    assert all(is_chosen(id_, 1.0) for id_ in ids)


def test_one_check_has_no_error():
    with pytest.raises(ValueError, match=r"^min_checks is 1; an error needs at least 2$"):
        Rule(tolerance=0.1, min_checks=1)
