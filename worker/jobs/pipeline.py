"""Two jobs side by side in one process, so that the device waits for neither database nor disk.

    first    claim decide text | denoise decode | MP4 store publish
    second             claim decide text        | denoise decode | MP4 store publish
    third                                claim decide text       | denoise decode | ...

Each job runs from claim to publication in its own thread, under its own lease. Between the bars it has the device,
which one job has at a time: its `Turn`. The next job is claimed when the steps of the current one are nearly over, and
not earlier, so that a worker that becomes free meanwhile can still take it. At most two jobs are held: while one is
being stored, which takes long only if storage is away, and another has the device, no third is claimed.

The first job of a pair may become the donor of the second: if the first will store its latents in the cache and the
second names a thing that the first shows, the second decides only when the first has ended.

`worker.jobs.attempt` decides what is claimed and how it runs; this module only decides whose turn it is.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import RLock
from uuid import UUID

from db.jobs import Claim

AHEAD_S = 1.0  # of denoising left when the next job is claimed: more than claim, decision and text take
LOOK_S = 0.1  # between two checks for a next job, or whether a waiting one is still wanted
MOST_HELD = 2
MOST_UNTOLD = 8  # jobs begun ahead whose message may still come

_Key = tuple[UUID, int]  # job and attempt


def _is_wanted() -> None:
    """Raise nothing: the job goes on."""


class Beside:
    """A clock of text encoding while another job has the device: these seconds belong to the text's job alone."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._begun_at: float | None = None
        self._readers = 0  # at most one while a job has the device; more only before any has it
        self._lock = threading.Lock()

    def seconds(self, now: float) -> float:
        """Return for how long texts have been encoded beside a job until `now` (of `time.perf_counter`)."""
        with self._lock:
            return self._ended_s + (0.0 if self._begun_at is None else max(0.0, now - self._begun_at))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the time of the block."""
        with self._lock:
            self._readers += 1
            if self._begun_at is None:
                self._begun_at = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if self._begun_at is not None and not self._readers:
                    self._ended_s += time.perf_counter() - self._begun_at
                    self._begun_at = None


class Turn:
    """A job's time with the device. A job that breaks keeps it until it is known what broke: see `attempt`."""

    def __init__(
        self,
        device: RLock | None = None,
        *,
        beside: Beside | None = None,
        check: Callable[[], None] = _is_wanted,
        admit: Callable[[], None] = _is_wanted,
    ) -> None:
        self._device = device or RLock()
        self.beside = beside or Beside()
        self._check = check  # called while it waits, and at the end
        self._admit = admit  # called once, when its turn has come
        self._has_it = False

    def take(self) -> bool:
        """Wait for the device; return False if the job already had it. Raises what `check` and `admit` raise."""
        if self._has_it:
            return False
        while not self._device.acquire(timeout=LOOK_S):
            self._check()
        self._has_it = True
        self._check()  # the job that had it may have found the machine unfit
        self._admit()
        return True

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count the block as done beside the job that has the device, unless that is this job."""
        with nullcontext() if self._has_it else self.beside.reading():
            yield

    def free(self) -> None:
        """Let the next job have the device, if this one has it. Must be called by the thread that took it."""
        if self._has_it:
            self._has_it = False
            self._device.release()


class Pipeline:
    """The jobs of one process, and its device."""

    def __init__(self) -> None:
        self.device = RLock()  # held while the model runs
        self.beside = Beside()
        self.door = threading.Lock()  # held while a job is claimed
        self._held: set[_Key] = set()
        self._is_changed = threading.Condition()
        self._begun: OrderedDict[_Key, Future[None]] = OrderedDict()  # ahead of their messages
        self._threads = ThreadPoolExecutor(MOST_HELD, thread_name_prefix="job")
        self._looked_at = 0.0

    @property
    def is_full(self) -> bool:
        """Whether no further job may be claimed ahead."""
        return len(self._held) >= MOST_HELD

    def add(self, claim: Claim) -> None:
        """Note that this process has a job."""
        with self._is_changed:
            self._held.add(_key(claim))

    def remove(self, claim: Claim) -> None:
        """Note that its attempt has ended."""
        with self._is_changed:
            self._held.discard(_key(claim))
            self._is_changed.notify_all()

    def wait_empty(self, timeout_s: float | None = None) -> bool:
        """Wait until this process holds no job; return whether that is so."""
        with self._is_changed:
            return self._is_changed.wait_for(lambda: not self._held, timeout_s)

    def wait_end(self, claim: Claim, timeout_s: float) -> bool:
        """Wait until this process no longer holds a job; return whether that is so."""
        with self._is_changed:
            return self._is_changed.wait_for(lambda: _key(claim) not in self._held, timeout_s)

    def begin(self, claim: Claim) -> Future[None]:
        """Add a job that is begun ahead of its message; whoever runs it completes the future."""
        future: Future[None] = Future()
        self.add(claim)
        self._begun[_key(claim)] = future
        while len(self._begun) > MOST_UNTOLD:
            self._begun.popitem(last=False)
        return future

    def find(self, job_id: UUID, attempt: int | None) -> Future[None] | None:
        """Return, once only, the end of an attempt that was begun ahead of its message; None if it was not."""
        for key in list(self._begun):
            if key[0] == job_id and attempt in (None, key[1]):
                return self._begun.pop(key, None)
        return None

    def look(self, act: Callable[[], None], left_s: float) -> None:
        """Call `act` in a thread, to look for the next job, once at most `left_s` seconds of denoising are left."""
        now = time.monotonic()
        if left_s > AHEAD_S or self.is_full or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        self._threads.submit(act)


def _key(claim: Claim) -> _Key:
    return claim.job.id, claim.attempt
