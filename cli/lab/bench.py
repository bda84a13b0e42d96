"""`chai lab bench`: measurements of speed."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import App, not_with
from cli.errors import BadInput, CommandError
from cli.lab import devices
from shared.numerals import plain

app = App(add_completion=False, help="Measure speed.")


class Preset(StrEnum):
    """Models by size."""

    opensora = "opensora-1.2"
    small = "small"
    tiny = "tiny"


class Mode(StrEnum):
    """How the transformer's steps are run."""

    off = "off"
    compile = "compile"
    graphs = "graphs"


class TextPlace(StrEnum):
    """Where the text encoder lives."""

    keep = "keep"
    offload = "offload"
    int8 = "int8"


class DType(StrEnum):
    """Precision of transformer and VAE."""

    bfloat16 = "bfloat16"
    float32 = "float32"


IN_PIXELS = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")
ASPECT_RATIO = "9:16"
SETTINGS = "off,compile,graphs"
SIZES = {  # clips, and an image, for which a GPU waits for launches
    Preset.opensora: (("240p", "72"), ("480p", "51"), ("240p", "1")),
    Preset.small: (("64x64", "16"), ("64x64", "1")),
    Preset.tiny: (("32x32", "17"), ("48x32", "1")),
}
DEFAULT_SIZES = {Preset.opensora: ("240p", "72"), Preset.small: ("64x64", "16"), Preset.tiny: ("32x32", "17")}


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    preset: Annotated[Preset | None, typer.Option(help="Which model; by default the released one on a GPU.")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, cpu ...")] = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each prompt.")] = 8,
    settings: Annotated[str, typer.Option(help="Which settings, separated by commas.")] = SETTINGS,
) -> None:
    """Measure speed; alone: every setting of the engine, prompts of ten lengths, several sizes, random weights."""
    if context.invoked_subcommand is not None:
        return
    from lab.benchmarks import engine, modes
    from worker.models.opensora.sizes import VideoSize, named_frames

    wanted = settings.split(",")
    if unknown := [name for name in wanted if name not in modes.SETTINGS]:
        raise BadInput(f"{unknown[0]!r} is no setting; there are {', '.join(modes.SETTINGS)}")
    is_gpu = devices.checked(device).startswith("cuda")
    chosen = preset or (Preset.opensora if is_gpu else Preset.small)
    sizes = []
    for size, frames in SIZES[chosen]:
        height, width = _pixels(size, ASPECT_RATIO)
        sizes.append(VideoSize(height=height, width=width, num_frames=named_frames(frames)))
    first = sizes[0]
    request = engine.Request(
        preset=chosen.value,
        height=first.height,
        width=first.width,
        num_frames=first.num_frames,
        steps=(steps,),
        device=device,
    )
    report = modes.run(request, sizes, [mode for mode in modes.SETTINGS if mode in wanted])
    if not report["rows"]:
        raise CommandError("nothing could be measured; the reasons stand above")


@app.command()
def engine(
    preset: Annotated[Preset, typer.Option(help="Which model.")] = Preset.tiny,
    size: Annotated[str | None, typer.Option(help="A name such as 240p, or WIDTHxHEIGHT.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="height:width, for a named size; else 9:16.")] = None,
    frames: Annotated[str | None, typer.Option(help="A number, or a name such as 2s.")] = None,
    steps: Annotated[str, typer.Option(help="Step counts, separated by commas.")] = "30,8",
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Draw the weights; time is the same.")
    ] = False,
    models_dir: Annotated[Path | None, typer.Option(help="Where the models are; else worker/cards.")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, cpu ...")] = "auto",
    mode: Annotated[Mode, typer.Option(help="Compile the blocks; record whole steps as CUDA graphs.")] = Mode.off,
    dtype: Annotated[DType | None, typer.Option(help="Default: bfloat16 on a GPU, float32 elsewhere.")] = None,
    text: Annotated[TextPlace, typer.Option(help="Where the text encoder lives.")] = TextPlace.keep,
    repeats: Annotated[int, typer.Option(min=1, help="Runs, of which the middle one counts.")] = 3,
    plain: Annotated[bool, typer.Option(help="Also run the same model written plainly.")] = True,
) -> None:
    """Time every stage of a job, beside the same model written plainly; a table and one line of JSON."""
    from lab.benchmarks import engine
    from worker.models.opensora.sizes import SizeError, named_frames

    is_random = random_weights or preset is Preset.tiny
    not_with("--random-weights" if random_weights else "--preset tiny", is_given=is_random, models_dir=models_dir)
    default_size, default_frames = DEFAULT_SIZES[preset]
    chosen = size or default_size
    not_with(f"--size {chosen}", is_given=IN_PIXELS.fullmatch(chosen), aspect_ratio=aspect_ratio)
    try:
        height, width = _pixels(chosen, aspect_ratio or ASPECT_RATIO)
        num_frames = named_frames(frames or default_frames)
    except SizeError as error:
        raise BadInput(str(error)) from error
    request = engine.Request(
        preset=preset.value,
        height=height,
        width=width,
        num_frames=num_frames,
        steps=_counts(steps),
        models_dir=None if is_random else models_dir or Path("worker/cards"),
        device=device,
        mode=mode.value,
        dtype=None if dtype is None else dtype.value,
        text=text.value,
        repeats=repeats,
        has_plain=plain,
    )
    try:
        report = engine.run(request)
    except ValueError as error:
        raise BadInput(str(error)) from error
    if not report["results"]:
        raise CommandError("nothing could be measured; the reasons stand above")


def _pixels(size: str, aspect_ratio: str) -> tuple[int, int]:
    from worker.models.opensora.sizes import named_size

    match = IN_PIXELS.fullmatch(size)
    return (int(match[2]), int(match[1])) if match else named_size(size, aspect_ratio)


def _counts(steps: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(plain(count)) for count in steps.split(","))
    except ValueError as error:
        raise BadInput(f"steps {steps!r} are not numbers; write them as 30,8") from error
    if min(counts) < 1:
        raise BadInput(f"steps {steps!r} are not all 1 or more; write them as 30,8")
    return counts
