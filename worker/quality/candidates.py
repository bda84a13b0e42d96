"""Which plans a calibration tries: first schedules and numbers of steps, then ways of reuse that cost less.

All follows from the model card's steps and the options of its family; nothing assumes the paper's 30 and 8 steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.generation import RunPath
from shared.model_cards import ModelCard
from worker.cache.decisions.planning import Case, Recipe
from worker.models.video_model import VideoModel

SOURCE = "calibrated"  # that every recipe here names
KINDS = (Case.SCENE, Case.OBJECT, Case.BOTH, Case.PROMPT)  # kinds of hit
SHARES = (1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 8)  # of full mode's steps
ALL = -1  # stands for the number of steps of the schedule
FEW = 8  # a model of at most so many steps is tried with every number from half of them up

# Options of a family's schedule that are worth trying, {} for none.
SCHEDULES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "opensora": (
        {},
        {"unguided_steps": 1},
        {"unguided_steps": ALL},
        {"spacing": "quadratic"},
        {"spacing": "quadratic", "unguided_steps": ALL},
        {"spacing": "quadratic", "guidance_interval": [0.6, 1.0]},
        {"spacing": "quadratic", "skipped_steps": 1},
    ),
}
# By family: noise levels of short schedules without guidance, which begin high enough to enter a donor's trajectory.
LEVELS: Mapping[str, tuple[tuple[float, ...], ...]] = {"opensora": ((0.92,), (0.95, 0.65), (0.9375, 0.75, 0.4375))}
LATEST_ENTRY = 900.0  # timestep; entering below it takes more than the layout (docs/evaluation-results.md)
_PLAIN: tuple[dict[str, Any], ...] = ({},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A recipe, with its name in tables and folders."""

    name: str
    recipe: Recipe
    lender: str = ""  # name of the candidate whose runs are the donors

    @property
    def cases(self) -> tuple[Case, ...]:
        """The kinds of hit that it may answer."""
        return (Case.LAYOUT,) if self.recipe.reuse == "own_trajectory" else KINDS


def full(card: ModelCard) -> Candidate:
    """Return full mode, which everything is measured against."""
    return Candidate(name="full", recipe=Recipe(path=RunPath.FULL, num_steps=card.full_steps, source=SOURCE))


def step_counts(card: ModelCard) -> tuple[int, ...]:
    """Return the numbers of steps to try, all below full mode's, the largest first."""
    steps = card.full_steps
    if steps <= FEW:
        counts = set(range(max(1, steps // 2), steps))
    else:
        counts = {max(1, round(steps * share)) for share in SHARES} | {card.fast_steps}
    return tuple(sorted((count for count in counts if count < steps), reverse=True))


def plain(card: ModelCard, counts: Sequence[int] = ()) -> list[Candidate]:
    """Return schedules without a donor; `counts`, if any, replaces the numbers of steps that follow from the card."""
    options = SCHEDULES.get(card.family, _PLAIN)
    return [
        _named(Recipe(path=RunPath.FAST, num_steps=count, schedule=_of(count, schedule), source=SOURCE))
        for count in counts or step_counts(card)
        for schedule in options
        if count > schedule.get("skipped_steps", 0)
    ] + [
        _named(Recipe(path=RunPath.FAST, num_steps=len(levels), schedule=_at(levels), source=SOURCE))
        for levels in _levels(card, counts)
    ]


def _levels(card: ModelCard, counts: Sequence[int]) -> list[tuple[float, ...]]:
    """Return the levels of short schedules: all of the family's, or those with these numbers of steps."""
    found = [levels for levels in LEVELS.get(card.family, ()) if len(levels) < card.full_steps]
    return [levels for levels in found if not counts or len(levels) in counts]


def _at(levels: Sequence[float]) -> dict[str, Any]:
    return {"levels": list(levels), "unguided_steps": len(levels)}


def _of(count: int, schedule: Mapping[str, Any]) -> dict[str, Any]:
    return {name: count if value == ALL else value for name, value in schedule.items()}


def reusing(card: ModelCard, base: Candidate, counts: Sequence[int] = ()) -> list[Candidate]:
    """Return plans with a donor that have the schedule of `base`, the plan of a miss, but fewer steps."""
    own = base.recipe.num_evaluated_steps
    of_its_steps = ("skipped_steps", "levels")  # hold for its own number of steps only
    schedule = {key: value for key, value in base.recipe.schedule.items() if key not in of_its_steps}
    fewer = [count for count in counts or step_counts(card) if count < own]
    return [_named(recipe, lender=base.name) for recipe in _attending(fewer[:3], schedule)]


def entering(card: ModelCard, base: Candidate, levels: Sequence[float], counts: Sequence[int] = ()) -> list[Candidate]:
    """Return plans that enter a donor's own trajectory: short schedules, and that of `base` from a high level on.

    `levels` are the timesteps of `base`, the plan of a miss.
    """
    own, skipped = base.recipe.num_steps, base.recipe.schedule.get("skipped_steps", 0)
    found = [
        _with("own_trajectory", {}, len(few), _at(few))
        for few in _levels(card, counts)
        if len(few) < base.recipe.num_evaluated_steps
    ]
    latest = max((step for step, level in enumerate(levels) if level >= LATEST_ENTRY), default=0)
    schedule = {key: value for key, value in base.recipe.schedule.items() if key != "skipped_steps"}
    found += [
        _with("own_trajectory", {"skipped_steps": steps}, own, schedule)
        for steps in sorted({skipped + 1, latest})
        if skipped < steps <= latest
    ]
    return [_named(recipe, lender=base.name) for recipe in found]


def refused(model: VideoModel, found: Sequence[Candidate]) -> dict[str, str]:
    """Return, for each way of reuse that a model refuses, why."""
    ways = {one.recipe.reuse: one.recipe.reuse_options for one in found if one.recipe.reuse}
    reasons = {way: model.refuses(way, options) for way, options in ways.items()}
    return {way: reason for way, reason in reasons.items() if reason}


def _attending(counts: Sequence[int], schedule: Mapping[str, Any]) -> Iterator[Recipe]:
    """Cache Attention in at most three steps, from the second on, as in the paper."""
    for count in counts:
        steps = [step for step in (2, 3, 4) if step <= count]
        if steps:
            yield _with("cache_attention", {"steps": steps}, count, schedule)


def _with(way: str, options: dict[str, Any], count: int, schedule: Mapping[str, Any]) -> Recipe:
    return Recipe(
        path=RunPath.FAST,
        num_steps=count,
        schedule=dict(schedule),
        reuse=way,
        reuse_options=options,
        source=SOURCE,
    )


def _named(recipe: Recipe, *, lender: str = "") -> Candidate:
    words = [f"{recipe.num_steps} steps", *_shown(recipe.schedule)]
    if recipe.reuse is not None:
        words += [f"+ {recipe.reuse}", *_shown(recipe.reuse_options), f"of {lender}"]
    return Candidate(name=" ".join(words), recipe=recipe, lender=lender)


def _shown(options: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_short(value)}" for key, value in options.items()]


def _short(value: object) -> str:
    return "-".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)
