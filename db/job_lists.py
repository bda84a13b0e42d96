"""Reading jobs: lists, places in the queue, counts. Nothing here locks or changes a row."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from db import cursors, outbox, reused_lines
from db.models import Job
from db.states import FINAL, JobStatus


def page(
    session: Session,
    tenant: str,
    *,
    limit: int,
    after: UUID | None = None,
    newest_first: bool = True,
    status: Sequence[JobStatus] = (),
    batch_id: UUID | None = None,
    path: str | None = None,
    mode: str | None = None,
    model: str | None = None,
    words: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
) -> list[Job]:
    """Return up to `limit` of the tenant's jobs after the cursor `after`; raise `NotFound` for a foreign cursor.

    `words` are searched for in prompts literally, ignoring case; `since` and `before` are times of acceptance.
    """
    query = select(Job).where(Job.tenant == tenant, Job.deleted_at.is_(None))
    if status:
        query = query.where(Job.status.in_(status))
    if batch_id:
        query = query.where(or_(Job.batch_id == batch_id, Job.id.in_(reused_lines.ids(batch_id))))
    for column, wanted in ((Job.path, path), (Job.mode, mode), (Job.model, model)):
        if wanted:
            query = query.where(column == wanted)
    if since:
        query = query.where(Job.created_at >= since)
    if before:
        query = query.where(Job.created_at < before)
    if metadata:
        query = query.where(Job.user_metadata.contains(dict(metadata)))
    if words:
        query = query.where(Job.prompt.icontains(words, autoescape=True))
    return cursors.part(session, query, Job, tenant, limit=limit, after=after, newest_first=newest_first)


def of_ids(session: Session, ids: Collection[UUID]) -> list[Job]:
    """Return those of these jobs that exist and are not deleted, in any order."""
    return list(session.scalars(select(Job).where(Job.id.in_(ids), Job.deleted_at.is_(None))))


def first_waiting(session: Session, tenant: str, *, limit: int) -> list[Job]:
    """Return the tenant's queued jobs that run first; those of held runs come last."""
    query = select(Job).where(Job.tenant == tenant, Job.status == JobStatus.QUEUED, Job.deleted_at.is_(None))
    order = (outbox.is_held(), Job.queue.desc(), Job.priority, Job.created_at, Job.id)  # interactive before bulk
    return list(session.scalars(query.order_by(*order).limit(limit)))


def latest(session: Session, tenant: str, *, limit: int) -> list[Job]:
    """Return the tenant's newest jobs, leaving out waiting lines of bulk runs."""
    query = select(Job).where(
        Job.tenant == tenant, Job.deleted_at.is_(None), or_(Job.batch_id.is_(None), Job.status != JobStatus.QUEUED)
    )
    return list(session.scalars(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)))


def last_ended(session: Session, tenant: str, *, limit: int) -> list[Job]:
    """Return the tenant's jobs that ended last, latest first."""
    query = select(Job).where(Job.tenant == tenant, Job.status.in_(FINAL), Job.deleted_at.is_(None))
    rows = session.scalars(query.order_by(Job.changed.desc()).limit(limit))  # a job's end is its last change
    return sorted(rows, key=lambda job: job.finished_at or job.created_at, reverse=True)


def num_queued(session: Session, tenant: str) -> int:
    """Return how many jobs of a tenant wait."""
    query = select(func.count()).where(Job.tenant == tenant, Job.status == JobStatus.QUEUED)
    return session.scalar(query) or 0


def open_counts(session: Session, tenant: str) -> dict[str, int]:
    """Return how many jobs of a tenant wait and run."""
    which = (Job.tenant == tenant, Job.status.in_((JobStatus.QUEUED, JobStatus.IN_PROGRESS)), Job.deleted_at.is_(None))
    query = select(Job.status, func.count().label("number")).where(*which).group_by(Job.status)
    return {row.status: row.number for row in session.execute(query)}


def open_of_model(session: Session, model: str) -> dict[str, int]:
    """Return how many jobs of a model wait and run, of all tenants."""
    which = (Job.model == model, Job.status.in_((JobStatus.QUEUED, JobStatus.IN_PROGRESS)))
    query = select(Job.status, func.count().label("number")).where(*which).group_by(Job.status)
    return {row.status: row.number for row in session.execute(query)}


def in_progress(session: Session) -> list[Job]:
    """Return every job in progress, of all tenants."""
    return list(session.scalars(select(Job).where(Job.status == JobStatus.IN_PROGRESS).order_by(Job.claimed_at)))


def running(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Return those of these jobs that have neither ended nor been removed."""
    is_open = and_(Job.status.not_in(FINAL), Job.deleted_at.is_(None))
    return set(session.scalars(select(Job.id).where(Job.id.in_(ids), is_open)))
