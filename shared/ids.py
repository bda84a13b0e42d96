"""Public ids that both sides of the queue write."""

import re
from uuid import UUID

TASK = "chai.generate"  # the name of the Celery task, which is one attempt at a job


def video_id(job_id: UUID) -> str:
    """Return the public form of a job's id."""
    return f"video_{job_id.hex}"


def task_id(job_id: UUID, attempt: int) -> str:
    """Return the id of the Celery task that is one attempt at a job."""
    return f"{video_id(job_id)}-{attempt}"


def attempt_of(task_id: str | None) -> int | None:
    """Return the attempt that a task's id names; None for an id that `task_id` did not make."""
    found = re.fullmatch(r"video_[0-9a-f]{32}-(\d+)", task_id or "")
    return int(found[1]) if found else None
