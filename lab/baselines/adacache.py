"""AdaCache (arXiv 2411.02397): reuse the network's residuals between the steps of one run.

The blocks of STDiT3 only ever add to the hidden state, so reusing the residual of every block equals adding one
tensor, the change that all blocks made together. That is what is kept here: a skipped step costs the patches, one
addition and the last layer, and the memory is one hidden state instead of two per block.

How far the run may skip follows from how fast the temporal attention of the middle block changes:

    c = |p_old - p_new|_1 / |p_old|_1 / (steps between them)

and a codebook turns c into the distance to the next computed step. Motion regularisation multiplies c by the
difference between neighbouring frames of p_new, so that videos with much motion are computed more often.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.models.opensora.blocks import PackedCaption, Taps
from worker.models.opensora.stdit3 import STDiT3
from worker.models.video_model import CachedLatents

Codebook = tuple[tuple[float, int], ...]  # (upper bound of c, steps to the next computed one); the last has no bound

FAST: Codebook = ((0.08, 6), (0.16, 5), (0.24, 4), (0.32, 3), (0.40, 2), (1.00, 1))
SLOW: Codebook = ((0.08, 3), (0.16, 2), (0.24, 1), (0.32, 1), (0.40, 1), (1.00, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionRegularisation:
    """Skip less when the video moves: m = (d / rest)^power + gradient * |change of m per step|."""

    rest: float = 0.385  # difference between frames that leaves c as it is
    power: float = 8.0
    gradient: float = 10.0
    first: float = 4 / 30  # part of the run in which it acts
    last: float = 26 / 30

    def factor(
        self, residual: Tensor, step: int, num_steps: int, previous: float, interval: int
    ) -> tuple[float, float]:
        """Return the factor on c and the motion to remember.

        `residual` is the gated attention (B, T, S, C) of `step` (1-based), `interval` the steps since the last one.
        """
        motion = 1.0
        if round(self.first * num_steps) <= step <= round(self.last * num_steps):
            motion = (_frame_difference(residual) / self.rest) ** self.power
        return motion + abs(self.gradient * (motion - previous) / interval), motion


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaCache:
    """Options of AdaCache; the codebooks are made for 30 steps."""

    codebook: Codebook = FAST
    motion: MotionRegularisation | None = None
    location: float = 13 / 28  # depth of the measured temporal block, as a part of all

    def __post_init__(self) -> None:
        if not self.codebook or any(interval < 1 for _, interval in self.codebook):
            raise ValueError(f"codebook {self.codebook} needs at least one entry, and intervals of 1 step or more")

    @classmethod
    def slow(cls) -> "AdaCache":
        """Return the careful setting of the paper (1.46x at 30 steps)."""
        return cls(codebook=SLOW)

    @classmethod
    def fast(cls) -> "AdaCache":
        """Return the fast setting of the paper (2.24x at 30 steps)."""
        return cls(codebook=FAST)

    def interval(self, distance: float) -> int:
        """Return after how many steps to compute again, given the rate of change c."""
        return next((n for bound, n in self.codebook if distance < bound), self.codebook[-1][1])

    def start(self, transformer: STDiT3, num_steps: int, first_step: int = 0) -> "AdaCacheRun":
        """Begin one run; the result stands in for the transformer until the run ends."""
        return AdaCacheRun(self, transformer, num_steps, first_step)


class AdaCacheRun:
    """The state of one run. Called once per step in place of the transformer.

    The first step and the last two are always computed, and so is a step with Cache Attention. Every computed step
    reads one number from the device to decide.
    """

    def __init__(self, options: AdaCache, transformer: STDiT3, num_steps: int, first_step: int = 0) -> None:
        self.options = options
        self.transformer = transformer
        self.num_steps = num_steps
        self.computed: list[int] = []  # 0-based steps that ran the blocks
        self._block = int(options.location * len(transformer.temporal_blocks))
        self._index = first_step
        self._next = first_step
        self._interval = 1
        self._motion = 1.0
        self._change: Tensor | None = None
        self._attention: Tensor | None = None

    def __call__(
        self, x: Tensor, timestep: Tensor, y: PackedCaption, *, cached: CachedLatents | None = None, **options: Any
    ) -> Tensor:
        """Predict as `STDiT3.forward` does, from memory if the codebook allows it."""
        index, self._index = self._index, self._index + 1
        if self._change is not None and cached is None and self._may_skip(index, len(x)):
            skipped: Tensor = self.transformer(x, timestep, y, change=self._change[: len(x)], **options)
            return skipped
        taps = Taps(change=True, temporal_attention_of=self._block)
        out: Tensor = self.transformer(x, timestep, y, cached=cached, taps=taps, **options)
        self._change = taps.results["change"]
        self._plan(index, taps.results["temporal_attention"])
        return out

    def _may_skip(self, index: int, batch: int) -> bool:
        is_fixed = index < self._next and index < self.num_steps - 2
        return is_fixed and self._change is not None and batch <= len(self._change)

    def _plan(self, index: int, attention: Tensor) -> None:
        """Choose the next step to compute, from the change of the attention since the last computed step."""
        self.computed.append(index)
        old, self._attention = self._attention, attention
        self._interval = 1 if old is None else self._choose(old, attention, index)
        self._next = index + self._interval

    def _choose(self, old: Tensor, new: Tensor, index: int) -> int:
        rows = min(len(old), len(new))  # an unguided step has half the batch
        distance = _rate(old[:rows], new[:rows]) / self._interval
        if self.options.motion is not None:
            factor, self._motion = self.options.motion.factor(
                new, index + 1, self.num_steps, self._motion, self._interval
            )
            distance *= factor
        return self.options.interval(distance)


def _rate(old: Tensor, new: Tensor) -> float:
    return float((old - new).abs().sum(dtype=torch.float32) / old.abs().sum(dtype=torch.float32))


def _frame_difference(x: Tensor) -> float:
    """|x_later - x_earlier|_1 over |x_later|_1 + |x_earlier|_1 of neighbouring frames; 0 for an image."""
    later, earlier = x[:, 1:], x[:, :-1]
    if later.shape[1] == 0:
        return 0.0
    change = (later - earlier).abs().sum(dtype=torch.float32)
    return float(change / (later.abs().sum(dtype=torch.float32) + earlier.abs().sum(dtype=torch.float32)))
