"""The supervisor with real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.supervise import Part, Supervisor, restart_delay_s

SLEEP = "import time; time.sleep(60)"


def python(name: str, code: str, **options: float) -> Part:
    return Part(name=name, command=(sys.executable, "-c", code), **options)


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_killed_part_is_started_again(tmp_path: Path) -> None:
    lines: list[str] = []
    with Supervisor([python("api", SLEEP)], var=tmp_path, report=lines.append) as supervisor:
        first = supervisor.pid("api")
        os.kill(first, signal.SIGKILL)

        wait_until(lambda: supervisor.pid("api") not in (None, first))

    assert lines[1].startswith("api was ended by SIGKILL; next start in 0.5 s; the end of ")


def test_parts_stop_in_the_reverse_of_their_order(tmp_path: Path) -> None:
    lines: list[str] = []
    with Supervisor([python(name, SLEEP) for name in ("api", "relay", "worker")], var=tmp_path, report=lines.append):
        lines.clear()

    assert lines == [f"{name} stopped (was ended by SIGTERM)" for name in ("worker", "relay", "api")]


def test_a_part_that_cannot_be_started_is_reported_with_its_name(tmp_path: Path) -> None:
    lines: list[str] = []
    part = Part(name="flower", command=("/no/such/program",))

    with Supervisor([part], var=tmp_path, report=lines.append):
        pass

    assert lines[0].startswith("flower cannot be started: [Errno 2] No such file or directory: '/no/such/program'")


def test_a_part_that_ends_at_once_is_failing_and_its_last_words_are_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    with Supervisor(
        [python("worker", "raise SystemExit('no model')")], var=tmp_path, report=lines.append
    ) as supervisor:
        wait_until(lambda: supervisor.failing(num_failures=2))

        assert supervisor.failing(num_failures=2) == ["worker"]
    assert lines[1].startswith("worker ended with status 1; next start in 0.5 s")
    assert lines[1].endswith("\nno model")


def test_a_part_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    children = tmp_path / "child"
    code = (
        "import signal, subprocess, sys, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
        f"pathlib.Path({str(children)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    with Supervisor([python("worker", code, stop_timeout_s=0.5)], var=tmp_path, report=lambda _: None):
        wait_until(lambda: children.exists() and children.read_text())

    wait_until(lambda: not is_running(int(children.read_text())))


def test_what_a_killed_supervisor_left_running_is_ended_by_the_next(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from cli.supervise import Part, Supervisor
part = Part(name="api", command=(sys.executable, "-c", {SLEEP!r}))
Supervisor([part], var=Path({str(tmp_path)!r})).start()
time.sleep(60)
"""
    killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    pid_file = tmp_path / "run" / "api.pid"
    wait_until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    left = int(pid_file.read_text().split()[0])
    killed.kill()
    killed.wait()
    assert is_running(left)

    with Supervisor([python("api", SLEEP)], var=tmp_path, report=lambda _: None) as supervisor:
        assert not is_running(left)
        assert supervisor.pid("api") != left


@pytest.mark.parametrize(
    ("num_failures", "delay_s"),
    [
        (1, 0.5),  # the first end is often an accident
        (2, 1.0),
        (6, 16.0),
        (7, 30.0),  # never longer than this
        (5000, 30.0),
    ],
)
def test_the_pause_before_a_start_doubles_up_to_half_a_minute(num_failures: int, delay_s: float) -> None:
    assert restart_delay_s(num_failures) == delay_s


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
