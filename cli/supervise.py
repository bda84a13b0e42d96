"""The parts of the service as child processes: started in order, again when they end or freeze, and stopped together.

Each child has a session of its own, so that Ctrl-C reaches only the supervisor, and writes to `<var>/log/<name>.log`.
Each is watched by its own thread, so that a server that takes minutes to recover does not delay the others.

A child is killed and started again

- when one of its processes has been stopped (SIGSTOP, a debugger) for `STOPPED_S`;
- when, after a first success, its probe has failed for `Part.patience_s` and `NUM_SILENT` times in a row. The time
  alone is not enough: it also passes while the machine sleeps or the supervisor itself is stopped.

A child that ends `GIVE_UP_AFTER` times in a row is given up, with a message; the caller decides what follows.
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
from typing import Protocol, Self

import psutil

from cli.services.errors import ServiceError
from cli.services.process import end_foreign, kill_family, last_lines, signal_to, spawn, stop, undisturbed
from shared.backoff import pause_s

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
SETTLED_S = 30.0  # a child that lived this long did not fail at start: its count of failures goes back to zero
GIVE_UP_AFTER = 8  # failures in a row: about a minute and a half of pauses
POLL_S = 0.1
PROBE_S = 2.0  # pause between two checks of a child
STOPPED_S = 5.0  # somebody may stop a process briefly to inspect it; after this time it counts as missing
NUM_SILENT = 3  # failed probes in a row, at least
PATIENCE_S = 20.0
LEFTOVER_STOP_S = 15.0  # from SIGTERM to SIGKILL

Probe = Callable[[float], bool | None]  # seconds since the start → alive; None = unknown for now


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the service that a command starts."""

    name: str  # names the log file, the status lines and the pid file
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # added to the environment of the supervisor
    fds: tuple[int, ...] = ()  # open files that it inherits under the same numbers
    stop_timeout_s: float = 30.0  # from SIGTERM to SIGKILL
    probe: Probe | None = None
    patience_s: float = PATIENCE_S  # how long the probe may fail


class Server(Protocol):
    """A server that knows how to start itself: embedded Postgres and Redis."""

    @property
    def name(self) -> str:
        """Its name in status lines."""

    @property
    def log(self) -> Path:
        """Its log file."""

    @property
    def pid(self) -> int | None:
        """Process id; None while it is down."""

    @property
    def status(self) -> int | None:
        """Exit status of the last process; None while it runs."""

    def restart(self) -> object:
        """Start again, at the same address; raise `ServiceError`."""

    def give_up_starting(self) -> None:
        """Make a start that is under way fail at once, and every later one."""

    def answers(self) -> bool:
        """Return, within seconds, whether it works."""


class _Process(Protocol):
    """What the watcher needs of a child, whether a command or a server."""

    name: str
    log: Path
    patience_s: float

    def start(self) -> None: ...  # raises OSError or ServiceError
    def pid(self) -> int | None: ...  # None when it is down
    def status(self) -> int | None: ...  # exit status
    def alive(self, uptime_s: float) -> bool | None: ...
    def clear(self) -> None: ...  # end processes that an unexpected end left behind
    def tell_to_stop(self) -> None: ...
    def stop(self) -> int | None: ...


class _Command:
    def __init__(self, part: Part, var: Path) -> None:
        self.part, self.name, self.patience_s = part, part.name, part.patience_s
        self.log = var / "log" / f"{part.name}.log"
        self.pid_file = var / "run" / f"{part.name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._told: subprocess.Popen[bytes] | None = None  # to stop; only once, as some hurry at a second signal

    def start(self) -> None:
        self._process = None
        env = {**os.environ, **self.part.env}
        with undisturbed():
            self._process = spawn(self.part.command, log=self.log, cwd=Path.cwd(), env=env, fds=self.part.fds)
            _write_pid(self.pid_file, self._process.pid)

    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def status(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def alive(self, uptime_s: float) -> bool | None:
        return None if self.part.probe is None else self.part.probe(uptime_s)

    def clear(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # a worker's child would hold the device
            self._process.wait()
            self._process = None

    def tell_to_stop(self) -> None:
        if self._process is not None and self._process is not self._told:
            self._told = self._process
            signal_to(self._process, signal.SIGTERM)

    def stop(self) -> int | None:
        if self._process is None:
            return None
        status = stop(self._process, with_signal=None, timeout_s=self.part.stop_timeout_s)
        self._process = None
        with contextlib.suppress(OSError):
            self.pid_file.unlink()
        return status


class _Served:
    patience_s = PATIENCE_S

    def __init__(self, server: Server) -> None:
        self.server, self.name, self.log = server, server.name, server.log

    def start(self) -> None:
        if self.server.pid is None:  # the caller has already started it the first time
            self.server.restart()

    def pid(self) -> int | None:
        return self.server.pid

    def status(self) -> int | None:
        return self.server.status

    def alive(self, uptime_s: float) -> bool | None:
        return self.server.answers()

    def clear(self) -> None:
        pass  # the server's own start does this

    def tell_to_stop(self) -> None:
        self.server.give_up_starting()

    def stop(self) -> int | None:
        return None  # the caller that started it stops it, after the parts that use it


class _Child:
    """A process and what its watcher remembers of it."""

    def __init__(self, process: _Process) -> None:
        self.process = process
        self.is_up = False
        self.is_given_up = False
        self.started_at = 0.0  # monotonic
        self.start_at = 0.0  # monotonic; when the next start is due
        self.num_failures = 0  # ends in a row, each within SETTLED_S of its start
        self.heard_at: float | None = None  # monotonic; when the probe last succeeded, since the start
        self.num_silent = 0  # failed probes since
        self.stopped_since: float | None = None  # monotonic


class Supervisor:
    """Keeps `servers` and `parts` running between `start()` and `stop()`. Usable with `with`.

    `changed` is called after each start, never concurrently. Servers are passed in running, and the caller stops them.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        var: Path,
        servers: Sequence[Server] = (),
        report: Callable[[str], None] = print,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = [_Child(_Command(part, var)) for part in parts]
        self._servers = [_Child(_Served(server)) for server in servers]
        self._children = [*self._servers, *self._parts]
        self._var, self._report, self._changed = var, report, changed
        self._stopping = threading.Event()
        self._telling = threading.Lock()
        self._watchers = [
            threading.Thread(target=self._watch, args=(child,), name=f"watch-{child.process.name}", daemon=True)
            for child in self._children
        ]

    def start(self) -> Self:
        """Start all parts in their order, after ending what a killed supervisor left running."""
        stop_leftovers(self._var)
        for child in self._children:
            self._start(child, is_first=True)
        for watcher in self._watchers:
            watcher.start()
        return self

    def stop(self) -> None:
        """Tell all parts to stop, then wait for each, last started first; one that takes too long is killed."""
        self._stopping.set()
        for child in reversed(self._children):
            child.process.tell_to_stop()
        for watcher in self._watchers:
            if watcher.ident is not None:
                watcher.join()
        for child in reversed(self._parts):
            child.process.tell_to_stop()  # it may have been started meanwhile
        with contextlib.ExitStack() as stack:  # last in, first out; a second Ctrl-C does not spare the rest
            for child in self._parts:
                stack.callback(self._stop, child)

    def pid(self, name: str) -> int | None:
        """Return the process id of a child, or None while it is down."""
        return next(child for child in self._children if child.process.name == name).process.pid()

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running children, by name."""
        return {child.process.name: pid for child in self._children if (pid := child.process.pid())}

    def names(self) -> list[str]:
        """Return the names of all children."""
        return [child.process.name for child in self._children]

    def failing(self, *, num_failures: int = 3) -> list[str]:
        """Return the names of children that ended that many times in a row soon after their start."""
        return [child.process.name for child in self._children if child.num_failures >= num_failures]

    def given_up(self) -> list[str]:
        """Return the names of children that are not started again."""
        return [child.process.name for child in self._children if child.is_given_up]

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

    def _watch(self, child: _Child) -> None:
        probe_at = 0.0
        while not child.is_given_up and not self._stopping.wait(POLL_S):
            if not child.is_up:
                if time.monotonic() >= child.start_at:
                    self._start(child)
            elif child.process.pid() is None:
                self._ended(child, _describe(child.process.status()))
            elif time.monotonic() >= probe_at:
                if (why := self._missing(child)) and not self._stopping.is_set():
                    kill_family(child.process.pid())
                    self._ended(child, f"{why} and was killed")
                probe_at = time.monotonic() + PROBE_S

    def _start(self, child: _Child, *, is_first: bool = False) -> None:
        process = child.process
        try:
            process.start()
        except (OSError, ServiceError) as error:
            if not self._stopping.is_set():
                self._postpone(child, f"{process.name} cannot be started: {error}")
            return
        child.is_up, child.started_at = True, time.monotonic()
        child.heard_at, child.num_silent, child.stopped_since = None, 0, None
        if is_first and isinstance(process, _Served):
            return
        self._say(f"{process.name} started (pid {process.pid()}, log {process.log})")
        if not is_first:
            try:
                with self._telling:  # of two concurrent records, the later must include both starts
                    self._changed()
            except OSError as error:  # a full disk: only other processes need the record
                self._say(f"what runs now could not be written down: {error}")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the reader may be gone; the parts are watched all the same
            self._report(line)

    def _missing(self, child: _Child) -> str | None:
        """Return why a running process does not work, or None if it does."""
        now = time.monotonic()
        if not _is_stopped(child.process.pid()):
            child.stopped_since = None
        elif child.stopped_since is None:
            child.stopped_since = now
        elif now - child.stopped_since >= STOPPED_S:
            return f"was stopped for {now - child.stopped_since:.0f} s"
        if child.stopped_since is not None:
            return None
        return self._silent(child)

    def _silent(self, child: _Child) -> str | None:
        is_alive = child.process.alive(time.monotonic() - child.started_at)
        if is_alive:
            child.heard_at, child.num_silent = time.monotonic(), 0
        elif is_alive is False and child.heard_at is not None:
            child.num_silent += 1
            silent_s = time.monotonic() - child.heard_at
            if child.num_silent >= NUM_SILENT and silent_s >= child.process.patience_s:
                return f"did not answer for {silent_s:.0f} s"
        return None

    def _ended(self, child: _Child, what: str) -> None:
        if self._stopping.is_set():
            return
        child.is_up = False
        child.process.clear()
        if time.monotonic() - child.started_at >= SETTLED_S:
            child.num_failures = 0
        self._postpone(child, f"{child.process.name} {what}")

    def _postpone(self, child: _Child, why: str) -> None:
        child.num_failures += 1
        log = child.process.log
        if child.num_failures >= GIVE_UP_AFTER:
            child.is_given_up = True
            self._say(
                f"GIVEN UP: {why}, {child.num_failures} times in a row; it is not started again; the end of {log}:\n"
                f"{last_lines(log)}"
            )
            return
        delay_s = restart_delay_s(child.num_failures)
        child.start_at = time.monotonic() + delay_s
        self._say(f"{why}; next start in {delay_s:g} s; {log} ends with: {last_lines(log, 1).strip()[:200]}")

    def _stop(self, child: _Child) -> None:
        if (status := child.process.stop()) is not None:
            self._say(f"{child.process.name} stopped ({_describe(status)})")


def restart_delay_s(num_failures: int) -> float:
    """Return the pause before the next start: half a second, doubled with each failure in a row, at most 30 s."""
    return pause_s(num_failures, first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S)


def _describe(status: int | None) -> str:
    if status is None:
        return "ended"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _is_stopped(pid: int | None) -> bool:
    """Return whether a process, or one of those it started, is stopped by a signal."""
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    return any(_status(member) in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP) for member in family)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return ""


def _write_pid(file: Path, pid: int) -> None:
    # The process is watched without the file too; the file only helps the next launcher if this one is killed.
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{pid} {_began(psutil.Process(pid))}")


def _began(process: psutil.Process) -> str:
    """Return what distinguishes a process from a later one with the same id.

    If the kernel counts time from the boot, that is used: setting the clock, as when a machine without its own clock
    finds the network, shifts all times of day that psutil reports.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path(f'/proc/{process.pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except OSError:
        return str(process.create_time())


def stop_leftovers(var: Path) -> None:
    """End the parts that a killed supervisor left running on `var`."""
    for file in (var / "run").glob("*.pid"):
        _stop_leftover(file)


def _stop_leftover(file: Path) -> None:
    try:
        pid, began = file.read_text().split()
        process = psutil.Process(int(pid))
        if _began(process) != began:
            return
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if end_foreign([process], with_signal=signal.SIGTERM, timeout_s=LEFTOVER_STOP_S):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
