"""A pipeline's own scheduler, made anew for one run: watched, and made to begin some steps later.

A pipeline asks its scheduler for timesteps and then steps through them. One that answers with the later ones resumes;
one that answers with none makes the pipeline draw its noise, or decode a given latent, and do nothing else. So the
pipeline itself, unmodified, says what its noise and schedule are.

Noise levels are told on one scale for all: t / 1000 = s / (a + s) for a latent a x + s e of data x and noise e. With
flow matching (a = 1 - s) that is the timestep itself. Latents are told divided by a + s, and so mean the same
everywhere: on that scale (1 - t) x + t e is right for every scheduler.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

EXACT = ("FlowMatchEulerDiscreteScheduler", "DDIMScheduler", "CogVideoXDDIMScheduler")
FORGETFUL = (  # begin at first order: they keep the predictions of earlier steps, which a resumed run has not made
    "UniPCMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "CogVideoXDPMScheduler",
)

Velocity = Callable[[Any, Any], Any]  # model output, latents → model output; all as the pipeline has them


def why_not_resumed(scheduler: Any) -> str | None:  # Any: schedulers of diffusers are untyped
    """Return a sentence on why runs with this scheduler cannot begin later; None where they can."""
    name = type(scheduler).__name__
    if name not in (*EXACT, *FORGETFUL):
        return f"Its scheduler, {name}, is not known to resume; {', '.join(EXACT)} and UniPC do."
    if scheduler.config.get("stochastic_sampling"):
        return f"Its scheduler, {name}, draws noise at every step (stochastic_sampling); a later start changes it."
    if not _has_levels(scheduler):
        return f"The noise levels of its scheduler, {name}, are not known by these settings."
    return None


def is_flow(scheduler: Any) -> bool:
    """Whether latents are (1 - s) x + s e."""
    return type(scheduler).__name__.startswith("FlowMatch") or bool(scheduler.config.get("use_flow_sigmas"))


def _has_levels(scheduler: Any) -> bool:
    return is_flow(scheduler) or hasattr(scheduler, "alphas_cumprod")


class Course:
    """One run's scheduler and what the pipeline asked of it."""

    def __init__(self, scheduler: Any, *, skipped: int | None = 0, velocity: Velocity | None = None) -> None:
        """Make a scheduler of the same class and configuration that leaves out steps; None: all of them.

        `velocity` is given the model's output and the latents of each step, and returns what the step is made with.
        """
        self.scheduler = type(scheduler).from_config(scheduler.config)
        self.listener: Callable[[Tensor], None] | None = None  # of the latents after each step
        self._scales: list[tuple[float, float]] = []  # a and s where each step begins, and at the end
        self._skipped, self._velocity = skipped, velocity
        self._set_timesteps, self._step = self.scheduler.set_timesteps, self.scheduler.step
        self._takes = inspect.signature(self._step)
        self.scheduler.set_timesteps = _posing_as(self._set_timesteps, self._begin)
        self.scheduler.step = _posing_as(self._step, self._advance)

    @property
    def levels(self) -> list[float]:
        """The noise level (0..1000) at which each step begins, and 0 at the end; skipped steps included."""
        return [1000 * s / (a + s) for a, s in self._scales[:-1]] + [0.0]

    @property
    def units(self) -> list[float]:
        """What latents are divided by to be told: those that enter each step, and the finished ones."""
        return [1.0 if is_flow(self.scheduler) else a + s for a, s in self._scales[:-1]] + [1.0]

    def _begin(self, *args: Any, **options: Any) -> None:
        self._set_timesteps(*args, **options)
        scheduler = self.scheduler
        self._scales = _scales(scheduler)
        skipped = len(scheduler.timesteps) if self._skipped is None else self._skipped
        scheduler.timesteps = scheduler.timesteps[skipped:]
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = scheduler.sigmas[skipped:]

    def _advance(self, *args: Any, **options: Any) -> Any:
        if self._velocity is not None:
            bound = self._takes.bind(*args, **options)
            given = bound.arguments
            given["model_output"] = self._velocity(given["model_output"], given["sample"])
            args, options = bound.args, bound.kwargs
        made = self._step(*args, **options)
        if self.listener is not None:
            self.listener(made[0] if isinstance(made, tuple) else made.prev_sample)
        return made


def _posing_as(known: Callable[..., Any], new: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the signature of another: pipelines look at what a scheduler takes."""

    @functools.wraps(known)
    def posing(*args: Any, **options: Any) -> Any:
        return new(*args, **options)

    return posing


def _scales(scheduler: Any) -> list[tuple[float, float]]:
    """Return a and s of a scheduler that has its timesteps, where each step begins and at the end."""
    if is_flow(scheduler):
        sigmas = [float(sigma) for sigma in scheduler.sigmas]
        levels = [1 - sigma for sigma in sigmas] if scheduler.config.get("invert_sigmas") else sigmas
        return [(1 - level, level) for level in levels]
    times = [float(time) for time in scheduler.timesteps]
    if hasattr(scheduler, "alphas_cumprod"):
        kept = [float(scheduler.alphas_cumprod[int(time)]) for time in times]
        return [(a**0.5, (1 - a) ** 0.5) for a in kept] + [(1.0, 0.0)]
    whole = float(scheduler.config.get("num_train_timesteps", 1000))
    return [(1 - time / whole, time / whole) for time in times] + [(1.0, 0.0)]


@contextmanager
def lent(pipeline: Any, course: Course) -> Iterator[None]:
    """Give the pipeline another scheduler for a while."""
    own = pipeline.scheduler
    pipeline.scheduler = course.scheduler
    try:
        yield
    finally:
        pipeline.scheduler = own


def replaced(scheduler: Any, wanted: Mapping[str, Any]) -> Any:
    """Return the scheduler that a card asks for: values in place of the source's, and maybe another class.

    Raises:
        ValueError: there is no such class, or it has no such value; the message names it.
    """
    import diffusers

    if not wanted:
        return scheduler
    name = wanted.get("class", type(scheduler).__name__)
    kind = getattr(diffusers, name, None)
    if kind is None or not hasattr(kind, "set_timesteps"):
        raise ValueError(f"scheduler: {name!r} is no scheduler of diffusers {diffusers.__version__}")
    values = {key: value for key, value in wanted.items() if key != "class"}
    takes = list(inspect.signature(kind.__init__).parameters)[1:]
    for key in values:
        if key not in takes:
            raise ValueError(f"scheduler: {key!r} is no value of {name}; there are {', '.join(takes)}")
    return kind.from_config({**scheduler.config, **values})
