"""One forward on two devices: each has the whole network and computes half of the rows, such as guidance's halves.

One process and one thread are enough: launches on a GPU return at once, so the second device is already at work when
the first gets its half. Where calls block, as on a CPU, one half is computed after the other. Latents and velocities
travel between the devices, and once a run the caption's keys and values; rows of a batch never see each other.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from worker.models.opensora.blocks import PackedCaption
from worker.models.opensora.stdit3 import STDiT3
from worker.models.video_model import CachedLatents


class OnTwoDevices:
    """STDiT3 that computes the second half of its rows on another device. In every other way it is the transformer.

    A forward with an odd number of rows (a step without guidance), a frame mask, or tokens that are not computed runs
    on the first device alone, and so does one whose donors are not for the first half or both.
    """

    def __init__(self, transformer: STDiT3, device: torch.device) -> None:
        self._transformer = transformer
        self.copy = _copied(transformer, device)
        self._caption: PackedCaption | None = None  # whose second half is there; held, so that its memory is not reused
        self._caption_there: PackedCaption | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def __call__(
        self,
        x: Tensor,
        timestep: Tensor,
        y: PackedCaption,
        *,
        fps: Tensor,
        height: float,
        width: float,
        cached: CachedLatents | None = None,
        **options: Any,
    ) -> Tensor:
        """Predict as `STDiT3.forward` does."""
        size = {"height": height, "width": width}
        is_plain = len(timestep) == len(fps) == 1 and all(value is None for value in options.values())
        if not is_plain or len(x) % 2 or not _can_be_shared(cached, len(x) // 2):
            whole: Tensor = self._transformer(x, timestep, y, fps=fps, cached=cached, **size, **options)
            return whole
        (here, there), device = x.chunk(2), self.copy.device
        both = cached is None or cached.rows is None
        second = self.copy(
            there.to(device),
            timestep.to(device),
            self._second_half(y),
            fps=fps.to(device),
            cached=cached if both else None,
            **size,
        )
        own = None if cached is None else replace(cached, rows=None)
        first = self._transformer(here, timestep, y.rows(len(here)), fps=fps, cached=own, **size)
        return torch.cat([first, second.to(x.device)])

    def _second_half(self, caption: PackedCaption) -> PackedCaption:
        if self._caption is not caption or self._caption_there is None:
            half, device = len(caption.tokens) // 2, self.copy.device
            self._caption, self._caption_there = caption, caption.map(lambda part: part[half:].to(device))
        return self._caption_there


def _copied(transformer: STDiT3, device: torch.device) -> STDiT3:
    """Return the same network with its tensors on a device; never two copies on one device."""
    tensors = [*transformer.parameters(), *transformer.buffers()]
    there: list[Tensor] = [tensor.detach().to(device) for tensor in tensors]
    is_parameter = [isinstance(tensor, nn.Parameter) for tensor in tensors]
    moved = [
        nn.Parameter(t, requires_grad=False) if is_one else t for t, is_one in zip(there, is_parameter, strict=True)
    ]
    return copy.deepcopy(transformer, {id(old): new for old, new in zip(tensors, moved, strict=True)})


def _can_be_shared(cached: CachedLatents | None, half: int) -> bool:
    """Whether the donors are for both halves or for the first, and rows keep their donor within their half."""
    if cached is None:
        return True
    return cached.rows in (None, half) and all(half % len(latent) == 0 for latent in cached.latents)
