"""The parts of the service as child processes: started in order, started again when they end, stopped in reverse order.

Each child has a session of its own, so that Ctrl-C reaches the supervisor alone, and writes to `<var>/log/<name>.log`.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from cli.services.process import end_foreign, last_lines, spawn, stop

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
SETTLED_S = 30.0  # a child that lived this long has not failed at start: its count of failures begins anew
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the service."""

    name: str  # names the log file, the status lines and the pid file
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # added to the environment of the supervisor
    stop_timeout_s: float = 30.0  # from SIGTERM to SIGKILL


@dataclass(slots=True, kw_only=True)
class _Child:
    part: Part
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic
    start_at: float = 0.0  # monotonic; when the next start is due
    num_failures: int = 0  # ends in a row, each within SETTLED_S of its start


class Supervisor:
    """Keeps `parts` running between `start()` and `stop()`; a thread watches them. Usable with `with`."""

    def __init__(self, parts: Sequence[Part], *, var: Path, report: Callable[[str], None] = print) -> None:
        self._children = [_Child(part=part) for part in parts]
        self._var = var
        self._report = report
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> Self:
        """Start all parts in their order, after ending what a killed supervisor left running."""
        for child in self._children:
            _stop_leftover(self._pid_file(child), child.part.stop_timeout_s)
            self._start(child)
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Stop the parts one after the other, last started first, each with SIGTERM and its time to end."""
        self._stopping.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        with contextlib.ExitStack() as stack:  # last in, first out; a second Ctrl-C does not spare the rest
            for child in self._children:
                stack.callback(self._stop, child)

    def pid(self, name: str) -> int | None:
        """Return the process id of a part, or None while it is down."""
        child = next(child for child in self._children if child.part.name == name)
        return child.process.pid if child.process and child.process.poll() is None else None

    def failing(self, *, num_failures: int = 3) -> list[str]:
        """Return the names of parts that ended that many times in a row soon after their start."""
        return [child.part.name for child in self._children if child.num_failures >= num_failures]

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_S):
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    self._schedule(child)
                elif child.process is None and time.monotonic() >= child.start_at:
                    self._start(child)

    def _start(self, child: _Child) -> None:
        part, log = child.part, self._log(child)
        try:
            child.process = spawn(part.command, log=log, cwd=Path.cwd(), env={**os.environ, **part.env})
        except OSError as error:
            self._postpone(child, f"{part.name} cannot be started: {error}")
            return
        child.started_at = time.monotonic()
        _write_pid(self._pid_file(child), child.process.pid)
        self._report(f"{part.name} started (pid {child.process.pid}, log {log})")

    def _schedule(self, child: _Child) -> None:
        assert child.process is not None
        ended = _describe(child.process.returncode)
        child.process = None
        if time.monotonic() - child.started_at >= SETTLED_S:
            child.num_failures = 0
        self._postpone(child, f"{child.part.name} {ended}")

    def _postpone(self, child: _Child, why: str) -> None:
        child.num_failures += 1
        delay_s = restart_delay_s(child.num_failures)
        child.start_at = time.monotonic() + delay_s
        log = self._log(child)
        self._report(f"{why}; next start in {delay_s:g} s; the end of {log}:\n{last_lines(log)}")

    def _stop(self, child: _Child) -> None:
        if child.process is None:
            return
        status = stop(child.process, with_signal=signal.SIGTERM, timeout_s=child.part.stop_timeout_s)
        child.process = None
        self._pid_file(child).unlink(missing_ok=True)
        self._report(f"{child.part.name} stopped ({_describe(status)})")

    def _log(self, child: _Child) -> Path:
        return self._var / "log" / f"{child.part.name}.log"

    def _pid_file(self, child: _Child) -> Path:
        return self._var / "run" / f"{child.part.name}.pid"


def restart_delay_s(num_failures: int) -> float:
    """Return the pause before the next start: half a second, doubled with each failure in a row, at most 30 s."""
    doublings = min(num_failures - 1, 32)  # a part may fail for years
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**doublings)


def _describe(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _write_pid(file: Path, pid: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # The start time tells the process from a later one that got the same number.
    with contextlib.suppress(psutil.NoSuchProcess):
        file.write_text(f"{pid} {psutil.Process(pid).create_time()}")


def _stop_leftover(file: Path, timeout_s: float) -> None:
    try:
        pid, created = file.read_text().split()
        process = psutil.Process(int(pid))
        if process.create_time() != float(created):
            return
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if end_foreign([process], with_signal=signal.SIGTERM, timeout_s=timeout_s):
        os.killpg(process.pid, signal.SIGKILL)
