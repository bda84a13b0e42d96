"""The models and their abilities, read from their cards, so that checking a request needs no torch."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeGuard

from shared.json_members import given_twice, members

CARD = "chai.json"
MEASURED_PLANS = "plans.json"  # beside a card: plans that `chai calibrate` found before the model shipped
_OWN = ("full_steps", "fast_steps", "guidance_scale")  # no defaults: one model's are wrong for another
PLANS = ("paper", "nirvana", "plain", "measured")  # initial recipes of a model
DTYPES = ("float32", "bfloat16", "float16")
OFFLOADS = ("none", "model", "group", "sequential")
QUANTIZATIONS = ("none", "float8")  # besides back ends of diffusers with their options
SIDE_MULTIPLE = 8  # of the video autoencoders that are served
_UNSAVED = re.compile("[\x00\ud800-\udfff]")  # cannot be stored or sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A small change of a model's weights."""

    source: str  # a folder or file relative to the card, or a hub name
    weight: float = 1.0  # 0 is the model without it
    file: str | None = None  # name of the weights, where the source holds several
    network: str | None = None  # transformer_2: the second of two, as of Wan 2.2; None: the first


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model's card: what callers may request from it."""

    name: str
    title: str
    source: str  # a folder relative to the card, or a hub name; where the worker loads it from
    sizes: tuple[str, ...]  # "WIDTHxHEIGHT" of the output files, the default first
    side_multiple: int = SIDE_MULTIPLE  # the decoder cuts sides to a multiple of it
    fps: int
    frames: tuple[int, ...]  # legal frame counts, the default first
    min_frames: int | None = None  # every count from here to max_frames is legal too
    max_frames: int | None = None
    full_steps: int = 30
    fast_steps: int = 8
    max_steps: int = 100
    guidance_scale: float = 7.0
    family: str = "opensora"  # which loader of the worker's registry knows the source
    plans: str = "paper"  # recipes until some are calibrated: paper, nirvana, plain, measured
    examples: tuple[str, ...] = ()  # prompts that show its abilities: the page offers some, the demo makes them all

    # The following are read by the family `diffusers`; see docs/models.md.
    revision: str | None = None  # commit, tag or branch of a hub repository
    pipeline: str | None = None  # class of diffusers in place of the one that the source names
    variant: str | None = None  # fp16, bf16: which weight files, if their names contain such a word
    scheduler: Mapping[str, Any] = field(default_factory=dict)  # `class`, and values in place of the source's
    call: Mapping[str, Any] = field(default_factory=dict)  # further arguments of every run: guidance_scale_2 ...
    loras: tuple[Lora, ...] = ()
    dtype: str | None = None  # float32, bfloat16, float16; None: what the worker's engine is set to
    vae_dtype: str | None = None  # of the decoder alone; None: as the rest
    offload: str = "none"  # model, group, sequential: which weights wait in host memory
    quantization: str | Mapping[str, Any] | None = None  # float8, or a backend of diffusers with its options
    vae_tiling: bool = False  # decode a picture in pieces: less memory at large sizes
    context_parallel: int = 1  # GPUs that share each forward pass, each with part of the video's tokens
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
        """Return the legal frame count closest to a duration; None if even that is more than a fifth off."""
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


_OF_DIFFUSERS = (
    *("revision", "pipeline", "variant", "scheduler", "call", "loras", "dtype", "offload", "quantization"),
    *("vae_dtype", "vae_tiling", "context_parallel", "attention_backend"),
)
_PLAIN = ModelCard(name="", title="", source="", sizes=(), fps=1, frames=())


def load(models_dir: Path) -> dict[str, ModelCard]:
    """Read every card under `models_dir`; raise `ValueError` naming the file and what is wrong with it."""
    return {name: card for name, (_, card) in _found(models_dir).items()}


def folder(models_dir: Path, name: str) -> Path:
    """Return the folder of a model's card, which may differ from the model's name. Raises like `load`."""
    return _found(models_dir)[name][0].parent


def _found(models_dir: Path) -> dict[str, tuple[Path, ModelCard]]:
    found: dict[str, tuple[Path, ModelCard]] = {}
    for path in sorted(models_dir.glob(f"*/{CARD}")):
        card = _read(path)
        if card.name in found:
            raise ValueError(
                f"{path}: name {card.name!r} is that of {found[card.name][0]} too; give one of them another"
            )
        found[card.name] = (path, card)
    return found


def legal_size(size: str, side_multiple: int = SIDE_MULTIPLE) -> str:
    """Return the size of the file if `size` is requested of the model: in steps of 8, 426x240 becomes 424x240.

    Raises ValueError if it is not a size, or has a side below one step.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size, re.ASCII)
    if match is None:
        raise ValueError(f"size {size!r} is not WIDTHxHEIGHT, as 424x240")
    width, height = (int(side) // side_multiple * side_multiple for side in match.groups())
    if not width or not height:
        raise ValueError(f"size {size!r} has a side below {side_multiple}; use multiples of {side_multiple}")
    return f"{width}x{height}"


def sides(size: str) -> tuple[int, int]:
    """Return width and height, in pixels, of a card's size."""
    width, height = map(int, size.split("x"))
    return width, height


def _read(path: Path) -> ModelCard:
    try:
        values = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=members)  # editors may add a BOM
        if (twice := given_twice(values)) is not None:
            raise ValueError(f"{twice} is given twice; keep one")
        card = parse(values)
        _check_place(card, path.parent)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    return card


def _check_place(card: ModelCard, folder: Path) -> None:
    """Raise `ValueError` if files beside a card would be looked for in another folder, that of its name."""
    if card.name == folder.name:
        return
    beside = (("source", card.source), *(("LoRA", lora.source) for lora in card.loras), ("plans", MEASURED_PLANS))
    for kind, source in beside:
        if not Path(source).is_absolute() and (folder / source).exists():
            raise ValueError(f"name {card.name!r} is not that of its folder, where {kind} {source!r} is looked for")


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write the JSON of a card, or of a file beside one, atomically: half a card would stop the service."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(values, indent=2) + "\n")
    whole.replace(path)


def parse(values: Any) -> ModelCard:
    """Return the card that a file's content describes; raise `ValueError` naming the field that is wrong."""
    if not isinstance(values, dict):
        raise ValueError("a card is an object of fields, as docs/models.md has them")
    known = {field.name for field in fields(ModelCard)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(known)}")
    if missing := [field.name for field in fields(ModelCard) if _is_needed(field) and field.name not in values]:
        raise ValueError(f"a card has to give {', '.join(missing)}")
    for name, value in values.items():
        _check_field(name, value)
    lists = {name: tuple(values[name]) for name in ("sizes", "frames")}
    lists["examples"] = tuple(values.get("examples", ()))
    step = values.get("side_multiple", SIDE_MULTIPLE)
    # A card may name the sizes that its model was trained on; a caller is promised what the file will have.
    lists["sizes"] = tuple(dict.fromkeys(legal_size(size, step) for size in lists["sizes"]))
    family = values.get("family", "opensora")
    if family != "opensora" and (missing := [name for name in _OWN if name not in values]):
        raise ValueError(f"a card of family {family} has to give {', '.join(missing)}: the defaults are Open-Sora's")
    card = ModelCard(**{**values, **lists, "loras": tuple(_lora(lora) for lora in values.get("loras", ()))})
    if (card.min_frames is None) != (card.max_frames is None):
        raise ValueError("min_frames and max_frames are a range; give both or none")
    if card.min_frames is not None and card.max_frames is not None and card.min_frames > card.max_frames:
        raise ValueError(f"min_frames {card.min_frames} is above max_frames {card.max_frames}; no count is in between")
    for name in ("full_steps", "fast_steps"):
        if (steps := getattr(card, name)) > card.max_steps:
            raise ValueError(f"{name} {steps} is above max_steps {card.max_steps}; raise max_steps")
    _check_family(card)
    return card


def _check_family(card: ModelCard) -> None:
    """Raise `ValueError` for fields that the loader of a card's family does not read."""
    unread = {"opensora": _OF_DIFFUSERS, "diffusers": ()}.get(card.family, ("context_parallel",))
    for name in unread:
        if getattr(card, name) != getattr(_PLAIN, name):
            raise ValueError(f"{name} is of the family diffusers, not {card.family}; leave it out")


def _check_field(name: str, value: object) -> None:
    """Raise `ValueError` if a field of a card has a value of the wrong type."""
    kind, is_right = _KINDS[name]
    if not is_right(value):
        raise ValueError(f"{name} {value!r} is not {kind}")


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _lora(values: Mapping[str, Any]) -> Lora:
    if "source" not in values:
        raise ValueError(f'loras {values!r} name no source; write {{"source": FOLDER-OR-REPOSITORY, "weight": 1.0}}')
    if unknown := set(values) - {field.name for field in fields(Lora)}:
        raise ValueError(f"loras: unknown fields {sorted(unknown)}; known are source, weight, file, network")
    for name, (kind, is_right) in _KINDS_OF_LORA.items():
        if name in values and not is_right(values[name]):
            raise ValueError(f"loras: {name} {values[name]!r} is not {kind}")
    return Lora(**values)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not _UNSAVED.search(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _is_text(value) and value.isprintable() and not re.search(r"^\.|[/\\]", value)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_list_of(is_right: Callable[[object], bool], *, fewest: int = 0) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return isinstance(value, list | tuple) and len(value) >= fewest and all(map(is_right, value))

    return check


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _or_null(is_right: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_right(value)


_TEXT = ("a text", _is_text)
_TEXT_OR_NULL = ("a text, or null", _or_null(_is_text))
_COUNT = ("a whole number from 1 on", _is_count)
_KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "name": ("a plain word, such as wan-1.3b", _is_name),
    **dict.fromkeys(("title", "source", "family", "offload"), _TEXT),
    **dict.fromkeys(("fps", "full_steps", "fast_steps", "max_steps", "context_parallel"), _COUNT),
    **dict.fromkeys(("min_frames", "max_frames"), ("a whole number from 1 on, or null", _or_null(_is_count))),
    **dict.fromkeys(("revision", "pipeline", "variant", "dtype", "vae_dtype", "attention_backend"), _TEXT_OR_NULL),
    **dict.fromkeys(("scheduler", "call"), ("an object of names and values", _is_object)),
    "side_multiple": ("an even number; an MP4 has even sides", lambda value: _is_count(value) and value % 2 == 0),
    "sizes": ('a list of sizes, as ["832x480"]', _is_list_of(_is_text, fewest=1)),
    "frames": ("a list of frame counts, as [81, 41]", _is_list_of(_is_count, fewest=1)),
    "examples": ("a list of prompts", _is_list_of(_is_text)),
    "guidance_scale": ("a number from 0 on", lambda value: _is_number(value) and value >= 0),
    "plans": (f"one of {', '.join(PLANS)}", lambda value: value in PLANS),
    "loras": ('a list of objects, as [{"source": "quick", "weight": 1.0}]', _is_list_of(_is_object)),
    "quantization": (
        "float8, or an object of a back end and its options",
        lambda value: value is None or _is_text(value) or _is_object(value),
    ),
    "vae_tiling": ("true or false", lambda value: isinstance(value, bool)),
}
_KINDS_OF_LORA = {
    "source": _TEXT,
    "weight": ("a number", _is_number),
    "file": _TEXT_OR_NULL,
    "network": _TEXT_OR_NULL,
}
