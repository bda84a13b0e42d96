"""Common to the embedded servers: a folder, a loopback port, a process and its log."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from cli.services import process as processes


class Server(ABC):
    """A server for this machine only, with its data in `folder`, including its `port`."""

    name: str
    start_timeout_s: float
    stop_timeout_s: float
    stop_signal: signal.Signals  # ends it fast and cleanly

    def __init__(self, folder: Path, *, port: int | None = None, logs: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.log = (logs or self.folder).resolve() / f"{self.name}.log"
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = True

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def status(self) -> int | None:
        """Exit status of the last process; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def stop(self) -> None:
        """Flush everything and stop."""
        if self._process is not None:
            processes.stop(self._process, with_signal=self.stop_signal, timeout_s=self.stop_timeout_s)
            self._process = None

    def give_up_starting(self) -> None:
        """Make a start in progress, and every later one, fail at once."""
        self._is_wanted = False

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether it can be used yet."""

    def _spawn(self, command: Sequence[str | Path], *, cwd: Path) -> None:
        """Start the process on `self.port` and wait until it can be used; raise StartFailed."""
        assert self.port is not None
        with processes.undisturbed():
            self._process = processes.spawn(command, log=self.log, cwd=cwd)
        (self.folder / "port").write_text(str(self.port))
        deadline = time.monotonic() + self.start_timeout_s
        while self._is_wanted and self.pid is not None and time.monotonic() < deadline:
            if self._is_ready():
                return
            time.sleep(0.02)  # servers do not report when they are
        self.stop()
        raise processes.not_started(self.name.capitalize(), self.port, self.log)
