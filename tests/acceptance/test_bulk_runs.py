"""Whole lists of prompts through the bulk queue of a running service."""

import csv
import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

from chai_up import Home

FAST = "--mode=full"


def written(folder: Path, name: str, lines: list[str]) -> str:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def prompts(number: int, word: str, steps: int = 3) -> list[str]:
    return [json.dumps({"prompt": f"{word} ball {index}", "num_inference_steps": steps}) for index in range(number)]


def test_a_run_makes_every_usable_line_and_names_the_others(home: Home, tmp_path: Path) -> None:
    lines = [
        '{"custom_id": "a", "prompt": "a teal anvil", "num_inference_steps": 2, "seed": 5}',
        '{"custom_id": "b", "prompt": ""}',
        '{"custom_id": "c", "prompt": "a brown kettle", "num_inference_steps": 2}',
        '{"custom_id": "a", "prompt": "a teal anvil", "num_inference_steps": 2, "seed": 5}',
        '{"custom_id": "d", "prompt": "a grey ladder", "size": "1x1"}',
    ]
    file = written(tmp_path, "list.jsonl", lines)

    done = home.chai("bulk", "run", file, "--out", str(tmp_path / "out"), "--download")

    assert done.returncode == 2, done.stderr
    notes = done.stderr.splitlines()
    assert "line 2 left out: prompt is empty; say what the video shows" in notes
    assert "line 4 left out: the same as line 1; give lines a seed to have several takes" in notes
    assert any(note.startswith("line 5 left out: size '1x1' is none of tiny's") for note in notes)
    rows = {row["custom_id"]: row for row in results(tmp_path / "out")}
    assert {name: row["status"] for name, row in rows.items()} == {"a": "completed", "c": "completed"}
    assert (rows["a"]["seed"], rows["a"]["steps"]) == (5, 2)
    assert rows["a"]["path"] == "full"  # no other test has an anvil made
    assert isinstance(rows["c"]["seed"], int)  # the one that the service drew: enough to make the video again
    assert all(float(str(row["seconds"])) > 0 for row in rows.values())
    assert all(Path(str(row["file"])).stat().st_size > 0 for row in rows.values())
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert [row["custom_id"] for row in csv.DictReader(stream)] == list(rows)
    assert "list.jsonl: 2 completed; 2 lines left out" in done.stdout


def test_running_the_same_list_again_submits_nothing(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "again.jsonl", prompts(3, "grey"))
    first = json.loads(home.chai("bulk", "run", file, "--json").stdout)

    again = home.chai("bulk", "run", file, "--json")

    second = json.loads(again.stdout)
    assert again.returncode == 0
    assert (second["id"], second["request_counts"]) == (first["id"], first["request_counts"])
    assert f"this list was submitted before as {first['id']}; --take 2 would run it once more" in again.stderr


def test_a_person_who_waits_overtakes_a_run(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "long.jsonl", prompts(40, "slow", 1000))
    batch = json.loads(home.chai("bulk", "run", file, "--order", "file", "--detach", "--json").stdout)

    video = home.chai("submit", "a white ball", "--steps", "2", "--watch")

    counts = json.loads(home.chai("bulk", "status", batch["id"], "--json").stdout)["request_counts"]
    assert video.returncode == 0
    assert counts["queued"] > 10
    cancelled = json.loads(home.chai("bulk", "cancel", batch["id"], "--json").stdout)
    assert cancelled["status"] == "cancelled"
    assert home.chai("bulk", "attach", batch["id"]).returncode == 1


def test_ctrl_c_leaves_a_run_going_and_attach_shows_its_end(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "night.jsonl", prompts(20, "dark", 40))
    process = home.start("bulk", "run", file)
    assert process.stderr is not None
    while "done" not in (line := process.stderr.readline()):
        assert line, "the command ended before it showed progress"

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 130
    batch_id = said.split("`chai bulk attach ")[1].split("`")[0]
    done = home.chai("bulk", "attach", batch_id, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / "out")) == 20


def asked(home: Home, path: str) -> Any:
    """What the service answers, without the second of processor time that a command takes."""
    up = json.loads((home.folder / "var" / "run" / "up.json").read_text())
    with urllib.request.urlopen(up["url"] + path, timeout=30) as answer:
        return json.load(answer)


def wait_for_lines(home: Home) -> int:
    """How many lines the newest run has, once it has some."""
    while True:
        newest = asked(home, "/v1/bulk-runs?limit=1")["data"]
        if newest and newest[0]["request_counts"]["total"] > 0 and newest[0]["status"] == "open":
            return int(newest[0]["request_counts"]["total"])
        time.sleep(0.02)


def shut() -> tuple[str, ...]:
    """A window that opens in hours: nothing of a run is made."""
    opens, closes = (time.strftime("%H:%M", time.gmtime(time.time() + 3600 * hours)) for hours in (6, 7))
    return ("--window", f"{opens}-{closes}", "--tz", "UTC")


def test_an_interrupted_submission_goes_on_where_it_stopped(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "cut.jsonl", prompts(600, "many"))
    process = home.start("bulk", "run", file, "--detach", *shut())
    before = wait_for_lines(home)
    process.kill()
    process.communicate()
    cut = wait_for_lines(home)
    assert before <= cut < 600, "the command was over before it was interrupted"

    batch = json.loads(home.chai("bulk", "run", file, "--detach", "--json", *shut()).stdout)

    assert batch["request_counts"]["total"] == 600
    assert batch["status"] == "in_progress"
    home.chai("bulk", "cancel", batch["id"])


def wait_for_none(home: Home, batch: str, *states: str) -> dict[str, Any]:
    """Wait until no line of a run is in one of these states, and return what is told of it then."""
    while True:
        told: dict[str, Any] = asked(home, f"/v1/bulk-runs/{batch}")
        if not any(told["request_counts"][state] for state in states):
            return told
        time.sleep(0.05)


def test_a_run_is_paused_cancelled_and_tried_again(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "nights.jsonl", prompts(8, "calm", 100))
    batch = json.loads(home.chai("bulk", "run", file, "--detach", "--json").stdout)["id"]

    home.chai("bulk", "pause", batch)
    paused = wait_for_none(home, batch, "in_progress")
    time.sleep(1.5)
    later = json.loads(home.chai("bulk", "status", batch, "--json").stdout)
    home.chai("bulk", "resume", batch)
    home.chai("bulk", "cancel", batch)
    wait_for_none(home, batch, "queued", "in_progress")  # one that runs notices at its next step
    known = home.chai("bulk", "run", file)
    retried = home.chai("bulk", "retry", "latest", "--only", "cancelled")
    done = home.chai("bulk", "attach", batch)

    assert (paused["status"], later["request_counts"]) == ("paused", paused["request_counts"])
    assert f"`chai bulk retry {batch}` makes its 0 failed and " in known.stderr
    assert "in_progress" in retried.stdout
    assert "lines are made anew" in retried.stderr
    assert (done.returncode, "nights.jsonl: 8 completed" in done.stdout) == (0, True), done.stderr


def test_a_run_with_a_window_starts_when_it_opens(home: Home, tmp_path: Path) -> None:
    file = written(tmp_path, "windowed.jsonl", prompts(2, "late"))
    opens, closes = (time.strftime("%H:%M:%S", time.gmtime(time.time() + wait_s)) for wait_s in (15, 3600))
    window = ("--window", f"{opens}-{closes}", "--tz", "UTC")

    before = json.loads(home.chai("bulk", "run", file, "--detach", "--json", *window).stdout)
    listed = home.chai("bulk", "ls").stdout
    done = home.chai("bulk", "attach", before["id"], "--out", str(tmp_path / "out"))

    assert f"{opens}-{closes} UTC, closed now" in listed
    assert (before["is_held"], before["request_counts"]["queued"]) == (True, 2)
    assert done.returncode == 0, done.stderr
    assert all(float(str(row["wait_s"])) > 1 for row in results(tmp_path / "out"))


def test_a_changed_list_runs_only_what_is_new(home: Home, tmp_path: Path) -> None:
    lines = prompts(3, "pale")
    file = written(tmp_path, "edited.jsonl", lines)
    home.chai("bulk", "run", file, "--out", str(tmp_path / "first"))
    written(tmp_path, "edited.jsonl", [prompts(1, "new")[0], *lines[1:]])

    done = home.chai("bulk", "run", file, "--out", str(tmp_path / "second"))

    assert done.returncode == 0, done.stderr
    assert "2 of 3 lines are videos of earlier runs and are not made again" in done.stderr
    assert "edited.jsonl: 3 completed, 2 of them by earlier runs; 0 lines left out" in done.stdout
    before, after = ({row["prompt"]: row for row in results(tmp_path / name)} for name in ("first", "second"))
    assert {name: row["reused"] for name, row in after.items()} == {
        "new ball 0": False,
        "pale ball 1": True,
        "pale ball 2": True,
    }
    assert [row["line"] for row in after.values()] == ["1", "2", "3"]
    assert after["pale ball 1"]["video"] == before["pale ball 1"]["video"]


def test_a_dry_run_tells_what_the_real_one_does_and_a_report_what_it_did(home: Home, tmp_path: Path) -> None:
    lines = ["a large green circle drifts left over a plain field"] * 2 + ["a small blue cross over a grey field"]
    file = written(tmp_path, "told.jsonl", [json.dumps({"prompt": line, "seed": n}) for n, line in enumerate(lines)])
    home.chai("bulk", "run", written(tmp_path, "warm.txt", ["a small red square over a grey field"]), "--mode", "full")
    before = json.loads(home.chai("bulk", "ls", "--json").stdout)

    dry = home.chai("bulk", "run", file, "--dry-run", "--json", "--window", "00:00-23:59", "--tz", "UTC")
    after = json.loads(home.chai("bulk", "ls", "--json").stdout)
    done = home.chai("bulk", "run", file, "--out", str(tmp_path / "out"))
    told = home.chai("bulk", "report", "latest", "--out", str(tmp_path / "out"))

    assert dry.returncode == 0, dry.stderr
    found = json.loads(dry.stdout)
    assert before == after  # nothing was submitted
    assert (found["num_lines"], found["is_cache_known"]) == (3, True)
    assert 0 < found["cost"]["low_h"] <= found["cost"]["high_h"]
    made = results(tmp_path / "out")
    assert done.returncode == 0
    assert found["num_fast"] == sum(row["path"] == "fast" for row in made)
    assert told.returncode == 0, told.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["made"]["number"], report["made"]["fast"]) == (3, found["num_fast"])
    assert "told.jsonl" in (tmp_path / "out" / "report.html").read_text()


def test_a_dry_run_knows_what_is_not_made_again(home: Home, tmp_path: Path) -> None:
    prompts = ["a grey cross drifts left", "a grey circle drifts left"]
    file = written(tmp_path, "twice.txt", prompts)
    home.chai("bulk", "run", file)
    batch = json.loads(home.chai("bulk", "ls", "--limit", "1", "--json").stdout)[0]["id"]

    same = home.chai("bulk", "run", file, "--dry-run", "--json")
    written(tmp_path, "twice.txt", [*prompts, "a grey square drifts left"])
    longer = json.loads(home.chai("bulk", "run", file, "--dry-run", "--json").stdout)
    again = json.loads(home.chai("bulk", "run", file, "--dry-run", "--json", "--take", "2").stdout)
    real = json.loads(home.chai("bulk", "run", file, "--json").stdout)

    told = json.loads(same.stdout)
    assert (told["num_lines"], told["num_reused"], told["submitted_as"]) == (0, 2, batch)
    assert f"submitted before as {batch}; --take 2 would run it once more" in same.stderr
    assert (longer["num_lines"], longer["num_reused"], longer["submitted_as"], longer["order"]) == (1, 2, None, "file")
    assert (again["num_lines"], again["num_reused"]) == (3, 0)
    assert real["num_reused"] == longer["num_reused"]
