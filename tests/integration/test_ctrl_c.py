"""Ctrl-C in a terminal: every process of the command gets SIGINT, and none says more than it has to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import CARDS, wait_until

from cli.up import Stopped, stopped_by_signals

ROOT = Path(__file__).parents[2]


@contextmanager
def begun(command: list[str], log: Path, *, says: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, which has said something."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: says in log.read_text() or process.poll() is not None, timeout_s=120)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("part", "says"), [("relay", "relay started"), ("worker", "ready.")])
def test_a_part_that_ends_as_it_was_told_leaves_with_0(
    part: str, says: str, database_url: str, redis_url: str, storage_url: str, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "STORAGE_URL": storage_url}
    variables |= {"CHAI_MODELS_DIR": str(CARDS), "CHAI_DEFAULT_MODEL": "tiny", "CHAI_VAR_DIR": str(tmp_path / "var")}
    log = tmp_path / "log"

    with begun([sys.executable, "-m", "cli.main", part], log, says=says, **variables) as process:
        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(60) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_before_there_is_anything_to_stop_it_ends_without_a_word(tmp_path: Path) -> None:
    """Where imports take long: a KeyboardInterrupt in one of them is a traceback, or is lost."""
    (tmp_path / "typer.py").write_text("import time\nprint('importing')\ntime.sleep(600)\n")
    log = tmp_path / "log"
    command = [sys.executable, "-c", "from cli.start import main; main()"]
    path = os.pathsep.join((str(tmp_path), str(ROOT)))

    with begun(command, log, says="importing", PYTHONPATH=path) as process:
        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(60) == -signal.SIGINT
    assert log.read_text() == "importing\n"


@pytest.mark.parametrize(("before", "is_kept"), [(signal.SIG_IGN, True), (signal.SIG_DFL, False)])
def test_a_terminal_that_closes_stops_the_service_unless_it_was_started_with_nohup(
    before: signal.Handlers, is_kept: bool
) -> None:
    was = signal.signal(signal.SIGHUP, before)
    try:
        with stopped_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            has_gone_on = True
    except Stopped:
        has_gone_on = False
    finally:
        signal.signal(signal.SIGHUP, was)

    assert has_gone_on == is_kept
