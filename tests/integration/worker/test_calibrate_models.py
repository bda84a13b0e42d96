"""`chai calibrate` from start to a stored or refused table: the shipped model and a pipeline of diffusers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner, Result

from cli import local
from cli.calibrate import app
from cli.errors import BadInput, CommandError
from db import metrics
from db.models import PlanRow
from db.session import transaction
from shared.model_cards import MEASURED_PLANS, load
from shared.settings import ROOT
from shared.storage import Storage
from tests import tiny_pipelines
from tests.integration.worker.conftest import Service
from worker.cache.decisions.planning import Case, table_from_rows
from worker.models import embedders, registry
from worker.models.embedder import Embedder
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.quality.calibration import Demand, calibrate
from worker.quality.calibration_record import Record
from worker.quality.calibration_runs import Asked, Runs
from worker.quality.judges import Judged, Ssim
from worker.quality.videos import Video
from worker.runtime import Runtime
from worker.settings import WorkerSettings

FOX, SAME_FOX, WHALE = "a red fox runs in the forest", "a red fox sleeps in the sea", "an old blue whale"
FULL = 6


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_pipelines.save("wan", folder / "wan" / "pipeline")
    card = {"name": "wan", "title": "wan", "family": "diffusers", "source": "pipeline", "fps": 8, "frames": [5]}
    card |= {"sizes": ["32x32"], "guidance_scale": 5.0, "full_steps": FULL, "fast_steps": 4}
    (folder / "wan" / "chai.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, embedder: Embedder) -> None:
    """The embedder of the session in place of another copy for every command."""
    monkeypatch.setattr(embedders, "load_embedder", lambda _: embedder)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text(f"# mine\n{FOX}\n\n{SAME_FOX}\n{WHALE}\n")
    return file


@pytest.fixture
def command(models_dir: Path, prompts: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `chai calibrate` for the tiny Wan, with options."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(local, "var_dir", lambda: tmp_path)
    base = ["--model", "wan", "--models-dir", str(models_dir), "--prompts", str(prompts), "--out", str(tmp_path / "c")]

    def run(*options: str) -> Result:
        return CliRunner().invoke(app, [*base, *options], catch_exceptions=False)

    return run


def said(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_random_weights_end_in_no_donor_and_no_table(
    command: Callable[..., Result], session_factory: sessionmaker[Session], tmp_path: Path
) -> None:
    result = command("--yes", "--device", "cpu")

    assert said(result) == {"stored": False, "recipes": {}, "prompts": 3, "seed": 1}
    assert "3 prompts, 30 are needed: give a longer list" in result.stderr
    assert "no judge at hand says which of two videos is the better one, so no donor can be taken" in result.stderr
    assert "checker cannot read every prompt or clip and is left out" in result.stderr
    assert "nothing is stored: the plans in force stay" in result.stderr
    with session_factory() as session:
        assert session.query(PlanRow).count() == 0
    page = (tmp_path / "c" / "page.html").read_text()
    assert "no table follows from this" in page
    for source in [part.split('"')[0] for part in page.split('<video src="')[1:]]:
        assert (tmp_path / "c" / source).stat().st_size > 0
    assert (tmp_path / "c" / "sheet-01.png").stat().st_size > 0


def test_a_judge_that_finds_all_alike_takes_the_cheapest_schedule_and_no_donor(
    command: Callable[..., Result], session_factory: sessionmaker[Session], tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("print(1)")
    judge = f"{sys.executable} {tmp_path / 'score.py'} {{video}}"
    options = ["--tolerance", "command=0.1", "--tolerance", "flicker=1", "--min-prompts", "2", "--max-bad", "1"]

    result = command("--yes", "--steps", "3", "--steps", "2", "--judge", judge, *options)

    found = said(result)
    assert found["stored"]
    assert {case: rows[0]["reuse"] for case, rows in found["recipes"].items()} == dict.fromkeys(found["recipes"])
    assert (found["recipes"]["none"][0]["num_steps"], found["recipes"]["object"][0]["num_steps"]) == (2, 2)
    assert not (tmp_path / "c" / "clips" / "3 steps").exists()
    assert "not run, as a cheaper one keeps: 3 steps" in result.stderr
    with session_factory() as session:
        assert {row.kind for row in session.query(PlanRow)} == {
            case for case in Case if case not in (Case.FULL, Case.LAYOUT)
        }


class Likeness:
    """Takes every clip that is not full mode's to the bit for a bad one."""

    name, tolerance, ranks = "likeness", 0.1, True

    def judge(self, prompt: str, fast: Video, full: Video) -> Judged:
        loss = float(np.abs(fast.frames.astype(float) - full.frames).mean() > 0)
        return Judged(judge=self.name, loss=loss, fast_score=1 - loss, full_score=1.0)


def test_a_schedule_that_loses_beyond_doubt_is_given_up_after_the_first_prompts(
    models_dir: Path, tmp_path: Path, embedder: Embedder
) -> None:
    card = load(models_dir)["wan"]
    model = registry.load(card, models_dir, registry.EngineOptions(device="cpu"))
    asked = Asked(card=card, prompts=(FOX, WHALE, SAME_FOX, "a tree"), counts=(1,))
    told: list[tuple[float, str]] = []

    def opened() -> Runs:
        return Runs(
            asked=asked, model=model, embedder=embedder, record=Record(tmp_path, {}), judges=[Likeness()],
            tell=lambda done, text: told.append((done, text)),
        )  # fmt: skip

    runs = opened()
    result = calibrate(runs, Demand(min_prompts=2, max_bad=1))

    assert [number for plan, number in runs.record.made if plan == "1 steps"] == [0, 1]
    assert {line.plan.name: (line.plan.count, line.verdict) for line in result.lines if line.case == "all"} == {
        "full": (4, "chosen"),
        "1 steps": (2, "likeness: loss +1.000 ± 0.000, allowed 0.1"),
    }
    assert [text for _, text in told if "given up" in text] == ["1 steps: given up after 2 prompts"]
    assert [text for _, text in told if "prompt " in text] == [  # in turns: full mode's clip first
        f"{plan}: prompt {number} of 4" for number in (1, 2) for plan in ("full", "1 steps")
    ] + ["full: prompt 3 of 4", "full: prompt 4 of 4"]
    assert result.calibration.recipes()["plain_fast"][0]["num_steps"] == 1  # fast was asked for: it is all there is

    told.clear()
    calibrate(opened(), Demand(min_prompts=2, max_bad=1))
    assert [text for _, text in told] == ["1 steps: given up after 2 prompts"]  # what is there is not made again


def test_a_way_of_reuse_is_given_up_where_every_kind_of_hit_lost_beyond_doubt(
    models_dir: Path, tmp_path: Path, embedder: Embedder
) -> None:
    card = load(models_dir)["wan"]
    model = registry.load(card, models_dir, registry.EngineOptions(device="cpu"))
    foxes = (FOX, SAME_FOX, "a red fox on a boat", "a red fox in the desert")
    asked = Asked(card=card, prompts=(*foxes, WHALE), counts=(1, 2))
    runs = Runs(asked=asked, model=model, embedder=embedder, record=Record(tmp_path, {}), judges=[Likeness()])

    result = calibrate(runs, Demand(min_prompts=2, max_bad=1))

    clips = {line.plan.name: (line.case, line.plan.count) for line in result.lines if line.plan.recipe.reuse}
    assert clips == {"2 steps + cache_attention steps=2 of full": ("object", 2)}
    assert [number for plan, number in runs.record.made if "+" in plan] == [0, 1]
    assert runs.done == sum(map(runs.cost, (runs.full, *runs.plain))) * 5 + 4 * runs.cost(runs.reusing(runs.full)[0])


@pytest.mark.parametrize("spacing", ["uniform", "quadratic"])
def test_a_schedule_is_tried_once_though_its_spacing_is_the_models_own(
    tmp_path: Path, embedder: Embedder, spacing: str
) -> None:
    model = OpenSoraModel(
        ChaiPipeline(**tiny().components, time_shift="none", spacing=spacing), load(ROOT / "worker" / "cards")["tiny"]
    )
    asked = Asked(card=model.card, prompts=(FOX,), counts=(6,))

    runs = Runs(asked=asked, model=model, embedder=embedder, record=Record(tmp_path, {}), judges=[])

    assert [one.name for one in runs.plain][:3] == ["6 steps", "6 steps unguided_steps=1", "6 steps unguided_steps=6"]
    assert ("6 steps spacing=quadratic" in [one.name for one in runs.plain]) == (spacing == "uniform")
    assert len(runs.plain) == (7 if spacing == "uniform" else 5)


def test_a_judge_without_a_tolerance_decides_nothing_and_says_what_to_give(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("print(1)")

    result = command("--yes", "--steps", "2", "--judge", f"{sys.executable} {tmp_path / 'score.py'} {{video}}")

    assert "command: how much may be lost is not said; give --tolerance command=VALUE" in result.stderr


def test_killed_in_the_middle_it_goes_on_where_it_was(
    command: Callable[..., Result], models_dir: Path, prompts: Path, database_url: str, tmp_path: Path
) -> None:
    """The judge kills the command that asks it, the fourth time."""
    lines = ["import os, sys, signal", f"log = {str(tmp_path / 'log')!r}", "open(log, 'a').write('x')"]
    lines += ["if len(open(log).read()) == 4: os.kill(os.getppid(), signal.SIGKILL)", "print(1)"]
    (tmp_path / "score.py").write_text("\n".join(lines))
    judge = ["--steps", "2", "--judge", f"{sys.executable} {tmp_path / 'score.py'} {{video}}"]
    call = ["calibrate", "--model", "wan", "--models-dir", str(models_dir), "--prompts", str(prompts), "--yes"]
    killed = subprocess.run(
        [sys.executable, "-m", "cli.main", *call, "--out", str(tmp_path / "c"), *judge],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("c/clips/*/*.mp4")}

    result = command("--yes", *judge)

    assert len(before) >= 3
    assert all(file.stat().st_mtime_ns == at for file, at in before.items())
    rows = [json.loads(line) for line in (tmp_path / "c" / "clips.jsonl").read_text().splitlines()]
    made = [(row["plan"], row["prompt"]) for row in rows]
    assert len(made) == len(set(made)) > len(before)
    assert said(result)["stored"] is False


def test_a_dry_run_says_what_it_would_take_and_runs_nothing(command: Callable[..., Result], tmp_path: Path) -> None:
    result = command("--dry-run")

    assert "3 prompts, 3 schedules, 2 prompts with a hit: at most" in result.stderr
    assert "nothing was run" in result.stderr
    assert not list(tmp_path.glob("c/clips"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "nobody is here to be asked; --yes starts, --dry-run only says what it would take"),
        (["--model", "wann"], "no model 'wann' in "),
        (["--prompts", "nowhere.txt"], "--prompts nowhere.txt: No such file or directory"),
        (["--steps", "6"], "--steps 6 is not below full mode's 6"),
        (["--tolerance", "clip"], "--tolerance 'clip' is not JUDGE=VALUE, such as clip=0.02"),
        (["--judge", "score.py"], "--judge: judge 'score.py' does not say where the file goes"),
        (["--judge", "no-such-judge {video}"], "--judge: no-such-judge cannot be started"),
        (["--clip", "nowhere"], "--clip nowhere: "),
        (["--lpips", "nowhere"], "--lpips nowhere: "),
        (["--size", "33x32"], "cannot make 33x32"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(
    command: Callable[..., Result], options: list[str], says: str
) -> None:
    with pytest.raises(BadInput) as raised:
        command(*options)

    assert says in str(raised.value)


def test_a_judge_that_fails_ends_the_command_and_keeps_what_is_made(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    lines = ["import sys", f"log = {str(tmp_path / 'log')!r}", "open(log, 'a').write('x')"]
    (tmp_path / "score.py").write_text("\n".join([*lines, "print(1 if len(open(log).read()) < 3 else 'no idea')"]))

    with pytest.raises(CommandError, match=r"said 'no idea' .*; what is made is kept, the same command goes on$"):
        command("--yes", "--steps", "2", "--judge", f"{sys.executable} {tmp_path / 'score.py'} {{video}}")

    assert len(list(tmp_path.glob("c/clips/*/*.mp4"))) == 2


def test_the_shipped_model_is_judged_by_its_checker_and_its_table_is_the_services(
    session_factory: sessionmaker[Session],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedder: Embedder,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    call = ["--limit", "3", "--steps", "4", "--min-prompts", "2", "--max-bad", "1", "--tolerance", "checker=1"]

    result = CliRunner().invoke(
        app, [*call, "--tolerance", "flicker=1", "--yes", "--out", str(tmp_path)], catch_exceptions=False
    )

    found = said(result)
    assert found["stored"]
    assert "to judge them by checker, ssim, psnr, flicker" in result.stderr
    assert found["recipes"]["none"][0]["num_steps"] == 4
    card = load(registry_dir())["small"]
    model = registry.load(card, registry_dir(), registry.EngineOptions(device="cpu"))
    key = Asked(card=card, prompts=("a",)).key(model, embedder.name)
    with session_factory() as session:
        assert metrics.plans(session, key) == found["recipes"]


def test_the_table_of_the_shipped_model_is_of_its_weights_and_names_its_evidence(embedder: Embedder) -> None:
    card = load(registry_dir())["small"]
    model = registry.load(card, registry_dir(), registry.EngineOptions(device="cpu"))

    plans = json.loads((registry_dir() / "small" / MEASURED_PLANS).read_text())

    assert plans["key"] == Asked(card=card, prompts=("a",)).key(model, embedder.name)
    assert plans["prompts"] >= 480
    assert plans["quality"]["none"]["losses"]["checker"]["mean"] < 0.02
    table_from_rows(plans["recipes"])


def registry_dir() -> Path:
    return local.ROOT / "worker" / "cards"


def test_a_clip_with_a_donor_is_the_one_that_a_job_makes(
    models_dir: Path,
    tmp_path: Path,
    database_url: str,
    session_factory: sessionmaker[Session],
    storage_url: str,
    embedder: Embedder,
) -> None:
    """The same look-up, the same latents kept in the same precision, the same run: the same MP4."""
    card = load(models_dir)["wan"]
    model = registry.load(card, models_dir, registry.EngineOptions(device="cpu"))
    asked = Asked(card=card, prompts=(FOX, SAME_FOX), seed=7, counts=(5,))
    runs = Runs(asked=asked, model=model, embedder=embedder, record=Record(tmp_path / "c", {}), judges=[Ssim()])
    calibrate(runs, Demand())
    candidate = next(one for one in runs.reusing(runs.full) if one.recipe.reuse == "cache_attention")
    given = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "models_dir": models_dir, "device": "cpu"}
    settings = WorkerSettings.model_validate(given | {"preload": False})
    runtime = Runtime(
        settings=settings, owner="w1", factory=session_factory, storage=Storage(storage_url), embedder=embedder
    )
    service = Service(runtime=runtime, factory=session_factory, storage=runtime.storage, folder=tmp_path)
    recipe = {"recipes": [candidate.recipe.to_dict()]}
    key = asked.key(model, embedder.name)
    rows = [PlanRow(namespace_key=key, kind="object", plan=recipe, quality={}, cost={})]
    with transaction(session_factory) as session:
        metrics.set_plans(session, key, rows)
    for number, prompt in enumerate(asked.prompts):
        job = service.run(prompt, model="wan", width=32, height=32, num_frames=5, fps=8, seed=7 + number)

    assert (job.receipt["reason"], job.receipt["reuse"]) == ("entity_hit", "cache_attention")
    served = Video(service.storage.read(job.output["name"])).frames
    assert np.array_equal(served, Video(runs.record.video(candidate.name, 1).read_bytes()).frames)
    assert not np.array_equal(served, Video(runs.record.video(runs.plain[0].name, 1).read_bytes()).frames)
