"""Blows to a running service: signals to its processes, a cut link, a full disk."""

import contextlib
import logging
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lab.chaos.link import Link
from lab.chaos.schedule import Blow
from shared.child_command import child_command

FULL_BYTES = 2048  # longest file that a process may write while its disk is full

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class FarWorker:
    """A worker as if on another machine: its link to the servers can be cut. It is restarted when it ends."""

    env: Mapping[str, str]
    links: tuple[Link, ...]
    log: Path
    _popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it is running."""
        if self._popen is None or self._popen.poll() is not None:
            command = [*child_command("cli.main"), "worker", "--name", "far"]
            with self.log.open("ab") as log:
                self._popen = subprocess.Popen(  # noqa: S603 - our own command
                    command, env={**os.environ, **self.env}, stdout=log, stderr=log, start_new_session=True
                )

    @property
    def pid(self) -> int | None:
        """The parent's process."""
        return None if self._popen is None or self._popen.poll() is not None else self._popen.pid

    def stop(self) -> None:
        """End it, and wait for that."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()


@dataclass(slots=True, kw_only=True)
class Striker:
    """Carries out blows and ends them."""

    pids: Callable[[], Mapping[str, int]]  # of the parts of `chai up`, by name
    far: FarWorker
    counts: dict[str, int] = field(default_factory=dict)  # by kind, of blows that found their target
    hits: list[tuple[float, str]] = field(default_factory=list)  # to workers: time and name
    _undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def strike(self, blow: Blow) -> None:
        """Carry out a blow; `end_due` ends those that last."""
        processes = self._processes(blow.part)
        if not processes:
            return
        with contextlib.suppress(psutil.Error):
            self._carry_out(blow, processes)
            self.counts[blow.kind] = self.counts.get(blow.kind, 0) + 1
            if blow.part.startswith(("worker", "far")) and blow.kind in ("kill", "terminate"):
                self.hits.append((time.time(), "far" if blow.part.startswith("far") else "worker"))
            logger.info("%s %s for %.1f s", blow.kind, blow.part, blow.lasts_s)

    def end_due(self, *, every: bool = False) -> None:
        """End blows that have lasted long enough, and restart the far worker if it has ended."""
        now = time.monotonic()
        due = [undo for until, undo in self._undo if every or until <= now]
        self._undo = [(until, undo) for until, undo in self._undo if not every and until > now]
        for undo in due:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                undo()
        self.far.start()

    def _carry_out(self, blow: Blow, processes: list[psutil.Process]) -> None:
        until = time.monotonic() + blow.lasts_s
        match blow.kind:
            case "kill":
                for process in processes:
                    process.kill()
            case "terminate":
                processes[0].terminate()
            case "freeze":
                for process in processes:
                    process.suspend()
                self._undo += [(until, process.resume) for process in processes]
            case "partition":
                for link in self.far.links:
                    link.cut()
                    self._undo.append((until, link.heal))
            case "fill":
                for process in processes:
                    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
                    process.rlimit(psutil.RLIMIT_FSIZE, (FULL_BYTES, hard))
                    self._undo.append((until, lambda process=process, hard=hard: _empty(process, hard)))  # type: ignore[misc]

    def _processes(self, part: str) -> list[psutil.Process]:
        """Return the processes of a part: for `…-child` the one that runs jobs, for a worker or server all of them."""
        name, _, only_child = part.partition("-")
        pid = self.far.pid if name == "far" else self.pids().get(name)
        try:
            parent = psutil.Process(pid) if pid else None
            children = parent.children(recursive=True) if parent else []
        except psutil.Error:
            return []
        if parent is None:
            return []
        return children[:1] if only_child else [parent, *children]


def _empty(process: psutil.Process, hard: int) -> None:
    process.rlimit(psutil.RLIMIT_FSIZE, (hard if hard >= 0 else resource.RLIM_INFINITY, hard))
