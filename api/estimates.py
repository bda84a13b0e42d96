"""What a waiting caller is told: how many are before, who works, when it may be done. Remembered for a second or so."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from db import batches, cache_stats, heartbeats, metrics, queue_positions
from db.models import Job
from db.states import JobStatus

FRESH_S = 1.0
ALIVE_S = 30.0  # a worker is there when it gave a sign of life within this time
MOST_KEPT = 20  # spans of days
SHARE = 20  # a figure that takes long to find is kept for this many times as long

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is known of a job that has not ended."""

    position: int | None = None  # jobs before it, while queued
    workers: int | None = None  # alive now; none: nobody knows
    eta_seconds: float | None = None


@dataclass(slots=True)
class _Kept(Generic[T]):
    """A figure, found again when it is no longer fresh, by one thread at a time."""

    find: Callable[[Session], T]
    value: T | None = None
    until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_fresh(self) -> bool:
        """Whether `get` would ask nobody."""
        return bool(self.value) and time.monotonic() < self.until

    def get(self, session: Session) -> T:
        with self.lock:
            if not self.value or time.monotonic() >= self.until:  # what is still empty may not be for long
                began = time.monotonic()
                self.value = self.find(session)
                took = time.monotonic() - began
                self.until = time.monotonic() + max(FRESH_S, SHARE * took)
            return self.value


class Estimates:
    """The figures of one process."""

    def __init__(self) -> None:
        self._marks = _Kept(queue_positions.mark)
        self._workers = _Kept(_workers)
        self._seconds = _Kept(metrics.mean_run_seconds)

    def of(self, session: Session, job: Job) -> Estimate:
        """Return what is known of a job."""
        if job.status not in (JobStatus.QUEUED, JobStatus.IN_PROGRESS):
            return Estimate()
        position = self._position(session, job) if job.status == JobStatus.QUEUED else None
        (workers,) = self._workers.get(session)
        seconds = self._seconds.get(session).get(job.model)
        is_waiting = position is not None
        held_s = batches.held_s(session, job.batch_id) if job.batch_id and is_waiting else 0.0
        return Estimate(position=position, workers=workers, eta_seconds=_eta(job, position, workers, seconds, held_s))

    def num_workers(self, session: Session) -> int | None:
        """Return how many workers are alive; none: nobody knows."""
        return self._workers.get(session)[0]

    def _position(self, session: Session, job: Job) -> int:
        if self._marks.is_fresh:  # the queue was long a moment ago
            return queue_positions.between(session, job, self._marks.get(session))
        counted = queue_positions.counted(session, job)
        return counted if counted is not None else queue_positions.between(session, job, self._marks.get(session))


class CacheFigures:
    """What the cache did of late, remembered by how far back was asked."""

    def __init__(self) -> None:
        self._kept: dict[float, _Kept[dict[str, Any]]] = {}

    def of(self, session: Session, days: float) -> dict[str, Any]:
        """Return the figures of the last days."""
        if days not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[days] = _Kept(lambda asking: cache_stats.summary(asking, _last(days)))
        return self._kept[days].get(session)


def _last(days: float) -> cache_stats.Range:
    return cache_stats.Range(since=datetime.now(UTC) - timedelta(days=days))


def _workers(session: Session) -> tuple[int | None]:
    beats = heartbeats.seen(session, "worker")
    return (sum(beat.age_s < ALIVE_S for beat in beats) if beats else None,)


def _eta(
    job: Job, position: int | None, workers: int | None, seconds: float | None, held_s: float | None
) -> float | None:
    if seconds is None or workers == 0 or held_s is None:
        return None
    if position is None:
        return round(seconds * (100 - job.progress) / 100, 1)
    return round(held_s + seconds * (position // (workers or 1) + 1), 1)
