"""The monitor's rule: how similar a hit must be, given what re-run jobs lost to their donors. No database here.

    raise    the mean loss of the hits in use, less two standard errors, is above the tolerance
    lower    the mean loss of the nearest hits that were refused, plus one standard error, is within the tolerance

A threshold follows the hits that were measured: it moves to the next step above the weakest one in use, or to the step
below the weakest of those that are admitted again. Moves of a fixed size would pass through values at which nothing
changes, each at the cost of `min_checks` videos made twice. A threshold is lowered by what refused hits would have
lost, not by trial: nobody gets a worse video so that the monitor may learn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from worker.cache.decisions.planning import NEVER, Recipe
from worker.quality.evidence import Mean, mean_of

STEP = 0.05  # of similarity
_SLACK = 1e-4  # of a step: equal phrases have a cosine of 0.9999999

SOURCE = "monitor"  # of a recipe whose threshold was moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a video lost, or would have lost, to its donor."""

    similarity: float  # of the hit
    loss: float  # quality of full mode less that of the run with the donor; below 0 if the donor helped


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of threshold, and the losses that it rests on."""

    old: float
    new: float
    evidence: Mean

    def __str__(self) -> str:
        found = self.evidence
        return f"{self.old:g} -> {self.new:g}: {found.count} checks lost {found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a threshold moves.

    Two errors above the tolerance, because every check is another look at the same question: among cases that lose
    nothing, one error wrongly gives up 16 % within 200 checks, two errors 3 % (docs/lab/cache.md).
    """

    tolerance: float  # of the mean loss
    min_checks: int = 20  # with fewer, it stays
    num_errors: float = 2.0  # standard errors above the tolerance at which it is raised
    num_errors_below: float = 1.0  # the same below the tolerance, at which it is lowered

    def __post_init__(self) -> None:
        if self.min_checks < 2:
            raise ValueError(f"min_checks is {self.min_checks}; an error needs at least 2")

    def move(self, threshold: float, floor: float, losses: Sequence[Loss]) -> Move | None:
        """Return where a threshold goes, or None when it stays.

        `losses` are those since its last move; `floor` is its value from before the monitor first moved it.
        """
        used = [one for one in losses if one.similarity >= threshold]
        if found := self._too_much(used):
            return Move(old=threshold, new=above(min(one.similarity for one in used)), evidence=found)
        refused = sorted(
            (one for one in losses if floor <= one.similarity < threshold), key=lambda one: -one.similarity
        )
        for count in range(len(refused), self.min_checks - 1, -1):  # as many as possible, the nearest first
            if found := self._within(refused[:count]):
                return Move(old=threshold, new=max(floor, below(refused[count - 1].similarity)), evidence=found)
        return None

    def _too_much(self, losses: Sequence[Loss]) -> Mean | None:
        if len(losses) < self.min_checks:
            return None
        found = _mean(losses)
        return found if found.mean - self.num_errors * found.error > self.tolerance else None

    def _within(self, losses: Sequence[Loss]) -> Mean | None:
        found = _mean(losses)
        return found if found.mean + self.num_errors_below * found.error <= self.tolerance else None


def _mean(losses: Sequence[Loss]) -> Mean:
    return mean_of([one.loss for one in losses])


def above(similarity: float) -> float:
    """Return the first step above a similarity, or `NEVER` if that is above 1."""
    number = math.floor(similarity / STEP + _SLACK) + 1
    return min(round(number * STEP, 6), NEVER)


def below(similarity: float) -> float:
    """Return the last step below a similarity; equal phrases are above 0.95."""
    return max(0.0, round(math.floor(similarity / STEP - _SLACK) * STEP, 6))


def threshold_of(recipes: Sequence[Recipe]) -> float | None:
    """Return the lowest similarity at which a case uses a donor; None if it never does."""
    return min((recipe.min_similarity for recipe in recipes if recipe.reuse), default=None)


def demanding(recipes: Sequence[Recipe], threshold: float) -> tuple[Recipe, ...]:
    """Return the recipes of a case, changed so that no donor is used below a threshold."""
    return tuple(
        replace(recipe, min_similarity=threshold, source=SOURCE)
        if recipe.reuse and recipe.min_similarity < threshold
        else recipe
        for recipe in recipes
    )


def relaxed(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Return the recipes of a case with the monitor's thresholds left out: what a refused hit would have run."""
    return tuple(replace(recipe, min_similarity=0.0) if recipe.source == SOURCE else recipe for recipe in recipes)


def is_chosen(job_id: UUID, share: float) -> bool:
    """Whether a job is in a share of all jobs; the same answer each time, by its id and not by chance."""
    drawn = int.from_bytes(sha256(b"monitor" + job_id.bytes).digest()[:8]) / 2**64
    return drawn < share
