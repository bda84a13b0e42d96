"""`chai eval`: quality and time of plans, on the small model's prompts or in VBench's naming for any model."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import output
from cli.errors import CommandError

if TYPE_CHECKING:
    pass

app = typer.Typer(help="Measure quality and time of plans.", invoke_without_command=True)


class Preset(StrEnum):
    """How much is compared."""

    quick = "quick"  # a few schedules and ways of reuse
    full = "full"  # every control


PROMPTS = {Preset.quick: 24, Preset.full: 120}


@app.callback()
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Option(help="Pipeline folder of a small model.")] = Path("worker/models/small"),
    preset: Annotated[Preset, typer.Option(help="quick or full.")] = Preset.quick,
    prompts: Annotated[int | None, typer.Option(min=4, help="How many; 24 or 120 by the preset.")] = None,
    stored: Annotated[int | None, typer.Option(min=4, help="Full runs in the cache; as many as prompts.")] = None,
    seed: Annotated[int, typer.Option(help="Of prompts and noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for plot, contact sheet and JSON.")] = Path("var/eval"),
) -> None:
    """Run plans over fresh prompts; print a table and one line of JSON."""
    if context.invoked_subcommand is not None:
        return
    if not (model / "chai.json").exists():
        raise CommandError(f"{model} is no model folder; make one with `chai train small`, or name another --model")
    from worker.evaluation import evaluate as evaluation

    num_prompts = prompts or PROMPTS[preset]
    contenders = evaluation.PRESETS[preset.value]()
    num_stored = stored or num_prompts
    with output.Meter(num_stored + num_prompts * (1 + len(contenders))) as meter:
        found = evaluation.run(
            model,
            contenders,
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
