"""A short attack on a whole service: every rule holds."""

import json
import subprocess
import sys

SHORT = ("--minutes", "0.35", "--seed", "3", "--pause", "3")


def test_no_job_is_lost_doubled_or_stuck_while_parts_are_hurt() -> None:
    command = [sys.executable, "-m", "cli.main", "lab", "chaos", *SHORT]

    done = subprocess.run(command, capture_output=True, text=True, timeout=900)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["is_good"]
    assert (found["lost"], found["doubled"], found["stuck"]) == (0, 0, 0)
    assert set(found["blows"]) == {"kill", "terminate", "freeze", "partition", "fill"}
    assert found["statuses"]["completed"] > 10
