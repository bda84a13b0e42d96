"""Conversion between a pipeline's form of latents and (B, C, T, H, W), the form that jobs and donors use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

_CHANNELS_SECOND = "CogVideoX"  # (B, T, C, H, W)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How to convert latents of one size to and fro."""

    pipeline: Any  # of diffusers, untyped
    like: Tensor  # latents as the pipeline draws them: shape, dtype and device
    grid: tuple[int, int, int] | None = None  # T, H, W of latents that are kept as a row of tokens

    @classmethod
    def of(cls, pipeline: Any, drawn: Tensor, *, width: int, height: int, num_frames: int) -> Layout:
        """Return the layout of the latents that a pipeline drew for a video of this size."""
        grid = None
        if drawn.ndim == 3 and hasattr(pipeline, "_unpack_latents"):
            space, time = pipeline.vae_spatial_compression_ratio, pipeline.vae_temporal_compression_ratio
            grid = ((num_frames - 1) // time + 1, height // space, width // space)
        return cls(pipeline=pipeline, like=drawn, grid=grid)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width."""
        channels, frames, height, width = self.told(self.like).shape[1:]
        return channels, frames, height, width

    def told(self, latents: Tensor) -> Tensor:
        """Return latents as (B, C, T, H, W), float32."""
        if self.grid is not None:
            latents = self.pipeline._unpack_latents(latents, *self.grid, *self._patches)
        elif _CHANNELS_SECOND in type(self.pipeline).__name__:
            latents = latents.transpose(1, 2)
        while latents.ndim < 5:  # an unknown form still gets five dimensions
            latents = latents.unsqueeze(1)
        return latents.float()

    def own(self, latents: Tensor) -> Tensor:
        """Return (B, C, T, H, W) in the pipeline's form."""
        if self.grid is not None:
            latents = self.pipeline._pack_latents(latents, *self._patches)
        elif _CHANNELS_SECOND in type(self.pipeline).__name__:
            latents = latents.transpose(1, 2)
        return latents.reshape(len(latents), *self.like.shape[1:]).to(self.like)

    @property
    def _patches(self) -> tuple[int, int]:
        pipeline = self.pipeline
        return pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
