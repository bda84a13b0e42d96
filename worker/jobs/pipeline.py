"""Two jobs of one process side by side, so that the device waits neither for a database nor for a disk.

    first    claim decide text | denoise decode | MP4 store publish
    second             claim decide text        | denoise decode | MP4 store publish
    third                                claim decide text       | denoise decode | ...

Each job runs its whole sentence in a thread of its own, under a lease of its own. Between the bars it has the device,
which one job has at a time: its `Turn`. When the steps of one are nearly over the next is claimed: as late as that, so
that a worker which becomes free meanwhile finds it still there. Two jobs are held at most: as long as one is put away,
which takes long only while storage is away, and another has the device, no third is claimed.

One job of a pair may be what the other is looking for in the cache: where the first will leave its latents there and
the second names a thing that the first shows, the second decides when the first has ended.

`worker.jobs.attempt` says what is claimed and how it runs; here is only who goes when.
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

AHEAD_S = 1.0  # of denoising that is left when the next job is claimed: more than claim, decision and text take
LOOK_S = 0.1  # between two looks, for a next job or whether a waiting one is still wanted
MOST_HELD = 2
MOST_UNTOLD = 8  # jobs begun ahead, to whom their message may still come

_Key = tuple[UUID, int]  # job and attempt


def _is_wanted() -> None:
    """Raise nothing: the job goes on."""


class Beside:
    """The clock of a text that is read while another job has the device: these seconds are the text's alone."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._begun_at: float | None = None
        self._readers = 0  # one while a job has the device; more only before any has it
        self._lock = threading.Lock()

    def seconds(self, now: float) -> float:
        """Return how long texts have been read beside a job until `now`, of `time.perf_counter`."""
        with self._lock:
            return self._ended_s + (0.0 if self._begun_at is None else max(0.0, now - self._begun_at))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the block."""
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
    """A job's time with the device. Whoever breaks keeps it until it is known what broke: see `attempt`."""

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
        self._check = check  # while it waits, and at last
        self._admit = admit  # once, when its turn has come
        self._has_it = False

    def take(self) -> bool:
        """Wait for the device; return whether it was not the job's already. Raises what `check` and `admit` raise."""
        if self._has_it:
            return False
        while not self._device.acquire(timeout=LOOK_S):
            self._check()
        self._has_it = True
        self._check()  # whoever had it may have found the machine unfit
        self._admit()
        return True

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count the block as done beside the job that has the device, unless it is this one."""
        with nullcontext() if self._has_it else self.beside.reading():
            yield

    def free(self) -> None:
        """Let the next job have the device; nothing where this one has it not. By the thread that took it."""
        if self._has_it:
            self._has_it = False
            self._device.release()


class Pipeline:
    """What one process holds."""

    def __init__(self) -> None:
        self.device = RLock()  # for whoever runs the model
        self.beside = Beside()
        self.door = threading.Lock()  # for whoever claims a job
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
        """Wait until this process holds no job; return whether it does."""
        with self._is_changed:
            return self._is_changed.wait_for(lambda: not self._held, timeout_s)

    def wait_end(self, claim: Claim, timeout_s: float) -> bool:
        """Wait until this process holds a job no more; return whether it does not."""
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
        """Return, once, the end of an attempt that was begun ahead of its message; None where it was not."""
        for key in list(self._begun):
            if key[0] == job_id and attempt in (None, key[1]):
                return self._begun.pop(key, None)
        return None

    def look(self, act: Callable[[], None], left_s: float) -> None:
        """Let `act` look for the next job, in a thread, when a job denoises for no longer than `left_s` seconds."""
        now = time.monotonic()
        if left_s > AHEAD_S or self.is_full or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        self._threads.submit(act)


def _key(claim: Claim) -> _Key:
    return claim.job.id, claim.attempt
