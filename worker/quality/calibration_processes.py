"""The processes of a calibration: this one, and others that make and judge clips beside it.

    calibration   says what has to be done before its next look at the plans         → `Processes.run`
    Processes     hands that out, prompt by prompt, to whichever process is free; this one takes its share
    Other         one more process, with a model of its own                          → `calibration_child`

Clips and latents are files, written by the process that made them. Their descriptions and the judges' verdicts come
back as rows, which this process alone stores: the record has one writer.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Protocol

from shared.child_command import child_command
from worker.models import registry
from worker.quality.calibration_record import Record
from worker.quality.calibration_runs import Asked, Runs, Work
from worker.quality.index import Found
from worker.quality.judges import Judge
from worker.settings import WorkerSettings

CHILD = "worker.quality.calibration_child"
END_S = 5.0  # between the request to end and SIGKILL


class ProcessLost(RuntimeError):
    """Another process of the calibration ended or broke; the message says how, and where its output is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What another process needs to do the same work."""

    name: str  # for messages
    asked: Asked
    found: tuple[Found, ...]  # what the look-up finds for each prompt
    settings: WorkerSettings  # with the device of this process
    judges: Sequence[Judge]
    folder: Path  # of the record
    run: dict[str, Any]  # what the record is of
    key: str  # that the first process stamps latents with: only latents with the same key can be donors


class Maker(Protocol):
    """Something that does work: `Runs` in this process, `Other` in another."""

    def do(self, work: Work) -> None:
        """Do what is left of a piece of work."""


class Processes:
    """The processes that do the work of a calibration: this one, and those that were started beside it."""

    def __init__(self, runs: Runs, others: Sequence["Other"] = ()) -> None:
        self._runs, self._others = runs, others
        self._lock = threading.Lock()  # guards what is left, and what `runs` counts

    def run(self, prompts: Iterable[Sequence[Work]]) -> None:
        """Have work done; all work for one prompt is done in order by one process. Raise the first error."""
        left, errors = iter(prompts), list[BaseException]()
        threads = [threading.Thread(target=self._drive, args=(one, left, errors), daemon=True) for one in self._others]
        for thread in threads:
            thread.start()
        self._drive(self._runs, left, errors)
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _drive(self, maker: Maker, left: Iterator[Sequence[Work]], errors: list[BaseException]) -> None:
        try:
            while (prompt := self._next(left)) is not None:
                for work in prompt:
                    if errors:
                        return
                    self._do(maker, work)
        except Exception as error:
            errors.append(error)

    def _next(self, left: Iterator[Sequence[Work]]) -> Sequence[Work] | None:
        with self._lock:
            return next(left, None)

    def _do(self, maker: Maker, work: Work) -> None:
        runs = self._runs
        with self._lock:
            if is_fresh := not runs.has_run(work):
                runs.begin(work)
        if not runs.is_done(work):
            maker.do(work)
        with self._lock:
            runs.count(work, fresh=is_fresh)


def share_threads(num_processes: int) -> None:
    """Give each process its part of the CPUs, unless OMP_NUM_THREADS is set. Later processes inherit it."""
    if num_processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        num_threads = max(1, (os.cpu_count() or 1) // num_processes)
        os.environ["OMP_NUM_THREADS"] = str(num_threads)
        registry.limit_threads(num_threads)


@contextmanager
def started(
    runs: Runs, settings: WorkerSettings, *, devices: Sequence[str], num_processes: int, lock: int
) -> Iterator[Processes]:
    """Start the other processes, spread over the devices (this one has the first); they end with the block.

    They inherit the open file `lock`, so that no other calibration starts in the folder while one of them lives.
    """
    others: list[Other] = []
    try:
        for number in range(1, num_processes):
            device = devices[number % len(devices)]
            part = Part(
                name=f"process {number + 1} of {num_processes} ({device})",
                asked=runs.asked,
                found=runs.found,
                settings=settings.model_copy(update={"device": device}),
                judges=runs.judges,
                folder=runs.record.folder,
                run=runs.record.run,
                key=runs.key,
            )
            others.append(Other(part, runs.record, log=part.folder / f"process-{number + 1}.log", lock=lock))
        yield Processes(runs, others)
    finally:
        for other in others:
            other.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + END_S
        for other in others:
            other.end(deadline)


class Other:
    """Another process, which takes work from this one and ends when this one does."""

    def __init__(self, part: Part, record: Record, *, log: Path, lock: int) -> None:
        self._part: Part | None = part  # None once it is sent
        self._name, self._record, self._log = part.name, record, log
        self._pipe, there = Pipe()
        with there, log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*child_command(CHILD), str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[there.fileno(), lock],
                start_new_session=True,  # Ctrl-C reaches this process only
            )

    def do(self, work: Work) -> None:
        """Have work done and store its rows; raise the error of the process, or ProcessLost."""
        with self._watched():
            if self._part is not None:  # not at the start: sending waits until the process has imported its modules
                self._pipe.send(self._part)
                self._part = None
            self._pipe.send(work)
        while (row := self._hear()) is not None:
            self._record.take(*row)

    def end(self, deadline: float) -> None:
        """Wait for the process, which was asked to end; kill it after the deadline (monotonic)."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._pipe.close()

    def _hear(self) -> tuple[str, dict[str, Any]] | None:
        with self._watched():
            said: tuple[str, dict[str, Any]] | Exception | None = self._pipe.recv()
        if isinstance(said, Exception):
            raise said
        return said

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise ProcessLost(f"{self._name} {self._end()}; what it said last is in {self._log}") from error

    def _end(self) -> str:
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "answers no more"
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
