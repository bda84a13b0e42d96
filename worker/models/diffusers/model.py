"""Any text-to-video pipeline of diffusers as a `VideoModel`: the pipeline itself runs, unmodified."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.models import device as devices
from worker.models import prompt_text
from worker.models.diffusers import attention, schedule, turns
from worker.models.diffusers.layout import Layout
from worker.models.diffusers.run import Asked, Run
from worker.models.diffusers.schedule import Course
from worker.models.diffusers.source import LENGTHS
from worker.models.text_cache import TextCache
from worker.models.video_model import (
    Fingerprint,
    RequestError,
    Sampling,
    Step,
    StepHook,
    require_finite,
    why_no_such_block,
)

_EMBEDS, _MASKS = (
    ("prompt_embeds", "negative_prompt_embeds"),
    ("prompt_attention_mask", "negative_prompt_attention_mask"),
)
RETURNED = (  # by `encode_prompt` of pipelines, in this order; told apart by their number and the places of the masks
    _EMBEDS,
    (_EMBEDS[0], _MASKS[0], _EMBEDS[1], _MASKS[1]),
    (*_EMBEDS, *_MASKS),
)
_SCHEDULES_KNOWN = 64
_MORE_THAN_EMBEDS = (  # what else is made of words: Latte counts the ones it keeps only when it reads them itself
    *("pooled_prompt_embeds", "prompt_embeds_2", "mask_feature"),
)
_RATES = ("frame_rate", "fps")  # what pipelines call the frames per second
OF_THE_REQUEST = (  # arguments of pipelines that no card can set for all runs
    *("prompt", "negative_prompt", *_EMBEDS, *_MASKS, "height", "width", *LENGTHS, *_RATES, "num_inference_steps"),
    *("guidance_scale", "generator", "latents", "output_type", "return_dict", "num_videos_per_prompt"),
    *("callback_on_step_end", "callback_on_step_end_tensor_inputs", "num_images_per_prompt"),
)
_FEWEST = 4  # steps of a schedule that is never run: some divide by the other steps, or begin with a warm-up of four


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What a pipeline is called with for a prompt: embeddings, or the words if only its own call can encode them."""

    arguments: Mapping[str, Any]


class DiffusersModel(devices.OnDevice):
    """A pipeline behind the interface of jobs."""

    def __init__(self, pipeline: Any, card: ModelCard, fingerprint: Fingerprint) -> None:
        self.pipeline, self.card, self.fingerprint = pipeline, card, fingerprint
        self.engine: Mapping[str, str] = {}
        self.text_cache: TextCache | None = None  # of earlier prompts
        self.ignores_donors: str | None = None  # why, if the networks ignore them
        self._takes = inspect.signature(pipeline.__call__).parameters
        # A copy, since the pipeline's own may be at work on another job while a prompt is read; see `prompt_text`.
        self._tokenizer: Any = copy.deepcopy(getattr(pipeline, "tokenizer", None))
        self._blank: Encoding | None = None
        self._asked: dict[tuple[object, ...], Asked] = {}

    @property
    def device(self) -> torch.device:
        """The device that latents live on."""
        device: torch.device = self.pipeline._execution_device
        return device

    @property
    def prepares_aside(self) -> bool:
        """No: a pipeline stores the arguments of its call in itself, and asking it for shapes is a call."""
        return False

    def refuses(self, way: str, options: Mapping[str, Any]) -> str | None:
        """Return why ways of reuse, joined by `+`, do not work with this model; None if they do."""
        reasons = (self._refuses(part, options.get(part, options)) for part in way.split("+"))
        return next((reason for reason in reasons if reason), None)

    def _refuses(self, way: str, options: Mapping[str, Any]) -> str | None:
        if way in ("resume", "own_trajectory"):
            return schedule.why_not_resumed(self.pipeline.scheduler)
        if way == "active_tokens":
            return "Its blocks are the pipeline's own and compute all tokens; this takes a network of ours."
        if way != "cache_attention":
            return None
        if options.get("bias", 0.0):
            return "Its attention weighs all keys alike; plans with a bias need another network."
        return (
            attention.why_not(self.pipeline)
            or self.ignores_donors
            or why_no_such_block(options, attention.num_blocks(self.pipeline))
        )

    def latent_shape(self, params: GenerationParams) -> tuple[int, int, int, int]:
        """Return channels, frames, height and width of the latents; raise RequestError for a size it cannot make."""
        return self._ask(params, _FEWEST).layout.shape

    def drawn(self, params: GenerationParams) -> Tensor:
        """Return latents in the form that its networks get; raise RequestError for a size it cannot make."""
        return self._ask(params, _FEWEST).layout.like

    def timesteps(self, params: GenerationParams, sampling: Sampling) -> list[float]:
        """Return the noise level (0..1000) at which each step of a run begins."""
        return self._ask(params, sampling.num_steps).levels[:-1]

    def guidance(self, sampling: Sampling) -> list[float]:
        """Return the guidance scale of each step."""
        return [max(1.0, sampling.guidance_scale, self._own_guidance)] * sampling.num_steps

    @property
    def _own_guidance(self) -> float:
        """The card's guidance by two evaluations, for a network with the request's guidance as an input; 1 = none."""
        return float(self.card.call.get("true_cfg_scale", 1.0))

    def reads(self, prompt: str) -> str:
        """Return what the pipeline's first text encoder gets of a prompt: words within its limit and known to it."""
        tokenizer = self._tokenizer
        default = self._takes["max_sequence_length"].default if "max_sequence_length" in self._takes else None
        if default is None:  # CLIP's limit is its tokenizer's; encoders without one have an astronomical number there
            default = getattr(tokenizer, "model_max_length", None)
        limit = self.card.call.get("max_sequence_length", default)
        if limit is None or not getattr(tokenizer, "is_fast", False):
            return prompt
        return prompt_text.given(tokenizer, prompt, num_tokens=limit)

    def encode(self, params: GenerationParams) -> Encoding:
        """Return what the pipeline's own text encoders make of the prompt and the negative prompt."""
        words = {"prompt": params.prompt}
        for name, count in own_steps(self.card).items():
            if params.num_inference_steps not in (None, count):
                raise RequestError(
                    f"{self.card.name} makes the {count} steps of its card's {name}, not {params.num_inference_steps}; "
                    "leave num_inference_steps out"
                )
        if params.negative_prompt:
            if "negative_prompt" not in self._takes:
                raise RequestError(f"{self.card.name} takes no negative prompt; leave it out")
            if "true_cfg_scale" in self._takes and self._own_guidance <= 1:
                raise RequestError(
                    f"{self.card.name} reads no negative prompt, for its guidance is an input of its network; leave it "
                    "out, or let the card give `call` a true_cfg_scale above 1, at twice the cost of a step"
                )
            words["negative_prompt"] = params.negative_prompt
        return self._encode(words, is_guided=params.guidance_on(self.card) > 1)

    @torch.no_grad()
    def _encode(self, words: Mapping[str, str], *, is_guided: bool) -> Encoding:
        if not self._takes_embeddings:
            return Encoding(arguments=words)
        key = json.dumps([sorted(words.items()), is_guided])
        if self.text_cache is not None and (stored := self.text_cache.get(key)) is not None:
            moved = {name: None if value is None else value.to(self.device) for name, value in stored.items()}
            return Encoding(arguments=self._wordless | moved)
        takes = inspect.signature(self.pipeline.encode_prompt).parameters
        as_called = {name: found.default for name, found in self._takes.items() if found.default is not found.empty}
        own = {"do_classifier_free_guidance": is_guided, "device": self.device, "num_images_per_prompt": 1}
        wanted = {**as_called, **self.card.call, **own, **words}
        encoded = self.pipeline.encode_prompt(**{name: value for name, value in wanted.items() if name in takes})
        names = next((names for names in RETURNED if _are_those(names, encoded)), ())
        if not names or any(name not in self._takes for name in names):
            return Encoding(arguments=words)
        arguments = dict(zip(names, encoded, strict=True))
        if self.text_cache is not None and all(isinstance(value, torch.Tensor | None) for value in encoded):
            self.text_cache.put(key, arguments)
        return Encoding(arguments=self._wordless | arguments)

    @property
    def _takes_embeddings(self) -> bool:
        """Whether everything that the pipeline makes of words can be passed to it."""
        takes = set(self._takes)
        return hasattr(self.pipeline, "encode_prompt") and set(_EMBEDS) <= takes and not set(_MORE_THAN_EMBEDS) & takes

    @property
    def _wordless(self) -> dict[str, Any]:
        """The arguments that blank out the words beside their embeddings: pipelines refuse both, even their own ""."""
        return {name: None for name in ("prompt", "negative_prompt") if name in self._takes}

    def sample(
        self,
        encoding: Encoding,
        params: GenerationParams,
        sampling: Sampling,
        *,
        seed: int,
        hooks: Sequence[StepHook] = (),
    ) -> Generator[Step]:
        """Denoise; yield after every step. Closing the generator ends the pipeline's run and its thread."""
        if sampling.options:
            raise ValueError(
                f"{', '.join(sampling.options)}: no option of {self.card.name}, whose schedule is its scheduler's; "
                "see `scheduler` in the card"
            )
        arguments = {
            **dict(encoding.arguments),
            "num_inference_steps": sampling.num_steps,
            "guidance_scale": sampling.guidance_scale,
        }
        run = Run(model=self, params=params, arguments=arguments, seed=seed, hooks=tuple(hooks))
        yield from devices.paced(turns.iterate(run), self.device)

    def decode(self, latents: Tensor, params: GenerationParams) -> NDArray[np.uint8]:
        """Return the frames (T, H, W, 3), decoded by the pipeline itself in a call without steps."""
        require_finite(bool(latents.isfinite().all()), self.card)
        layout = self._ask(params, _FEWEST).layout
        arguments = {**dict(self._nothing().arguments), "num_inference_steps": _FEWEST, "guidance_scale": 1.0}
        nothing_left = Course(self.pipeline.scheduler, skipped=None, is_given_latents=True)
        given = {"latents": layout.own(latents.to(self.device)), "output_type": "np"}
        video = np.asarray(self.call(nothing_left, params, {**arguments, **given}, seed=0)[0])
        require_finite(bool(np.isfinite(video).all()), self.card)
        return (video * 255).round().astype(np.uint8)

    def decode_parts(self, latents: Tensor, params: GenerationParams) -> Iterator[NDArray[np.uint8]]:
        """Yield all frames at once: a pipeline decodes in one call."""
        yield self.decode(latents, params)

    def call(self, course: Course, params: GenerationParams, arguments: Mapping[str, Any], *, seed: int) -> Any:
        """Call the pipeline with our scheduler and return its result; an error leaves the pipeline as it was."""
        course.generator = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
        size = {
            "height": params.height,
            "width": params.width,
            **dict.fromkeys(LENGTHS, params.num_frames),
            **dict.fromkeys(_RATES, params.fps),
            "generator": course.generator,
            "return_dict": False,
        }
        wanted = {**size, **self.card.call, **arguments}
        with schedule.lent(self.pipeline, course), guided(self.pipeline, wanted["guidance_scale"]):
            try:
                return self.pipeline(**{name: value for name, value in wanted.items() if name in self._takes})[0]
            except BaseException:
                _clear_vae(self.pipeline)
                self.pipeline.maybe_free_model_hooks()  # off-loaded weights go back to where they wait between runs
                raise

    def ask(self, params: GenerationParams, num_steps: int, seed: int) -> Asked:
        """Let the pipeline draw its noise and choose its timesteps, and do nothing more; raise RequestError."""
        course = Course(self.pipeline.scheduler, skipped=None)
        arguments = {**dict(self._nothing().arguments), "num_inference_steps": num_steps, "guidance_scale": 1.0}
        try:
            drawn = self.call(course, params, {**arguments, "output_type": "latent"}, seed=seed)
        except (ValueError, ArithmeticError) as error:
            size = f"{params.width}x{params.height}, {params.num_frames} frames"
            few = f", in {num_steps} steps" if num_steps < _FEWEST else ""
            raise RequestError(f"{self.card.name} cannot make {size}{few}: {error}") from error
        layout = Layout.of(self.pipeline, drawn, width=params.width, height=params.height, num_frames=params.num_frames)
        self._check_tokens(layout, params)
        return Asked(layout=layout, noise=layout.told(drawn), levels=course.levels, units=course.units)

    def _check_tokens(self, layout: Layout, params: GenerationParams) -> None:
        """Raise RequestError for sides whose latents do not make whole tokens: some pipelines fail only in a step."""
        sides = layout.shape[2:]
        for network in attention.transformers(self.pipeline):
            patch = attention.patch_side(getattr(network.config, "patch_size", None))
            if patch is not None and any(side < patch or side % patch for side in sides):
                step = patch * params.width // max(1, sides[1])
                size = f"{params.width}x{params.height}"
                raise RequestError(
                    f"{self.card.name} cannot make {size}: its latents of {sides[1]}x{sides[0]} have no whole tokens "
                    f"of {patch}x{patch}; use multiples of {step}"
                )

    def _ask(self, params: GenerationParams, num_steps: int) -> Asked:
        key = (params.width, params.height, params.num_frames, params.fps, num_steps)
        if key not in self._asked:
            if len(self._asked) >= _SCHEDULES_KNOWN:
                self._asked.clear()
            self._asked[key] = self.ask(params, num_steps, seed=0).without_numbers()
        return self._asked[key]

    def _nothing(self) -> Encoding:
        """Return what a call gets for a prompt if none is read."""
        if self._blank is None:
            self._blank = self._encode({"prompt": ""}, is_guided=False)
        return self._blank


def own_steps(card: ModelCard) -> dict[str, int]:
    """Return how many steps a card lists one by one, by argument; pipelines make these, whatever a request says."""
    return {name: len(card.call[name]) for name in ("timesteps", "sigmas") if isinstance(card.call.get(name), list)}


def _clear_vae(pipeline: Any) -> None:
    """Drop the features of earlier frames, gigabytes, that some VAEs keep in themselves while decoding."""
    if hasattr(getattr(pipeline, "vae", None), "clear_cache"):
        pipeline.vae.clear_cache()


def _are_those(names: Sequence[str], encoded: Sequence[Any]) -> bool:
    """Whether the encoded tensors fit these names: masks are (B, N), embeddings have a dimension of features too."""
    return len(names) == len(encoded) and all(
        value is None or (value.ndim == 2) == (name in _MASKS) for name, value in zip(names, encoded, strict=True)
    )


@contextmanager
def guided(pipeline: Any, scale: float) -> Iterator[None]:
    """Set the guidance scale for a while if a part of the pipeline holds it and not an argument of its call."""
    own = getattr(pipeline, "guider", None)
    if own is None or not hasattr(own, "guidance_scale"):
        yield
        return
    pipeline.guider = own.new(guidance_scale=scale)
    try:
        yield
    finally:
        pipeline.guider = own
