"""`chai lab train`: make the weights of the small model again, or those of the rich world's VAE and model."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli import endings, output
from cli.arguments import App, not_with
from cli.errors import CommandError
from cli.lab import devices
from shared.formats import duration

if TYPE_CHECKING:
    from lab.training.train import Run
    from lab.training.train_rich import Store
    from lab.training.train_vae import VaeRun
    from worker.models.opensora.small_vae import SmallVAE

R = TypeVar("R")  # a run, or its training data

app = App(add_completion=False, help="Train a small model.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder for checkpoints and the finished pipeline.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Stop after this long; --resume goes on.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")]


@app.callback()
def _train() -> None:
    """Train a model from scratch."""


@app.command()
def small(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and the finished pipeline.")] = Path("var/train"),
    steps: Annotated[int | None, typer.Option(min=1, help="Stretch the recipe to this length.")] = None,
    lessons: Annotated[
        int | None, typer.Option(min=1, help="Steps in which the text encoder learns to read, before all others.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this long; --resume goes on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, clips and noise; else 1, the shipped model's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")] = False,
    device: Device = "cpu",
    clips: Annotated[int, typer.Option(min=1, help="Clips of each kind in the closing measurement.")] = 64,
) -> None:
    """Train the small model on clips drawn on the fly and write it as a pipeline folder."""
    not_with("--resume", is_given=resume, seed=seed is not None, lessons=lessons)
    checkpoint = _checkpoint(out / "checkpoint.pt", resume)
    device = devices.checked(device)
    run = (
        _resumed(checkpoint, steps, device) if resume else _started(1 if seed is None else seed, steps, lessons, device)
    )
    if _fit(run, checkpoint, minutes):
        _publish(run, out / "small", clips)


@app.command()
def vae(
    out: Out = Path("var/rich"),
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the run, also of one that is resumed.")] = None,
    minutes: Minutes = None,
    resume: Resume = False,
    clips: Annotated[int, typer.Option(min=1, help="Fresh clips in the closing measurement.")] = 200,
) -> None:
    """Train the VAE of the rich world and write it to OUT/vae."""
    from lab.training.train_vae import FRESH, VaeRecipe, VaeRun, clips_of, psnr

    checkpoint = _checkpoint(out / "vae.pt", resume)
    recipe = VaeRecipe() if steps is None else VaeRecipe(num_steps=steps)
    run = _read(lambda: VaeRun.resume(checkpoint, num_steps=steps)) if resume else VaeRun(recipe)
    if _fit(run, checkpoint, minutes):
        finished = run.finished()
        finished.save_pretrained(out / "vae")
        output.note(f"wrote {out / 'vae'}: {psnr(finished, clips_of((FRESH,), clips)):.2f} dB on {clips} fresh clips")


@app.command()
def rich(
    out: Out = Path("var/rich"),
    vae_folder: Annotated[Path, typer.Option("--vae", help="A VAE that `chai lab train vae` wrote.")] = Path(
        "var/rich/vae"
    ),
    specs: Annotated[int, typer.Option(min=1, help="Specs whose clips are encoded and kept.")] = 24_000,
    layouts: Annotated[int, typer.Option(min=1, help="Clips of each spec, 18 KB each.")] = 24,
    captions: Annotated[int, typer.Option(min=1, help="Captions of each spec.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw lots; 0: this one.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Stretch the recipe to this length.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips of a step, in place of the recipe's number.")] = None,
    lessons: Annotated[int | None, typer.Option(min=1, help="Steps in which the text encoder learns to read.")] = None,
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option(help="Of weights, clips and noise.")] = 1,
    resume: Resume = False,
    device: Device = "cpu",
    clips: Annotated[int, typer.Option(min=1, help="Clips of each kind in the closing measurement.")] = 64,
) -> None:
    """Train a model of the rich world: encode clips once, then learn from them; all of it can be cut off.

    Made for one GPU: on a CPU a step takes half a minute.
    """
    not_with("--resume", is_given=resume, batch=batch, lessons=lessons)
    from lab.toy_world.reading import Lessons
    from lab.training.train_rich import RichRecipe, RichRun, Source, Store
    from worker.models.opensora.small_vae import SmallVAE

    if not vae_folder.is_dir():
        raise CommandError(
            f"{vae_folder} does not exist; run `chai lab train vae` first, or name another folder by --vae"
        )
    checkpoint = _checkpoint(out / "checkpoint.pt", resume)
    device = devices.checked(device)
    encoder = SmallVAE.from_pretrained(vae_folder)
    recipe = RichRecipe(seed=seed, lessons=Lessons(seed=seed, num_steps=lessons or 1200))
    untold = recipe.lessons.sizes_untold
    source = Source(
        seed=seed, specs=specs, layouts=layouts, captions=captions, sizes_untold=untold, counts=recipe.counts
    )
    store = _read(lambda: Store(out, source, encoder.latent_shape(16, 96, 96)))
    _fill(store, encoder.to(device), workers)
    recipe = replace(recipe, batch_size=batch or recipe.batch_size)
    recipe = recipe if steps is None else recipe.stretched(steps)
    if resume:
        run = _read(lambda: RichRun.go_on(checkpoint, store, num_steps=steps, device=device))
    else:
        run = RichRun(recipe, encoder, store, device=device)
    if _fit(run, checkpoint, minutes):
        _publish(run, out / "rich", clips)


def _checkpoint(path: Path, resume: bool) -> Path:
    """The path, if it exists and is to be resumed, or does not exist and is to be started."""
    if path.exists() and not resume:
        raise CommandError(f"{path} exists; add --resume to go on, or choose another --out")
    if resume and not path.exists():
        raise CommandError(f"{path} does not exist; leave out --resume to start")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _fill(store: "Store", encoder: "SmallVAE", workers: int) -> None:
    total = store.source.specs
    with output.Meter(total) as meter:
        for done in store.fill(encoder, workers=workers):
            meter.show(done, f"encoded {done} of {total} specs")


def _publish(run: "Run", folder: Path, clips: int) -> None:
    from lab.training import publish

    output.note(f"measuring {clips} clips of each kind")
    figures = publish.write(run, folder, num_clips=clips)
    output.print_table(publish.columns(figures), publish.rows(figures))
    output.note(f"wrote {folder}")


def _resumed(checkpoint: Path, steps: int | None, device: str) -> "Run":
    from lab.training.train import Run

    return _read(lambda: Run.resume(checkpoint, num_steps=steps, device=device))


def _read(read: Callable[[], R]) -> R:
    """Return what files hold, such as a checkpoint's run; raise `CommandError` if they hold something else."""
    try:
        return read()
    except ValueError as error:
        raise CommandError(str(error)) from error


def _started(seed: int, steps: int | None, lessons: int | None, device: str) -> "Run":
    from lab.toy_world.reading import Lessons
    from lab.training.train import Recipe, Run

    learning = Lessons(seed=seed) if lessons is None else Lessons(seed=seed, num_steps=lessons)
    recipe = Recipe(seed=seed, lessons=learning)
    output.note("teaching the text encoder to read, a few minutes on one core")
    return Run(recipe if steps is None else recipe.stretched(steps), device=device)


def _fit(run: "Run | VaeRun", checkpoint: Path, minutes: float | None) -> bool:
    """Train with a progress bar until the recipe or the time ends; return whether the recipe was finished.

    A request to stop takes effect after the current step; the run is saved as when its time is over.
    """
    with endings.at_a_good_moment() as is_told_to_end:
        return _fit_until(run, checkpoint, minutes, is_told_to_end)


def _fit_until(
    run: "Run | VaeRun", checkpoint: Path, minutes: float | None, is_told_to_end: Callable[[], bool]
) -> bool:
    from lab.training.runs import Diverged, fit

    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    recent: list[float] = []
    try:
        with output.Meter(run.recipe.num_steps) as meter:
            for loss in fit(run, checkpoint):
                recent = [*recent[-49:], loss]
                mean = sum(recent) / len(recent)
                pace = run.seconds / run.step
                left = duration(pace * (run.recipe.num_steps - run.step))
                meter.show(run.step, f"step {run.step} of {run.recipe.num_steps}  loss {mean:.4f}  {left} left")
                if is_told_to_end() or (deadline is not None and time.monotonic() >= deadline):
                    break
    except Diverged as error:
        raise CommandError(str(error)) from error
    run.save(checkpoint)
    finished = run.step >= run.recipe.num_steps
    if not finished:
        where = checkpoint.parent
        said = f"stopped after {run.step} of {run.recipe.num_steps} steps; go on with --resume --out {where}"
        output.unless_gone(output.note, said)
    return finished
