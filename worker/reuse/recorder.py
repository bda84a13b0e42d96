"""What a full run leaves behind for later ones: noisy latents, the clean one, masks of entities, step errors."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from worker.models.opensora.sampler import Caption, Conditioning, Step, Velocity
from worker.models.opensora.schedule import NUM_TIMESTEPS, Schedule
from worker.models.opensora.stdit3 import STDiT3, Taps
from worker.reuse.ways import CLEAN, Donor, latent_name, mask_name, residual_name

MASK_LEVEL = 0.15  # t / 1000 at which cross-attention shows where things are
NUM_BINS = 64  # of the histogram that the threshold is chosen on

Trajectory = Sequence[
    tuple[float, Tensor]
]  # (timestep, latent) from noise to data, (1000, noise) first, (0, clean) last


class Recorder:
    """Collects a donor while somebody else iterates over the steps of a run."""

    def __init__(self, keep: Collection[int] = (2, 3, 4), *, seed: int | None = None) -> None:
        """Keep the latents that enter the steps `keep` (1-based, 2 and up), and always the clean one."""
        self._keep = frozenset(keep)
        self._seed = seed
        self._tensors: dict[str, Tensor] = {}
        self._timesteps: dict[str, float] = {}

    def add(self, step: Step) -> None:
        """Take what is wanted from one finished step."""
        entered = step.index + 2  # the step that these latents enter, 1-based
        if entered in self._keep and entered <= step.num_steps:
            self._tensors[latent_name(entered)] = step.latents
            self._timesteps[latent_name(entered)] = step.next_timestep
        if step.index + 1 == step.num_steps:
            self._tensors[CLEAN] = step.latents

    def donor(self, more: Mapping[str, Tensor] | None = None) -> Donor:
        """Return what was collected, with `more` named tensors (masks, step errors)."""
        return Donor(tensors=self._tensors | dict(more or {}), timesteps=self._timesteps, seed=self._seed)


def steps_nearest(timesteps: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the steps (1-based, 2 and up) of a full run whose noise levels are nearest to the wanted ones."""
    steps = range(2, len(timesteps) + 1)
    return tuple(sorted({min(steps, key=lambda k: abs(timesteps[k - 1] - t)) for t in wanted}))


@torch.no_grad()
def entity_masks(
    transformer: STDiT3,
    caption: Caption,
    conditioning: Conditioning,
    clean: Tensor,
    noise: Tensor,
    entities: Mapping[str, Sequence[int]],
) -> dict[str, Tensor]:
    """Find where each entity of the prompt is in a finished video, with one more forward at low noise.

    The share of an entity in a video token is its part of the cross-attention (mean over heads and blocks) that goes to
    entities at all; the mask is where the share is above Otsu's threshold of that video.

    Args:
        transformer: the network that made the video.
        caption: the prompt, one row.
        conditioning: size, length and frame rate of the video.
        clean: the finished latent (1, C, T, H, W).
        noise: Gaussian noise of the same shape.
        entities: name -> positions of its tokens among those that the caption mask keeps. With one entity there is
            nothing to compare with, so name the background too.

    Returns:
        `mask_<entity>` -> bool (T, S).
    """
    packed = transformer.pack_caption(caption.embeds, caption.mask, 1)
    taps = Taps(cross_attention=True)
    transformer(
        (1 - MASK_LEVEL) * clean + MASK_LEVEL * noise,
        torch.full((1,), MASK_LEVEL * NUM_TIMESTEPS, device=clean.device),
        packed,
        fps=torch.tensor([conditioning.fps], device=clean.device),
        height=conditioning.height,
        width=conditioning.width,
        taps=taps,
    )
    attention = taps.results["cross_attention"][0]  # (T, S, L)
    parts = torch.stack([attention[..., list(tokens)].sum(-1) for tokens in entities.values()])
    shares = parts / parts.sum(0)
    return {mask_name(name): share > otsu(share) for name, share in zip(entities, shares, strict=True)}


def otsu(values: Tensor) -> Tensor:
    """Return the threshold that separates values into the two groups with the greatest variance between them."""
    low, high = values.aminmax()
    counts = torch.histc(values.float(), NUM_BINS, float(low), float(high))
    width = (high - low) / NUM_BINS
    centres = low + width * (torch.arange(NUM_BINS, device=values.device) + 0.5)
    below, above = counts.cumsum(0)[:-1], counts.flip(0).cumsum(0).flip(0)[1:]
    sums = (counts * centres).cumsum(0)
    mean_below, mean_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / above
    between = below * above * (mean_below - mean_above) ** 2
    return low + width * (between.nan_to_num().argmax() + 1)


@torch.no_grad()
def step_residuals(
    velocity: Velocity, trajectory: Trajectory, schedule: Schedule, timesteps: Sequence[float]
) -> dict[str, Tensor]:
    """Measure how wrong each step of a fast run is on this video: one evaluation a step.

    A step's error is the mean velocity of the full run over that step, less the velocity at its start as the fast run
    computes it. Adding all of them to a fast run of the same prompt from the same noise gives the full run's result.

    Args:
        velocity: the field, for the prompt of the full run.
        trajectory: the full run, every latent.
        schedule: the fast run's.
        timesteps: the fast run's.

    Returns:
        `residual_<step>` -> (1, C, T, H, W), steps 1-based.
    """
    residuals = {}
    for i, (t, t_next) in enumerate(pairwise([*timesteps, 0.0])):
        here, there = (_latent_at(trajectory, level) for level in (t, t_next))
        mean = (there - here) / ((t - t_next) / NUM_TIMESTEPS)
        residuals[residual_name(i + 1)] = mean - velocity(here, t, schedule.guidance(i))
    return residuals


def _latent_at(trajectory: Trajectory, timestep: float) -> Tensor:
    """Return the latent at a noise level; between two steps an Euler run is a straight line."""
    for (t, latent), (t_next, next_latent) in pairwise(trajectory):
        if t >= timestep >= t_next:
            return torch.lerp(latent, next_latent, (t - timestep) / (t - t_next))
    first, last = trajectory[0][0], trajectory[-1][0]
    raise ValueError(f"timestep {timestep} is outside the trajectory, which runs from {first} to {last}")
