"""Which models there are and what they can make, read from their cards: no torch needed to check a request."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

CARD = "chai.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a caller may ask of a model."""

    name: str
    title: str
    source: str  # a folder relative to the card, or a hub name; where the worker loads it from
    sizes: tuple[str, ...]  # "WIDTHxHEIGHT", the default first
    fps: int
    frames: tuple[int, ...]  # legal frame counts, the default first
    min_frames: int | None = None  # every count from here to max_frames is legal too
    max_frames: int | None = None
    full_steps: int = 30
    fast_steps: int = 8
    max_steps: int = 100
    guidance_scale: float = 7.0
    family: str = "opensora"  # which loader of the worker's registry knows the source

    @property
    def default_size(self) -> str:
        """The size of a request that names none."""
        return self.sizes[0]

    @property
    def default_frames(self) -> int:
        """The length of a request that names none."""
        return self.frames[0]

    def frames_for(self, seconds: float, fps: int) -> int | None:
        """Return the legal frame count closest to a duration; None when even that is more than a fifth off."""
        wanted = seconds * fps
        nearest = self.nearest_frames(wanted)
        return nearest if abs(nearest - wanted) <= 0.2 * nearest else None

    def nearest_frames(self, wanted: float) -> int:
        """Return the legal frame count closest to `wanted`."""
        return min((*self.frames, *self._in_range(wanted)), key=lambda count: abs(count - wanted))

    def _in_range(self, wanted: float) -> tuple[int, ...]:
        if self.min_frames is None or self.max_frames is None:
            return ()
        return (round(min(max(wanted, self.min_frames), self.max_frames)),)


def load(models_dir: Path) -> dict[str, ModelCard]:
    """Read every card under `models_dir`; raise `ValueError` naming the file and what is wrong with it."""
    cards = (_read(path) for path in sorted(models_dir.glob(f"*/{CARD}")))
    return {card.name: card for card in cards}


def _read(path: Path) -> ModelCard:
    try:
        values = json.loads(path.read_text())
        known = {field.name for field in fields(ModelCard)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(known)}")
        lists = {name: tuple(values[name]) for name in ("sizes", "frames")}
        return ModelCard(**{**values, **lists})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error
