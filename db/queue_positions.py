"""How many jobs run before another one: counted if that is cheap, else between marks that are set now and then.

Lines of held runs (paused or outside their window) count only before lines of the same run.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text, tuple_
from sqlalchemy.orm import Session

from db.models import Job
from db.outbox import is_held
from db.states import JobStatus, Queue

CHEAP = 1000  # rows of an index, counted in under a millisecond
_IS_BULK = {Queue.INTERACTIVE: 0, Queue.BULK: 1}
_MARKS = text(
    "SELECT queue, priority, created_at, id FROM ("
    "SELECT queue, priority, created_at, id, "
    "row_number() OVER (ORDER BY queue DESC, priority, created_at, id) AS place "
    "FROM jobs WHERE status = 'queued' AND NOT EXISTS "
    "(SELECT FROM batches WHERE batches.id = jobs.batch_id AND is_held)) AS waiting "
    "WHERE place % :every = 0 ORDER BY place"
)

Place = tuple[int, int, datetime, UUID]  # 1 for bulk, priority, acceptance, id: the lower one runs first


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Every `every`-th waiting job, in the order in which they run."""

    every: int
    places: list[Place]


def mark(session: Session, *, every: int = CHEAP) -> Marks:
    """Set the marks; reads every waiting row."""
    rows = session.execute(_MARKS, {"every": every})
    return Marks(
        every=every, places=[(_IS_BULK[Queue(row.queue)], row.priority, row.created_at, row.id) for row in rows]
    )


def counted(session: Session, job: Job) -> int | None:
    """Return how many queued jobs run before a queued one; None if there are too many to count cheaply."""
    place = _place(job)
    number = _number(session, job, job.queue, None, place, CHEAP)
    if job.queue == Queue.BULK and number < CHEAP:
        number += _number(session, job, Queue.INTERACTIVE, None, None, CHEAP)
    return None if number >= CHEAP else number


def between(session: Session, job: Job, marks: Marks) -> int:
    """Return how many queued jobs run before a queued one: the marks before it, and the rows after the last mark."""
    place = _place(job)
    passed = bisect_left(marks.places, place)
    last = marks.places[passed - 1] if passed else None
    # the marks are among the jobs that run before; after the last one there are fewer than up to the next
    number = passed * marks.every
    if last is not None and last[0] == place[0]:
        return number + _number(session, job, job.queue, last, place, marks.every)
    if job.queue == Queue.BULK:
        number += _number(session, job, Queue.INTERACTIVE, last, None, marks.every)
    return number + _number(session, job, job.queue, None, place, marks.every)


def _place(job: Job) -> Place:
    return _IS_BULK[Queue(job.queue)], job.priority, job.created_at, job.id


def _number(session: Session, job: Job, queue: str, low: Place | None, high: Place | None, limit: int) -> int:
    """Return how many jobs of a queue wait between two places, at most `limit` for each range of the index."""
    number = 0
    for stretch in _stretches(low, high):
        rows = select(Job.id).where(
            Job.status == JobStatus.QUEUED, Job.queue == queue, or_(~is_held(), Job.batch_id == job.batch_id), *stretch
        )
        # in the order of the index, so that the index is read, and only up to the limit
        some = rows.order_by(Job.priority, Job.created_at).limit(limit).subquery()
        number += session.scalar(select(func.count()).select_from(some)) or 0
    return number


def _stretches(low: Place | None, high: Place | None) -> list[list[ColumnElement[bool]]]:
    """Return the stretch between two places as ranges that the index (queue, priority, created_at) can look up.

    One comparison of all three columns would be equivalent, but Postgres reads the whole queue for it.
    """
    key = tuple_(Job.created_at, Job.id)
    above = [] if low is None else [Job.priority == low[1], Job.created_at >= low[2], key > tuple_(*low[2:])]
    below = [] if high is None else [Job.priority == high[1], Job.created_at <= high[2], key < tuple_(*high[2:])]
    if low is not None and high is not None and low[1] == high[1]:
        return [above + below]
    middle = [] if low is None else [Job.priority > low[1]]
    middle += [] if high is None else [Job.priority < high[1]]
    return [middle, *([above] if above else []), *([below] if below else [])]
