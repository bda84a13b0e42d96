"""The process of a follower: it computes its part of each forward that its worker announces, and ends with it."""

import logging
import os
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue

import torch

from worker.models.diffusers import loading
from worker.models.diffusers.parallel import Call, Part, meet, new_config, split, told

logger = logging.getLogger(__name__)


def main(pipe: Connection) -> None:
    """Load the networks of the part that is read first from the pipe, then make the forwards that follow."""
    part: Part = pipe.recv()
    calls: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, calls), name="pipe", daemon=True).start()
    try:
        torch.set_num_threads(part.num_threads)
        config = new_config(part.card.context_parallel)
        options = replace(part.options, device=str(part.device))
        networks = loading.load_networks(part.card, part.folder, options)
        split(networks, config)
        pipe.send(None)
        meet(part, config)
        pipe.send(None)
        with torch.no_grad():
            while True:
                number, args, named = Call(calls.get(), part.device).load()
                networks[number](*args, **named)
    except BaseException as error:  # the worker reports what it is
        logger.exception("rank %d of %s ends", part.rank, part.card.name)
        pipe.send(told(error))
        os._exit(1)  # at once: others may be waiting in an exchange


def _listen(pipe: Connection, calls: SimpleQueue[bytes]) -> None:
    """Receive calls; end at once when the worker is gone, even within a forward."""
    try:
        while True:
            calls.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
