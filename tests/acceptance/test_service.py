"""A prompt becomes a video: API, Postgres, relay, Redis, Celery, worker, MP4, with every process a real one."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from chai_up import Home, Up
from test_documents import README, blocks

from cli import demo

PROMPT = "a large red circle drifts right over a blue striped field"


def frames(file: Path) -> list[tuple[int, int]]:
    with av.open(file) as video:
        return [(frame.width, frame.height) for frame in video.decode(video=0)]


def test_a_prompt_becomes_a_playable_video(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "ball.mp4"

    done = home.chai("submit", PROMPT, "--seed", "7", "--mode", "full", "--out", str(file), "--json")

    video = json.loads(done.stdout)
    assert (done.returncode, video["status"], video["progress"]) == (0, "completed", 100)
    assert (video["path"], video["num_steps"], video["seed"]) == ("full", 30, 7)
    assert frames(file) == [(32, 32)] * 8


def test_seconds_choose_the_number_of_frames(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "long.mp4"

    done = home.chai("submit", PROMPT, "--seconds", "2", "--steps", "2", "--out", str(file))

    assert done.returncode == 0, done.stderr
    assert len(frames(file)) == 16


def test_watching_in_a_pipe_prints_plain_lines(home: Home) -> None:
    video_id = home.chai("submit", PROMPT, "--steps", "2").stdout.strip()

    done = home.chai("watch", video_id)

    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert (facts["id"], facts["prompt"], facts["status"], facts["steps"]) == (video_id, PROMPT, "completed", "2")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_video_can_be_taken_back(home: Home) -> None:
    video_id = home.chai("submit", PROMPT, "--steps", "1000").stdout.strip()

    state = json.loads(home.chai("cancel", video_id, "--json").stdout)  # at once: it may be running

    assert state["status"] == "cancelled" or state["cancel_requested"]
    watched = home.chai("watch", video_id)
    assert watched.returncode == 1
    listed = json.loads(home.chai("list", "--status", "cancelled", "--json").stdout)
    assert video_id in [video["id"] for video in listed]


def test_a_repeated_submission_with_a_key_makes_one_video(home: Home) -> None:
    first, second = (home.chai("submit", PROMPT, "--idempotency-key", "same").stdout for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("submit", " "), "prompt"),
        (("submit", PROMPT, "--size", "250x250"), "size '250x250' is none of tiny's; use 32x32"),
        (("submit", PROMPT, "--seed", "-2"), "seed"),
        (("submit", PROMPT, "--model", "sora"), "model 'sora' is not here; use tiny"),
        (("submit", PROMPT, "--mode", "turbo"), "mode"),
        (("status", "video_unknown"), "no video has an id that begins with 'video_unknown'; `chai list` shows them"),
        (("list", "--status", "lost"), "status"),
        (("list", "--status", ""), "status"),
        (("status", "video_" + "0" * 32), f"no video 'video_{'0' * 32}' for this key"),
        (
            ("bulk", "attach", "batch_unknown"),
            "no batch has an id that begins with 'batch_unknown'; `chai bulk status`",
        ),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(home: Home, arguments: tuple[str, ...], message: str) -> None:
    done = home.chai(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_ids_may_be_shortened_and_videos_deleted(home: Home) -> None:
    id_ = home.chai("submit", PROMPT, "--steps", "2", "--watch", "--json", "--metadata", "shelf=b").stdout
    video = json.loads(id_)

    assert json.loads(home.chai("status", "latest", "--json").stdout)["metadata"] == {"shelf": "b"}
    assert json.loads(home.chai("status", video["id"][:20], "--json").stdout)["id"] == video["id"]
    assert home.chai("delete", "latest").stdout == f"deleted {video['id']}\n"
    assert home.chai("status", video["id"]).returncode == 2


def test_keys_are_made_shown_once_limited_and_revoked(home: Home) -> None:
    made = json.loads(home.chai("keys", "create", "studio", "--max-per-minute", "9", "--life", "30d", "--json").stdout)
    changed = home.chai("keys", "set", made["prefix"], "--max-per-minute", "none", "--max-gpu-seconds", "600")

    listed = json.loads(home.chai("keys", "ls", "--json").stdout)
    revoked = home.chai("keys", "revoke", made["prefix"])
    after = home.chai("keys", "ls").stdout

    (row,) = [row for row in listed if row["prefix"] == made["prefix"]]
    assert (row["tenant"], row["scopes"], row["state"]) == ("studio", "jobs", "live")
    assert made["limits"] == {"max_per_minute": 9}
    assert (row["limits"], bool(row["expires"])) == ("max_gpu_seconds=600", True)
    assert changed.returncode == 0
    assert made["key"] not in json.dumps(listed)
    assert revoked.returncode == 0
    assert "revoked" in next(line for line in after.splitlines() if made["prefix"] in line)


def test_a_second_launcher_says_that_the_first_one_runs(up: Up) -> None:
    done = up.home.chai("up")

    assert done.returncode == 1
    assert f"(process {up.process.pid}); stop that one first" in done.stderr


def test_the_demo_attaches_to_a_running_service(home: Home, tmp_path: Path) -> None:
    done = home.chai("demo", "--out", str(tmp_path), timeout_s=300)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "12 prompts become videos here" in done.stderr
    assert re.split(r"  +", lines[1]) == list(demo.COLUMNS)
    assert any(line.startswith("measured ") for line in lines)
    assert f"picture  {tmp_path / 'contact-sheet.png'}" in lines
    assert re.fullmatch(r"page     http://127\.0\.0\.1:\d+/", lines[-1])
    assert f"videos   {tmp_path}" in lines
    files = sorted(tmp_path.glob("*.mp4"))
    assert len(files) == 12
    assert {len(frames(file)) for file in files} == {8}
    assert "\x1b" not in done.stdout + done.stderr


def test_the_demo_gives_up_on_a_worker_that_cannot_run(new_home: Callable[[], Home], tmp_path: Path) -> None:
    broken = "import os, sys\nif 'worker' in sys.orig_argv: os.write(2, b'no library here\\n'); os._exit(1)\n"
    (tmp_path / "sitecustomize.py").write_text(broken)  # what every Python runs at its start

    done = new_home().chai("demo", PYTHONPATH=str(tmp_path))

    assert done.returncode == 1
    assert "error: worker ends again and again; the end of " in done.stderr
    assert "no library here" in done.stderr


def test_the_demo_starts_nothing_at_a_bad_setting(new_home: Callable[[], Home]) -> None:
    done = new_home().chai("demo", CHAI_CACHE_POLICY="mru")

    assert done.returncode == 2
    assert "error: CHAI_CACHE_POLICY 'mru': 'mru' is not an eviction policy; there are " in done.stderr


def test_the_python_example_of_the_readme_makes_a_video(home: Home, tmp_path: Path) -> None:
    (code,) = blocks(README, "python")
    service = json.loads((home.folder / "var" / "run" / "up.json").read_text())
    code = code.replace("http://127.0.0.1:8400", service["url"])  # the port is another when that one is taken

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "square.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_shell_examples_of_the_readme_are_commands_of_this_service(home: Home, tmp_path: Path) -> None:
    """`make up` is what the running service is; the others run against it."""
    make, submit, bulk = blocks(README, "sh")
    (tmp_path / "prompts.txt").write_text("a red ball\n")
    environment = {**home.environment, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}

    assert make.strip() == "make up"
    for block in (submit, bulk):
        command = block.replace(".venv/bin/chai", "chai")
        done = subprocess.run(
            ["/bin/sh", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "ball.mp4").read_bytes()[4:8] == b"ftyp"
