"""An earlier run, as far as it was stored: named tensors and their timesteps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Precision = Literal["float32", "bfloat16", "float8", "int8"]  # of latents on storage
KEPT_IN: Precision = "int8"  # default of a namespace
CLEAN = "clean"  # name of the finished latent


def level_name(timestep: float) -> str:
    """Name of the latent at a timestep between two steps."""
    return f"level_{timestep:08.3f}"


def latent_name(step: int) -> str:
    """Name of the latent that entered step `step` (1-based)."""
    return f"latent_{step:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Donor:
    """An earlier run, as far as it was stored.

    Tensors are named `latent_02` (the latent that entered step 2, 1-based), `level_0920.000` (the latent at that
    timestep) and `clean` (the finished latent), each (b, C, T, H, W); b is 1, or the number of prompts in the batch
    that uses them.
    """

    tensors: Mapping[str, Tensor]
    timesteps: Mapping[str, float] = field(default_factory=dict)  # of each latent, 0..1000
    seed: int | None = None  # of the initial noise

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
        """Return the stored noisy latent whose noise level is nearest, with its timestep."""
        if not self.timesteps:
            raise KeyError("the donor keeps no noisy latents; record some steps of the full run, or use source='clean'")
        name = min(self.timesteps, key=lambda name: abs(self.timesteps[name] - timestep))
        return self.timesteps[name], self.get(name)

    def to(self, device: torch.device) -> Donor:
        """Return the donor with its tensors on `device`."""
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})


class BrokenDonor(ValueError):
    """A donor's file is unusable: truncated, changed, or of another namespace."""


class UnknownSchema(ValueError):
    """A donor's file comes from a newer or older worker: intact, and usable there."""
