"""Ways of reuse that were measured and gained nothing, kept for comparison (docs/lab-notes.md).

    Blend          the predicted clean latent is pulled towards the donor's clean latent
    Residual       the step error that the donor's run had is added to the velocity
    MaskedResume   the run starts from a part of the donor's clean latent

What they read of a donor beside its latents (masks of entities, step errors) is measured here too, on a finished run;
the service keeps none of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, Self

import torch
from torch import Tensor

from worker.models.opensora.blocks import Taps
from worker.models.opensora.sampler import Caption, Conditioning, Velocity
from worker.models.opensora.schedule import NUM_TIMESTEPS, Schedule
from worker.models.opensora.stdit3 import STDiT3
from worker.reuse.active_tokens import spread
from worker.reuse.donor import CLEAN, Donor
from worker.reuse.registry import WAYS as PRODUCT_WAYS
from worker.reuse.registry import Ways
from worker.reuse.resume import Resume
from worker.reuse.way import Way, check_choice, check_fraction

MASK_LEVEL = 0.15  # t / 1000 at which cross-attention shows where things are
NUM_BINS = 64  # of the histogram that the threshold is chosen on
LENDS = ("all", "shared", "others")  # which tokens of the donor: all, those of the shared entities, or the rest

Trajectory = Sequence[
    tuple[float, Tensor]
]  # (timestep, latent) from noise to data, (1000, noise) first, (0, clean) last


def residual_name(step: int) -> str:
    """Name of the step error of step `step` (1-based) of the fast schedule."""
    return f"residual_{step:02d}"


def mask_name(entity: str) -> str:
    """Name of the token mask of an entity: bool (T, S)."""
    return f"mask_{entity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend(Way):
    """Pull the predicted clean latent towards the donor's, inside its region, while the noise level is high."""

    weight: float = 0.5  # 1 = the donor's clean latent takes the place of the prediction
    above: float = 0.6  # acts while t / 1000 is above this

    def __post_init__(self) -> None:
        check_fraction("Blend.weight", self.weight)

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors; raise KeyError for one without its clean latent."""
        for donor in donors:
            donor.get(CLEAN)
        return super(Blend, self).bind(donors, timesteps)  # slots: the class is made twice

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Return the velocity that leads to the pulled prediction."""
        del index
        t = timestep / 1000
        if t <= self.above or self.weight == 0:
            return velocity
        for donor in self.donors:
            predicted = latents + t * velocity
            pull = self.weight * (donor.get(CLEAN) - predicted) / t
            velocity = velocity + _inside(donor, pull)
        return velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual(Way):
    """Add the donor's step error: its mean velocity over the big step less its velocity at the start of that step.

    The donor acts as a control variate, so the run must start from the donor's initial noise and use the schedule
    that the residuals were recorded for.
    """

    gain: float = 1.0

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors; raise KeyError for one that keeps the errors of another run length."""
        for donor in donors:
            for step in range(1, len(timesteps) + 1):
                donor.get(residual_name(step))
            if residual_name(len(timesteps) + 1) in donor.tensors:
                raise KeyError(f"the donor keeps the step errors of a longer run than one of {len(timesteps)} steps")
        return super(Residual, self).bind(donors, timesteps)  # slots: the class is made twice

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Return the corrected velocity of step `index` (0-based)."""
        del latents, timestep
        for donor in self.donors:
            velocity = velocity + self.gain * _inside(donor, donor.get(residual_name(index + 1)).to(velocity.dtype))
        return velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedResume(Resume):
    """Resume where the donor's region is; elsewhere from noise over nothing, or over the mean of what is lent.

    With the mean a scene goes on behind the thing that stood before it.
    """

    elsewhere: Literal["nothing", "mean"] = "nothing"  # what `noised` puts outside the region of the donor

    def __post_init__(self) -> None:
        super(MaskedResume, self).__post_init__()  # slots: the class is made twice
        check_choice("Resume.elsewhere", self.elsewhere, ("nothing", "mean"))

    def lent(self) -> Tensor:
        """The clean latent with what is not lent taken out."""
        donor = self.donors[0]
        clean = donor.get(CLEAN)
        if donor.region is None:
            return clean
        inside = spread(donor.region, clean.shape)
        if self.elsewhere == "nothing":
            return clean * inside
        cells = inside.sum((-2, -1), keepdim=True).clamp(min=1)
        mean = (clean * inside).sum((-2, -1), keepdim=True) / cells  # of each frame and channel
        return torch.where(inside, clean, mean)


WAYS: Ways = {**PRODUCT_WAYS, "resume": MaskedResume, "blend": Blend, "residual": Residual}


def lending(donor: Donor, entity: str, *, is_inverted: bool = False) -> Donor:
    """Return a donor that lends only the tokens of `entity`, or with `is_inverted` all others."""
    mask = donor.get(mask_name(entity)).bool()
    return replace(donor, region=~mask if is_inverted else mask)


def lend(donor: Donor, which: str, shared: Sequence[str]) -> Donor:
    """Return a donor that lends all tokens, those of `shared` entities, or the others; all where no mask is known."""
    check_choice("lend", which, LENDS)
    present = [entity for entity in shared if mask_name(entity) in donor.tensors]
    if which == "all" or not present:
        return donor
    region = donor.get(mask_name(present[0])).bool()
    for entity in present[1:]:
        region = region | donor.get(mask_name(entity)).bool()
    return replace(donor, region=region if which == "shared" else ~region)


def _inside(donor: Donor, change: Tensor) -> Tensor:
    return change if donor.region is None else change * spread(donor.region, change.shape)


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


def token_positions(tokenizer: Any, text: str, phrase: str, head: str) -> tuple[int, ...]:
    """Return where a phrase's tokens are in a tokenised text; its head noun alone when the whole is not to be found.

    The phrase is as `worker.cache` keeps it, its last noun in the singular; the text may say it in the plural.
    """
    for words in (phrase.split(), [head]):
        pattern = r"\b" + r"\W+".join(map(re.escape, words)) + r"\w{0,3}\b"
        if place := re.search(pattern, text.lower()):
            offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
            start, stop = place.span()
            return tuple(i for i, (a, b) in enumerate(offsets) if a < b and start < b and a < stop)
    return ()
