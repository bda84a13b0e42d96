"""What a person sees of a run: finished videos side by side, and how many of them show what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lab.toy_world import checker
from lab.toy_world.caption_parser import spec_of
from lab.toy_world.world import NUM_FRAMES, SIDE

Frames = NDArray[np.uint8]  # (T, H, W, 3)

TILE = 96  # pixels, width and height of a frame on the sheet
MARGIN = 6
TEXT = 14  # pixels, height of a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One prompt with its videos, as many as the sheet has columns; None leaves a place empty."""

    prompt: str
    files: tuple[Path | None, ...]


def frames_of(file: Path) -> Frames:
    """Return the frames of an MP4."""
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def accuracy(prompt: str, file: Path) -> float | None:
    """Return the share of a prompt's attributes that a video shows; None for a prompt or size of another world."""
    spec, frames = spec_of(prompt), frames_of(file)
    if spec is None or frames.shape != (NUM_FRAMES, SIDE, SIDE, 3):
        return None
    return checker.check(frames, spec).accuracy


def sheet(columns: Sequence[str], lines: Sequence[Line], file: Path) -> None:
    """Draw the first, middle and last frame of every video, a line for each prompt."""
    strip, height = 3 * TILE, TILE + TEXT + 2 * MARGIN
    picture = Image.new("RGB", (len(columns) * (strip + MARGIN) + MARGIN, len(lines) * height + TEXT + MARGIN), "white")
    pen = ImageDraw.Draw(picture)
    for column, name in enumerate(columns):
        pen.text((MARGIN + column * (strip + MARGIN), 2), name, fill="black")
    for row, line in enumerate(lines):
        top = TEXT + MARGIN + row * height
        pen.text((MARGIN, top), line.prompt, fill="black")
        for column, video in enumerate(line.files):
            if video is not None:
                picture.paste(_strip(frames_of(video)), (MARGIN + column * (strip + MARGIN), top + TEXT))
    picture.save(file, optimize=True)


def _strip(frames: Frames) -> Image.Image:
    chosen = (frames[0], frames[len(frames) // 2], frames[-1])
    strip = Image.new("RGB", (3 * TILE, TILE))
    for place, frame in enumerate(chosen):
        strip.paste(Image.fromarray(frame).resize((TILE, TILE), Image.Resampling.NEAREST), (place * TILE, 0))
    return strip
