"""Processes that run this program's own modules."""

import os
import subprocess
from pathlib import Path

from shared.child_command import child_command
from shared.settings import ROOT


def test_a_module_of_this_program_is_run_whatever_lies_in_the_current_folder(tmp_path: Path) -> None:
    for name in ("cli", "api", "redis"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('somebody else')")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [*child_command("cli.main"), "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("chai ")
