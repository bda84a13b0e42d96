"""Estimates for waiting callers: jobs before theirs, workers, time of completion. Kept for about a second."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api import lanes
from api.kept_figures import Kept
from db import batches, heartbeats, metrics, queue_positions
from db.heartbeats import Beat
from db.models import Job
from db.states import JobStatus
from shared.silence import NOT_THERE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is known of a job that has not ended."""

    position: int | None = None  # jobs before it, while queued
    workers: int | None = None  # alive now; None: unknown
    eta_seconds: float | None = None
    waiting_reason: str | None = None  # why it would wait even if it were next


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The present workers."""

    number: int | None  # None: none was ever seen
    living: list[Beat]

    def __bool__(self) -> bool:
        """Whether there are any; if not, the figure is not kept: the first worker shows at once."""
        return bool(self.living)


class Estimates:
    """The figures of one process."""

    def __init__(self) -> None:
        self._marks = Kept(queue_positions.mark)
        self._crew = Kept(_crew)
        self._seconds = Kept(metrics.mean_run_seconds)

    def of(self, session: Session, job: Job) -> Estimate:
        """Return the estimate for a job."""
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
        """Return how many workers are alive; None if unknown."""
        return self._crew.get(session).number

    def _position(self, session: Session, job: Job) -> int:
        if self._marks.is_fresh:  # the queue was long a moment ago
            return queue_positions.between(session, job, self._marks.get(session))
        counted = queue_positions.counted(session, job)
        return counted if counted is not None else queue_positions.between(session, job, self._marks.get(session))


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
