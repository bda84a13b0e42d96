"""`chai up` under faults: every process of it is killed and frozen, and the service goes on."""

import json
import os
import re
import signal
import socket
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from chai_up import Home, Up
from running import free_port, wait_until

from cli import up
from cli.client import Client
from cli.services.process import listening
from tests import tiny_pipelines

PARTS = ("redis", "postgres", "api", "relay", "worker")
FAULTS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
BACK_S = 60.0
WAN = {"name": "wan", "title": "wan", "family": "diffusers", "source": "pipeline", "sizes": ["32x32"], "fps": 8}
WAN |= {"frames": [5], "full_steps": 6, "fast_steps": 5, "guidance_scale": 5.0, "max_steps": 200}


@pytest.fixture(scope="module")
def own_up(new_home: Callable[[], Home], bring_up: Callable[..., Up]) -> Iterator[Up]:
    """A service for this module alone, since it is broken on purpose."""
    home = new_home()
    tiny_pipelines.save("wan", home.folder / "models" / "wan" / "pipeline")
    (home.folder / "models" / "wan" / "chai.json").write_text(json.dumps(WAN))
    running = bring_up(home, "--no-flower", CHAI_LEASE_S="5")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def made(own_up: Up, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """A video of that service, as it is told and as it was downloaded, before anything stops."""
    file = tmp_path_factory.mktemp("made") / "a.mp4"
    told = own_up.home.chai("submit", "a large red circle", "--steps", "2", "--out", str(file), "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout), file.read_bytes()


def pids(home: Home) -> dict[str, int]:
    return json.loads((home.folder / "var" / "run" / "up.json").read_text())["pids"]


def url(home: Home) -> str:
    return json.loads((home.folder / "var" / "run" / "up.json").read_text())["url"]


def is_ready(home: Home) -> bool:
    """A started process is not yet one that answers, least of all on a busy machine."""
    with Client(url(home), timeout_s=5.0) as client:
        return client.is_ready()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_dies_or_freezes_comes_back_and_videos_are_made(own_up: Up, part: str, fault: str) -> None:
    before = pids(own_up.home)

    os.kill(before[part], FAULTS[fault])

    wait_until(lambda: pids(own_up.home).get(part) not in (None, before[part]), BACK_S, f"{part} did not come back")
    wait_until(lambda: is_ready(own_up.home), BACK_S, "the API does not answer", pause_s=0.1)
    done = own_up.home.chai("submit", f"a ball for {part}", "--steps", "2", "--watch")
    assert done.returncode == 0, done.stderr


def test_a_caller_who_comes_while_the_api_starts_again_is_answered_not_refused(own_up: Up) -> None:
    before = pids(own_up.home)["api"]

    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(before), BACK_S, "the API lives on")
    with urllib.request.urlopen(f"{url(own_up.home)}/healthz", timeout=BACK_S) as answer:
        assert answer.status == 200


def test_a_bulk_run_of_a_pipeline_of_diffusers_loses_no_line_to_a_killed_worker(own_up: Up, tmp_path: Path) -> None:
    home = own_up.home
    lines = [{"prompt": f"a red fox runs in the forest {n}", "num_inference_steps": 60, "seed": n} for n in range(8)]
    file = tmp_path / "foxes.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    batch = json.loads(home.chai("bulk", "run", str(file), "--model", "wan", "--detach", "--json").stdout)["id"]

    def counts() -> dict[str, int]:
        with urllib.request.urlopen(f"{url(home)}/v1/batches/{batch}", timeout=30) as answer:
            found: dict[str, int] = json.load(answer)["request_counts"]
        return found

    wait_until(lambda: counts()["completed"] >= 1, BACK_S, "no line of the run was made", pause_s=0.1)
    os.killpg(pids(home)["worker"], signal.SIGKILL)
    cut = counts()
    done = home.chai("bulk", "attach", batch, "--out", str(tmp_path / "out"), "--download")

    assert cut["completed"] < len(lines), "the run was over before the worker was killed"
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(row["status"], row["seed"]) for row in rows] == [("completed", n) for n in range(len(lines))]
    assert all(Path(row["file"]).stat().st_size > 0 for row in rows)


@pytest.mark.usefixtures("made")
def test_each_fault_was_said_in_a_line_and_all_stops_within_seconds(own_up: Up) -> None:
    begun = time.monotonic()
    said = own_up.stop(signal.SIGINT)

    assert time.monotonic() - begun < 20
    for part in PARTS:
        ends = [
            line for line in said.splitlines() if re.match(rf"{part} (was|ended|did)\b.*; next start in [\d.]+ s", line)
        ]
        assert len(ends) >= 2, said
    assert [line.split()[0] for line in said.splitlines() if " stopped (" in line] == ["worker", "relay", "api"]
    assert "SIGINT: stopping; a video that is being made goes back to the queue" in said
    assert said.splitlines()[-1] == f"stopped; everything is kept in {own_up.home.folder / 'var'}"
    assert not (own_up.home.folder / "var" / "run" / "up.json").exists()


@pytest.fixture(scope="module")
def again(own_up: Up, bring_up: Callable[..., Up], made: tuple[dict[str, Any], bytes]) -> Iterator[Up]:
    """That service once more at the same port, after a stop and after a launcher that was killed."""
    if own_up.process.poll() is None:  # alone: the test before has stopped it
        own_up.stop(signal.SIGINT)
    with listening(0) as door:
        port = str(door.getsockname()[1])
    unloaded = {"CHAI_PRELOAD": "false"}  # nobody asks for another video
    killed = bring_up(own_up.home, "--port", port, "--no-flower", **unloaded)
    killed.process.kill()
    killed.process.communicate()
    running = bring_up(own_up.home, "--port", port, "--no-flower", **unloaded)
    assert url(own_up.home) == f"http://127.0.0.1:{port}"
    yield running
    if running.process.poll() is None:
        running.stop()


def test_videos_outlive_a_stop_and_a_launcher_that_is_killed(
    again: Up, made: tuple[dict[str, Any], bytes], tmp_path: Path
) -> None:
    video, content = made

    after = json.loads(again.home.chai("status", video["id"], "--json").stdout)
    again.home.chai("download", video["id"], "--out", str(tmp_path / "a.mp4"))

    assert after == video
    assert (tmp_path / "a.mp4").read_bytes() == content


def test_a_launcher_ends_when_its_folder_is_moved_away(again: Up) -> None:
    var = again.home.folder / "var"

    var.rename(again.home.folder / "away")
    _, said = again.process.communicate(timeout=60)

    assert said.splitlines()[-1].startswith(f"error: {var} was moved or removed while the service ran, so it stops")
    assert again.process.returncode == 1
    assert not var.exists()


def test_two_launchers_never_choose_the_same_port() -> None:
    """Before the first of them has an API that could hold one."""
    said: list[str] = []
    with ExitStack() as stack:
        doors = [stack.enter_context(up._door(up.API_PORT, None, "the API", said.append)) for _ in range(3)]

        assert len({door.getsockname() for door in doors}) == 3
    assert all(re.fullmatch(r"port 8400 is taken by .+; the API gets \d+", line) for line in said)
    assert len(said) >= 2


def test_a_variable_at_which_the_parts_would_end_is_named_before_they_start(new_home: Callable[[], Home]) -> None:
    home = new_home()

    refused = home.chai("up", "--port", "8400", CHAI_LEASE_S="soon", timeout_s=60)

    assert refused.returncode == 2
    assert refused.stderr.startswith("error: CHAI_LEASE_S 'soon': ")
    assert not (home.folder / "var" / "postgres").exists()


@pytest.mark.parametrize("asks", ["--port", "CHAI_API_PORT"])
def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_its_holder(
    new_home: Callable[[], Home], asks: str
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        words, variables = (["--port", str(port)], {}) if asks == "--port" else ([], {asks: str(port)})
        refused = new_home().chai("up", *words, **variables)

    assert refused.returncode == 1
    way_out = "choose another with --port, or stop that process"
    assert re.fullmatch(rf"error: port {port} is taken by process {os.getpid()} \(.+\); {way_out}\n", refused.stderr)


def test_a_start_that_nobody_reads_goes_on_and_opens_nothing_to_everybody(new_home: Callable[[], Home]) -> None:
    """`umask 000; chai up 2>&1 | head -1`."""
    home = new_home()
    process = home.start("up", "--port", str(free_port()), "--no-flower", umask=0)
    assert process.stderr.readline() == "starting Postgres\n"
    process.stderr.close()
    process.stdout.close()

    wait_until(lambda: (home.folder / "var" / "run" / "up.json").exists() or process.poll() is not None, BACK_S * 2)
    made = home.chai("submit", "a red circle", "--steps", "2", "--out", str(home.folder / "var" / "a.mp4"), umask=0)
    process.send_signal(signal.SIGTERM)

    assert (process.wait(60), made.returncode) == (0, 0), made.stderr
    found = [home.folder / "var", *(home.folder / "var").rglob("*")]
    assert [path for path in found if path.stat().st_mode & stat.S_IWOTH] == []
