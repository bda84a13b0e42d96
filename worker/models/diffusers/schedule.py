"""A fresh copy of a pipeline's own scheduler for one run, which can be watched and can begin at a later step.

A pipeline asks its scheduler for timesteps and then steps through them. If the scheduler answers with the later ones,
the pipeline resumes; if it answers with none, the pipeline draws its noise, or decodes a given latent, and does nothing
else. So the pipeline itself, unmodified, says what its noise and schedule are.

All schedulers' noise levels are given on one scale: t / 1000 = s / (a + s) for a latent a x + s e of data x and noise
e. With flow matching (a = 1 - s) that is the timestep itself. Latents are given divided by a + s, so that they mean the
same everywhere: on that scale a latent is (1 - t / 1000) x + t / 1000 e with every scheduler.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

EXACT = ("FlowMatchEulerDiscreteScheduler", "DDIMScheduler", "CogVideoXDDIMScheduler")
FORGETFUL = (  # these restart at first order: they use predictions of earlier steps, which a resumed run has not made
    "UniPCMultistepScheduler",
    "DPMSolverMultistepScheduler",
)

_OF_A_STEP = ("self", "model_output", "timestep", "sample")  # what every pipeline gives its scheduler

Velocity = Callable[[Any, Any], Any]  # model output, latents → model output; all in the pipeline's form


def why_not_resumed(scheduler: Any) -> str | None:  # Any: schedulers of diffusers are untyped
    """Return why runs with this scheduler cannot begin at a later step; None if they can."""
    name, config = type(scheduler).__name__, scheduler.config
    if name not in (*EXACT, *FORGETFUL):
        return f"Its scheduler, {name}, is not known to resume; {', '.join(EXACT)} and UniPC do."
    algorithm = str(config.get("algorithm_type", ""))
    if config.get("stochastic_sampling") or algorithm.startswith("sde"):
        kind = "stochastic_sampling" if config.get("stochastic_sampling") else algorithm
        return f"Its scheduler, {name}, draws noise at every step ({kind}); a later start changes it."
    if not _has_levels(scheduler):
        return f"The noise levels of its scheduler, {name}, are not known by these settings."
    return None


def is_flow(scheduler: Any) -> bool:
    """Whether latents are (1 - s) x + s e: with schedulers that know only that form, or are configured for it."""
    has_other = hasattr(scheduler, "alphas_cumprod") or hasattr(scheduler, "init_noise_sigma")
    return bool(scheduler.config.get("use_flow_sigmas")) or (hasattr(scheduler, "sigmas") and not has_other)


def _keeps_variance(scheduler: Any) -> bool:
    """Whether latents begin as plain noise; those of Euler and its kin are x + s e, with an s of ten and more."""
    return float(getattr(scheduler, "init_noise_sigma", 1.0)) == 1


def _has_levels(scheduler: Any) -> bool:
    return is_flow(scheduler) or hasattr(scheduler, "alphas_cumprod")


def falls(levels: Sequence[float]) -> bool:
    """Whether noise levels never rise and are numbers: for a single step, some schedulers produce NaN."""
    return all(before >= after >= 0 for before, after in pairwise(levels))


def check_step(pipeline: Any) -> None:
    """Raise ValueError for a scheduler whose step needs more than its pipeline passes."""
    kind = type(pipeline.scheduler)
    needs = [name for name, value in inspect.signature(kind.step).parameters.items() if value.default is value.empty]
    more = [name for name in needs if name not in _OF_A_STEP]
    if more and kind.__name__ not in vars(sys.modules[type(pipeline).__module__]):
        raise ValueError(
            f"scheduler: {kind.__name__} wants {' and '.join(more)} in every step, which {type(pipeline).__name__} "
            "does not give; name another"
        )


class Course:
    """One run's scheduler and what the pipeline asked of it."""

    def __init__(
        self,
        scheduler: Any,
        *,
        skipped: int | None = 0,
        velocity: Velocity | None = None,
        is_given_latents: bool = False,
    ) -> None:
        """Make a scheduler of the same class and configuration that leaves out the first steps; None = all of them.

        `velocity` gets the model's output and the latents of each step, and returns the output to use in the step.
        Given latents are not initial noise, and pipelines must not scale them up as such.
        """
        self.scheduler = type(scheduler).from_config(scheduler.config)
        if is_given_latents:
            kind = type(self.scheduler)
            self.scheduler.__class__ = type(kind.__name__, (kind,), {"init_noise_sigma": 1.0})
        self.listener: Callable[[Tensor], None] | None = None  # of the latents after each step
        self.generator: Any = None  # torch's, from which a step draws noise when its pipeline passes none
        self._scales: list[tuple[float, float]] = []  # a and s at the beginning of each step and at the end
        self._skipped, self._velocity = skipped, velocity
        self._set_timesteps, self._step = self.scheduler.set_timesteps, self.scheduler.step
        self._takes = inspect.signature(self._step)
        self.scheduler.__deepcopy__ = _refuse_copy
        self.scheduler.set_timesteps = _posing_as(self._set_timesteps, self._begin)
        self.scheduler.step = _posing_as(self._step, self._advance)

    @property
    def levels(self) -> list[float]:
        """The noise level (0..1000) at which each step begins, and 0 at the end; skipped steps included."""
        return [1000 * s / (a + s) for a, s in self._scales[:-1]] + [0.0]

    @property
    def units(self) -> list[float]:
        """The divisors a + s of the latents that enter each step and of the finished ones."""
        return [1.0 if is_flow(self.scheduler) else a + s for a, s in self._scales[:-1]] + [1.0]

    def end(self) -> None:
        """Release the scheduler: while the two refer to each other, a run's latents stay until garbage collection."""
        del self.scheduler.set_timesteps, self.scheduler.step

    def _begin(self, *args: Any, **options: Any) -> None:
        self._set_timesteps(*args, **options)
        scheduler = self.scheduler
        self._leave_out_more(*args, **options)
        self._scales = _scales(scheduler)
        skipped = len(scheduler.timesteps) if self._skipped is None else self._skipped
        scheduler.timesteps = scheduler.timesteps[skipped:]
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = scheduler.sigmas[skipped:]

    def _leave_out_more(self, *args: Any, **options: Any) -> None:
        """Keep to the requested number of steps: PNDM adds some at the start, so it is asked for fewer."""
        bound = inspect.signature(self._set_timesteps).bind(*args, **options)
        asked = bound.arguments.get("num_inference_steps") or 0
        fewer = 2 * asked - len(self.scheduler.timesteps)
        if asked and asked > fewer >= asked / 2:  # a warm-up that is longer than the rest stays as it is
            bound.arguments["num_inference_steps"] = fewer
            self._set_timesteps(*bound.args, **bound.kwargs)

    def _advance(self, *args: Any, **options: Any) -> Any:
        bound = self._takes.bind(*args, **options)
        given = bound.arguments
        if self._velocity is not None:
            given["model_output"] = self._velocity(given["model_output"], given["sample"])
        if "generator" in self._takes.parameters and given.get("generator") is None:
            given["generator"] = self.generator
        args, options = bound.args, bound.kwargs
        made = self._step(*args, **options)
        if self.listener is not None:
            self.listener(made[0] if isinstance(made, tuple) else made.prev_sample)
        return made


def _refuse_copy(_: object) -> None:
    """Refuse: steps of a copy would be taken for steps of the video."""
    raise ValueError("its pipeline steps with several schedulers at once, which cannot be followed")


def _posing_as(known: Callable[..., Any], new: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the signature of another: pipelines inspect a scheduler's arguments."""

    @functools.wraps(known)
    def posing(*args: Any, **options: Any) -> Any:
        return new(*args, **options)

    return posing


def _scales(scheduler: Any) -> list[tuple[float, float]]:
    """Return a and s at the beginning of each step and at the end, of a scheduler that has its timesteps."""
    if is_flow(scheduler):
        sigmas = [float(sigma) for sigma in scheduler.sigmas]
        levels = [1 - sigma for sigma in sigmas] if scheduler.config.get("invert_sigmas") else sigmas
        return [(1 - level, level) for level in levels]
    times = [float(time) for time in scheduler.timesteps]
    if hasattr(scheduler, "sigmas") and not _keeps_variance(scheduler):
        return [(1.0, float(sigma)) for sigma in scheduler.sigmas[: len(times)]] + [(1.0, 0.0)]
    if hasattr(scheduler, "alphas_cumprod"):
        kept = [float(scheduler.alphas_cumprod[int(time)]) for time in times]
        return [(a**0.5, (1 - a) ** 0.5) for a in kept] + [(1.0, 0.0)]
    whole = float(scheduler.config.get("num_train_timesteps", 1000))
    return [(1 - time / whole, time / whole) for time in times] + [(1.0, 0.0)]


@contextmanager
def lent(pipeline: Any, course: Course) -> Iterator[None]:
    """Give the pipeline another scheduler for a while, which ends the course."""
    own = pipeline.scheduler
    pipeline.scheduler = course.scheduler
    try:
        yield
    finally:
        pipeline.scheduler = own
        course.end()


def replaced(scheduler: Any, wanted: Mapping[str, Any]) -> Any:
    """Return the scheduler that a card asks for: values in place of the source's, and maybe another class.

    Raises:
        ValueError: there is no such class, it has no such value, or it expects another kind of prediction of the
            network than the source's scheduler; the message names it.
    """
    import diffusers

    if not wanted:
        return scheduler
    name = wanted.get("class", type(scheduler).__name__)
    kind = getattr(diffusers, str(name), None)
    if kind is None or not hasattr(kind, "set_timesteps"):
        raise ValueError(f"scheduler: {name!r} is no scheduler of diffusers {diffusers.__version__}")
    values = {key: value for key, value in wanted.items() if key != "class"}
    takes = list(inspect.signature(kind.__init__).parameters)[1:]
    for key in values:
        if key not in takes:
            raise ValueError(f"scheduler: {key!r} is no value of {name}; there are {', '.join(takes)}")
    try:
        made = kind.from_config({**scheduler.config, **values})
    except Exception as error:  # each class has its own errors for a wrong value
        given = ", ".join(f"{key}={value!r}" for key, value in values.items())
        raise ValueError(f"scheduler: {name} takes no {given} ({error}); see its page of diffusers") from error
    if is_flow(made) != is_flow(scheduler):
        raise ValueError(_other_prediction(scheduler, made))
    return made


def _other_prediction(own: Any, made: Any) -> str:
    name, like = type(made).__name__, f"name one like its own, {type(own).__name__}"
    if not is_flow(own):
        return f"scheduler: {name} is for networks that predict a flow, and this one does not; {like}"
    if "use_flow_sigmas" not in made.config:
        return f"scheduler: {name} is not for networks that predict a flow, as this one does; {like}"
    return (
        f"scheduler: this network predicts a flow, which {name} expects with "
        '"use_flow_sigmas": true, "prediction_type": "flow_prediction", "flow_shift": ... beside its `class`'
    )
