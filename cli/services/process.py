"""Server processes: started in a session of their own, so that Ctrl-C in a terminal reaches the launcher only."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from cli.services.errors import PortTaken, StartFailed

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TAIL_BYTES = 16 * 1024  # of a log, in which its last lines are looked for


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, its output appended to `log`; `env` replaces the environment.

    It inherits the open files `fds` under the same numbers. Logs contain prompts: folder and file are private.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(log, "ab", opener=_private) as output:  # Path.open takes no opener
        log.chmod(0o600)  # also a log of an older version
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=fds,
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Defer signals that have a handler until the end of the block.

    A handler that raised between the start of a process and the moment its owner knows of it would orphan it.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs here
        yield
        return
    came: list[int] = []
    handled = [number for number in ENDING if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in came:
            signal.raise_signal(arrived)


def stop(process: subprocess.Popen[bytes], *, with_signal: signal.Signals | None, timeout_s: float) -> int:
    """Ask `process` to end, unless already asked, and reap it; after `timeout_s` kill its whole session.

    Returns its exit status.
    """
    if with_signal is not None:
        signal_to(process, with_signal)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def signal_to(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal, and continue a stopped process, which would not react."""
    if process.poll() is None:
        process.send_signal(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)


def kill_family(pid: int | None) -> None:
    """Kill a process and all its descendants, even stopped ones, and wait for their end."""
    try:
        leader = psutil.Process(pid) if pid is not None else None
        family = [leader, *leader.children(recursive=True)] if leader else []
    except psutil.NoSuchProcess:
        return
    end_foreign(family, with_signal=signal.SIGKILL, timeout_s=10.0)


def stop_leftovers(program: str, folder: Path, *, with_signal: signal.Signals, timeout_s: float = 15.0) -> None:
    """End servers named `program` that an earlier launcher, killed hard, left running on `folder`.

    Both servers use their data folder as working directory, which identifies them better than a pid file: after a
    reboot or in a new container the pid in it belongs to another process.
    """
    leftovers = _running_in(program, folder)
    parents = {process.pid for process in leftovers}
    roots = [process for process in leftovers if process.ppid() not in parents]  # a server ends its own children
    end_foreign(roots, with_signal=with_signal, timeout_s=timeout_s)
    end_foreign(_running_in(program, folder), with_signal=signal.SIGKILL, timeout_s=timeout_s)


def end_foreign(
    processes: Sequence[psutil.Process], *, with_signal: signal.Signals, timeout_s: float
) -> list[psutil.Process]:
    """Signal processes that are not our children, wait for their end and return those still alive.

    A zombie counts as ended: its parent may be a container's init process that reaps late or never.
    """
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(with_signal)
    deadline = time.monotonic() + timeout_s
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _running_in(program: str, folder: Path) -> list[psutil.Process]:
    target = str(folder.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["cwd"] == target and process.info["name"].startswith(program) and _is_alive(process)
    ]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def free_port(preferred: int | None = None) -> int:
    """Return `preferred` if nothing listens there on loopback, otherwise a port that the system picks."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


def listening(port: int) -> socket.socket:
    """Return a socket that listens on a loopback port, 0 for any; raise OSError if that is impossible.

    It is for a child: from now on the port is reserved, and callers wait until the child accepts them.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(socket.SOMAXCONN)
    except OSError:
        listener.close()
        raise
    return listener


def on_free_port(preferred: int | None, launch: Callable[[int], None]) -> None:
    """Launch a server that itself binds a port, the preferred one if it is free; raise StartFailed.

    If another process takes the port first, the server gets another one.
    """
    for is_last in (False, False, True):
        port = free_port(preferred)
        try:
            launch(port)
        except PortTaken:
            if is_last:
                raise
        else:
            return


def kept_port(port: int) -> int:
    """Return `port`, at which others expect a server; raise PortTaken if another process has taken it."""
    if free_port(port) != port:
        raise PortTaken(f"port {port} on 127.0.0.1 is taken by {listener(port) or 'another process'}")
    return port


def not_started(name: str, port: int, log: Path) -> StartFailed:
    """Return why a server failed to start, with the end of its log."""
    kind = StartFailed if free_port(port) == port else PortTaken
    return kind(f"{name} did not start; the end of {log}:\n{last_lines(log)}")


def listener(port: int) -> str | None:
    """Return which process listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return None


def remembered_port(file: Path) -> int | None:
    """Return the port written in `file` by an earlier run; None if there is none, as after a power cut."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None


def last_lines(log: Path, num_lines: int = 8) -> str:
    """Return the end of `log` for an error message, whatever its size or state."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            end = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    except OSError as error:
        return f"({log} cannot be read: {error.strerror})"
    return "\n".join(end.splitlines()[-num_lines:])
