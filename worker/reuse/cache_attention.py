"""Cache Attention, the paper's method: keys and values of self-attention come from the donor's latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from worker.models.video_model import CachedLatents
from worker.reuse.donor import CLEAN, Donor, latent_name
from worker.reuse.way import Way, check_choice, check_fraction

if TYPE_CHECKING:
    from torch import Tensor

_KEPT_FOR = {"nearest_noise": "nearest", "same_index": "same_index"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAttention(Way):
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
        check_fraction("CacheAttention.blend", self.blend)
        check_choice("CacheAttention.source", self.source, ("nearest_noise", "same_index", "clean"))
        check_choice("CacheAttention.halves", self.halves, ("both", "conditional"))
        check_choice("CacheAttention.keys", self.keys, ("replace", "extend"))
        if not all(step >= 1 for step in self.steps):
            raise ValueError(f"CacheAttention.steps {self.steps} has a step below 1; the first one is 1")

    @classmethod
    def paper(cls) -> Self:
        """Return the literal reading: step k of the donor's run feeds step k of the fast run."""
        return cls(source="same_index")

    @property
    def requires(self) -> frozenset[str]:
        """The noisy latents that feed the steps."""
        return frozenset({_KEPT_FOR[self.source]} if self.source in _KEPT_FOR else ())

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors; raise KeyError if one lacks a latent."""
        for donor in donors:
            self._check(donor, len(timesteps))
        return super(CacheAttention, self).bind(donors, timesteps)  # slots: the class is made twice

    def attention(self, index: int, timestep: float, batch: int) -> CachedLatents | None:
        """Return what the network reads at step `index` (0-based), or None if the step is unchanged."""
        if index + 1 not in self.steps or self.blend == 0:
            return None
        return CachedLatents(
            latents=tuple(self._latent(donor, index, timestep) for donor in self.donors),
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

    def _check(self, donor: Donor, num_steps: int) -> None:
        if self.source == "nearest_noise":
            donor.nearest(0.0)
        elif self.source == "clean":
            donor.get(CLEAN)
        else:
            for step in self.steps:
                if step <= num_steps:
                    donor.get(latent_name(step))
