"""The figures of attempts: one row each, never changed."""

from typing import Any

from sqlalchemy import insert
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
