"""The service as a person runs it: `chai up` in a process of its own, with the random tiny model."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import commands

ROOT = Path(__file__).parents[2]
CARD = {
    "name": "tiny",
    "title": "Random weights for tests",
    "source": "random-tiny",
    "sizes": ["32x32"],
    "fps": 8,
    "frames": [8, 16],
    "max_steps": 1000,
    "examples": json.loads((ROOT / "worker" / "cards" / "small" / "chai.json").read_text())["examples"],
}


@dataclass(frozen=True, kw_only=True)
class Home:
    """A folder for one service, and the command line that works on it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this home is started with; services of the surroundings are left out."""
        theirs = {name for name in os.environ if name.endswith("_URL") or name.startswith("CHAI_")}
        theirs.discard("CHAI_TEST_SESSION")  # by which `leftovers.py` finds what is left of a session that was killed
        kept = {name: value for name, value in os.environ.items() if name not in theirs}
        own = {
            "CHAI_VAR_DIR": str(self.folder / "var"),
            "CHAI_MODELS_DIR": str(self.folder / "models"),
            "CHAI_DEFAULT_MODEL": "tiny",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
        }
        return {**kept, **own}

    def start(self, *arguments: str, umask: int = -1, **variables: str) -> subprocess.Popen[str]:
        """Start a command, with more variables in its environment and perhaps a umask of its own."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        pipe = subprocess.PIPE
        environment = {**self.environment, **variables}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, umask=umask)

    def chai(
        self, *arguments: str, timeout_s: int = 300, umask: int = -1, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return commands.run(arguments, {**self.environment, **variables}, umask=umask, timeout_s=timeout_s)


@dataclass(frozen=True, kw_only=True)
class Up:
    """A running `chai up`."""

    home: Home
    process: subprocess.Popen[str]

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> str:
        """End it as Ctrl-C or a service manager does; return what it said."""
        self.process.send_signal(with_signal)
        _, said = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, said
        return said
