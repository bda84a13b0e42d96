"""The supervisor with real processes and real signals."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import wait_until

from cli import supervise
from cli.services import process
from cli.services.embedded import running
from cli.services.postgres import Postgres
from cli.services.redis import Redis
from cli.supervise import Part, Supervisor, restart_delay_s
from cli.up import Stopped, stopped_by_signals

SLEEP = "import time; time.sleep(60)"


def python(name: str, code: str, **options: Any) -> Part:
    return Part(name=name, command=(sys.executable, "-c", code), **options)


def test_a_killed_part_is_started_again(tmp_path: Path) -> None:
    lines: list[str] = []
    with Supervisor([python("api", SLEEP)], var=tmp_path, report=lines.append) as supervisor:
        first = supervisor.pid("api")
        os.kill(first, signal.SIGKILL)

        wait_until(lambda: supervisor.pid("api") not in (None, first))

    log = tmp_path / "log" / "api.log"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (log.parent, log)] == [0o700, 0o600]  # logs name prompts
    assert lines[1] == f"api was ended by SIGKILL; next start in 0.5 s; {log} ends with: "


def test_a_part_is_started_again_though_its_log_is_huge_or_cannot_be_read(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log" / "api.log"
    with Supervisor([python("api", SLEEP)], var=tmp_path, report=lines.append) as supervisor:
        os.truncate(log, 2**40)  # a hole
        with log.open("a") as end:
            end.write("\nthe end\n")
        first = supervisor.pid("api")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.pid("api") not in (None, first))
        log.unlink()
        log.mkdir()
        os.kill(supervisor.pid("api"), signal.SIGKILL)
        wait_until(lambda: len(lines) > 3)
        log.rmdir()
        wait_until(lambda: supervisor.pid("api") is not None)

    assert lines[1] == f"api was ended by SIGKILL; next start in 0.5 s; {log} ends with: the end"
    said = f"({log} cannot be read: Is a directory)"
    assert lines[3].endswith(f"{log} ends with: {said[:200]}")


def test_parts_are_watched_though_nobody_listens_and_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "run").touch()  # no folder: as little can be written as on a full disk
    told: list[str] = []

    def nobody(line: str) -> None:
        told.append(line)
        raise BrokenPipeError

    def full() -> None:
        raise OSError(28, "No space left on device")

    with Supervisor([python("api", SLEEP)], var=tmp_path, report=nobody, changed=full) as supervisor:
        for _ in range(2):
            before = supervisor.pid("api")
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: supervisor.pid("api") not in (None, before))

        wait_until(lambda: told[-1] == "what runs now could not be written down: [Errno 28] No space left on device")
    assert len([line for line in told if line.startswith("api started")]) == 3


def test_what_runs_is_written_down_by_one_at_a_time(tmp_path: Path) -> None:
    running_now: list[dict[str, int]] = []
    is_writing = threading.Lock()
    overlaps: list[str] = []

    def write_down() -> None:
        if not is_writing.acquire(blocking=False):
            overlaps.append("two at once")
            return
        running_now.append(supervisor.pids())
        time.sleep(0.5)
        is_writing.release()

    parts = [python(name, SLEEP) for name in ("api", "relay", "worker")]
    with Supervisor(parts, var=tmp_path, report=lambda _: None, changed=write_down) as supervisor:
        for pid in supervisor.pids().values():
            os.kill(pid, signal.SIGKILL)

        wait_until(lambda: len(running_now) + len(overlaps) == 3)

        assert not overlaps
        assert running_now[-1] == supervisor.pids()


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
    assert lines[1].endswith(" ends with: no model")
    assert not any("\n" in line for line in lines)


def test_a_stopped_part_is_killed_with_its_children_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "STOPPED_S", 0.5)
    monkeypatch.setattr(supervise, "PROBE_S", 0.1)
    lines: list[str] = []
    child = tmp_path / "child"
    code = (
        f"import subprocess, sys, pathlib; child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
        f"pathlib.Path({str(child)!r}).write_text(str(child.pid)); child.wait()"
    )
    with Supervisor([python("worker", code)], var=tmp_path, report=lines.append) as supervisor:
        first = supervisor.pid("worker")
        wait_until(lambda: child.exists() and child.read_text())
        grandchild = int(child.read_text())

        os.kill(grandchild, signal.SIGSTOP)  # the process that does the work; its parent looks well

        wait_until(lambda: supervisor.pid("worker") not in (None, first))
        wait_until(lambda: not is_running(grandchild))
    assert re.match(r"worker was stopped for \d s and was killed; next start in 0.5 s", lines[1])


def test_a_part_that_answers_no_more_is_killed_and_one_that_never_did_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "PROBE_S", 0.1)
    lines: list[str] = []
    answers = {"api": True, "mute": False}
    parts = [
        Part(
            name=name,
            command=(sys.executable, "-c", SLEEP),
            probe=lambda _, name=name: answers[name],
            patience_s=0.5,
        )
        for name in answers
    ]
    with Supervisor(parts, var=tmp_path, report=lines.append) as supervisor:
        first, mute = supervisor.pid("api"), supervisor.pid("mute")
        time.sleep(0.5)
        answers["api"] = False

        wait_until(lambda: supervisor.pid("api") not in (None, first))

        assert supervisor.pid("mute") == mute
    assert lines[2].startswith("api did not answer for ")


def test_what_cannot_be_known_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "PROBE_S", 0.05)
    known: list[bool | None] = [True, None]
    part = Part(
        name="api",
        command=(sys.executable, "-c", SLEEP),
        probe=lambda _: known.pop(0) if len(known) > 1 else known[0],
        patience_s=0.1,
    )
    with Supervisor([part], var=tmp_path, report=lambda _: None) as supervisor:
        first = supervisor.pid("api")
        time.sleep(1.0)

        assert supervisor.pid("api") == first


def test_a_part_that_fails_for_good_is_given_up_with_a_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(supervise, "GIVE_UP_AFTER", 3)
    lines: list[str] = []
    with Supervisor(
        [python("worker", "raise SystemExit('no model')")], var=tmp_path, report=lines.append
    ) as supervisor:
        wait_until(supervisor.given_up)

        assert supervisor.given_up() == ["worker"]
    last = lines[-1].splitlines()
    assert last[0].startswith(
        "GIVEN UP: worker ended with status 1, 3 times in a row; it is not started again; the end of"
    )
    assert last[-1] == "no model"


def test_parts_stop_at_the_same_time_and_a_stopped_one_hears_too(tmp_path: Path) -> None:
    slow = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)));"
        "print('ready', flush=True); time.sleep(60)"
    )
    names = ("api", "relay", "worker")
    with Supervisor([python(name, slow) for name in names], var=tmp_path, report=lambda _: None) as supervisor:
        wait_until(lambda: all("ready" in (tmp_path / "log" / f"{name}.log").read_text() for name in names))
        os.kill(supervisor.pid("relay") or 0, signal.SIGSTOP)
        begun = time.monotonic()

    assert time.monotonic() - begun < 2.5


def test_a_part_is_told_to_stop_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal is a cold shutdown to Celery."""
    monkeypatch.setattr(supervise, "PROBE_S", 0.0)
    counting = (
        "import signal, sys, time; heard = []; signal.signal(signal.SIGTERM, lambda *_: heard.append(1));"
        "print('ready', flush=True)\n"
        "while not heard: time.sleep(0.02)\n"
        "time.sleep(0.6); print('heard', len(heard), flush=True)"
    )
    log = tmp_path / "log" / "worker.log"
    slow = python("worker", counting, probe=lambda _: time.sleep(0.3) or True)  # its watcher takes a while to end
    with Supervisor([slow], var=tmp_path, report=lambda _: None):
        wait_until(lambda: "ready" in log.read_text())

    assert log.read_text() == "ready\nheard 1\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_server_that_dies_or_freezes_comes_back_at_its_address_with_its_data(
    kind: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "STOPPED_S", 1.0)
    monkeypatch.setattr(supervise, "PROBE_S", 0.2)
    server: Postgres | Redis = Redis(tmp_path / "r") if kind == "redis" else Postgres(tmp_path / "p", durable=False)
    server.start()
    try:
        with Supervisor([], servers=[server], var=tmp_path, report=lambda _: None) as supervisor:
            url, first = server.url, supervisor.pid(kind)
            os.kill(first or 0, number)

            wait_until(lambda: supervisor.pid(kind) not in (None, first), 30.0)
            wait_until(server.answers, 30.0)

        assert server.url == url
    finally:
        server.stop()


def test_a_server_whose_port_was_taken_meanwhile_waits_for_it_and_says_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "LONGEST_DELAY_S", 1.0)  # each kill before the theft doubles the delay
    server = Redis(tmp_path / "r").start()
    lines: list[str] = []
    try:
        with Supervisor([], servers=[server], var=tmp_path, report=lines.append) as supervisor:
            taken = f"redis cannot be started: port {server.port} on 127.0.0.1 is taken by process {os.getpid()}"
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                last = _steal(thief, server, supervisor)
                thief.listen()
                wait_until(lambda: any(taken in line for line in lines), 30.0)

            wait_until(lambda: supervisor.pid("redis") not in (None, last), 30.0)
    finally:
        server.stop()


def _steal(thief: socket.socket, server: Redis, supervisor: Supervisor) -> int:
    """Kill a server until its port can be had before the supervisor starts it again; return the last one's pid."""
    while True:
        pid = supervisor.pid("redis") or server.pid or 0
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not is_running(pid))
        try:
            thief.bind(("127.0.0.1", server.port))
        except OSError:  # the supervisor was quicker
            wait_until(lambda pid=pid: supervisor.pid("redis") not in (None, pid), 30.0)
        else:
            return pid


def test_a_supervisor_that_stops_does_not_wait_for_a_server_that_starts(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "p", durable=False).start()
    try:
        supervisor = Supervisor([], servers=[server], var=tmp_path, report=lambda _: None).start()
        (server.data / "postgresql.conf").write_text("listen_addresses = ''\n")
        os.kill(server.pid or 0, signal.SIGKILL)
        time.sleep(0.8)  # into the start
        begun = time.monotonic()

        supervisor.stop()

        assert time.monotonic() - begun < 10
    finally:
        server.stop()


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


@pytest.mark.parametrize("kind", ["part", "server"])
def test_a_signal_at_the_moment_of_a_start_leaves_no_process_behind(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[int] = []
    bear = process.spawn

    def spawn(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        child = bear(*command, **options)
        born.append(child.pid)
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    monkeypatch.setattr(supervise, "spawn", spawn)
    monkeypatch.setattr("cli.services.server.processes.spawn", spawn)
    own = {"database_url": "postgresql://none/none", "redis_url": None if kind == "server" else "redis://none"}

    with (
        pytest.raises(Stopped),
        stopped_by_signals(),
        running(tmp_path, **own),
        Supervisor([python("api", SLEEP)], var=tmp_path, report=lambda _: None),
    ):
        pass

    assert len(born) == 1
    assert not is_running(born[0])


def test_what_a_killed_supervisor_left_running_is_ended_by_the_next(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from cli import supervise
from cli.services import process
from cli.services.embedded import running
from cli.services.postgres import Postgres
from cli.services.redis import Redis
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells a process but its time of day")
def test_what_was_left_running_is_known_though_the_clock_was_set_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as left:
        supervise._write_pid(tmp_path / "run" / "api.pid", left.pid)
        booted = psutil.boot_time()
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600)

        supervise.stop_leftovers(tmp_path)

        is_left = is_running(left.pid)
        left.kill()
    assert not is_left


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
