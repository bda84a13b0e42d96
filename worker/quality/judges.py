"""The judges of the quality monitor and of calibration: what a video lost against that of full mode.

    command    a program of the operator's that prints a number; more is better
    clip       CLIPScore, by a CLIP model in a folder
    lpips      how far apart two videos look to people, by AlexNet in a folder
    ssim, psnr, flicker, distance    how far apart they are, by arithmetic; always available

Some judges *rank*: their loss says which of two videos is the worse one. The others say how much two videos differ. A
fast video differs from that of full mode even where both are good, so such a judge never decides for a donor.

Installed packages add judges through entry points of the group `chai.judges`, each naming a `Judge` that takes no
arguments. `checker`, for prompts and clips of the procedural world, is added that way.

A judge with a tolerance moves the monitor's thresholds. The distance has none of its own: the operator says how far is
too far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from worker.quality import nearness
from worker.quality.command import JudgeError, Scorer
from worker.quality.videos import Video
from worker.settings import WorkerSettings

GROUP = "chai.judges"  # group of entry points
BEST_PSNR = 100.0  # dB; counts as the value of equal videos


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a judge found; the names are those of `db.models.QualityCheck`."""

    judge: str
    loss: float  # of the fast video against the full one; below 0 if the fast one is better
    fast_score: float | None = None
    full_score: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss):  # NaN compares false, so it would never count against a plan
            raise JudgeError(f"judge {self.judge} found a loss of {self.loss}; it has to find a number, or None")


class Judge(Protocol):
    """Compares the two videos of a prompt."""

    @property
    def name(self) -> str:
        """Kept with every check: losses by different judges are never combined."""

    @property
    def tolerance(self) -> float | None:
        """The mean loss allowed for a cheaper plan; None if that is not known."""

    @property
    def ranks(self) -> bool:
        """Whether a loss says which video is the worse one, not only that they differ."""

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Return what the fast video lost; None for a prompt or video that this judge cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """CLIPScore by a model on this machine."""

    folder: Path
    name: str = "clip"
    tolerance: float | None = 0.025  # a cosine of 0.01
    ranks: bool = True

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Compare the scores."""
        from worker.quality.clip import scorer  # imports torch: only once there is something to judge

        def score(video: Video) -> float:
            return scorer(self.folder).score(prompt, video.frames)

        ours, theirs = (video.score((self, prompt), score) for video in (fast, full))
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The operator's program."""

    scorer: Scorer
    tolerance: float | None = None
    name: str = "command"
    ranks: bool = True

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Compare the numbers; raise JudgeError if the program gives none."""

        def score(video: Video) -> float:
            return self.scorer.score(video.mp4, prompt)

        ours, theirs = (video.score((self, prompt), score) for video in (fast, full))
        return Judged(judge=self.name, loss=theirs - ours, fast_score=ours, full_score=theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perceptual:
    """LPIPS by AlexNet's weights on this machine."""

    file: Path
    name: str = "lpips"
    tolerance: float | None = 0.05
    ranks: bool = False

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Compare the features of every frame."""
        from worker.quality.lpips import network  # imports torch

        if fast.frames.shape != full.frames.shape:
            return None
        return Judged(judge=self.name, loss=network(self.file).distance(fast.frames, full.frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssim:
    """How far the structural similarity of two videos falls short of 1."""

    name: str = "ssim"
    tolerance: float | None = 0.05
    ranks: bool = False

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Return 1 - SSIM."""
        if fast.frames.shape != full.frames.shape:
            return None
        found = nearness.ssim(fast.frames, full.frames)
        return Judged(judge=self.name, loss=1 - found, fast_score=found, full_score=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Psnr:
    """How far the peak signal-to-noise ratio of two videos falls short of 100 dB."""

    name: str = "psnr"
    tolerance: float | None = None
    ranks: bool = False

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Return 100 dB - PSNR."""
        if fast.frames.shape != full.frames.shape:
            return None
        found = min(BEST_PSNR, nearness.psnr(fast.frames, full.frames))
        return Judged(judge=self.name, loss=BEST_PSNR - found, fast_score=found, full_score=BEST_PSNR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flicker:
    """How much more the fast video flickers from frame to frame."""

    name: str = "flicker"
    tolerance: float | None = 0.01  # of the range of a pixel
    ranks: bool = False

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Return the flicker of the fast video less that of the full one."""
        ours, theirs = (video.score(self, lambda video: nearness.flicker(video.frames)) for video in (fast, full))
        return Judged(judge=self.name, loss=ours - theirs, fast_score=ours, full_score=theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far apart two videos are."""

    name: str = "distance"
    tolerance: float | None = None
    ranks: bool = False

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged | None:
        """Root mean square over all values, 0..1."""
        if fast.frames.shape != full.frames.shape:
            return None
        return Judged(judge=self.name, loss=nearness.distance(fast.frames, full.frames))


def ranking(*, command: str | None = None, clip: Path | None = None) -> tuple[Judge, ...]:
    """Return the available judges that rank, the most telling first. Raises ValueError for a bad command."""
    own = () if command is None else (Command(scorer=Scorer.parse(command)),)
    return *registered(), *own, *(() if clip is None else (Clip(folder=clip),))


def measuring(*, lpips: Path | None = None) -> tuple[Judge, ...]:
    """Return the judges that say how far apart two videos are."""
    return *(() if lpips is None else (Perceptual(file=lpips),)), Ssim(), Psnr(), Flicker()


def judges(settings: WorkerSettings) -> Sequence[Judge]:
    """Return the judges of the quality monitor, the most telling first."""
    return *ranking(command=settings.monitor_judge, clip=settings.monitor_clip), Distance()


@cache
def registered() -> tuple[Judge, ...]:
    """Return the judges that installed packages add."""
    return tuple(point.load()() for point in entry_points(group=GROUP))


def judge(known: Sequence[Judge], prompt: str, fast: Video, full: Video) -> tuple[Judge, Judged] | None:
    """Return the first judge that can read the videos, and what it found."""
    found = ((one, one.judge(prompt, fast, full)) for one in known)
    return next(((one, judged) for one, judged in found if judged is not None), None)
