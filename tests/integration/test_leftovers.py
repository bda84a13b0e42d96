"""A test session that is killed leaves nothing running."""

import subprocess
import sys
from pathlib import Path

import leftovers
import psutil
from processes import is_running, wait_until

PARENT = """
import os, subprocess, sys, time
from pathlib import Path
from cli.services.redis import Redis
os.environ[{name!r}] = str(os.getpid())
subprocess.Popen([sys.executable, {cleaner!r}, {folder!r}], stdin=subprocess.PIPE, start_new_session=True)
part = subprocess.Popen([sys.executable, "-c", {part!r}], start_new_session=True, stdout=subprocess.PIPE, text=True)
print(part.pid, part.stdout.readline().strip(), Redis(Path({folder!r}) / "redis").start().pid, flush=True)
time.sleep(600)
"""
PART = """
import time
from pathlib import Path
from cli.services.redis import Redis
print(Redis(Path({home!r})).start().pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_session_started_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    part = PART.format(home=str(tmp_path / "home"))
    code = PARENT.format(name=leftovers.SESSION, folder=str(folder), cleaner=leftovers.__file__, part=part)
    session = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert session.stdout
    left = [psutil.Process(int(pid)) for pid in session.stdout.readline().split()]
    assert len(left) == 3

    session.kill()
    session.communicate()

    wait_until(lambda: not any(map(is_running, left)) and not folder.exists(), 60, tmp_path)
