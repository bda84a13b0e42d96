"""From outcomes to figures: means, paired differences with their errors, leakage, Fréchet distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lab.experiments.experiment import Outcome
from lab.toy_world.world import Clip
from lab.toy_world.worlds import Spec, known_world

MIN_FOR_FD = 48  # clips; with fewer, the covariance is meaningless
_FEATURES = (8, 12)  # channels of the two random layers
_AT_ONCE = 128  # clips that pass through them together
_THING_ATTRIBUTES = ("colour", "shape", "size", "motion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A mean of paired differences."""

    mean: float
    error: float  # standard error of the mean
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence."""
        return self.mean - 1.96 * self.error, self.mean + 1.96 * self.error

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.error:.3f}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Mean and standard error of ours less theirs, pair by pair. Raises ValueError for lengths that differ."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} values are no pairs")
    gaps = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    error = float(gaps.std(ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
    return Difference(mean=float(gaps.mean()) if len(gaps) else float("nan"), error=error, count=len(gaps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means of one variant over its clips."""

    count: int
    accuracy: float
    attributes: dict[str, float]
    prompt_distance: float
    manifold_distance: float
    distance_to_full: float
    evaluations: float
    seconds: float
    frechet: float | None  # None for fewer than `MIN_FOR_FD` clips


def figures(outcomes: Sequence[Outcome], real: Tensor | None = None) -> Figures:
    """The means of outcomes; `real` are features of drawn clips, for the Fréchet distance."""
    has_frechet = real is not None and len(outcomes) >= MIN_FOR_FD
    return Figures(
        count=len(outcomes),
        accuracy=_mean([outcome.accuracy for outcome in outcomes]),
        attributes={name: _mean([outcome.attributes[name] for outcome in outcomes]) for name in outcomes[0].attributes},
        prompt_distance=_mean([outcome.prompt_distance for outcome in outcomes]),
        manifold_distance=_mean([outcome.manifold_distance for outcome in outcomes]),
        distance_to_full=_mean([outcome.distance_to_full for outcome in outcomes]),
        evaluations=_mean([outcome.evaluations for outcome in outcomes]),
        seconds=_mean([outcome.seconds for outcome in outcomes]),
        frechet=frechet(features([outcome.clip for outcome in outcomes]), real)
        if has_frechet and real is not None
        else None,
    )


def compare(ours: Sequence[Outcome], theirs: Mapping[int, Outcome], name: str = "accuracy") -> Difference:
    """The paired difference in `accuracy`, `prompt_distance` or `distance_to_full` to the same questions' outcomes."""
    return difference(
        [getattr(outcome, name) for outcome in ours], [getattr(theirs[outcome.question], name) for outcome in ours]
    )


def leaks(shown: Spec, asked: Spec, lent: Spec) -> list[bool]:
    """Whether the clip shows the donor's value, for each attribute in which the donor differs from the prompt."""
    found = []
    for name in _THING_ATTRIBUTES:
        wanted = {getattr(thing, name) for thing in asked.things}
        foreign = {getattr(thing, name) for thing in lent.things} - wanted
        if foreign:
            found.append(bool(foreign & {getattr(thing, name) for thing in shown.things}))
    for name in ("colour", "texture"):
        if getattr(asked.scene, name) is not getattr(lent.scene, name):
            found.append(getattr(shown.scene, name) is getattr(lent.scene, name))
    return found


def leakage(
    ours: Sequence[Outcome], theirs: Mapping[int, Outcome], asked: Mapping[int, Spec], lent: Mapping[int, Spec]
) -> Difference:
    """How much more often than the baseline a clip shows what only the donor has: mean by question, then over them."""

    def rate(outcome: Outcome) -> float:
        return _mean(leaks(outcome.shown, asked[outcome.question], lent[outcome.question]))

    able = [one for one in ours if leaks(one.shown, asked[one.question], lent[one.question])]
    return difference([rate(one) for one in able], [rate(theirs[one.question]) for one in able])


def features(clips: Sequence[Clip]) -> Tensor:
    """Features (N, D) of clips: mean and spread of the channels of two fixed random convolutions.

    Each is divided by its deviation over drawn clips; otherwise the strong ones would hide the rest.
    """
    return _pooled(clips) / _deviation(clips[0].shape)


def _pooled(clips: Sequence[Clip]) -> Tensor:
    parts = (clips[start : start + _AT_ONCE] for start in range(0, len(clips), _AT_ONCE))
    return torch.cat([_pooled_part(part) for part in parts])


def _pooled_part(clips: Sequence[Clip]) -> Tensor:
    video = torch.from_numpy(np.stack(clips)).float().permute(0, 4, 1, 2, 3) / 127.5 - 1  # (N, 3, T, H, W)
    pooled = []
    for weight in _random_layers():
        video = F.relu(F.conv3d(video, weight, stride=(1, 2, 2)))
        pooled += [video.mean((2, 3, 4)), video.std((2, 3, 4))]
    return torch.cat(pooled, dim=1).double()


@cache
def _random_layers() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(7)
    return tuple(
        torch.randn(b, a, 3, 3, 3, generator=generator) / (a * 27) ** 0.5 for a, b in pairwise((3, *_FEATURES))
    )


@cache
def _deviation(clip_shape: tuple[int, ...]) -> Tensor:
    world = known_world(clip_shape)
    rng = np.random.default_rng(0)
    return _pooled([world.render(caption.spec, rng) for caption in world.captions(0, 256)]).std(0)


def frechet(ours: Tensor, real: Tensor) -> float:
    """Fréchet distance between two sets of features taken as Gaussians: |m - n|^2 + tr(A + B - 2 (A B)^(1/2))."""
    a, b = torch.cov(ours.T), torch.cov(real.T)
    values: NDArray[np.complex128] = np.linalg.eigvals((a @ b).numpy())
    cross = float(np.sqrt(np.clip(values.real, 0, None)).sum())
    return float((ours.mean(0) - real.mean(0)).square().sum() + a.trace() + b.trace()) - 2 * cross


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
