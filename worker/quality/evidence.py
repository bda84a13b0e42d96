"""The rule of calibration, as pure functions: which recipe answers a case, given what was measured.

    keeps      for every judge that decides, the mean loss against full mode plus some standard errors is within the
               tolerance, and the share of bad videos is within its limit with 95 % confidence
    plain      the cheapest schedule without a donor that keeps the quality; full mode if none does
    reuse      taken only if it keeps the quality, costs less than that schedule, and is better by some standard errors
               than every plain schedule of equal cost, for a judge that ranks

A way of reuse that merely does no harm is not taken: it costs storage, reads and the risk that a donor shows through.
If no judge ranks, a schedule may still keep the quality by staying near full mode's video from the same noise. A donor
makes another video on purpose, so nearness is no evidence for it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist, fmean, stdev

from worker.cache.decisions.planning import Recipe

BEYOND_DOUBT = 3.0  # standard errors: a plan that lost too much by so many is not saved by more prompts


class Verdict(StrEnum):
    """Why a recipe was chosen."""

    REUSE = "reuse"  # cheaper than every schedule without a donor that keeps the quality
    PLAIN = "plain"  # no way of reuse beat the cheapest plain schedule
    FULL = "full"  # nothing cheaper keeps the quality
    FAST = "fast"  # nothing cheap keeps the quality, and a fast run was asked for

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Verdict.REUSE: "a donor keeps the quality of full mode at fewer evaluations than any plain schedule",
    Verdict.PLAIN: "no way of reuse beat a plain schedule of equal cost",
    Verdict.FULL: "nothing cheaper keeps the quality of full mode",
    Verdict.FAST: "no fast schedule keeps the quality of full mode; this one loses least",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its standard error."""

    mean: float
    error: float  # infinite for fewer than two values
    count: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.error:.3f}"


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of some values; of none, 0 with an infinite error."""
    if not values:
        return Mean(mean=0.0, error=math.inf, count=0)
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Mean(mean=fmean(values), error=error, count=len(values))


def most_likely(bad: int, count: int, *, confidence: float = 0.95) -> float:
    """Return the largest share of bad videos that `bad` of `count` leave possible (one-sided Clopper-Pearson, 1934).

    That is the share p at which `bad` or fewer occur with probability 1 - confidence.
    """
    if bad >= count:
        return 1.0
    low, high = 0.0, 1.0
    ways = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(bad + 1)]
    for _ in range(60):
        p = (low + high) / 2
        # In logarithms: for more than a thousand videos, binomial coefficients overflow a float.
        chance = sum(math.exp(way + k * math.log(p) + (count - k) * math.log1p(-p)) for k, way in enumerate(ways))
        low, high = (p, high) if chance > 1 - confidence else (low, p)
    return high


def least_likely(bad: int, count: int, *, confidence: float = 0.95) -> float:
    """Return the smallest share of bad videos that `bad` of `count` leave possible, as `most_likely` the largest."""
    return 1.0 - most_likely(count - bad, count, confidence=confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recipe measured on a list of prompts; all candidates of a case get the same prompts in the same order.

    A candidate that was given up has only the first of them.
    """

    name: str
    recipe: Recipe
    evaluations: float
    seconds: float
    losses: Mapping[str, tuple[float, ...]]  # by judge, one per prompt: against full mode's video from the same noise
    scores: Mapping[str, float] = field(default_factory=dict)  # by judge: mean of the videos' own scores

    @property
    def count(self) -> int:
        """The number of prompts."""
        return len(next(iter(self.losses.values()), ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a cheaper plan may lose, and with what certainty."""

    ranking: Mapping[str, float] = field(default_factory=dict)  # judge that says which is worse → mean loss allowed
    measuring: Mapping[str, float] = field(default_factory=dict)  # the same for judges that say how far apart they are
    num_errors: float = 2.0  # standard errors that count against a plan
    min_prompts: int = 30  # fewer are too few to judge: 0 bad of 29 means below a tenth, with 95 % confidence
    bad: float = 10.0  # times the tolerance: a video that lost more is bad
    max_bad: float = 0.1  # share of bad videos; a larger one has to be ruled out
    confidence: float = 0.95

    @property
    def deciding(self) -> Mapping[str, float]:
        """The tolerances of all judges that a plan has to satisfy."""
        return {**self.ranking, **self.measuring}

    def why_not(self, one: Measured) -> str | None:
        """Return why a plan does not keep the quality, or None if it does. Doubt counts against it."""
        if one.count < self.min_prompts:
            return f"{one.count} prompts, {self.min_prompts} are needed"
        if not self.deciding:
            return "no judge decides"
        found = (self._why_not(one.losses[judge], judge, allowed) for judge, allowed in self.deciding.items())
        return next((reason for reason in found if reason), None)

    def keeps(self, one: Measured) -> bool:
        """Whether a plan keeps the quality of full mode."""
        return self.why_not(one) is None

    def is_hopeless(self, one: Measured) -> bool:
        """Whether a plan clearly lost more than is allowed, so that it need not be run on more prompts."""
        if one.count < self.min_prompts:
            return False
        return any(self._is_hopeless(one.losses[judge], allowed) for judge, allowed in self.deciding.items())

    def beats(self, one: Measured, other: Measured) -> bool:
        """Whether a plan is clearly better than another for a judge that ranks, and clearly worse for none."""
        gains = [_gain(one, other, judge) for judge in self.ranking]
        better = any(gain.mean - self.num_errors * gain.error > 0 for gain in gains)
        return better and all(gain.mean + self.num_errors * gain.error >= 0 for gain in gains)

    def num_bad(self, losses: Sequence[float], allowed: float) -> int:
        """Return how many videos lost far more than is allowed on average."""
        return sum(loss > self.bad * allowed for loss in losses)

    def _is_hopeless(self, losses: Sequence[float], allowed: float) -> bool:
        loss, bad = mean_of(losses), self.num_bad(losses, allowed)
        least_bad = least_likely(bad, len(losses), confidence=NormalDist().cdf(BEYOND_DOUBT))
        return loss.mean - BEYOND_DOUBT * loss.error > allowed or least_bad > self.max_bad

    def _why_not(self, losses: Sequence[float], judge: str, allowed: float) -> str | None:
        loss = mean_of(losses)
        if loss.mean + self.num_errors * loss.error > allowed:
            return f"{judge}: loss {loss}, allowed {allowed:g}"
        bad = self.num_bad(losses, allowed)
        share = most_likely(bad, len(losses), confidence=self.confidence)
        if share > self.max_bad:
            return f"{judge}: {bad} of {len(losses)} bad, maybe {share:.0%}, allowed {self.max_bad:.0%}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The recipe of a case, and the measurement that it rests on."""

    chosen: Measured
    full: Measured
    verdict: Verdict


def choose(full: Measured, plain: Sequence[Measured], reusing: Sequence[Measured], bound: Bound) -> Choice:
    """Return the cheapest plan that keeps the quality of full mode, with reuse only by the rule of this module."""
    keeping = [one for one in plain if bound.keeps(one)]
    best = min((*keeping, full), key=_cost)
    winners = [one for one in reusing if one.evaluations < best.evaluations and bound.keeps(one)]
    winners = [one for one in winners if is_earned(one, plain, bound)]
    if winners:
        return Choice(chosen=min(winners, key=_cost), full=full, verdict=Verdict.REUSE)
    return Choice(chosen=best, full=full, verdict=Verdict.FULL if best is full else Verdict.PLAIN)


def is_earned(one: Measured, plain: Sequence[Measured], bound: Bound) -> bool:
    """Whether a way of reuse beats every plain schedule of its cost, for a judge that ranks."""
    rivals = _rivals(one, plain)
    return bool(bound.ranking) and bool(rivals) and all(bound.beats(one, rival) for rival in rivals)


def _gain(one: Measured, other: Measured, judge: str) -> Mean:
    """Return the gain on the prompts that both have: the first ones if either was given up."""
    return mean_of([theirs - ours for ours, theirs in zip(one.losses[judge], other.losses[judge], strict=False)])


def _rivals(one: Measured, plain: Sequence[Measured]) -> list[Measured]:
    """Return the schedules that cost no more or, if there are none, the cheapest: nothing wins unopposed."""
    return [rival for rival in plain if rival.evaluations <= one.evaluations] or sorted(plain, key=_cost)[:1]


def _cost(one: Measured) -> tuple[float, float]:
    return one.evaluations, sum(sum(losses) for losses in one.losses.values())
