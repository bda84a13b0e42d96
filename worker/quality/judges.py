"""Who says what a video lost against that of full mode.

    clip       CLIPScore, where `CHAI_GUARD_CLIP` names a model
    distance   how far the two videos are apart; always at hand, and says "other", not "worse"

Installed packages add judges of their own by an entry point of the group `chai.judges` that names a `Judge` without
arguments: `checker`, for prompts and clips of the procedural world, comes so.

A judge with a tolerance moves thresholds. The distance has none of its own: a fast video is another one than that of
full mode even where both are good, so how far is too far is the operator's to say (`CHAI_GUARD_TOLERANCE`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.settings import WorkerSettings

GROUP = "chai.judges"  # of entry points

Frames = NDArray[np.uint8]  # (T, H, W, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a judge found; the names are those of `db.models.GuardCheck`."""

    judge: str
    loss: float  # of the fast video against the full one; below 0 where it is the better one
    fast_score: float | None = None
    full_score: float | None = None


class Judge(Protocol):
    """Compares the two videos of a prompt."""

    @property
    def name(self) -> str:
        """Kept with every check: losses of two judges are never put together."""

    @property
    def tolerance(self) -> float | None:
        """The mean loss that a donor may cost; None where that is not known."""

    def judge(self, prompt: str, fast: Frames, full: Frames) -> Judged | None:
        """Return what the fast video lost; None for a prompt or video that this judge cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """CLIPScore by a model on this machine."""

    folder: Path
    name: str = "clip"
    tolerance: float | None = 0.025  # a cosine of 0.01

    def judge(self, prompt: str, fast: Frames, full: Frames) -> Judged | None:
        """Compare the scores."""
        from worker.quality.clip import scorer  # brings torch along: not before there is something to judge

        ours, theirs = (scorer(self.folder).score(prompt, frames) for frames in (fast, full))
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far two videos are apart."""

    name: str = "distance"
    tolerance: float | None = None

    def judge(self, prompt: str, fast: Frames, full: Frames) -> Judged | None:
        """Root mean square over all values, 0..1."""
        if fast.shape != full.shape:
            return None
        gap = (fast.astype(np.float32) - full.astype(np.float32)) / 255
        return Judged(judge=self.name, loss=float(np.sqrt(np.square(gap).mean())))


def judges(settings: WorkerSettings) -> Sequence[Judge]:
    """Return the judges at hand, the most telling first."""
    clip = () if settings.guard_clip is None else (Clip(folder=settings.guard_clip),)
    return *registered(), *clip, Distance()


@cache
def registered() -> tuple[Judge, ...]:
    """Return the judges that installed packages bring along."""
    return tuple(point.load()() for point in entry_points(group=GROUP))


def judge(known: Sequence[Judge], prompt: str, fast: Frames, full: Frames) -> tuple[Judge, Judged] | None:
    """Return the first judge that can read the videos, and what it found."""
    found = ((one, one.judge(prompt, fast, full)) for one in known)
    return next(((one, judged) for one, judged in found if judged is not None), None)
