"""The sampling loop: from noise to a latent video, one step at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.models.opensora.blocks import PackedCaption
from worker.models.opensora.schedule import NUM_TIMESTEPS, Schedule
from worker.models.opensora.stdit3 import STDiT3
from worker.models.video_model import CachedLatents, Computed, Step, StepHook

Network = Callable[..., Tensor]  # called as STDiT3 is; a compiled one, or one that reuses its own output


class Caption(Protocol):
    """Text features of a batch of prompts."""

    @property
    def embeds(self) -> Tensor:
        """(B, 1, L, C)."""

    @property
    def mask(self) -> Tensor | None:
        """(B, L), non-zero = token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """The size of the video, as given to the network."""

    height: int  # pixels
    width: int  # pixels
    num_frames: int  # pixel frames
    fps: float

    def timesteps(self, transformer: STDiT3, schedule: Schedule) -> list[float]:
        """Return the timesteps of a run of `transformer`, which rounds sizes to its dtype as it does timesteps."""
        dtype = torch.float32 if transformer.config["exact_timesteps"] else transformer.dtype
        return schedule.timesteps(self.height, self.width, self.num_frames, dtype)


class Velocity:
    """The guided velocity field of one prompt batch; both halves of guidance run in one batch, prompts first."""

    def __init__(
        self,
        transformer: STDiT3,
        caption: Caption,
        conditioning: Conditioning,
        *,
        negative: Caption | None = None,
        network: Network | None = None,
    ) -> None:
        self._network = network or transformer
        self._num_channels = transformer.config["in_channels"]
        self._caption = _pack(transformer, caption, negative)
        self._dtype = torch.float32 if transformer.config["exact_timesteps"] else transformer.dtype
        height, width = torch.tensor([conditioning.height, conditioning.width], dtype=self._dtype).tolist()
        self._size = {"height": height, "width": width}
        self._fps = torch.tensor([conditioning.fps], device=caption.embeds.device)

    def __call__(
        self,
        latents: Tensor,
        timestep: float,
        guidance: float,
        *,
        cached: CachedLatents | None = None,
        computed: Computed | None = None,
        x_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the velocity (B, C, T, H, W), float32. Guidance 1 runs the prompts' half only."""
        halves = 1 if guidance == 1 else 2
        rows = halves * len(latents)
        out = self._network(
            latents.repeat(halves, 1, 1, 1, 1),
            torch.full((1,), timestep, device=latents.device),
            self._caption.rows(rows),
            fps=self._fps,
            x_mask=None if x_mask is None else x_mask.repeat(halves, 1),
            cached=cached,
            computed=computed,
            **self._size,
        )[:, : self._num_channels]
        if halves == 1:
            return out
        conditional, unconditional = out.chunk(2)
        return unconditional + guidance * (conditional - unconditional)


class _Frames:
    """A frame mask at work: which frames are being generated, and the noise that starts each."""

    def __init__(self, mask: Tensor, renoise: Callable[[Tensor], Tensor]) -> None:
        self._levels = mask * NUM_TIMESTEPS  # (B, T), noise level where each frame starts
        self._seen = mask == 1
        self._renoise = renoise

    def enter(self, latents: Tensor, timestep: float) -> tuple[Tensor, Tensor]:
        """Return the latents with noise on the frames that start now, and the frames in generation, bool (B, T)."""
        noise = self._renoise(latents)  # drawn at every step, used or not, as in the released program
        active = self._levels >= timestep
        starting = (active & ~self._seen)[:, None, :, None, None]
        self._seen = active
        t = timestep / NUM_TIMESTEPS
        return torch.where(starting, (1 - t) * latents + t * noise, latents), active


@torch.no_grad()
def denoise(
    transformer: STDiT3,
    noise: Tensor,
    caption: Caption,
    schedule: Schedule,
    *,
    conditioning: Conditioning,
    negative: Caption | None = None,
    hooks: Sequence[StepHook] = (),
    network: Network | None = None,
    frame_mask: Tensor | None = None,
    start: int = 0,
    generator: torch.Generator | None = None,
    renoise: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Step]:
    """Integrate the velocity field from noise to data and yield after every step.

        v = v_u + g (v_c - v_u);   z <- z + v (t_i - t_{i+1}) / 1000

    Args:
        transformer: the velocity field.
        noise: (B, C, T, H, W); with `start` > 0, the latent that enters that step.
        caption: text features; the null half of guidance is cut by the prompt's mask, as in the released program.
        schedule: timesteps and guidance.
        conditioning: size, length and frame rate.
        negative: what guidance leads away from, as many rows as `caption`; None = the stored null caption.
        hooks: change or watch the run, in this order; none = the plain model to the bit.
        network: called instead of `transformer`, whose configuration it shares.
        frame_mask: (B, T) in 0..1. 1 = generate the frame, 0 = keep what `noise` holds there, between = start to
            generate it at that noise level.
        start: first step to run, 0-based; 0 = the first that the schedule does not skip.
        generator: of the noise that a frame mask draws at every step.
        renoise: draws that noise instead, given the latent.
    """
    timesteps = [*conditioning.timesteps(transformer, schedule), 0.0]
    start, latents = start or schedule.skipped_steps, noise.float()
    for hook in hooks:
        start, latents = hook.start(latents, timesteps[:-1], start)
    predict = Velocity(transformer, caption, conditioning, negative=negative, network=network)
    frames = None if frame_mask is None else _Frames(frame_mask, renoise or _gaussian(generator))
    for i in range(start, schedule.num_steps):
        t, t_next = timesteps[i : i + 2]
        kept, x_mask = latents, None
        if frames is not None:
            latents, x_mask = frames.enter(latents, t)
        offered = (hook.attention(i, t, len(latents)) for hook in hooks)
        cached = next((one for one in offered if one is not None), None)
        chosen = (hook.computes(i) for hook in hooks)
        computed = next((one for one in chosen if one is not None), None)
        velocity = predict(latents, t, schedule.guidance(i), cached=cached, computed=computed, x_mask=x_mask)
        for hook in hooks:
            velocity = hook.velocity(velocity, latents, i, t)
        entered, latents = latents, latents + velocity * ((t - t_next) / NUM_TIMESTEPS)
        if x_mask is not None:
            latents = torch.where(x_mask[:, None, :, None, None], latents, kept)
        step = Step(
            index=i,
            num_steps=schedule.num_steps,
            timestep=t,
            next_timestep=t_next,
            entered=entered,
            latents=latents,
            velocity=velocity,
        )
        for hook in hooks:
            hook.finished(step)
        yield step


def _pack(transformer: STDiT3, caption: Caption, negative: Caption | None) -> PackedCaption:
    """Pack prompts and what guidance leads away from as one batch of 2B.

    The null caption has no mask of its own: the prompts' mask is tiled over it, as the released model was run.
    """
    embeds, mask = caption.embeds.to(transformer.dtype), caption.mask
    away = transformer.null_caption(len(embeds)) if negative is None else negative.embeds
    if away.shape[2:] != embeds.shape[2:]:
        raise ValueError(
            f"caption features are {tuple(embeds.shape[2:])} and this model's null caption {tuple(away.shape[2:])}; "
            "pad the caption to model_max_length with the text encoder of this model"
        )
    if negative is not None and mask is not None and negative.mask is not None:
        mask = torch.cat([mask, negative.mask])
    both = torch.cat([embeds, away.to(embeds)])
    return transformer.pack_caption(both, mask, 2 * len(embeds), keep_keys=True)


def _gaussian(generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """Draw noise like a latent, on the generator's device so that a seed means the same on every device."""

    def draw(latents: Tensor) -> Tensor:
        device = latents.device if generator is None else generator.device
        return torch.randn(latents.shape, generator=generator, device=device).to(latents)

    return draw
