"""`chai train small`: make the weights of the small model again, or of a second model with another seed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import output
from cli.errors import CommandError

if TYPE_CHECKING:
    from lab.training.train import Run

app = typer.Typer(help="Train the small model.", no_args_is_help=True)


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
    seed: Annotated[int, typer.Option(help="Of weights, clips and noise; the shipped model is 1.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    clips: Annotated[int, typer.Option(min=1, help="Clips of each kind in the closing measurement.")] = 64,
) -> None:
    """Train the small model on clips drawn on the fly and write it as a pipeline folder."""
    from lab.training import publish

    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise CommandError(f"{checkpoint} exists; add --resume to go on, or choose another --out")
    if resume and not checkpoint.exists():
        raise CommandError(f"{checkpoint} does not exist; leave out --resume to start")
    out.mkdir(parents=True, exist_ok=True)
    run = _resumed(checkpoint, steps, device) if resume else _started(seed, steps, lessons, device)
    _fit(run, checkpoint, minutes)
    if run.step < run.recipe.num_steps:
        output.note(f"stopped after {run.step} of {run.recipe.num_steps} steps; go on with --resume --out {out}")
        return
    output.note(f"measuring {clips} clips of each kind")
    figures = publish.write(run, out / "small", num_clips=clips)
    output.print_table(("clips", *publish.COLUMNS), publish.rows(figures))
    output.note(f"wrote {out / 'small'}")


def _resumed(checkpoint: Path, steps: int | None, device: str) -> "Run":
    from lab.training.train import Run

    try:
        return Run.resume(checkpoint, num_steps=steps, device=device)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _started(seed: int, steps: int | None, lessons: int | None, device: str) -> "Run":
    from lab.toy_world.reading import Lessons
    from lab.training.train import Recipe, Run

    learning = Lessons(seed=seed) if lessons is None else Lessons(seed=seed, num_steps=lessons)
    recipe = Recipe(seed=seed, lessons=learning)
    output.note("teaching the text encoder to read, a few minutes on one core")
    return Run(recipe if steps is None else recipe.stretched(steps), device=device)


def _fit(run: "Run", checkpoint: Path, minutes: float | None) -> None:
    """Train with a bar until the end of the recipe or of the time."""
    from lab.training.train import fit

    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    recent: list[float] = []
    with output.Meter(run.recipe.num_steps) as meter:
        for loss in fit(run, checkpoint):
            recent = [*recent[-49:], loss]
            mean = sum(recent) / len(recent)
            pace = run.seconds / run.step
            left = output.seconds(pace * (run.recipe.num_steps - run.step))
            meter.show(run.step, f"step {run.step} of {run.recipe.num_steps}  loss {mean:.4f}  {left} left")
            if deadline is not None and time.monotonic() >= deadline:
                break
    run.save(checkpoint)
