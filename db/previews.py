"""Previews of running attempts: one small picture each, the latest."""

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.jobs import Claim
from db.models import Job, Preview
from db.states import JobStatus


def put(session: Session, claim: Claim, content: bytes) -> None:
    """Replace the preview by a JPEG. The caller has checked the fence in this transaction."""
    values = {"fence": claim.fence, "content": content, "created_at": func.now()}
    fresh = insert(Preview).values(job_id=claim.job.id, **values)
    session.execute(fresh.on_conflict_do_update(index_elements=["job_id"], set_=values))


def of(session: Session, job: Job) -> bytes | None:
    """Return the preview of a running job's present attempt; None while there is none."""
    if job.status != JobStatus.IN_PROGRESS:
        return None
    return session.scalar(select(Preview.content).where(Preview.job_id == job.id, Preview.fence == job.fence))


def sweep(session: Session, *, older: timedelta) -> None:
    """Delete previews of attempts that have ended."""
    session.execute(delete(Preview).where(Preview.created_at < func.now() - older))
