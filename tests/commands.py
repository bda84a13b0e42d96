"""Runs `chai` without its imports, most of what a short command takes: forked off a process that has made them.

That process reads one JSON line a call and answers with the exit status.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cli
from cli import start
from worker.models.embedders import load_embedder
from worker.prompts.entities import extract

ROOT = Path(__file__).parents[1]
LATE = ("cli.lab",)  # needs torch


def run(
    arguments: Sequence[str], env: Mapping[str, str], *, umask: int = -1, timeout_s: int = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `python -m cli.main` does in this checkout; one that takes longer ends with -14."""
    server = _server()
    assert server.stdin
    assert server.stdout
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        call = {"arguments": arguments, "env": dict(env), "out": str(out), "err": str(err)}
        server.stdin.write(json.dumps(call | {"umask": umask, "timeout_s": timeout_s}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, out.read_text("utf-8"), err.read_text("utf-8"))


@cache
def _server() -> subprocess.Popen[str]:
    """One for all tests of this process."""
    command = [sys.executable, "-X", "utf8", __file__]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server


def serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end it
    for module in pkgutil.walk_packages(cli.__path__, "cli."):
        if not module.name.startswith(LATE):
            importlib.import_module(module.name)
    gc.freeze()
    for line in sys.stdin:
        call = json.loads(line)
        if call["arguments"][:2] == ["bulk", "run"]:
            read()
        if (pid := os.fork()) == 0:
            become(**call)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


@cache
def read() -> None:
    """Have what prompts are read and compared with: dictionaries and weights, longer to load than a list to submit."""
    extract("a red fox")
    load_embedder().embed(["a red fox"])


def become(*, arguments: list[str], env: dict[str, str], out: str, err: str, umask: int, timeout_s: int) -> None:
    """Be the command; what it leaves with ends this process."""
    signal.alarm(timeout_s)
    os.environ.clear()
    os.environ.update(env)
    for target, file, mode in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(file, mode | os.O_CREAT, 0o600), target)
    if umask >= 0:
        os.umask(umask)
    sys.argv = ["chai", *arguments]
    start.main()
    sys.exit()


if __name__ == "__main__":
    serve()
