"""An additional process of a calibration: does the work that arrives on its pipe, and ends when the pipe closes."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from worker.models.device_faults import is_out_of_memory
from worker.models.embedders import load_embedder
from worker.quality.calibration_processes import END_S, Part, ProcessLost
from worker.quality.calibration_record import Record
from worker.quality.calibration_runs import Runs, Work
from worker.quality.command import JudgeError
from worker.runtime import load_model


class _Told(Record):
    """The record as it was at the start; new rows are sent to the process that keeps it."""

    def __init__(self, part: Part, pipe: Connection) -> None:
        super().__init__(part.folder, part.run)
        self._pipe = pipe

    def take(self, name: str, row: Mapping[str, Any]) -> None:
        """Send a row."""
        self._learn(name, row)
        self._pipe.send((name, dict(row)))


def main(pipe: Connection) -> None:
    """Load the model of the `Part` that arrives first, then do the work that follows it on the pipe."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    came: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, came), name="pipe", daemon=True).start()
    name = "another process"
    try:
        part: Part = pickle.loads(came.get())  # noqa: S301 - from our own process
        name = part.name
        runs = _runs(part, pipe)
        while True:
            work: Work = pickle.loads(came.get())  # noqa: S301
            runs.do(work)
            pipe.send(None)
    except KeyboardInterrupt:
        return
    except Exception as error:
        traceback.print_exc()
        pipe.send(_told(error, name))


def _runs(part: Part, pipe: Connection) -> Runs:
    model, embedder = load_model(part.asked.card, part.settings), load_embedder(part.settings.embedder)
    runs = Runs(
        asked=part.asked,
        model=model,
        embedder=embedder,
        record=_Told(part, pipe),
        judges=part.judges,
        found=part.found,
    )
    if runs.key != part.key:
        raise ValueError("its latents are of another precision than the first device's; name devices of one kind")
    return runs


def _told(error: Exception, name: str) -> Exception:
    """Return an error that can be sent, of the class that the command tells errors apart by."""
    if isinstance(error, JudgeError):
        return JudgeError(str(error))
    text = f"{name}: {type(error).__name__}: {error}"
    return MemoryError(text) if is_out_of_memory(error) else ProcessLost(text)


def _listen(pipe: Connection, came: SimpleQueue[bytes]) -> None:
    """Queue what arrives. When the sender is gone, end at once, together with a judge that is at work."""
    try:
        while True:
            came.put(pipe.recv_bytes())
    except (EOFError, OSError):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(END_S)
        os._exit(1)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that libraries have started
