"""Ends what a test session leaves behind, servers and their data too, however it ended: limits and CI systems kill.

It waits for a line from the session or its death. What the session started carries `SESSION` in its environment;
servers write over theirs, and are known by the folder that they run in, or by who started them.
"""

import os
import select
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from cli.services.process import stop_leftovers

SESSION = "CHAI_TEST_SESSION"
LOOK_S = 1.0


def keep(folder: Path) -> None:
    """Wait for the end of the session that has its servers in `folder`, then end what is left of it."""
    session = os.getppid()
    while os.getppid() == session and not select.select([sys.stdin], [], [], LOOK_S)[0]:
        pass
    stop_leftovers("postgres", folder / "postgres" / "data", with_signal=signal.SIGINT)
    for program in ("redis", "valkey"):
        stop_leftovers(program, folder / "redis", with_signal=signal.SIGKILL)
    for process in _started(os.environ[SESSION]):
        with suppress(psutil.Error):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _started(session: str) -> set[psutil.Process]:
    """What carries the mark of a session, and what that has started: a service's own servers."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(SESSION) == session:
                found |= {process, *process.children(recursive=True)}
    return found - {psutil.Process()}


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
