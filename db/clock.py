"""The database's clock, which may be set back: times in the rows that are then in its future.

A living worker goes on extending its lease; a dead one must not keep its lease until the clock catches up.
"""

from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.models import Delivery, Heartbeat, Job
from db.states import JobStatus

SLACK = timedelta(seconds=1)  # others may write during this transaction: that is no future
LEASES = 4  # a worker's lease may be that many of the relay's; a living one could lose its lease only beyond sixteen


def read(session: Session) -> float:
    """Return the time, in seconds since 1970."""
    return float(session.scalar(select(func.extract("epoch", func.clock_timestamp()))) or 0.0)


def follow(session: Session, *, lease_s: float) -> None:
    """Move times too far ahead back to now: leases, hand-overs, pauses, and heartbeats, which living parts renew.

    Each statement reads an index over the few rows in flight.
    """
    future = func.now() + SLACK
    now, longest = func.clock_timestamp(), timedelta(seconds=LEASES * lease_s)
    unchecked = {"synchronize_session": False}
    leased = select(Job.id).where(Job.status == JobStatus.IN_PROGRESS, Job.lease_until > func.now() + longest)
    handed = select(Job.id).where(Job.status == JobStatus.QUEUED, Job.published_at > future)
    paused = select(Job.id).where(
        Job.status == JobStatus.QUEUED, Job.published_at.is_(None), Job.attempt > 0, Job.queued_at > future
    )
    again = {"retry_at": now + (Job.retry_at - Job.queued_at), "queued_at": now}
    for which, values in ((leased, {"lease_until": now + longest}), (handed, {"published_at": now}), (paused, again)):
        ids = which.order_by(Job.id).with_for_update(skip_locked=True)
        session.execute(update(Job).where(Job.id.in_(ids)).values(values), execution_options=unchecked)
    due = {"due_at": now + (Delivery.due_at - Delivery.tried_at), "tried_at": now}
    told = Delivery.due_at > future, Delivery.tried_at > future
    session.execute(update(Delivery).where(*told).values(due), execution_options=unchecked)
    session.execute(delete(Heartbeat).where(Heartbeat.seen_at > future), execution_options=unchecked)
