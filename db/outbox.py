"""Ids on their way to the broker. A row stands until the broker has the id: at least once, never lost."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db.models import Job, Outbox
from db.states import Queue

CHANNEL = "chai_outbox"  # NOTIFY wakes the relay at the commit
LAST = 9  # priority


def add(session: Session, jobs: Sequence[Job]) -> None:
    """Write a row for each job and wake the relay once this transaction commits."""
    if not jobs:
        return
    rows = [{"job_id": job.id, "queue": job.queue, "priority": job.priority} for job in jobs]
    session.execute(insert(Outbox), rows)
    session.execute(text(f"NOTIFY {CHANNEL}"))


def add_last(session: Session, job_ids: Sequence[UUID]) -> None:
    """Write a row for ids that come behind everything else, and wake the relay once this transaction commits."""
    if not job_ids:
        return
    rows = [{"job_id": job_id, "queue": Queue.BULK, "priority": LAST} for job_id in job_ids]
    session.execute(insert(Outbox), rows)
    session.execute(text(f"NOTIFY {CHANNEL}"))


def take(session: Session, *, limit: int = 100) -> list[Outbox]:
    """Lock the oldest rows that no other relay has; interactive ones first."""
    query = select(Outbox).order_by(Outbox.queue.desc(), Outbox.id).limit(limit)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def published(session: Session, rows: Sequence[Outbox]) -> None:
    """Remove rows whose ids the broker has, and note the time on their jobs.

    The jobs are locked in the order of their ids, as by everybody who locks many: no deadlock.
    """
    ids = [row.job_id for row in rows]
    session.execute(delete(Outbox).where(Outbox.id.in_([row.id for row in rows])))
    session.execute(select(Job.id).where(Job.id.in_(ids)).order_by(Job.id).with_for_update(key_share=True))
    session.execute(
        update(Job).where(Job.id.in_(ids)).values(published_at=func.clock_timestamp()),
        execution_options={"synchronize_session": False},
    )
