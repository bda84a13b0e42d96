"""`chai lab reuse`: what a donor is worth on your own model, in one command and one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import output
from cli.arguments import App
from cli.errors import BadInput
from cli.lab import devices
from cli.local import MODELS_DIR
from cli.model_cards import ModelsDir, card_named
from shared.logs import first_line

if TYPE_CHECKING:
    from lab.experiments.reuse_study import Judge
    from lab.toy_world.worlds import World
    from shared.model_cards import ModelCard

app = App(add_completion=False, help="Measure what donors are worth.", invoke_without_command=True)


@app.callback()
def reuse(
    model: Annotated[str, typer.Option(help="Name of a card.")] = "small",
    donors: Annotated[int, typer.Option(min=2, help="Full runs that lend; each has four to six prompts.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts and noise: explore on one, confirm on another.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop after so long; the same command goes on.")] = 60.0,
    plan: Annotated[list[str] | None, typer.Option(help="Only plans whose names begin so; may be repeated.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only pairs that share this, as the report names it; repeatable. With layout, those of them."
        ),
    ] = None,
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP model: adds CLIPScore.")] = None,
    lpips: Annotated[Path | None, typer.Option(help="AlexNet's weights: adds LPIPS to full mode's clip.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of clips and results; else one under var/.")] = None,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Run pairs of prompts by plain plans, with a found donor, with an unrelated one; write one page of results."""
    from lab.experiments import reuse_report, reuse_study, study_prompts
    from worker.models import registry
    from worker.models.embedders import load_embedder

    card = card_named(model, models_dir)
    world = _world_of(card)
    if world and (clip or lpips):
        raise BadInput(f"--clip and --lpips: clips of {model} are judged by what they were to show; leave them out")
    loaded = registry.load(card, models_dir, registry.EngineOptions(device=devices.checked(device)))
    drawn = study_prompts.world_prompts(world, donors, seed) if world else study_prompts.worded_prompts(donors, seed)
    plans = reuse_study.few_step_plans() + reuse_study.guided_plans() if world else reuse_study.many_step_plans(loaded)
    plans = [one for one in plans if not plan or one.name.startswith(tuple(plan))]
    plans = [one for one in plans if not (one.reuse and loaded.refuses(one.reuse, one.options))]
    if not plans:
        raise BadInput(f"--plan {', '.join(plan or ())}: no plan of {model} begins so, or the model refuses it")
    prompts = drawn.looked_up(load_embedder())
    kinds = dict.fromkeys([one.kind for one in prompts.pairs] + [study_prompts.LAYOUT])
    if unknown := [one for one in kind or () if one not in kinds]:
        raise BadInput(f"--kind {unknown[0]}: give {', '.join(kinds)}")
    prompts = prompts.of_kinds(kind) if kind else prompts
    if not prompts.pairs:
        raise BadInput(f"--kind {', '.join(kind or ())}: no pair of {donors} donors is one; give more")
    study = reuse_study.Study(
        model=loaded,
        prompts=prompts,
        plans=plans,
        judge=_judge(clip, lpips, world),
        folder=out or Path("var") / "reuse" / "-".join([model, str(donors), str(seed), *(kind or ())]),
        seed=seed,
    )
    with output.Meter(study.total) as meter:
        study.tell = meter.show
        is_whole = study.run(minutes=minutes)
    written = reuse_report.write(study, is_whole=is_whole)
    for file in written:
        output.note(f"wrote {file}")
    if not is_whole:
        output.note("the time is over; the same command goes on where it stopped")
    print(written[0].read_text())
    output.print_json({"whole": is_whole, "clips": len(reuse_study.read(study.file)), "folder": str(study.folder)})


def _world_of(card: "ModelCard") -> "World | None":
    """Return the procedural world that a model draws, found by the shape of its clips."""
    from lab.toy_world.worlds import world_of
    from shared.model_cards import sides

    width, height = sides(card.default_size)
    return world_of((card.default_frames, height, width, 3)) if card.family == "opensora" else None


def _judge(clip: Path | None, lpips: Path | None, world: "World | None") -> "Judge":
    """Return the judge of clips: the world's checker if it can read the prompts, else the named model."""
    from lab.experiments import study_judges

    if world:
        return study_judges.checked(world)
    try:
        return study_judges.scored(clip, lpips)
    except (OSError, ValueError) as error:
        raise BadInput(f"--clip or --lpips cannot be read: {first_line(error)}") from error
