"""A calibration in several processes: it finds what one finds, and a kill of any of them costs no more than time."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes import is_running, wait_until
from typer.testing import CliRunner

from cli.calibrate import app
from cli.errors import BadInput, CommandError
from shared.model_cards import load
from shared.settings import ROOT
from worker.models.embedder import Embedder
from worker.quality.calibration import Demand, Result, calibrate
from worker.quality.calibration_processes import started
from worker.quality.calibration_record import Record
from worker.quality.calibration_runs import Asked, Runs
from worker.quality.command import Scorer
from worker.quality.judges import Command, Ssim
from worker.runtime import load_model
from worker.settings import WorkerSettings

CARDS = ROOT / "worker" / "cards"
PROMPTS = ("a red fox runs in the forest", "a red fox sleeps in the sea", "an old blue whale", "a red fox on a boat")
TINY = ["--model", "tiny", "--limit", "2", "--steps", "2", "--device", "cpu", "--no-store", "--yes"]


def test_two_processes_find_what_one_finds(tmp_path: Path, embedder: Embedder) -> None:
    card = replace(load(CARDS)["tiny"], full_steps=4)
    known = {"DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1/none", "models_dir": CARDS, "device": "cpu"}
    settings = WorkerSettings.model_validate(known)
    model = load_model(card, settings)
    note = Command(scorer=Scorer.parse(f"sh -c 'echo $PPID >> {tmp_path}/pids; echo 1' {{video}}"))
    demand = Demand(min_prompts=2, max_bad=1, tolerances={"ssim": 0.001})

    def opened(name: str) -> Runs:
        asked = Asked(card=card, prompts=PROMPTS, counts=(2,))
        return Runs(
            asked=asked, model=model, embedder=embedder, record=Record(tmp_path / name, {}), judges=[Ssim(), note]
        )

    one, two = opened("one"), opened("two")
    found = calibrate(one, demand)
    with two.record.held() as lock, started(two, settings, devices=["cpu"], num_processes=2, lock=lock) as processes:
        also_found = calibrate(two, demand, processes)

    assert len(set((tmp_path / "pids").read_text().split())) == 2
    assert verdicts(also_found) == verdicts(found)
    assert {line.plan.count for line in found.lines if line.case == "all"} == {2, 4}  # some were given up
    assert any(line.plan.recipe.reuse for line in found.lines)
    assert also_found.calibration.recipes() == found.calibration.recipes()
    again = Record(tmp_path / "two", {})
    assert timeless(again) == timeless(two.record) == timeless(one.record)
    assert losses(again) == losses(two.record) == pytest.approx(losses(one.record), abs=1e-3)  # sums of other threads
    assert clips(tmp_path / "two") == clips(tmp_path / "one")
    assert (two.done, two.fresh) == (one.done, one.fresh)


def verdicts(result: Result) -> list[tuple[str, str, int, str]]:
    return [(line.case, line.plan.name, line.plan.count, line.verdict) for line in result.lines]


def timeless(record: Record) -> dict[tuple[str, int], object]:
    return {key: replace(made, seconds=0) for key, made in record.made.items()}


def losses(record: Record) -> dict[tuple[str, int, str], float | None]:
    return {key: judged and judged.loss for key, judged in record.judged.items()}


def clips(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.glob("clips/*/*.mp4")}


def test_a_killed_process_is_named_and_the_same_command_goes_on(tmp_path: Path) -> None:
    kill = f"sh -c 'test $PPID = {os.getpid()} || kill -9 $PPID; echo 1' {{video}}"
    call = [*TINY, "--workers", "2", "--out", str(tmp_path)]

    with pytest.raises(CommandError) as raised:
        CliRunner().invoke(app, [*call, "--judge", kill], catch_exceptions=False)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("clips/*/*.mp4")}
    goes_on = [*call, "--workers", "1", "--judge", "sh -c 'echo 1' {video}"]
    result = CliRunner().invoke(app, goes_on, catch_exceptions=False)

    assert str(raised.value) == (
        f"process 2 of 2 (cpu) was ended by SIGKILL; what it said last is in {tmp_path}/process-2.log; "
        "what is made is kept, the same command goes on, with fewer --workers where memory ran out"
    )
    assert len(before) >= 2
    assert all(file.stat().st_mtime_ns == at for file, at in before.items())
    rows = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    made = [(row["plan"], row["prompt"]) for row in rows]
    assert len(made) == len(set(made)) == len(list(tmp_path.glob("clips/*/*.mp4"))) > len(before)
    assert json.loads(result.stdout.splitlines()[-1])["prompts"] == 2


def test_a_kill_of_the_first_process_ends_the_others_and_their_judges(tmp_path: Path) -> None:
    """The judges say who asks them, and from the second on they hang: each process waits for its own."""
    log = tmp_path / "log"
    judge = f"sh -c 'echo $PPID $$ >> {log}; test $(wc -l < {log}) = 1 || exec sleep 300; echo 1' {{video}}"
    call = ["calibrate", *TINY, "--workers", "2", "--out", str(tmp_path / "c"), "--judge", judge]
    first = subprocess.Popen([sys.executable, "-m", "cli.main", *call], stdout=subprocess.DEVNULL)

    wait_until(lambda: len(set(dict(rows(log)))) == 2, 120, tmp_path)
    ((other, its_judge),) = [map(psutil.Process, row) for row in rows(log) if row[0] != first.pid]
    first.kill()
    first.wait()

    wait_until(lambda: not is_running(other) and not is_running(its_judge), 20, tmp_path / "c")
    for _, judge_of_first in [row for row in rows(log)[1:] if row[0] == first.pid]:
        os.kill(judge_of_first, signal.SIGKILL)  # nobody else could


def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    """The other process's judge hangs; the first one's presses the keys when it does."""
    log = tmp_path / "log"
    wait = f"echo $PPID $$ >> {log}; test $PPID = {os.getpid()} || exec sleep 300"
    press = f"test $(wc -l < {log}) -gt 1 || exit 0; until grep -qv ^{os.getpid()} {log}; do sleep 0.1; done"
    judge = f"sh -c '{wait}; echo 1; {press}; kill -INT $PPID' {{video}}"

    result = CliRunner().invoke(app, [*TINY, "--workers", "2", "--out", str(tmp_path), "--judge", judge])

    ((other, its_judge),) = [row for row in rows(log) if row[0] != os.getpid()]
    assert not psutil.pid_exists(other)
    assert not psutil.pid_exists(its_judge)
    assert result.exit_code == 130


def rows(log: Path) -> list[tuple[int, int]]:
    """Return who asked each judge, and its process."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(asker), int(judge)) for asker, judge in map(str.split, lines)]


def test_fewer_processes_than_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^--workers 1 leaves devices idle; name 1 of them, or give 2$"):
        CliRunner().invoke(app, [*TINY, "--device", "cpu", "--workers", "1"], catch_exceptions=False)
