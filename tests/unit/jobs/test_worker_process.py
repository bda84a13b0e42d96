"""What a worker's process leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, signal
import billiard
from worker.app import share_without_folder

{begin}
billiard.Value("i")  # as the pool of Celery makes them
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("begin", "num_left"), [("share_without_folder()", 0), ("", 1)], ids=["worker", "by itself"])
def test_a_killed_worker_leaves_no_folder_in_that_of_temporary_files(tmp_path: Path, begin: str, num_left: int) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    subprocess.run([sys.executable, "-c", KILLED.format(begin=begin)], env=environment, check=False)

    assert len(list(tmp_path.iterdir())) == num_left
