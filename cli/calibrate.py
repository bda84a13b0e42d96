"""`chai calibrate`: measure which plan keeps a model's quality, and let the service choose by it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import local, output
from cli.errors import BadInput, CommandError

if TYPE_CHECKING:
    from lab.calibration.calibrate import Calibration

app = typer.Typer(help="Find the cheapest plan that keeps quality.")

COLUMNS = ("case", "plan", "evals", "accuracy", "full", "change", "clips", "why")
JUDGED = "small"  # the model whose clips a checker can judge


@app.command()
def calibrate(
    model: Annotated[str, typer.Option(help="A model whose clips can be judged.")] = JUDGED,
    models_dir: Annotated[Path, typer.Option(help="Where the models are.")] = local.ROOT / "worker" / "cards",
    prompts: Annotated[int, typer.Option(min=16, help="Fresh prompts; a quarter of them for each kind of hit.")] = 120,
    seed: Annotated[int, typer.Option(help="Of prompts and noise.")] = 1,
    tolerance: Annotated[float, typer.Option(min=0, help="Accuracy that a cheaper plan may lose.")] = 0.01,
    distance: Annotated[
        float, typer.Option(min=0, help="Distance to the prompt (of the range of a pixel) that a cheaper plan may add.")
    ] = 0.01,
    errors: Annotated[float, typer.Option(min=0, help="Standard errors that count against a plan.")] = 1.0,
    write: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and show; store nothing.")] = False,
) -> None:
    """Measure candidate plans for each kind of hit on the model's own prompts and store the cheapest that keep."""
    from lab.calibration import calibrate as calibration
    from lab.calibration.choose import Tolerance
    from lab.experiments.evaluate import load_model

    if model != JUDGED:
        raise BadInput(f"no judge is known for the clips of {model!r}; --model {JUDGED} can be calibrated")
    folder = models_dir / model
    if not (folder / "chai.json").exists():
        raise CommandError(f"{folder} is no model folder; make one with `chai lab train small`")
    loaded = load_model(folder)
    with output.Meter(calibration.num_clips(prompts)) as meter:
        found = calibration.calibrate(
            loaded,
            num_prompts=prompts,
            seed=seed,
            tolerance=Tolerance(accuracy=tolerance, distance=distance, num_errors=errors),
            progress=meter.show,
        )
    key = calibration.namespace_key(loaded, folder)
    _show(found)
    if write is not None:
        calibration.write(found, write, namespace_key=key)
        output.note(f"wrote {write}")
    if dry_run:
        output.note("nothing stored (--dry-run)")
        return
    _store(found, key)
    output.note("stored; the service decides by it from its next job on")


def _show(found: "Calibration") -> None:
    from lab.calibration.calibrate import quality

    lines = []
    for case, choice in sorted(found.choices.items()):
        figures = quality(choice)
        change = figures["accuracy_change"]
        lines.append(
            (
                case.value,
                choice.chosen.name,
                f"{choice.chosen.evaluations:.1f}",
                f"{figures['accuracy']:.3f}",
                f"{figures['full_accuracy']:.3f}",
                f"{change['mean']:+.3f} ± {change['error']:.3f}",
                str(figures["clips"]),
                choice.verdict.sentence,
            )
        )
    output.print_table(COLUMNS, lines)
    output.print_json({"recipes": found.recipes(), "prompts": found.num_prompts, "seed": found.seed})


def _store(found: "Calibration", key: str) -> None:
    from db import metrics
    from db.session import connect, sessions, transaction

    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    try:
        with transaction(sessions(engine)) as session:
            metrics.set_plans(session, key, found.rows(key))
    finally:
        engine.dispose()
