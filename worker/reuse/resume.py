"""Resuming: the run starts from the donor's clean latent with its own noise added (NIRVANA, arXiv 2312.04429)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from worker.reuse.donor import CLEAN, Donor
from worker.reuse.way import Way, check_fraction, nearest_step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Way):
    """Start from the first donor at the step whose noise level is nearest to `level`, or after `skipped_steps`."""

    level: float = 0.88  # t / 1000; lower keeps more of the donor
    skipped_steps: int | None = None  # instead of a level: the run starts at the step after these

    def __post_init__(self) -> None:
        check_fraction("Resume.level", self.level)

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors and its level; raise KeyError if a donor lacks the latent."""
        for donor in donors:
            donor.get(CLEAN)
        bound = super(Resume, self).bind(donors, timesteps)  # slots: the class is made twice
        if self.skipped_steps is None:
            return bound
        return replace(bound, level=timesteps[min(self.skipped_steps, len(timesteps) - 1)] / 1000)

    def start(self, latents: Tensor, timesteps: Sequence[float], first: int) -> tuple[int, Tensor]:
        """Return the step to start at (0-based) and the latent that enters it, made with the noise in `latents`."""
        del first
        index = nearest_step(timesteps, self.level * 1000)
        t = timesteps[index] / 1000
        return index, (1 - t) * self.donors[0].get(CLEAN) + t * latents
