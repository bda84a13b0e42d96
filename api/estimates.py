"""What a waiting caller is told: how many are before, who works, when it may be done. Remembered for a second or so."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from api import lanes
from db import batches, cache_stats, heartbeats, metrics, queue_positions
from db.heartbeats import Beat
from db.models import Job
from db.states import JobStatus
from shared.silence import NOT_THERE_S

FRESH_S = 1.0
MOST_KEPT = 20  # spans of days
SHARE = 20  # a figure that takes long to find is kept for this many times as long

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is known of a job that has not ended."""

    position: int | None = None  # jobs before it, while queued
    workers: int | None = None  # alive now; none: nobody knows
    eta_seconds: float | None = None
    waiting_reason: str | None = None  # why it would wait even if it were the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers that are there."""

    number: int | None  # none: none was ever seen
    living: list[Beat]


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
        self._crew = _Kept(_crew)
        self._seconds = _Kept(metrics.mean_run_seconds)

    def of(self, session: Session, job: Job) -> Estimate:
        """Return what is known of a job."""
        if job.status not in (JobStatus.QUEUED, JobStatus.IN_PROGRESS):
            return Estimate()
        position = self._position(session, job) if job.status == JobStatus.QUEUED else None
        crew = self._crew.get(session)
        seconds = self._seconds.get(session).get(job.model)
        is_waiting = position is not None
        held_s = batches.held_s(session, job.batch_id) if job.batch_id and is_waiting else 0.0
        obstacle = lanes.obstacle(job.queue, job.model, crew.living) if is_waiting else None
        takers = 0 if obstacle and crew.living else crew.number
        return Estimate(
            position=position,
            workers=crew.number,
            eta_seconds=_eta(job, position, takers, seconds, held_s),
            waiting_reason=_held(held_s) or obstacle,
        )

    def num_workers(self, session: Session) -> int | None:
        """Return how many workers are alive; none: nobody knows."""
        return self._crew.get(session).number

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


def _crew(session: Session) -> Crew:
    beats = heartbeats.seen(session, "worker")
    living = [beat for beat in beats if beat.age_s < NOT_THERE_S]
    return Crew(number=len(living) if beats else None, living=living)


def _held(held_s: float | None) -> str | None:
    if held_s is None:
        return "its bulk run is paused"
    return "its bulk run waits for its window" if held_s else None


def _eta(
    job: Job, position: int | None, workers: int | None, seconds: float | None, held_s: float | None
) -> float | None:
    if seconds is None or workers == 0 or held_s is None:
        return None
    if position is None:
        return round(seconds * (100 - job.progress) / 100, 1)
    return round(held_s + seconds * (position // (workers or 1) + 1), 1)
