"""`chai lab eval`: quality and time of plans, on the small model's prompts or in VBench's naming for any model."""

import itertools
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import output
from cli.arguments import App
from cli.errors import CommandError
from cli.lab import devices
from cli.model_cards import cards_in
from cli.prompt_lists import read_prompts

if TYPE_CHECKING:
    from lab.experiments.vbench import Pair
    from worker.quality.clip import ClipScorer
    from worker.quality.lpips import Lpips

app = App(add_completion=False, help="Measure quality and time of plans.", invoke_without_command=True)


class Preset(StrEnum):
    """How much is compared."""

    quick = "quick"  # a few schedules and ways of reuse
    schedules = "schedules"  # many plain schedules, no donor
    reuse = "reuse"  # every way of reuse at few steps
    full = "full"  # the short list and every control
    goal = "goal"  # the plans that the goal is claimed for, on many prompts


PROMPTS = {Preset.quick: 24, Preset.schedules: 48, Preset.reuse: 48, Preset.full: 120, Preset.goal: 1200}


@app.callback()
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Option(help="Pipeline folder of a model of a procedural world.")] = Path(
        "worker/cards/small"
    ),
    preset: Annotated[Preset, typer.Option(help="quick, schedules, reuse, full or goal.")] = Preset.quick,
    prompts: Annotated[int | None, typer.Option(min=4, help="How many; by default 24, 48, 48, 120 or 1,200.")] = None,
    stored: Annotated[int | None, typer.Option(min=4, help="Full runs in the cache; as many as prompts.")] = None,
    seed: Annotated[int, typer.Option(help="Of prompts and noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for plot, contact sheet and JSON.")] = Path("var/eval"),
) -> None:
    """Run plans over fresh prompts; print a table and one line of JSON."""
    if context.invoked_subcommand is not None:
        return
    if not (model / "chai.json").exists():
        raise CommandError(f"{model} is no model folder; make one with `chai lab train small`, or name another --model")
    model = model.resolve()
    if model.name not in cards_in(model.parent):
        raise CommandError(f"{model} holds the card of a model of another name; call the folder as the model")
    from lab.experiments import evaluate as evaluation

    out.mkdir(parents=True, exist_ok=True)  # fail before hours of runs if it is not writable
    num_prompts = prompts or PROMPTS[preset]
    variants = evaluation.PRESETS[preset.value]()
    num_stored = stored or num_prompts
    with output.Meter(num_stored + num_prompts * (1 + len(variants))) as meter:
        found = evaluation.run(
            model,
            variants,
            num_prompts=num_prompts,
            num_stored=num_stored,
            seed=seed,
            progress=lambda done, text: meter.show(done, text),
        )
    for group in dict.fromkeys(row.group for row in found.rows):
        shown = [row.cells() for row in found.rows if row.group == group]
        print(f"\n{group}")
        output.print_table(evaluation.COLUMNS, shown)
    written = evaluation.write(found, out)
    for file in written:
        output.note(f"wrote {file}")
    output.print_json(found.summary())


@app.command()
def vbench(
    prompts: Annotated[Path, typer.Option(help="A file with one prompt in each line, such as VBench's lists.")],
    model: Annotated[str, typer.Option(help="A pipeline folder or the name of a released model.")],
    out: Annotated[Path, typer.Option(help="Folder for the videos and scores.")] = Path("var/vbench"),
    samples: Annotated[int, typer.Option(min=1, help="Videos of each prompt; VBench wants 5.")] = 5,
    full_steps: Annotated[int, typer.Option(min=1, help="Steps of full mode.")] = 30,
    fast_steps: Annotated[int, typer.Option(min=1, help="Steps of the plain fast plan beside it.")] = 8,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 7.0,
    dimension: Annotated[list[str] | None, typer.Option(help="Of VBench; the six that take any prompt.")] = None,
    own_prompts: Annotated[bool, typer.Option(help="The prompts are not VBench's own lists.")] = False,
    height: Annotated[int | None, typer.Option(help="Pixels; the model's own.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the model's own.")] = None,
    frames: Annotated[int | None, typer.Option(help="The model's own.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP model: adds CLIPScore.")] = None,
    lpips: Annotated[
        Path | None, typer.Option(help="torchvision's AlexNet weights, alexnet-owt-7be5be79.pth: adds LPIPS.")
    ] = None,
) -> None:
    """Write videos in VBench's naming, in full mode and with few steps; score them against each other and by VBench."""
    from lab.experiments import vbench as bench
    from worker.models.opensora.pipeline import ChaiPipeline

    texts = read_prompts(prompts)
    clip_scorer = _load_clip(clip) if clip else None
    alexnet = _load_lpips(lpips) if lpips else None
    pipeline = ChaiPipeline.from_pretrained(model).to(devices.checked(device))
    size = bench.Size(height=height, width=width, num_frames=frames)
    plans = {"full": pipeline.schedule(full_steps, guidance)}
    plans["fast"] = pipeline.schedule(fast_steps, guidance, unguided_steps=1)
    with output.Meter(len(plans) * len(texts) * samples) as meter:
        count = itertools.count(1)
        for name, schedule in plans.items():
            bench.write_videos(
                pipeline,
                texts,
                schedule,
                out / name,
                samples=samples,
                size=size,
                made=lambda file: meter.show(next(count), f"{file.parent.name}: {file.name}"),
            )
    try:
        with output.Meter(len(texts) * samples) as meter:
            pairs = _shown(bench.read_pairs(out, texts, samples=samples), meter)
            result: dict[str, Any] = {"against_full": bench.against_full(pairs, lpips=alexnet, clip=clip_scorer)}
    except ValueError as error:
        raise CommandError(f"--out {out}: {error}") from error
    for name in plans:
        try:
            chosen = dimension or bench.DIMENSIONS
            result[name] = bench.scores(out / name, out / f"{name}-scores", chosen, own_prompts=own_prompts)
        except RuntimeError as error:
            output.note(f"{name}: {error}")
    for score, way in bench.WITH_WEIGHTS.items():
        if score not in result["against_full"]:
            output.note(f"not computed: {way}")
    output.print_json(result)


def _shown(pairs: Iterable["Pair"], meter: output.Meter) -> Iterator["Pair"]:
    """The pairs, each shown as it is scored."""
    for done, pair in enumerate(pairs, start=1):
        meter.show(done, f"scoring: {pair.prompt}")
        yield pair


def _load_clip(folder: Path) -> "ClipScorer":
    from worker.quality.clip import ClipScorer

    try:
        return ClipScorer.load(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"--clip {folder} holds no CLIP model with its tokenizer: {reason}") from error


def _load_lpips(file: Path) -> "Lpips":
    from worker.quality.lpips import Lpips

    try:
        return Lpips.load(file)
    except OSError as error:
        raise CommandError(f"--lpips {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"--lpips {file} {error}") from error
