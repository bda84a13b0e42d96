"""One run of a pipeline, yielding each step to its caller and calling the hooks between the steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from shared.generation import GenerationParams
from worker.models.diffusers import attention, schedule
from worker.models.diffusers.attention import Lender
from worker.models.diffusers.layout import Layout
from worker.models.diffusers.schedule import Course
from worker.models.video_model import RequestError, Step, StepHook


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a pipeline says about a run before it begins."""

    layout: Layout
    noise: Tensor  # (1, C, T, H, W)
    levels: list[float]  # 0..1000, at the beginning of each step; 0 at the end
    units: list[float]  # divisors that bring the pipeline's latents to the common scale, likewise

    def without_numbers(self) -> Asked:
        """Return the same with one number in place of all latents, so that many can be kept without device memory."""
        return replace(self, layout=replace(self.layout, like=_hollow(self.layout.like)), noise=_hollow(self.noise))


class Caller(Protocol):
    """The owner of the pipeline."""

    pipeline: Any  # of diffusers, untyped

    @property
    def device(self) -> torch.device:
        """The device that it runs on."""

    def ask(self, params: GenerationParams, num_steps: int, seed: int) -> Asked:
        """Let the pipeline draw its noise and choose its timesteps, and do nothing more."""

    def call(self, course: Course, params: GenerationParams, arguments: Mapping[str, Any], *, seed: int) -> Any:
        """Call the pipeline with our scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run, ready to be iterated by `turns`."""

    model: Caller
    params: GenerationParams
    arguments: Mapping[str, Any]
    seed: int
    hooks: Sequence[StepHook]

    def __call__(self, hand: Callable[[Step], None]) -> None:
        """Run; pass every step to `hand`, and go on when it returns."""
        model, pipeline = self.model, self.model.pipeline
        if model.device.type == "cuda":
            torch.cuda.set_device(model.device)  # each thread has its own
        asked = model.ask(self.params, self.arguments["num_inference_steps"], self.seed)
        _check_levels(asked.levels, pipeline)
        first, latents = self._start(asked)
        with ExitStack() as stack:
            lender = None
            if self.hooks and attention.why_not(pipeline) is None:
                lender = stack.enter_context(attention.lending(pipeline, asked.layout))
            teller = Teller(asked=asked, hooks=self.hooks, hand=hand, lender=lender, index=first)
            course = Course(pipeline.scheduler, skipped=first, velocity=teller.velocity)
            arguments = {**self.arguments, **latents, **teller.listening_to(pipeline, course), "output_type": "latent"}
            teller.lend()
            model.call(course, self.params, arguments, seed=self.seed)
        if teller.index != len(asked.levels) - 1:
            raise ValueError(f"{_name(pipeline)} made {teller.index - first} steps {_UNFOLLOWED}")

    def _start(self, asked: Asked) -> tuple[int, dict[str, Tensor]]:
        """Return the first step and the argument for the latents that enter it; none if the pipeline draws them."""
        first, latents = 0, asked.noise
        for hook in self.hooks:
            first, latents = hook.start(latents, asked.levels[:-1], first)
        if first == 0 and latents is asked.noise:
            return 0, {}
        if reason := schedule.why_not_resumed(self.model.pipeline.scheduler):
            raise ValueError(f"the run cannot begin at step {first + 1}: {reason}")
        return first, {"latents": asked.layout.own(latents * asked.units[first])}


@dataclass(slots=True, kw_only=True)
class Teller:
    """What happens between two steps: the finished one is passed on, and the next is lent what it reads."""

    asked: Asked
    hooks: Sequence[StepHook]
    hand: Callable[[Step], None]
    lender: Lender | None
    index: int  # of the step to come, 0-based
    outputs: list[Tensor] = field(default_factory=list)  # of the model, in the last step
    samples: list[Tensor] = field(default_factory=list)  # latents that the model was given, in the pipeline's form

    def listening_to(self, pipeline: Any, course: Course) -> dict[str, Any]:
        """Return the arguments that set a callback; a pipeline that takes none is followed through its scheduler."""
        if "callback_on_step_end" not in _parameters(pipeline):
            course.listener = self.finish
            return {}

        def told(_: Any, __: int, ___: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            self.finish(tensors["latents"])
            return {}

        return {"callback_on_step_end": told, "callback_on_step_end_tensor_inputs": ["latents"]}

    def lend(self) -> None:
        """Let the next step read what the hooks want it to."""
        level = self.asked.levels[self.index]
        offered = (hook.attention(self.index, level, 1) for hook in self.hooks)
        cached = next((one for one in offered if one is not None), None)
        if self.lender is not None:
            self.lender.lend(cached)
        elif cached is not None:
            raise ValueError("this network takes no donor in; ask for another way of reuse, or for none")

    def velocity(self, output: Tensor, sample: Tensor) -> Tensor:
        """Return the output that the scheduler uses: the model's, unless a hook changes it."""
        self.outputs[:], self.samples[:] = [output], [sample]
        layout, index = self.asked.layout, self.index
        before = after = -layout.told(output)
        for hook in self.hooks:
            after = hook.velocity(after, layout.told(sample), index, self.asked.levels[index])
        if after is not before:
            self.outputs[:] = [layout.own(-after).to(output)]
        return self.outputs[0]

    def finish(self, latents: Tensor) -> None:
        """Pass on a finished step, wait until the next is wanted, and prepare it."""
        levels, index = self.asked.levels, self.index
        if index >= len(levels) - 1:
            raise ValueError(f"the pipeline made more than {index} steps {_UNFOLLOWED}")
        if latents.shape[1:] != self.asked.layout.like.shape[1:]:
            shapes = f"{tuple(latents.shape)} where it drew {tuple(self.asked.layout.like.shape)}"
            raise ValueError(f"the pipeline denoises latents of {shapes}, so they cannot be followed")
        told, entered = (
            one if unit == 1 else one / unit
            for one, unit in zip(
                map(self.asked.layout.told, (latents, self.samples[0])),
                (self.asked.units[index + 1], self.asked.units[index]),
                strict=True,
            )
        )
        step = Step(
            index=index,
            num_steps=len(levels) - 1,
            timestep=levels[index],
            next_timestep=levels[index + 1],
            entered=entered,
            latents=told,
            velocity=-self.asked.layout.told(self.outputs[0]),
        )
        for hook in self.hooks:
            hook.finished(step)
        self.index += 1
        self.hand(step)
        if self.index < step.num_steps:
            self.lend()


_UNFOLLOWED = "where its scheduler has others, so they cannot be followed; see docs/models.md for pipelines that can"


def _check_levels(levels: Sequence[float], pipeline: Any) -> None:
    """Raise RequestError if a scheduler cannot make valid levels for the requested steps."""
    if not schedule.falls(levels):
        said = ", ".join(f"{level:.4g}" for level in levels[:-1])
        raise RequestError(
            f"{_name(pipeline)} cannot make a video in {len(levels) - 1} steps: the noise levels of its scheduler are "
            f"{said}; ask for more"
        )


def _hollow(tensor: Tensor) -> Tensor:
    return tensor.new_zeros(()).expand(tensor.shape)


def _name(pipeline: Any) -> str:
    return type(pipeline).__name__


def _parameters(pipeline: Any) -> Mapping[str, Any]:
    return inspect.signature(pipeline.__call__).parameters
