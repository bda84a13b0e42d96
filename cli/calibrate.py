"""`chai calibrate`: measure which plan keeps a model's quality, and let the service choose by it."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import local, output
from cli.arguments import App
from cli.errors import BadInput, CommandError
from cli.local import MODELS_DIR
from cli.model_cards import ModelsDir, card_named, checked_sides
from cli.prompt_lists import STDIN
from shared.formats import duration
from shared.numerals import plain

if TYPE_CHECKING:
    from shared.model_cards import ModelCard
    from worker.models.video_model import VideoModel
    from worker.quality.calibration import Demand, Estimate, Result
    from worker.quality.calibration_runs import Runs
    from worker.quality.judges import Judge
    from worker.settings import WorkerSettings

app = App(add_completion=False, help="Find the cheapest plan that keeps quality.")

PROMPTS = "prompts.txt"  # beside a card: what its model is calibrated on unless a list is named


@app.command()
def calibrate(
    model: Annotated[str, typer.Option(help="A model that has a card.")] = "small",
    prompts: Annotated[Path | None, typer.Option(help="Your own list, a prompt a line; - reads stdin.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first prompts of the list.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the noise.")] = 1,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; else the card's first.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Else the card's first.")] = None,
    steps: Annotated[list[int] | None, typer.Option(min=1, help="Steps to try; may be repeated.")] = None,
    judge: Annotated[str | None, typer.Option(help="'COMMAND {video} {prompt}' that prints a number.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Folder of a CLIP model, for CLIPScore.")] = None,
    lpips: Annotated[Path | None, typer.Option(help="AlexNet's weights or their folder, for LPIPS.")] = None,
    tolerance: Annotated[
        list[str] | None, typer.Option(help="JUDGE=VALUE that a plan may lose on the mean; may be repeated.")
    ] = None,
    errors: Annotated[float, typer.Option(min=0, help="Standard errors that count against a plan.")] = 2.0,
    min_prompts: Annotated[int, typer.Option(min=2, help="Fewer prompts of a kind of hit decide nothing.")] = 30,
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Share of bad videos to exclude, 95 % sure.")] = 0.1,
    device: Annotated[
        list[str] | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps; else CHAI_DEVICE; may be repeated.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes with a model each, spread over the devices; else one each."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of clips and results; else one under var/.")] = None,
    write: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without a question.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take; run nothing.")] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Measure and show; store nothing.")] = False,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Run prompts by candidate plans, compare with full mode, and store the cheapest that keeps quality.

    Ended in the middle, the same command goes on where it stopped.
    """
    from worker.quality import calibration, calibration_page
    from worker.quality.calibration_runs import Asked

    stores = not (no_store or dry_run)
    url = local.database_url() if stores else None  # find out now rather than after a night
    card = card_named(model, models_dir)
    demand = calibration.Demand(
        tolerances=_tolerances(tolerance), num_errors=errors, min_prompts=min_prompts, max_bad=max_bad
    )
    asked = Asked(
        card=card,
        prompts=_prompts(prompts, models_dir / model / PROMPTS, limit),
        seed=seed,
        size=None if size is None else checked_sides(size),
        num_frames=frames,
        counts=tuple(sorted(set(_fewer(steps, card)), reverse=True)),
    )
    judges = _judges(judge, clip, lpips)
    settings = _settings(url, models_dir, device[0] if device else None)
    devices = device or [settings.device]
    num_processes = _num_processes(workers, devices)
    loaded = _loaded(card, settings, devices, num_processes)
    runs = _runs(loaded, asked, judges, settings, out)
    expected = _estimated(runs)
    output.note(
        f"{len(asked.prompts)} prompts, {len(runs.plain)} schedules, {len(runs.hits())} prompts with a hit: at most "
        f"{expected.clips} clips, about {duration(expected.seconds)} on {loaded.device}, and "
        f"{duration(expected.judging_s)} to judge them by {', '.join(one.name for one in judges)}"
        f"{_shared(expected, num_processes)}"
    )
    if dry_run:
        _list(runs)
        return
    output.confirm("Start?", yes=yes, otherwise="--yes starts, --dry-run only says what it would take")
    output.note(f"clips and results are kept in {runs.record.folder}; the same command goes on where it stopped")
    result = _measured(runs, demand, settings, devices, num_processes)
    _show(result)
    is_stored = _kept(result, runs.key, url=url, write=write)
    output.note(f"look at {calibration_page.write(result, runs)}")
    recipes = result.calibration.recipes()
    output.print_json({"stored": is_stored, "recipes": recipes, "prompts": len(asked.prompts), "seed": seed})


def _estimated(runs: "Runs") -> "Estimate":
    from worker.quality import calibration
    from worker.quality.command import JudgeError

    try:
        return calibration.estimate(runs, calibration.measure_pace(runs.asked, runs.model, runs.judges))
    except JudgeError as error:
        raise BadInput(f"--judge: {error}") from error
    except (MemoryError, RuntimeError) as error:
        raise _explained(error, runs.asked.card.name) from error


def _measured(
    runs: "Runs", demand: "Demand", settings: "WorkerSettings", devices: Sequence[str], num_processes: int
) -> "Result":
    from worker.quality import calibration
    from worker.quality.calibration_processes import ProcessLost, started
    from worker.quality.calibration_record import Busy
    from worker.quality.command import JudgeError

    try:
        with (
            runs.record.held() as lock,
            started(runs, settings, devices=devices, num_processes=num_processes, lock=lock) as processes,
            output.Meter(calibration.total(runs)) as meter,
        ):
            runs.tell = _timed(meter, runs)
            return calibration.calibrate(runs, demand, processes)
    except Busy as error:
        raise BadInput(str(error)) from error
    except JudgeError as error:
        raise CommandError(f"{error}; what is made is kept, the same command goes on") from error
    except ProcessLost as error:
        way_out = "with fewer --workers where memory ran out"
        raise CommandError(f"{error}; what is made is kept, the same command goes on, {way_out}") from error
    except (MemoryError, RuntimeError) as error:
        raise _explained(error, runs.asked.card.name, num_processes) from error


def _explained(error: Exception, model: str, num_processes: int = 1) -> Exception:
    from worker.models.device_faults import TOO_LARGE, is_out_of_memory

    if not is_out_of_memory(error):
        return error
    fewer = ", or fewer --workers" if num_processes > 1 else ""
    return CommandError(f"{model} {TOO_LARGE}, or give --size and --frames{fewer}")


def _num_processes(workers: int | None, devices: Sequence[str]) -> int:
    if workers is not None and workers < len(devices):
        raise BadInput(f"--workers {workers} leaves devices idle; name {workers} of them, or give {len(devices)}")
    return workers or len(devices)


def _shared(expected: "Estimate", num_processes: int) -> str:
    if num_processes == 1:
        return ""
    whole = duration((expected.seconds + expected.judging_s) / num_processes)
    return f"; {num_processes} processes are at most {num_processes} times as fast: {whole}"


def _timed(meter: output.Meter, runs: "Runs") -> Callable[[float, str], None]:
    """Show progress with the remaining time, by the pace since the start."""
    from worker.quality import calibration

    whole, began = calibration.total(runs), time.monotonic()

    def tell(done: float, text: str) -> None:
        taken = time.monotonic() - began
        if runs.fresh and taken > 5:
            text += f", at most about {duration(taken / runs.fresh * (whole - done))} left"
        meter.show(done, text)

    return tell


def _prompts(named: Path | None, beside: Path, limit: int | None) -> tuple[str, ...]:
    """Return the operator's list, else the card's, else the one that ships. Lines that begin with # are left out."""
    from worker.quality import default_prompts

    file = named or (beside if beside.exists() else default_prompts.FILE)
    if str(file) == STDIN:
        file = Path("/dev/stdin")
    try:
        found = default_prompts.read(file)
    except OSError as error:
        raise BadInput(f"--prompts {file}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"--prompts {file}: {error}") from error
    return found[:limit]


def _tolerances(texts: Sequence[str] | None) -> Mapping[str, float]:
    found = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        try:
            found[name] = float(plain(value))
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise BadInput(f"--tolerance {text!r} is not JUDGE=VALUE, such as clip=0.02")
    return found


def _fewer(steps: Sequence[int] | None, card: "ModelCard") -> Sequence[int]:
    for count in steps or ():
        if count >= card.full_steps:
            raise BadInput(f"--steps {count} is not below full mode's {card.full_steps}")
    return steps or ()


def _judges(command: str | None, clip: Path | None, lpips: Path | None) -> Sequence["Judge"]:
    from worker.quality import judges
    from worker.quality.clip import ClipScorer
    from worker.quality.lpips import Lpips, weights_in

    try:
        if clip is not None:
            ClipScorer.load(clip)
        file = None if lpips is None else weights_in(lpips)
        if file is not None:
            Lpips.load(file)
    except (OSError, ValueError) as error:
        option, path = ("--lpips", lpips) if clip is None or "AlexNet" in str(error) else ("--clip", clip)
        raise BadInput(f"{option} {path}: {str(error).splitlines()[0]}") from error
    try:
        return *judges.ranking(command=command, clip=clip), *judges.measuring(lpips=file)
    except ValueError as error:
        raise BadInput(f"--judge: {error}") from error


def _settings(url: str | None, models_dir: Path, device: str | None) -> "WorkerSettings":
    """Return the worker's settings: those that shape latents (precision, embedder) must be the service's own."""
    from worker.settings import WorkerSettings

    unused = os.environ.get("DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1/none")
    with local.settings_checked():
        settings = WorkerSettings.model_validate({"DATABASE_URL": url or unused})
    return settings.model_copy(update={"models_dir": models_dir, **({"device": device} if device else {})})


def _loaded(card: "ModelCard", settings: "WorkerSettings", devices: Sequence[str], num_processes: int) -> "VideoModel":
    from worker.models import device
    from worker.quality.calibration_processes import share_threads
    from worker.runtime import load_model

    try:
        share_threads(num_processes)
        for name in devices:
            device.choose(name)
        return load_model(card, settings)
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(f"{card.name} could not be loaded ({error}); see chai model check {card.name}") from error
    except (MemoryError, RuntimeError) as error:
        raise _explained(error, card.name) from error


def _runs(
    model: "VideoModel", asked: Any, judges: Sequence["Judge"], settings: "WorkerSettings", out: Path | None
) -> "Runs":
    from shared import prompts as texts
    from worker.models.embedders import load_embedder
    from worker.models.keeping_embedder import EmbedderError
    from worker.quality.calibration_record import OtherRun, Record
    from worker.quality.calibration_runs import Runs

    for number, prompt in enumerate(asked.prompts, start=1):
        if reason := texts.refusal("prompt", prompt, left=model.reads(prompt), model=asked.card.name):
            raise BadInput(f"prompt {number}: {reason}")
    try:
        embedder = load_embedder(settings.embedder)
        key = asked.key(model, embedder.name)
        listed = hashlib.sha256("\n".join(asked.prompts).encode()).hexdigest()[:12]
        model.latent_shape(asked.params(0))
        same = {"model": asked.card.name, "key": key, "prompts": listed, "seed": asked.seed}
        folder = out or local.var_dir() / "calibrations" / f"{asked.card.name}-{key[:12]}-{listed}-{asked.seed}"
        return Runs(asked=asked, model=model, embedder=embedder, record=Record(folder, same), judges=judges)
    except (EmbedderError, OtherRun) as error:
        raise BadInput(str(error)) from error
    except ValueError as error:  # a size that the model does not support
        raise BadInput(str(error)) from error


def _list(runs: "Runs") -> None:
    cost = {one.name: f"{runs.cost(one):g}" for one in (runs.full, *runs.plain)}
    output.print_table(("plan", "evaluations"), list(cost.items()))
    output.note("nothing was run; ways of reuse follow from the schedule that is chosen")


def _show(result: "Result") -> None:
    from worker.quality import calibration_page

    output.print_table(*calibration_page.table(result))
    for way, reason in result.refused.items():
        output.note(f"{way} was not tried: {reason}")


def _kept(result: "Result", key: str, *, url: str | None, write: Path | None) -> bool:
    """Store and write the table if it rests on enough data; else say what is missing."""
    from worker.quality import calibration_page, plan_table

    found = result.calibration
    for sentence in calibration_page.sentences(result):
        output.note(sentence)
    if not found.is_enough:
        output.note("nothing is stored: the plans in force stay")
        return False
    if write is not None:
        plan_table.write(found, write, namespace_key=key)
        output.note(f"wrote {write}")
    if url is None:
        output.note("nothing is stored (--no-store)")
        return False
    _store(result, key, url)
    output.note("stored; the service decides by it from its next job on")
    return True


def _store(result: "Result", key: str, url: str) -> None:
    from db import metrics
    from db.session import connect, sessions, transaction

    engine = connect(url, pool_size=1, application="chai-cli")
    try:
        with transaction(sessions(engine)) as session:
            metrics.set_plans(session, key, result.calibration.rows(key))
    finally:
        engine.dispose()
