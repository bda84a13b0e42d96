"""A real worker whose cards may name models that misbehave.

The models denoise for real, at tiny size; what is added is the weakness that a test is about.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from shared.model_cards import ModelCard
from shared.storage import Storage
from worker import app, asking, fitness
from worker.app import main
from worker.jobs import video
from worker.models.video_model import VideoModel
from worker.runtime import load_model
from worker.settings import WorkerSettings
from worker.transport import QoS

SICK = "TEST_SICK_FILE"  # names a file: while it is there, this machine is sick in the way that it says
STEP_S = 0.1
HANG = signal.SIGRTMIN  # makes a worker's loop hang
SOON = "TEST_SOON"  # a loop that hangs is missed after this many seconds, and lost after twice as many
DECODE_S = 5.0
DECODING = "TEST_DECODE_S"  # another time
STORAGE_S = 4.0  # for one file: longer than a lease of the tests


class Slow:
    """A model with a pause behind every step."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            time.sleep(STEP_S)
            yield step


class Late(Slow):
    """A model with quick steps and a slow decoder."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        return self._model.sample(*args, **options)

    def decode_parts(self, *args: Any, **options: Any) -> Any:
        time.sleep(float(os.environ.get(DECODING, DECODE_S)))
        return self._model.decode_parts(*args, **options)


class Paced(Slow):
    """A model that sleeps instead of working, gives frames of a real size, and notes when it has the device."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        note("begin")
        for step in self._model.sample(*args, **options):
            time.sleep(PACED_STEP_S)
            yield step

    def decode_parts(self, *_: Any) -> Iterator[Any]:
        for part in np.split(moving_gradient(), PACED_PARTS):
            time.sleep(PACED_PART_S)
            yield part
        note("end")


class Poison(Slow):
    """A model that takes its process with it in the second step."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            if step.index == 1:
                os.abort()
            yield step


class Greedy(Slow):
    """A model that asks for more memory than there is."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            if step.index == 1:
                step.latents.new_empty(2**50)
            yield step


class Sick(Slow):
    """A model on a machine that may be sick: no request is at fault."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        fail_if(sickness() in ERRORS, sickness())
        if sickness() == "small disk" and args[1].num_frames > 1:  # that the worker's own clip fits on
            raise OSError(28, "No space left on device")
        return self._model.sample(*args, **options)


PACED_STEP_S, PACED_PART_S, PACED_PARTS = 0.25, 0.03, 6
PACED_LOG = "TEST_DEVICE_LOG"  # names a file: a line for each time that the device is taken, and given back


@cache
def moving_gradient() -> Any:
    """72 frames of 426 x 240 with grain, as long to compress as a video."""
    grain = np.random.default_rng(0).integers(0, 24, (72, 240, 426, 3), np.uint8)
    moving = (np.add.outer(np.arange(72) * 3, np.arange(426)) // 2 % 200).astype(np.uint8)
    return grain + moving[:, None, :, None]


def note(what: str) -> None:
    with Path(os.environ[PACED_LOG]).open("a") as log:
        log.write(f"{what} {time.monotonic()}\n")


ERRORS = {
    "installation": ValueError("operands could not be broadcast together"),
    "temporary folder": FileNotFoundError("[Errno 2] No such file or directory: '/tmp/chai'"),
    "library": ImportError("libcudnn.so.9: cannot open shared object file"),
    "memory": MemoryError(),
    "gpu": RuntimeError("CUDA error: an illegal memory access was encountered"),
}


NO_THREADS = "no threads"


def sickness() -> str:
    path = Path(os.environ.get(SICK, "nowhere"))
    return path.read_text() if path.exists() else ""


def fail_if(is_sick: bool, sickness: str) -> None:
    if is_sick:
        raise ERRORS[sickness]


FAULTS = {"random-tiny": Sick, "slow": Slow, "late": Late, "paced": Paced, "poison": Poison, "greedy": Greedy}


def load(card: ModelCard, settings: WorkerSettings) -> VideoModel:
    fail_if(sickness() == "gpu", "gpu")
    if card.source == "missing":
        raise OSError(f"{card.name} has no model_index.json")
    if card.family == "diffusers":
        return Slow(load_model(card, settings))
    return FAULTS[card.source](load_model(replace(card, source="random-tiny"), settings))


def refuse(*_: object, **__: object) -> bytes:
    raise ValueError("libx264 is not a known encoder")


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begin_if_well(begin: Any) -> Any:
    def begin_or_fail(runtime: Any) -> None:
        if sickness() == "threads":
            raise RuntimeError("can't start new thread")
        begin(runtime)

    return begin_or_fail


def start_if_well(start: Any) -> Any:
    def start_or_fail(thread: threading.Thread) -> None:
        if sickness() == NO_THREADS:
            raise RuntimeError("can't start new thread")
        start(thread)

    return start_or_fail


def slowly(write: Any) -> Any:
    def write_slowly(*args: Any, **options: Any) -> Any:
        time.sleep(STORAGE_S)
        return write(*args, **options)

    return write_slowly


def run(name: str) -> int:
    """Be a worker until SIGTERM."""
    signal.signal(HANG, lambda *_: time.sleep(3600))
    if soon_s := float(os.environ.get(SOON, 0)):
        asking.LATE_S = app.LATE_S = soon_s
        app.LOST_S = 2 * soon_s
    threading.Thread.start = start_if_well(threading.Thread.start)
    if sickness() == "codec":
        video.encode = refuse
    if sickness() == "disk":  # no file may be longer: to a process, a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    if sickness() == "clock":
        true_time = time.time
        time.time = lambda: true_time() + 300
    if sickness() == "hand":
        QoS.append = die  # between taking a message off its list and noting that it was taken
    if sickness() == "threads":
        fitness.start = begin_if_well(fitness.start)
    if sickness() == "slow storage":
        Storage.write = slowly(Storage.write)
    return main(name=name, load=load)
