"""Retries of bulk-run lines whose videos failed or were cancelled."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from db.models import Job, RetriedJob, ReusedLine
from db.states import JobStatus

_WANTED = ("prompt", "negative_prompt", "model", "width", "height", "num_frames", "fps", "seed")
_CHOSEN = (
    "num_inference_steps",
    "guidance_scale",
    "mode",
    "user_metadata",
    "request",
    "queue",
    "priority",
    "line_key",
    "webhook_url",
)
_KEPT = ("tenant", "group", *_WANTED, *_CHOSEN)
_LINE = ("custom_id", "line", "request_hash")


def number(session: Session, batch_id: UUID, statuses: Collection[JobStatus]) -> int:
    """Return how many lines of a run ended with one of these statuses."""
    return session.scalar(select(func.count()).select_from(_ended(batch_id, statuses).subquery())) or 0


def again(session: Session, batch_id: UUID, statuses: Collection[JobStatus], *, limit: int) -> int:
    """Give up to `limit` such lines new jobs, in their previous order; return how many."""
    query = _ended(batch_id, statuses).order_by(Job.created_at, Job.id).limit(limit)
    ended = session.execute(query).all()
    if not ended:
        return 0
    _free_names(session, batch_id, [row.Job.id for row in ended])
    made = insert(Job).values(created_at=func.clock_timestamp()).returning(Job.id, sort_by_parameter_order=True)
    ids = session.scalars(made, [_line(batch_id, row.Job, row.ReusedLine) for row in ended]).all()
    new = dict(zip([row.Job.id for row in ended], ids, strict=True))
    _follow(session, new)
    _lead_on(session, {row.Job.id: row.Job.tenant for row in ended if row.ReusedLine is None}, new)
    return len(ended)


def latest(session: Session, tenant: str, id_: UUID) -> UUID | None:
    """Return the job that now makes the line of a job that a retry removed; None for any other id."""
    query = select(RetriedJob.job_id).where(RetriedJob.id == id_, RetriedJob.tenant == tenant)
    return session.scalars(query).one_or_none()


def _ended(batch_id: UUID, statuses: Collection[JobStatus]) -> Any:  # Any: a select of two rows, the second one or none
    joined = (ReusedLine.job_id == Job.id) & (ReusedLine.batch_id == batch_id)
    return (
        select(Job, ReusedLine)
        .outerjoin(ReusedLine, joined)
        .where(
            or_(Job.batch_id == batch_id, ReusedLine.batch_id == batch_id),
            Job.status.in_(list(statuses)),
            Job.deleted_at.is_(None),
        )
    )


def _line(batch_id: UUID, job: Job, reused: ReusedLine | None) -> dict[str, Any]:
    named: Job | ReusedLine = reused or job
    return {"batch_id": batch_id} | {name: getattr(job, name) for name in _KEPT} | {n: getattr(named, n) for n in _LINE}


def _free_names(session: Session, batch_id: UUID, ids: Collection[UUID]) -> None:
    """Take the old jobs out of the run: its own are removed, those of an earlier run stay there."""
    mine = update(Job).where(Job.id.in_(ids), Job.batch_id == batch_id)
    gone = {"batch_id": None, "custom_id": None, "deleted_at": func.clock_timestamp()}
    session.execute(mine.values(gone), execution_options={"synchronize_session": False})
    reused = delete(ReusedLine).where(ReusedLine.batch_id == batch_id, ReusedLine.job_id.in_(ids))
    session.execute(reused, execution_options={"synchronize_session": False})


def _lead_on(session: Session, removed: Mapping[UUID, str], new: Mapping[UUID, UUID]) -> None:
    """Let the ids of removed jobs, and ids that led to these, lead to the new jobs. `removed` names the tenant."""
    if not removed:
        return
    session.execute(
        update(RetriedJob).where(RetriedJob.job_id.in_(removed)).values(job_id=case(new, value=RetriedJob.job_id)),
        execution_options={"synchronize_session": False},
    )
    rows = [{"id": id_, "tenant": tenant, "job_id": new[id_]} for id_, tenant in removed.items()]
    session.execute(insert(RetriedJob), rows)


def _follow(session: Session, new: Mapping[UUID, UUID]) -> None:
    """Let other runs that reused a removed job use the new one."""
    removed = select(Job.id).where(Job.id.in_(new), Job.deleted_at.is_not(None))
    session.execute(
        update(ReusedLine).where(ReusedLine.job_id.in_(removed)).values(job_id=case(new, value=ReusedLine.job_id)),
        execution_options={"synchronize_session": False},
    )
