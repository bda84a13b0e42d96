"""Exact resuming: the run enters the donor's own trajectory at one level, and so takes over its noise and layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from worker.reuse.donor import Donor
from worker.reuse.way import Way

if TYPE_CHECKING:
    from torch import Tensor

_SAME = 1e-3  # timesteps this close are equal: they went through float32


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTrajectory(Way):
    """Start from the latent that the first donor had at exactly the level where this run's first step begins.

    No new noise is added: the layout, which the donor's own noise has settled by then, stays. The donor stores that one
    latent beside its clean one (`Recorder`).
    """

    skipped_steps: int = 0  # of the schedule: the run enters at the step after them
    enters_at: float = 1000.0  # timestep of that step; set by `bind`

    def __post_init__(self) -> None:
        if self.skipped_steps < 0:
            raise ValueError(f"OwnTrajectory.skipped_steps {self.skipped_steps} is below 0; 0 enters at the first step")

    @property
    def requires(self) -> frozenset[str]:
        """The latent at the entry."""
        return frozenset({"entry"})

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors and its level; raise KeyError if a donor has no latent there."""
        bound = replace(
            super(OwnTrajectory, self).bind(donors, timesteps),  # slots: the class is made twice
            enters_at=entry_level(timesteps, self.skipped_steps),
        )
        bound.entry()
        return bound

    def start(self, latents: Tensor, timesteps: Sequence[float], first: int) -> tuple[int, Tensor]:
        """Return the step to start at (0-based) and the donor's latent that enters it."""
        del timesteps, first
        return self.skipped_steps, self.entry().to(latents).expand_as(latents)

    def entry(self) -> Tensor:
        """Return the first donor's latent at the entry."""
        level, latent = self.donors[0].nearest(self.enters_at)
        if abs(level - self.enters_at) > _SAME:
            raise KeyError(f"the donor keeps no latent at timestep {self.enters_at:g}, the nearest is at {level:g}")
        return latent


def entry_level(timesteps: Sequence[float], skipped_steps: int) -> float:
    """Return the timestep at which a run enters after skipping steps.

    Raises:
        KeyError: no step is left.
    """
    if skipped_steps >= len(timesteps):
        raise KeyError(f"{skipped_steps} steps are left out and there are {len(timesteps)}; one step must run")
    return timesteps[skipped_steps]
