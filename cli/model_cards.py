"""`chai model add`, `ls`, `check`: turn any pipeline into a model of the service, and see whether it works here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.arguments import AsJson
from cli.errors import BadInput, CommandError
from cli.local import MODELS_DIR
from cli.manifest import number
from shared import model_cards
from shared.model_cards import CARD, Lora, ModelCard
from shared.numerals import plain

ModelsDir = Annotated[Path, typer.Option(envvar="CHAI_MODELS_DIR", help="Where the models are.")]
_CHECKED_STEPS = 2
_CHOICES = {
    "dtype": model_cards.DTYPES,
    "offload": model_cards.OFFLOADS,
    "quantization": model_cards.QUANTIZATIONS,
}


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What callers will name the model.")],
    source: Annotated[str, typer.Option(help="A folder, or OWNER/NAME on the hub: a pipeline of diffusers.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Of full mode; else the pipeline's own.")] = None,
    fast_steps: Annotated[int | None, typer.Option(min=1, help="Of fast mode.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is none, at half the cost.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT, the default first; may be repeated.")] = None,
    frames: Annotated[list[int] | None, typer.Option(min=1, help="The default first; may be repeated.")] = None,
    fps: Annotated[int | None, typer.Option(min=1, help="Frames a second.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="FOLDER-OR-REPOSITORY[=WEIGHT]; may be repeated.")] = None,
    scheduler: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, or class=NAME; may be repeated.")] = None,
    call: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of every run; may be repeated.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    offload: Annotated[str | None, typer.Option(help="model, group or sequential: for small GPUs.")] = None,
    quantization: Annotated[str | None, typer.Option(help="float8: weights wait in 8 bits.")] = None,
    vae_tiling: Annotated[bool, typer.Option("--vae-tiling", help="Decode in pieces: less memory.")] = False,
    attention_backend: Annotated[str | None, typer.Option(help="Of diffusers: native, flash, sage ...")] = None,
    context_parallel: Annotated[int | None, typer.Option(min=1, help="GPUs that make each forward together.")] = None,
    plans: Annotated[
        str | None, typer.Option(help="Until some are calibrated: paper, nirvana, plain, measured.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Class of diffusers in place of the named one.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of a repository.")] = None,
    variant: Annotated[
        str | None, typer.Option(help="fp16, bf16: which files of weights, where there are such.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a card of that name.")] = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Make a text-to-video pipeline of diffusers a model: read what it tells of itself, write its card."""
    from worker.models.diffusers import cards
    from worker.models.diffusers import source as sources

    target = models_dir / _checked_name(name) / CARD
    if target.exists() and not replace:
        raise BadInput(f"{target} is there already; give another name, or --replace")
    _check_alone(name, models_dir, target.parent)
    given = {
        "full_steps": steps,
        "fast_steps": fast_steps,
        "guidance_scale": guidance,
        "sizes": tuple(size or ()),
        "frames": tuple(frames or ()),
        "fps": fps,
        "loras": tuple(_lora(text) for text in lora or ()),
        "scheduler": _pairs("--scheduler", scheduler),
        "call": _pairs("--call", call),
        "dtype": dtype,
        "offload": offload,
        "quantization": quantization,
        "vae_tiling": vae_tiling,
        "attention_backend": attention_backend,
        "context_parallel": context_parallel,
        "plans": plans,
        "pipeline": pipeline,
        "revision": revision,
        "variant": variant,
    }
    for option, choices in _CHOICES.items():
        if given[option] not in (None, *choices):
            raise BadInput(f"--{option} {given[option]!r} is unknown; there are {', '.join(choices)}")
    if revision is not None and Path(source).is_dir():
        raise BadInput(f"--revision {revision!r} is of a repository, and {source} is a folder; leave it out")
    at = str(Path(source).resolve()) if Path(source).is_dir() else source
    try:
        known = cards.look(sources.read(at, pipeline=pipeline, revision=revision), revision=revision)
        card = _asked(cards, name, known, given)
        model_cards.parse(written(card))  # an unreadable card would stop the whole service
        if card.fast_steps > card.full_steps:
            raise ValueError(f"fast_steps {card.fast_steps} are more than full_steps {card.full_steps}")
    except (OSError, ValueError) as error:
        raise BadInput(str(error)) from error
    model_cards.write(target, written(card))
    output.note(f"wrote {target}; see that it works here with: chai model check {name}")


def ls(
    as_json: AsJson = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """List the models that have a card."""
    cards = list(cards_in(models_dir).values())
    if as_json:
        output.print_json([asdict(card) for card in cards])
        return
    rows = [
        (
            card.name,
            card.family,
            card.default_size,
            f"{card.default_frames} at {card.fps}/s",
            f"{card.full_steps}/{card.fast_steps}",
            f"{card.guidance_scale:g}",
            card.plans,
            card.source,
        )
        for card in cards
    ]
    output.print_table(("name", "family", "size", "frames", "steps full/fast", "guidance", "plans", "source"), rows)


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that has a card.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    size: Annotated[str | None, typer.Option(help="Of the clip that is made; else the card's first.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of the clip; else the card's first.")] = None,
    as_json: AsJson = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Load a model, make a clip of two steps, and say what can be reused, how long it took and how much it needs."""
    card = card_named(name, models_dir)
    try:
        found = _tried(card, models_dir, device, size or card.default_size, frames)
    except Exception as error:  # pipelines, their files and libraries can fail in any way
        raise CommandError(f"{name} {_broken(error)}") from error
    if as_json:
        output.print_json(found)
        return
    output.print_table(("what", "found"), [(key.replace("_", " "), str(value)) for key, value in found.items()])


def _broken(error: Exception) -> str:
    from worker.models.device_faults import TOO_LARGE, is_out_of_memory

    if is_out_of_memory(error):
        return TOO_LARGE
    explains = isinstance(error, (OSError, ValueError, ImportError, ArithmeticError)) and str(error)
    return f"does not work here: {error if explains else f'{type(error).__name__}: {error}'}"


def _tried(card: ModelCard, models_dir: Path, device: str, size: str, frames: int | None) -> dict[str, Any]:
    from shared.generation import GenerationParams
    from worker.models import registry
    from worker.models.video_model import Sampling

    began = time.perf_counter()
    model = registry.load(card, models_dir, registry.EngineOptions(device=device))
    loaded_s = time.perf_counter() - began
    prompt = "a red fox runs through a forest"
    params = GenerationParams.of_card(card, prompt, size=checked_sides(size), num_frames=frames)
    sampling = Sampling(num_steps=_CHECKED_STEPS, guidance_scale=card.guidance_scale)
    model.reset_peak_memory()
    encoding = model.encode(params)
    began, times = time.perf_counter(), []
    for step in model.sample(encoding, params, sampling, seed=0):
        model.finish()
        times.append(time.perf_counter())
        latents = step.latents
    clip = model.decode(latents, params)
    model.finish()
    if len(clip) != params.num_frames:
        raise ValueError(f"it makes {len(clip)} frames where {params.num_frames} are asked for; write that in its card")
    return {
        "model": card.name,
        "device": str(model.device),
        "dtype": model.fingerprint.latent_dtype,
        "fingerprint": model.fingerprint.revision,
        "load_s": round(loaded_s, 2),
        "clip": f"{clip.shape[2]}x{clip.shape[1]}, {clip.shape[0]} frames",
        "seconds_a_step": round(times[-1] - times[-2], 3),
        "decode_s": round(time.perf_counter() - times[-1], 3),
        "peak_memory_bytes": model.peak_memory(),
        "cache_attention": model.refuses("cache_attention", {}) or "a donor changes what it makes",
        "resume": model.refuses("resume", {}) or "its scheduler can begin later",
        **model.engine,
    }


def written(card: ModelCard) -> dict[str, Any]:
    """Return the contents of a card's file: fields without a default, and those that differ from it."""
    bare = ModelCard(name="", title="", source="", sizes=(), fps=0, frames=())
    values = asdict(card)
    shown = ("full_steps", "fast_steps", "guidance_scale", "plans")
    return {
        field.name: values[field.name]
        for field in fields(card)
        if field.name in shown or getattr(card, field.name) != getattr(bare, field.name)
    }


def _asked(cards: Any, name: str, known: Any, given: dict[str, Any]) -> ModelCard:
    """Return the card; ask for unknown fields at a terminal, and elsewhere raise `BadInput` with the field's name."""
    while True:
        try:
            card: ModelCard = cards.propose(name, known, given)
        except cards.Unknown as error:
            if not sys.stdin.isatty():
                raise BadInput(str(error)) from error
            given[error.field] = _typed(error.field, typer.prompt(str(error)))
        else:
            for size in card.sizes:
                checked_sides(size)
            return card


def _typed(field: str, text: str) -> Any:
    try:
        if field == "sizes":
            return (text,)
        read = number(field, text, float if field == "guidance_scale" else int)
        return (read,) if field == "frames" else read
    except ValueError as error:
        raise BadInput(f"{field} {text!r} is no number") from error


def checked_sides(size: str) -> tuple[int, int]:
    """Return the width and height in WIDTHxHEIGHT; raise `BadInput` for anything else."""
    try:
        width, height = (int(plain(side)) for side in size.lower().split("x"))
    except ValueError as error:
        raise BadInput(f"size {size!r} is not WIDTHxHEIGHT; give for example 832x480") from error
    return width, height


def _check_alone(name: str, models_dir: Path, folder: Path) -> None:
    """Raise `BadInput` if another folder has a card of that name: with two of them, no card can be read."""
    with suppress(KeyError, OSError, ValueError):  # none, or an unreadable one, which may be meant to be replaced
        if (known := model_cards.folder(models_dir, name)) != folder:
            raise BadInput(f"{known / CARD} is a card of that name already; give another name")


def _checked_name(name: str) -> str:
    if not name.isprintable() or not name or name.startswith(".") or set(name) & set("/\\ "):
        raise BadInput(f"model name {name!r} has to be a plain word, such as wan-1.3b")
    return name


def _lora(text: str) -> Lora:
    source, _, weight = text.partition("=")
    try:
        lora = Lora(source=source, weight=number("weight", weight or "1", float))
    except ValueError as error:
        raise BadInput(f"--lora {text!r}: {weight!r} is no weight; give SOURCE=0.8") from error
    beside = Path(source)
    return Lora(source=str(beside.resolve()), weight=lora.weight) if beside.exists() else lora


def _pairs(option: str, texts: Sequence[str] | None) -> Mapping[str, Any]:
    """Return KEY=VALUE pairs; values are read as JSON if they are valid JSON, else as text."""
    pairs: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadInput(f"{option} {text!r} is not KEY=VALUE")
        try:
            pairs[key] = json.loads(value)
        except ValueError:
            pairs[key] = value
    return pairs


def card_named(name: str, models_dir: Path) -> ModelCard:
    """Return the card of a model; raise `BadInput` if the folder has none of that name."""
    cards = cards_in(models_dir)
    if name not in cards:
        raise BadInput(f"no model {name!r} in {models_dir}; there is {', '.join(cards) or 'none'}: see chai model add")
    return cards[name]


def cards_in(models_dir: Path) -> dict[str, ModelCard]:
    """Return the cards of a folder; raise `BadInput` if the folder or a card cannot be read."""
    if not models_dir.is_dir():
        raise BadInput(f"--models-dir {models_dir} is no folder; name the one that holds the models (CHAI_MODELS_DIR)")
    try:
        return model_cards.load(models_dir)
    except ValueError as error:
        raise BadInput(str(error)) from error
