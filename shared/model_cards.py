"""Which models there are and what they can make, read from their cards: no torch needed to check a request."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

CARD = "chai.json"
_OWN = ("full_steps", "fast_steps", "guidance_scale")  # of a model; what is usual for one is wrong for another
SIDE_MULTIPLE = 8  # of the video autoencoders that are served


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A small change of a model's weights."""

    source: str  # a folder or file relative to the card, or a hub name
    weight: float = 1.0  # 0 is the model without it
    file: str | None = None  # name of the weights, where the source holds several


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a caller may ask of a model."""

    name: str
    title: str
    source: str  # a folder relative to the card, or a hub name; where the worker loads it from
    sizes: tuple[str, ...]  # "WIDTHxHEIGHT" of the files that come out, the default first
    side_multiple: int = SIDE_MULTIPLE  # the decoder drops what a side has beyond a multiple of it
    fps: int
    frames: tuple[int, ...]  # legal frame counts, the default first
    min_frames: int | None = None  # every count from here to max_frames is legal too
    max_frames: int | None = None
    full_steps: int = 30
    fast_steps: int = 8
    fast_schedule: Mapping[str, Any] = field(default_factory=dict)  # options of fast mode's, of family opensora
    max_steps: int = 100
    guidance_scale: float = 7.0
    family: str = "opensora"  # which loader of the worker's registry knows the source
    plans: str = "paper"  # recipes until some are calibrated: paper, nirvana, plain, measured
    examples: tuple[str, ...] = ()  # prompts that show what it can: the page offers some, the demo makes all in turn

    # What follows is read by the family `diffusers`; see docs/models.md.
    revision: str | None = None  # commit, tag or branch of a hub repository
    pipeline: str | None = None  # class of diffusers in place of the one that the source names
    scheduler: Mapping[str, Any] = field(default_factory=dict)  # `class`, and values in place of the source's
    call: Mapping[str, Any] = field(default_factory=dict)  # further arguments of every run: guidance_scale_2 ...
    loras: tuple[Lora, ...] = ()
    dtype: str | None = None  # float32, bfloat16, float16; None: what the worker's engine is set to
    offload: str = "none"  # model, group, sequential: what of the weights waits in host memory
    quantization: str | Mapping[str, Any] | None = None  # float8, or a backend of diffusers with its options
    attention_backend: str | None = None  # of diffusers: native, flash, _flash_3 ...; None: its own choice

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


def legal_size(size: str, side_multiple: int = SIDE_MULTIPLE) -> str:
    """Return the size that a file has when `size` was asked of the model: 426x240 is 424x240 in steps of 8.

    Raises ValueError for what is no size, or has a side below one step.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size, re.ASCII)
    if match is None:
        raise ValueError(f"size {size!r} is not WIDTHxHEIGHT, as 424x240")
    width, height = (int(side) // side_multiple * side_multiple for side in match.groups())
    if not width or not height:
        raise ValueError(f"size {size!r} has a side below {side_multiple}; use multiples of {side_multiple}")
    return f"{width}x{height}"


def _read(path: Path) -> ModelCard:
    try:
        values = json.loads(path.read_text())
        known = {field.name for field in fields(ModelCard)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(known)}")
        lists = {name: tuple(values[name]) for name in ("sizes", "frames")}
        lists["examples"] = tuple(values.get("examples", ()))
        step = values.get("side_multiple", SIDE_MULTIPLE)
        if not isinstance(step, int) or step < 2 or step % 2:
            raise ValueError(f"side_multiple {step!r} is not an even number; an MP4 has even sides")
        # A card may name the sizes that its model was trained on; a caller is promised what the file will have.
        lists["sizes"] = tuple(dict.fromkeys(legal_size(size, step) for size in lists["sizes"]))
        family = values.get("family", "opensora")
        if family != "opensora" and (missing := [name for name in _OWN if name not in values]):
            raise ValueError(
                f"a card of family {family} has to give {', '.join(missing)}: the defaults are Open-Sora's"
            )
        schedule = values.get("fast_schedule", {})
        if not isinstance(schedule, dict):
            raise ValueError(f'fast_schedule {schedule!r} is not an object, as {{"spacing": "quadratic"}}')
        if schedule and family != "opensora":
            raise ValueError("fast_schedule is of the family opensora; a pipeline's is its scheduler's: set scheduler")
        loras = tuple(Lora(**lora) for lora in values.get("loras", ()))
        return ModelCard(**{**values, **lists, "loras": loras})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error
