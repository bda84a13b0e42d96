"""How much of what was asked a finished video of the procedural world shows."""

from pathlib import Path

from lab.toy_world import checker
from lab.toy_world.caption_parser import spec_of
from lab.toy_world.world import NUM_FRAMES, SIDE
from worker.jobs import video


def accuracy(prompt: str, file: Path) -> float | None:
    """Return the share of a prompt's attributes that a video shows; None for a prompt or size of another world."""
    spec, frames = spec_of(prompt), video.decode(file.read_bytes())
    if spec is None or frames.shape != (NUM_FRAMES, SIDE, SIDE, 3):
        return None
    return checker.check(frames, spec).accuracy
