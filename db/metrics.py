"""The figures of attempts: one row each, never changed."""

from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.jobs import Claim
from db.models import JobMetric


def record(session: Session, claim: Claim, *, outcome: str, **figures: Any) -> None:
    """Write the row of this attempt, in the transaction that ends it. `figures` are columns of `JobMetric`."""
    session.execute(
        insert(JobMetric).values(
            job_id=claim.job.id,
            attempt=claim.attempt,
            fence=claim.fence,
            tenant=claim.job.tenant,
            queue_wait_s=claim.queue_wait_s,
            worker=claim.owner,
            outcome=outcome,
            **figures,
        ),
    )


def of_attempt(session: Session, job_id: UUID, attempt: int) -> JobMetric | None:
    """Return the figures of one attempt; None when it wrote none."""
    query = select(JobMetric).where(JobMetric.job_id == job_id, JobMetric.attempt == attempt)
    return session.scalars(query).one_or_none()
