"""The process of a follower: it makes its part of each forward that its worker tells of, and ends when that is gone."""

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
    """Load the networks of the part that comes first on the pipe, then make what comes after."""
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
    except BaseException as error:  # what it is, the worker says to whom it concerns
        logger.exception("rank %d of %s ends", part.rank, part.card.name)
        pipe.send(told(error))
        os._exit(1)  # an exchange that others wait in must not wait for this end


def _listen(pipe: Connection, calls: SimpleQueue[bytes]) -> None:
    """Take in calls; when the worker is gone end at once, be it within a forward."""
    try:
        while True:
            calls.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
