"""Training of the small VAE on clips of the rich world, drawn on the fly.

The latents of a batch get noise of a twentieth of each channel's own deviation before they are decoded. Without it, two
clips may lie arbitrarily close together, and a flow that misses by a little would show another clip.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from lab.toy_world.captions import Split
from lab.toy_world.rich.captions import sample_spec
from lab.toy_world.rich.drawing import render
from lab.toy_world.rich.world import Spec, draw_layout
from lab.training.runs import move_average, read, write
from worker.models.opensora.small_vae import SmallVAE

FRESH = 7_000_001  # seed of the clips for measuring


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRecipe:
    """Everything that decides the weights."""

    seed: int = 0
    num_steps: int = 9600
    batch_size: int = 4
    crop: int = 64  # pixels along a side of the square that is learned from a clip, a multiple of 8
    matrix_lr: float = 3e-3  # Muon, for the convolutions inside
    other_lr: float = 1e-3  # AdamW, for the layers at pixels and latents, and biases
    warmup: int = 200  # steps in which the learning rate rises; it falls to zero from the middle on
    noise: float = 0.05  # deviations of a latent channel
    whole_until: int = 7600  # the step from which only the decoder learns, so that latents stay the same
    last_noise: float = 0.02  # while only the decoder learns
    ema_decay: float = 0.998


def to_video(specs: list[Spec], rng: np.random.Generator) -> Tensor:
    """One clip of each spec, float (B, 3, T, H, W) in [-1, 1]."""
    clips = np.stack([render(spec, draw_layout(spec, rng)) for spec in specs])
    return rearrange(torch.from_numpy(clips), "b t h w c -> b c t h w").float() / 127.5 - 1


def clips_of(seed: tuple[int, ...], num_clips: int, split: Split = Split.TRAIN) -> Tensor:
    """Clips of random specs, (B, 3, T, H, W) in [-1, 1]; the same seed gives the same clips."""
    rng = np.random.default_rng(seed)
    return to_video([sample_spec(rng, split) for _ in range(num_clips)], rng)


def crops_of(videos: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """One square of each clip, (B, 3, T, side, side). Small squares of few clips teach the most per second of work."""
    tops, lefts = rng.integers((videos.shape[-1] - side) // 8 + 1, size=(2, len(videos))) * 8
    parts = [
        video[..., top : top + side, left : left + side] for video, top, left in zip(videos, tops, lefts, strict=True)
    ]
    return torch.stack(parts)


def share_of_rate(recipe: VaeRecipe, step: int) -> float:
    """Share of the full learning rate at a step."""
    half = recipe.num_steps // 2
    return float(np.interp(step, (0, recipe.warmup, max(half, recipe.warmup), recipe.num_steps), (0.02, 1.0, 1.0, 0.0)))


def noisy(raw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Latents (B, C, T, H, W) with noise of a share of each channel's deviation."""
    deviation = raw.std(dim=(0, 2, 3, 4), keepdim=True)
    return raw + share * deviation * torch.randn(raw.shape, generator=generator)


def psnr(vae: SmallVAE, videos: Tensor) -> float:
    """Mean over clips of 10 log10(1 / mean squared error of values in 0..1), in dB, after rounding to 8 bits."""
    values = []
    for video in videos:
        shown = ((vae.decode(vae.encode(video[None]), video.shape[1])[0].clamp(-1, 1) + 1) * 127.5).round() / 255
        error = (shown - (video + 1) / 2).square().mean()
        values.append(-10 * torch.log10(error).item())
    return float(np.mean(values))


class Kernel:
    """A convolution's weights as a matrix (out, rest) over the same memory, since Muon takes only matrices."""

    def __init__(self, name: str, weights: nn.Parameter):
        self.name = name
        self.weights = weights
        self.matrix = nn.Parameter(weights.detach().view(len(weights), -1))

    def take_gradient(self) -> None:
        """Give the matrix the gradient of the weights."""
        gradient = self.weights.grad
        self.matrix.grad = None if gradient is None else gradient.reshape(self.matrix.shape)


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and (".space." in name or ".time." in name)


def optimizers(vae: SmallVAE, kernels: list[Kernel], recipe: VaeRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions inside, AdamW for the rest."""
    inside = {kernel.name for kernel in kernels}
    others = [parameter for name, parameter in vae.named_parameters() if name not in inside]
    matrices = [kernel.matrix for kernel in kernels]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]


class VaeRun:
    """A training run: weights, their moving average, the optimiser and the number of steps done."""

    def __init__(self, recipe: VaeRecipe):
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.vae = SmallVAE()
        self.average = SmallVAE().requires_grad_(False)
        self.average.load_state_dict(self.vae.state_dict())
        self.kernels = [
            Kernel(name, parameter) for name, parameter in self.vae.named_parameters() if _is_matrix(name, parameter)
        ]
        self.optimizers = optimizers(self.vae, self.kernels, recipe)
        self.full_rates = [group["lr"] for group in self._groups]
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all sessions of the run

    def advance(self) -> float:
        """Learn from the next batch and return its mean squared error, of values in [-1, 1]."""
        started = time.monotonic()
        clips = clips_of((self.recipe.seed, 0, self.step), self.recipe.batch_size)
        video = crops_of(clips, self.recipe.crop, np.random.default_rng((self.recipe.seed, 1, self.step)))
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        loss = (self._decoded(video, generator) - video).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        for kernel in self.kernels:
            kernel.take_gradient()
        for group, full in zip(self._groups, self.full_rates, strict=True):
            group["lr"] = full * share_of_rate(self.recipe, self.step)
        for optimizer in self.optimizers:
            optimizer.step()
        self.vae.zero_grad(set_to_none=True)
        self.step += 1
        move_average(self.average, self.vae, self.step, self.recipe.ema_decay)
        self.seconds += time.monotonic() - started
        return float(loss.detach())

    def _decoded(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """The video through both halves with noise in between; in the closing steps the averaged encoder is frozen."""
        is_whole = self.step < self.recipe.whole_until
        if self.step == self.recipe.whole_until:
            self.vae.encoder.load_state_dict(self.average.encoder.state_dict())
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(is_whole):
                raw = self.vae.to_raw(video).float()
            noise = self.recipe.noise if is_whole else self.recipe.last_noise
            shown: Tensor = self.vae.from_raw(noisy(raw, noise, generator))
        return shown.float()

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def save(self, path: Path) -> None:
        """Write everything needed to resume, replacing `path` in one step."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "seconds": self.seconds,
            "vae": self.vae.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        write(state, path)

    @classmethod
    def resume(cls, path: Path, *, num_steps: int | None = None) -> "VaeRun":
        """The run in a file of `save`, with the length of its recipe or another; raises ValueError as `read` does."""
        recipe, state = read(path, lambda own: VaeRecipe(**own))
        run = cls(recipe if num_steps is None else replace(recipe, num_steps=num_steps))
        run.step, run.seconds = state["step"], state["seconds"]
        run.vae.load_state_dict(state["vae"])
        run.average.load_state_dict(state["average"])
        for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return run

    def finished(self, num_clips: int = 256) -> SmallVAE:
        """The averaged weights, with the mean and deviation of the latents of `num_clips` clips in the config."""
        raw = torch.cat([self.average.encode(clip[None]) for clip in clips_of((self.recipe.seed, 2, 0), num_clips)])
        std, mean = torch.std_mean(raw, dim=(0, 2, 3, 4))
        vae: SmallVAE = SmallVAE(mean=mean.tolist(), std=std.tolist())
        weights = {name: value for name, value in self.average.state_dict().items() if name not in ("mean", "std")}
        vae.load_state_dict(weights, strict=False)
        return vae.eval().requires_grad_(False)
