"""The rule of calibration, as a pure function: which recipe answers a case, given what was measured.

    keeps      the loss against full mode, plus some standard errors, is within the tolerance: in accuracy and in
               distance to the prompt
    plain      the cheapest schedule without a donor that keeps; full mode when none does
    reuse      taken only where it keeps, costs less than that, and is better than every plain schedule of equal cost
               by some standard errors

A way of reuse that only does no harm is not taken: it costs storage, reads and the risk that a donor shows through.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lab.experiments.scores import Difference, difference
from worker.cache.decisions.planning import Recipe


class Verdict(StrEnum):
    """Why a recipe was chosen."""

    REUSE = "reuse"  # cheaper than every schedule without a donor that keeps the quality
    PLAIN = "plain"  # no way of reuse beat the cheapest plain schedule
    FULL = "full"  # nothing cheaper keeps the quality
    FAST = "fast"  # nothing cheap keeps the quality, and a fast run was asked for

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Verdict.REUSE: "a donor keeps the quality of full mode at fewer evaluations than any plain schedule",
    Verdict.PLAIN: "no way of reuse beat a plain schedule of equal cost",
    Verdict.FULL: "nothing cheaper keeps the quality of full mode",
    Verdict.FAST: "no fast schedule keeps the quality of full mode; this one loses least",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recipe on a list of prompts; every candidate of a case is measured on the same ones, in the same order."""

    name: str
    recipe: Recipe
    evaluations: float
    seconds: float
    accuracies: tuple[float, ...]  # 0..1, a prompt each
    distances: tuple[float, ...]  # to the prompt, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much worse than full mode a cheaper plan may be."""

    accuracy: float = 0.01  # share of attributes
    distance: float = 0.01  # of the range of a pixel
    num_errors: float = 1.0  # standard errors that count against a plan
    min_prompts: int = 12  # a case with fewer is not judged

    def keeps(self, one: Measured, full: Measured) -> bool:
        """Whether a plan is as good as full mode, the doubt counted against it."""
        loss = difference(full.accuracies, one.accuracies)
        rise = difference(one.distances, full.distances)
        return self._upper(loss) <= self.accuracy and self._upper(rise) <= self.distance

    def beats(self, one: Measured, other: Measured) -> bool:
        """Whether a plan is better than another in one measure, beyond doubt, and not worse in the other."""
        gains = (difference(one.accuracies, other.accuracies), difference(other.distances, one.distances))
        better = any(gain.mean - self.num_errors * gain.error > 0 for gain in gains)
        return better and all(gain.mean + self.num_errors * gain.error >= 0 for gain in gains)

    def _upper(self, loss: Difference) -> float:
        return loss.mean + self.num_errors * loss.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The recipe of a case, and the measurement that it rests on."""

    chosen: Measured
    full: Measured
    verdict: Verdict


def choose(full: Measured, plain: Sequence[Measured], reusing: Sequence[Measured], tolerance: Tolerance) -> Choice:
    """The cheapest plan that keeps the quality of full mode; see the module for when reuse may be it."""
    keeping = [one for one in plain if tolerance.keeps(one, full)]
    best = min((*keeping, full), key=_cost)
    winners = [one for one in reusing if one.evaluations < best.evaluations and tolerance.keeps(one, full)]
    winners = [one for one in winners if all(tolerance.beats(one, rival) for rival in _rivals(one, plain))]
    if winners:
        return Choice(chosen=min(winners, key=_cost), full=full, verdict=Verdict.REUSE)
    return Choice(chosen=best, full=full, verdict=Verdict.FULL if best is full else Verdict.PLAIN)


def _rivals(one: Measured, plain: Sequence[Measured]) -> Iterator[Measured]:
    return (rival for rival in plain if rival.evaluations <= one.evaluations)


def _cost(one: Measured) -> tuple[float, float]:
    return one.evaluations, -sum(one.accuracies)
