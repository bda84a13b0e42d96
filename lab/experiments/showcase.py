"""How much of its prompt a finished video of a procedural world shows."""

from pathlib import Path

from lab.toy_world.worlds import share_shown
from worker.jobs import video


def accuracy(prompt: str, file: Path) -> float | None:
    """Return the share of a prompt's attributes that a video shows; None if the prompt or size fits no world."""
    return share_shown(prompt, video.decode(file.read_bytes()))
