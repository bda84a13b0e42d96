"""Reuse between videos: what an earlier run lends, and the places in the sampling loop where it is used.

A `Donor` is an earlier run as named tensors. Four methods use it; each is a frozen dataclass of options, and `Reuse`
binds the chosen ones to their donors:

    CacheAttention  keys and values of spatial self-attention come from the donor's latent (the paper's method)
    Blend           the predicted clean latent is pulled towards the donor's clean latent
    Residual        the step error that the donor's run had is added to the velocity
    Resume          the run starts from the donor's latent at some noise level (NIRVANA-VID)

`denoise(..., reuse=None)` is the plain model to the bit. What each method is good for, with measurements, is in
docs/cache.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from einops import repeat
from torch import Tensor

from worker.models.opensora.attention import CachedLatents

CLEAN = "clean"  # name of the finished latent


def latent_name(step: int) -> str:
    """Name of the latent that entered step `step` (1-based)."""
    return f"latent_{step:02d}"


def residual_name(step: int) -> str:
    """Name of the step error of step `step` (1-based) of the fast schedule."""
    return f"residual_{step:02d}"


def mask_name(entity: str) -> str:
    """Name of the token mask of an entity."""
    return f"mask_{entity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Donor:
    """An earlier run, as far as it was kept.

    Tensors are named `latent_02` (the latent that entered step 2, 1-based), `clean` (the finished latent),
    `residual_01` and `mask_<entity>` (bool (T, S), the tokens where the entity is). Latents and residuals are
    (b, C, T, H, W); b is 1, or the number of prompts in the batch that uses them.
    """

    tensors: Mapping[str, Tensor]
    timesteps: Mapping[str, float] = field(default_factory=dict)  # of each latent, 0..1000
    seed: int | None = None  # of the initial noise
    region: Tensor | None = None  # bool (T, S): the tokens that it lends; None = all

    def lending(self, entity: str, *, is_inverted: bool = False) -> "Donor":
        """Return this donor lending only the tokens of `entity`, or with `is_inverted` all others."""
        mask = self.get(mask_name(entity)).bool()
        return replace(self, region=~mask if is_inverted else mask)

    def get(self, name: str) -> Tensor:
        """Return a tensor by name.

        Raises:
            KeyError: the donor does not keep it.
        """
        if name not in self.tensors:
            kept = ", ".join(sorted(self.tensors)) or "nothing"
            raise KeyError(
                f"the donor keeps no {name!r}, only {kept}; "
                "record it with the full run, or choose a method that needs less"
            )
        return self.tensors[name]

    def nearest(self, timestep: float) -> tuple[float, Tensor]:
        """Return the kept noisy latent whose noise level is nearest, with its timestep."""
        if not self.timesteps:
            raise KeyError("the donor keeps no noisy latents; record some steps of the full run, or use source='clean'")
        name = min(self.timesteps, key=lambda name: abs(self.timesteps[name] - timestep))
        return self.timesteps[name], self.get(name)

    def to(self, device: torch.device) -> "Donor":
        """Return the donor with its tensors on `device`."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, tensors=moved, region=None if self.region is None else self.region.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAttention:
    """Keys and values of spatial self-attention come from the donor's latent.

    The cached latent is patched, positioned and modulated like the current one, with this step's timestep; queries
    come from the current latent. In blocks after the first it is still the embedded latent, not a run of the donor
    through the network.
    """

    steps: tuple[int, ...] = (2, 3, 4)  # 1-based
    blocks: tuple[int, ...] = (0,)  # spatial blocks, 0-based
    source: Literal["nearest_noise", "same_index", "clean"] = "nearest_noise"  # which latent feeds a step
    halves: Literal["both", "conditional"] = "both"  # of guidance
    keys: Literal["replace", "extend"] = "replace"  # extend keeps the current keys beside the cached ones
    blend: float = 1.0  # 0 = own attention only, 1 = cached attention only
    bias: float = 0.0  # added to the logits of cached keys

    def __post_init__(self) -> None:
        _check_fraction("CacheAttention.blend", self.blend)
        _check_choice("CacheAttention.source", self.source, ("nearest_noise", "same_index", "clean"))
        _check_choice("CacheAttention.halves", self.halves, ("both", "conditional"))
        _check_choice("CacheAttention.keys", self.keys, ("replace", "extend"))

    @classmethod
    def paper(cls) -> "CacheAttention":
        """Return the literal reading: step k of the donor's run feeds step k of the fast run."""
        return cls(source="same_index")

    def latents(self, donors: Sequence[Donor], index: int, timestep: float, batch: int) -> CachedLatents | None:
        """Return what the network reads at step `index` (0-based), or None when the step is left alone."""
        if index + 1 not in self.steps or self.blend == 0:
            return None
        return CachedLatents(
            latents=tuple(self._latent(donor, index, timestep) for donor in donors),
            masks=tuple(donor.region for donor in donors),
            extend=self.keys == "extend",
            blend=self.blend,
            bias=self.bias,
            blocks=self.blocks,
            rows=batch if self.halves == "conditional" else None,
        )

    def _latent(self, donor: Donor, index: int, timestep: float) -> Tensor:
        if self.source == "clean":
            return donor.get(CLEAN)
        if self.source == "same_index":
            return donor.get(latent_name(index + 1))
        return donor.nearest(timestep)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Pull the predicted clean latent towards the donor's, inside its region, while the noise level is high."""

    weight: float = 0.5  # 1 = the donor's clean latent takes the place of the prediction
    above: float = 0.6  # acts while t / 1000 is above this

    def __post_init__(self) -> None:
        _check_fraction("Blend.weight", self.weight)

    def correct(self, velocity: Tensor, latents: Tensor, donors: Sequence[Donor], timestep: float) -> Tensor:
        """Return the velocity that leads to the pulled prediction."""
        t = timestep / 1000
        if t <= self.above or self.weight == 0:
            return velocity
        for donor in donors:
            predicted = latents + t * velocity
            pull = self.weight * (donor.get(CLEAN) - predicted) / t
            velocity = velocity + _inside(donor, pull)
        return velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """Add the donor's step error: its mean velocity over the big step less its velocity at the start of that step.

    The donor acts as a control variate, so the run must start from the donor's initial noise and use the schedule
    that the residuals were recorded for.
    """

    gain: float = 1.0

    def correct(self, velocity: Tensor, donors: Sequence[Donor], index: int) -> Tensor:
        """Return the corrected velocity of step `index` (0-based)."""
        for donor in donors:
            velocity = velocity + self.gain * _inside(donor, donor.get(residual_name(index + 1)).to(velocity.dtype))
        return velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Start from the first donor at the step whose noise level is nearest to `level`.

    Of a donor that lends a region, the clean latent counts there only. Elsewhere the run starts from noise over
    nothing, or over the mean of what is lent: a scene goes on behind the thing that stood before it.
    """

    level: float = 0.88  # t / 1000; lower keeps more of the donor
    source: Literal["noised", "stored"] = "noised"  # clean latent with this run's noise, or the nearest kept latent
    elsewhere: Literal["nothing", "mean"] = "nothing"  # what `noised` puts outside the region of the donor

    def __post_init__(self) -> None:
        _check_fraction("Resume.level", self.level)
        _check_choice("Resume.source", self.source, ("noised", "stored"))
        _check_choice("Resume.elsewhere", self.elsewhere, ("nothing", "mean"))

    def start(self, noise: Tensor, donors: Sequence[Donor], timesteps: Sequence[float]) -> tuple[int, Tensor]:
        """Return the step to start at (0-based) and the latent that enters it."""
        if self.source == "stored":
            level, latent = donors[0].nearest(self.level * 1000)
            return _nearest_step(timesteps, level), latent.to(noise.dtype).expand_as(noise)
        index = _nearest_step(timesteps, self.level * 1000)
        t = timesteps[index] / 1000
        return index, (1 - t) * self._lent(donors[0]) + t * noise

    def _lent(self, donor: Donor) -> Tensor:
        """The clean latent with what is not lent taken out."""
        clean = donor.get(CLEAN)
        if donor.region is None:
            return clean
        inside = latent_mask(donor.region, clean.shape)
        if self.elsewhere == "nothing":
            return clean * inside
        cells = inside.sum((-2, -1), keepdim=True).clamp(min=1)
        mean = (clean * inside).sum((-2, -1), keepdim=True) / cells  # of each frame and channel
        return torch.where(inside, clean, mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Donors and the methods that use them; a method that is None does nothing."""

    donors: tuple[Donor, ...]
    cache_attention: CacheAttention | None = None
    blend: Blend | None = None
    residual: Residual | None = None
    resume: Resume | None = None

    def __post_init__(self) -> None:
        if not self.donors:
            raise ValueError("reuse names no donor; pass at least one, or reuse=None for the plain model")

    def to(self, device: torch.device) -> "Reuse":
        """Return the same with every donor on `device`, so that no step copies."""
        return replace(self, donors=tuple(donor.to(device) for donor in self.donors))

    def start(self, noise: Tensor, timesteps: Sequence[float], start: int) -> tuple[int, Tensor]:
        """Return the step to start at (0-based) and the latent that enters it."""
        return (start, noise) if self.resume is None else self.resume.start(noise, self.donors, timesteps)

    def cached(self, index: int, timestep: float, batch: int) -> CachedLatents | None:
        """Return what Cache Attention reads at step `index` (0-based)."""
        if self.cache_attention is None:
            return None
        return self.cache_attention.latents(self.donors, index, timestep, batch)

    def correct(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        """Return the velocity of step `index` (0-based) after residual and blend."""
        if self.residual is not None:
            velocity = self.residual.correct(velocity, self.donors, index)
        if self.blend is not None:
            velocity = self.blend.correct(velocity, latents, self.donors, timestep)
        return velocity


def _inside(donor: Donor, change: Tensor) -> Tensor:
    return change if donor.region is None else change * latent_mask(donor.region, change.shape)


def latent_mask(region: Tensor, shape: torch.Size) -> Tensor:
    """Spread a token mask (T, S) over the 2 x 2 latent cells of each token: bool (T, H, W)."""
    height, width = shape[-2:]
    rows = -(-height // 2)
    cells = repeat(region, "T (h w) -> T (h p) (w q)", h=rows, p=2, q=2)
    return cells[:, :height, :width]


def _nearest_step(timesteps: Sequence[float], level: float) -> int:
    return min(range(len(timesteps)), key=lambda i: abs(timesteps[i] - level))


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} {value} is outside 0..1; 0 does nothing, 1 is the full effect")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(choices)}")
