"""Jobs counted one by one: what the figures of the service are held to."""

from sqlalchemy import and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from db.models import Job
from db.states import JobStatus, Queue


def position(session: Session, job: Job) -> int | None:
    """How many queued jobs run before this one, counting them all; None once it is no longer queued."""
    if job.status != JobStatus.QUEUED:
        return None
    before = tuple_(Job.priority, Job.created_at, Job.id) < tuple_(job.priority, job.created_at, job.id)
    ahead = and_(Job.queue == job.queue, before)
    if job.queue == Queue.BULK:
        ahead = or_(Job.queue == Queue.INTERACTIVE, ahead)
    return session.scalar(select(func.count()).where(Job.status == JobStatus.QUEUED, ahead))


def by_status(session: Session) -> dict[str, int]:
    """The number of jobs of all tenants by status."""
    query = select(Job.status, func.count().label("number")).group_by(Job.status)
    return {row.status: row.number for row in session.execute(query)}
