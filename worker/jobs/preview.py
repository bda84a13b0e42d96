"""Rough pictures of a video while it is denoised: the predicted clean latent, its channels mapped to colours.

The map is linear and learned in this process from the first videos of a model that it decodes. So it needs no file and
fits every autoencoder, but the first video of a process has no preview.
"""

import io
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.models.video_model import Step

SIDE = 192  # longest side of a picture, in pixels
QUALITY = 70
NUM_LEARNED = 8  # videos of a model
NUM_POINTS = 4096  # of a video, to learn from
PAUSE_S = 0.7  # between two pictures of a job: each waits for the device once
RIDGE = 1e-3

Array = NDArray[np.float64]


class Previews:
    """What a process knows of the colours of latents, by model."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Array, Array]] = {}
        self._num_learned: dict[str, int] = {}
        self._due = 0.0

    def learn(self, model: str, latents: Any, frames: NDArray[np.uint8]) -> None:  # Any: a tensor, or a stand-in
        """Learn what latents (1, C, T, h, w) look like from their frames (T', H, W, 3)."""
        if getattr(latents, "ndim", 0) != 5 or self._num_learned.get(model, 0) >= NUM_LEARNED:
            return
        points, colours = _pairs(_array(latents[0]), frames)
        products, targets = points.T @ points, points.T @ colours
        before = self._sums.get(model)
        if before is not None:
            products, targets = products + before[0], targets + before[1]
        self._sums[model] = products, targets
        self._num_learned[model] = self._num_learned.get(model, 0) + 1

    def picture(self, model: str, step: Step) -> bytes | None:
        """Return a JPEG of the predicted middle frame; None if it is too early or no colours are known."""
        if model not in self._sums or time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + PAUSE_S
        middle = step.latents.shape[2] // 2
        clean = step.latents[0, :, middle] + step.velocity[0, :, middle] * (step.next_timestep / 1000)  # (C, h, w)
        products, targets = self._sums[model]
        weights = np.linalg.solve(products + RIDGE * np.eye(len(products)) * products.trace(), targets)  # (C + 1, 3)
        values = _array(clean)
        colours = _with_one(values.reshape(len(values), -1).T) @ weights  # (h w, 3)
        pixels = np.clip(colours.reshape(*values.shape[1:], 3), 0, 255).astype(np.uint8)
        return _jpeg(Image.fromarray(pixels))


def _pairs(latents: Array, frames: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Return points (N, C + 1) of latents (C, T, h, w), and the colours (N, 3) of the frames at these points."""
    _, num, height, width = latents.shape
    shown = (np.arange(num) + 0.5) * len(frames) / num
    small = [Image.fromarray(frames[int(i)]).resize((width, height), Image.Resampling.BOX) for i in shown]
    colours = np.stack([np.asarray(picture, np.float64) for picture in small]).reshape(-1, 3)
    points = _with_one(latents.reshape(len(latents), -1).T)
    stride = max(1, len(points) // NUM_POINTS)
    return points[::stride], colours[::stride]


def _with_one(points: Array) -> Array:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _array(tensor: Any) -> Array:  # Any: a tensor of whatever device and type
    values: Array = tensor.detach().float().cpu().numpy().astype(np.float64)
    return values


def _jpeg(picture: Image.Image) -> bytes:
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    content = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
