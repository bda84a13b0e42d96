"""Recording a full run for later ones: some noisy latents and the clean one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from worker.models.video_model import PlainHook, Step
from worker.reuse.donor import CLEAN, Donor, latent_name, level_name

if TYPE_CHECKING:
    from torch import Tensor

NOISY = frozenset({"nearest", "same_index"})
PAPER_STEPS = (2, 3, 4)


class Recorder(PlainHook):
    """A hook that collects a donor from the steps of a run."""

    def __init__(
        self, steps: Collection[int] = (2, 3, 4), *, levels: Collection[float] = (), seed: int | None = None
    ) -> None:
        """Keep the latents that enter `steps` (1-based, 2 and up), those at `levels` (0..1000), and the clean one.

        Between two steps a latent is interpolated linearly: exact for Euler steps (a rectified flow's, and DDIM's on
        the scale of `worker.models.diffusers.schedule`), approximate for higher orders.
        """
        self._keep = frozenset(steps)
        self._levels = frozenset(levels)
        self._seed = seed
        self._tensors: dict[str, Tensor] = {}
        self._timesteps: dict[str, float] = {}

    def finished(self, step: Step) -> None:
        """Keep the wanted latents of one finished step."""
        entered = step.index + 2  # the step that these latents enter, 1-based
        if entered in self._keep and entered <= step.num_steps:
            self._tensors[latent_name(entered)] = step.latents
            self._timesteps[latent_name(entered)] = step.next_timestep
        for level in self._levels:
            if step.timestep >= level > step.next_timestep:
                share = (step.timestep - level) / (step.timestep - step.next_timestep)
                self._tensors[level_name(level)] = step.entered.lerp(step.latents, share)
                self._timesteps[level_name(level)] = level
        if step.index + 1 == step.num_steps:
            self._tensors[CLEAN] = step.latents

    def donor(self) -> Donor:
        """Return what was collected."""
        return Donor(tensors=dict(self._tensors), timesteps=dict(self._timesteps), seed=self._seed)


def kept_steps(
    keep: Collection[str], full: Sequence[float], fast: Sequence[float], *, read: Collection[int] = PAPER_STEPS
) -> tuple[int, ...]:
    """Return the steps (1-based) of a full run whose latents a namespace keeps; for `entry` see `registry.entry`.

    `nearest` are those whose noise levels are nearest to the steps of the fast run that read a donor; `same_index` are
    steps of these numbers themselves, the paper's literal reading.

    Args:
        keep: words of `NOISY`; others ask for nothing here.
        full: timesteps (0..1000) of the full run.
        fast: timesteps of the runs that will use the donor.
        read: their steps (1-based) that read it; the paper's are 2, 3 and 4.
    """
    steps: set[int] = set()
    if "nearest" in keep:
        steps |= set(steps_nearest(full, [fast[step - 1] for step in sorted(read) if step <= len(fast)]))
    if "same_index" in keep:
        steps |= {step for step in read if step <= len(full)}
    return tuple(sorted(steps))


def steps_nearest(timesteps: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the steps (1-based, 2 and up) of a full run whose noise levels are nearest to the wanted ones.

    A run of one step has none, since only noise enters it.
    """
    steps = range(2, len(timesteps) + 1)
    if not steps:
        return ()
    return tuple(sorted({min(steps, key=lambda k: abs(timesteps[k - 1] - t)) for t in wanted}))
