"""What a job knows of a video model, and what a way of reuse may ask of its sampling loop. Needs no torch.

A `VideoModel` turns a request into frames in three verbs: encode, sample, decode; planners ask it for timesteps. A
`StepHook` is called at the five places of the loop where reuse may step in. Without hooks it is the plain model to the
bit.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shared.generation import GenerationParams
from shared.model_cards import ModelCard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class RequestError(ValueError):
    """A request that this model cannot fulfil on any machine; the message says what to ask for instead."""


def require_finite(is_finite: bool, card: ModelCard) -> None:
    """Raise FloatingPointError if values are not finite (a number overflowed): the video would be black."""
    if not is_finite:
        raise not_finite(card)


def not_finite(card: ModelCard) -> FloatingPointError:
    """Return the error for values that are not finite, with what the operator can do."""
    return FloatingPointError(
        f"{card.name} made values that are no numbers; float16 has too small a range for many models, so give it "
        "bfloat16 or float32 (`dtype` in its card, CHAI_ENGINE_DTYPE), or less guidance; where that changes nothing, "
        "fetch its weights again"
    )


def and_others(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def not_finite_weights(names: Sequence[str], dtype: object) -> str:
    """Say that weights are not finite in a `torch.dtype`, and the way out."""
    return (
        f"{and_others(names)} hold values that are no numbers in {str(dtype).removeprefix('torch.')}; "
        "fetch or save it again, or give another dtype"
    )


def why_no_such_block(options: Mapping[str, Any], num_blocks: int) -> str | None:
    """Return a message if Cache Attention's options name blocks that a network does not have, which none would read."""
    beyond = sorted(block for block in options.get("blocks", ()) if block >= num_blocks)
    if not beyond:
        return None
    named = ", ".join(map(str, beyond))
    return f"It has no block {named}, which the plan wants to read the donor; they are 0 to {num_blocks - 1}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a run steps from noise to data: the part of a plan that a model reads."""

    num_steps: int
    guidance_scale: float
    options: dict[str, Any] = field(default_factory=dict)  # of the schedule: spacing, shift, unguided_steps ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Two models with the same fingerprint make the same latents from the same noise and prompt."""

    revision: str  # of weights and configuration
    latent_dtype: str  # that the model runs in


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedLatents:
    """What Cache Attention reads in one forward: latents of earlier videos in place of (or beside) the current one.

    `latents` are (b, C, T, H, W) in the shape of the current latent; b divides the batch, and the rows that share a
    donor must share the timestep. `tokens` (b, T, S, C) is filled in by the network.
    """

    latents: tuple[Tensor, ...]
    extend: bool = False  # keep the current keys beside the cached ones
    blend: float = 1.0  # 0 = own attention only, 1 = cached attention only
    bias: float = 0.0  # added to the logits of cached keys
    blocks: tuple[int, ...] = (0,)
    rows: int | None = None  # only the first rows of the batch read the cache; None = all
    tokens: tuple[Tensor, ...] = ()

    def acts_in(self, block: int) -> bool:
        """Whether self-attention in block number `block` reads the cache."""
        return self.blend > 0 and block in self.blocks


@dataclass(slots=True, kw_only=True)
class Computed:
    """Which tokens a forward computes; the others are attended to as they were in the last full forward.

    The network fills `kept` in a full forward and keeps the active tokens' part of it up to date in the others.
    """

    active: Tensor | None = None  # bool (T, H, W), cells of the latent; None = all, and they are kept
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # of each block: keys, values (B, T S, H, d)

    @property
    def num_bytes(self) -> int:
        """The size of `kept`, in bytes."""
        return sum(part.numel() * part.element_size() for pair in self.kept for part in pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step."""

    index: int  # 0-based
    num_steps: int
    timestep: float  # 0..1000, at which the velocity was predicted
    next_timestep: float  # noise level of `latents`
    entered: Tensor  # float32 (B, C, T, H, W), before the step
    latents: Tensor  # float32 (B, C, T, H, W), after the step
    velocity: Tensor  # float32 (B, C, T, H, W), guided and corrected; points from noise to data


class StepHook(Protocol):
    """Changes or watches a run at the five places of the sampling loop."""

    def start(self, latents: Tensor, timesteps: Sequence[float], first: int) -> tuple[int, Tensor]:
        """Return the step to start at (0-based) and the latent (B, C, T, H, W) that enters it."""

    def attention(self, index: int, timestep: float, batch: int) -> CachedLatents | None:
        """Return what self-attention reads at step `index` (0-based) of a batch of prompts; None = its own tokens."""

    def computes(self, index: int) -> Computed | None:
        """Return which tokens step `index` (0-based) computes; None = all, and nothing of them is kept."""

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Return the velocity (B, C, T, H, W) to use in step `index`."""

    def finished(self, step: Step) -> None:
        """Take note of a finished step."""


class PlainHook:
    """Does nothing at any of the five places. Hooks override what they need."""

    __slots__ = ()

    def start(self, latents: Tensor, timesteps: Sequence[float], first: int) -> tuple[int, Tensor]:
        """Start where the schedule does."""
        del timesteps
        return first, latents

    def attention(self, index: int, timestep: float, batch: int) -> CachedLatents | None:
        """Leave attention to the run's own tokens."""
        del index, timestep, batch
        return None

    def computes(self, index: int) -> Computed | None:
        """Let every token be computed."""
        del index
        return None

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Leave the velocity as predicted."""
        del latents, index, timestep
        return velocity

    def finished(self, step: Step) -> None:
        """Do nothing."""


class VideoModel(Protocol):
    """A text-to-video model as a job sees it. What `encode` returns is the model's own affair."""

    @property
    def card(self) -> ModelCard:
        """What requests may ask of the model, and its own steps and guidance."""

    @property
    def device(self) -> Any:
        """The device that latents live on; tensors of a donor must be brought there."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What shapes this model's latents."""

    @property
    def engine(self) -> Mapping[str, str]:
        """The settings for speed and what became of each (`on`, or `off` and why), and the unused parts of LoRAs."""

    @property
    def prepares_aside(self) -> bool:
        """Whether one job may ask for shapes, timesteps and its text while another is being denoised or decoded."""

    def refuses(self, way: str, options: Mapping[str, Any]) -> str | None:
        """Return why a way of reuse, or several joined by `+`, does not work with this model; None if it does."""

    def latent_shape(self, params: GenerationParams) -> tuple[int, int, int, int]:
        """Return channels, frames, height and width of a request's latents; raise ValueError for an impossible size."""

    def timesteps(self, params: GenerationParams, sampling: Sampling) -> list[float]:
        """Return the noise level (0..1000) at which each step of a run begins."""

    def guidance(self, sampling: Sampling) -> list[float]:
        """Return the guidance scale of each step; 1 means that only the prompt's half runs, at half the cost."""

    def reads(self, prompt: str) -> str:
        """Return the part of a prompt that the text encoder gets: cleaned, and cut at its limit."""

    def encode(self, params: GenerationParams) -> Any:
        """Return the prompt and the negative prompt as `sample` takes them."""

    def sample(
        self, encoding: Any, params: GenerationParams, sampling: Sampling, *, seed: int, hooks: Sequence[StepHook] = ()
    ) -> Generator[Step]:
        """Denoise; yield after every step, the device at most one step behind. Closing the generator ends the run."""

    def decode(self, latents: Tensor, params: GenerationParams) -> NDArray[np.uint8]:
        """Return the frames (T, H, W, 3) of finished latents (1, C, T', h, w)."""

    def decode_parts(self, latents: Tensor, params: GenerationParams) -> Iterator[NDArray[np.uint8]]:
        """Yield the same frames in order, a few at a time, so that writing them need not wait for the last."""

    def finish(self) -> None:
        """Wait until the device has finished its work, so that a clock read afterwards is right."""

    def reset_peak_memory(self) -> None:
        """Begin a new measurement of `peak_memory`."""

    def peak_memory(self) -> int:
        """Return the most bytes in use since the reset."""
