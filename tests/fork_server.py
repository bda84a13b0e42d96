"""Starts workers and relays in tenths of a second: forks them off a process that has imported everything.

One JSON line in: {name, env, log}; one line out: the process id. A part is a session of its own and an orphan as soon
as this process ends; who asked for it ends it. Its network is the one that the variable TEST_NETWORK names, if any.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path

import faulty_worker

from api import outbox_relay
from worker.models.embedders import load_embedder
from worker.models.registry import FAMILIES
from worker.prompts.entities import extract

NETWORK = 0x40000000  # CLONE_NEWNET
LATE = FAMILIES.values()  # what a worker's child imports when it needs it


def become(name: str, env: dict[str, str], log: str) -> int:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(env)
    if network := env.get("TEST_NETWORK"):
        enter(network)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    if name == "relay":
        outbox_relay.main()
        return 0
    return faulty_worker.run(name)


def enter(network: str) -> None:
    """Leave the network of this machine for a namespace of `ip netns`."""
    with Path("/run/netns", network).open() as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    for module in LATE:
        importlib.import_module(module)
    extract("a red fox")  # its dictionaries
    load_embedder().embed(["a red fox"])  # its weights
    gc.freeze()  # a collection in a part would copy all that it has of this process, page by page, for nothing
    for line in sys.stdin:
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            status = 1
            try:
                status = become(**request)
            finally:
                sys.stdout.flush()
                os._exit(status)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()
