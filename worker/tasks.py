"""The one Celery task: a shell around the job runner, and around shadow reruns for a job that has ended.

A task is one attempt at one job, and ends in Celery (and so in Flower) as the attempt did: SUCCESS with a summary of
the video, FAILURE if the job failed or its process died, REVOKED if the user cancelled the job, RETRY if the job went
back to the queue. Nobody waits for results; they are for people to see.
"""

import logging
import os
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from billiard.exceptions import WorkerLostError
from celery import Celery
from celery.exceptions import Ignore, Reject
from celery.worker.request import Request

from db import jobs, metrics
from db.session import transaction
from db.states import JobStatus
from shared.ids import TASK, attempt_of
from worker.jobs.attempt import generate
from worker.jobs.outages import DATABASE_AWAY
from worker.models import device_faults
from worker.quality.shadow_reruns import check
from worker.runtime import Runtime

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """The job failed for good: its row and this message say why."""


class AttemptCancelled(Exception):
    """The user took the job back."""


class AttemptReturned(Exception):
    """The job went back to the queue: the next attempt is another task."""


ENDS = (AttemptFailed, AttemptCancelled, AttemptReturned)
_EVENTS = {AttemptCancelled.__name__: "task-revoked", AttemptReturned.__name__: "task-retried"}


class AttemptRequest(Request):  # type: ignore[misc]  # celery has no types
    """A task in the parent process: tells Celery's tools how the attempt ended."""

    is_stopping: Callable[[], bool] = staticmethod(lambda: False)  # whether its worker is being stopped

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event that says how the attempt really ended, in place of Celery's own."""
        args = str(self._request_dict.get("argsrepr") or "")
        kind, said = truthful(type, fields, args=args, is_stopping=self.is_stopping())
        super().send_event(kind, **said)


def truthful(kind: str, fields: dict[str, Any], *, args: str, is_stopping: bool = False) -> tuple[str, dict[str, Any]]:
    """Return an event's kind and fields, corrected to the attempt's end; a completed one shows path and prompt.

    A child that dies while its worker is being stopped was told to stop as well: its job is back in the queue.
    """
    if kind == "task-succeeded":
        made = re.search(r"completed (\w+)", str(fields.get("result", "")))
        return kind, fields | ({"args": f"{args[:-1]}, {made[1]!r})"} if made and args.endswith(")") else {})
    if kind != "task-failed":
        return kind, fields
    error = str(fields.get("exception", ""))
    name = error.partition("(")[0]
    if name == "ExceptionWithTraceback":  # billiard's wrapper: the last line has the name of the error
        *_, last = [line for line in str(fields.get("traceback", "")).splitlines() if line.strip(' "')] or [name]
        error = last.strip()
    if is_stopping and WorkerLostError.__name__ in error:
        name, error = AttemptReturned.__name__, f"{AttemptReturned.__name__}('its worker was stopped')"
    fields = fields | {"exception": error}
    if name not in {end.__name__ for end in ENDS}:
        return kind, fields
    said = {key: value for key, value in fields.items() if key != "traceback"}  # nothing broke: no traceback
    if name == AttemptCancelled.__name__:
        said |= {"terminated": False, "signum": None, "expired": False}
    return _EVENTS.get(name, kind), said


def register(app: Celery, runtime: Callable[[], Runtime], *, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Register the app's task; `runtime` is called in the child, at the first job, `is_stopping` in the parent."""

    @app.task(name=TASK, bind=True, ignore_result=True, throws=ENDS)  # type: ignore[untyped-decorator]
    def generate_task(task: Any, *args: object, **kwargs: object) -> str:
        job_id = parse(args, kwargs)
        attempt = attempt_of(task.request.id)
        try:
            if is_over(runtime(), job_id, attempt):
                raise Ignore
            if generate(runtime(), job_id, attempt):
                return ended(runtime(), job_id, attempt)
            check(runtime(), job_id)
            return unclaimed(runtime(), job_id, attempt)
        except (Ignore, *ENDS):
            raise
        except Exception as error:
            if not device_faults.is_broken(error):
                raise
            logger.exception("the device is unusable in this process; starting a new one")
            os._exit(device_faults.DEVICE_BROKEN)

    generate_task.Request = type("Request", (AttemptRequest,), {"is_stopping": staticmethod(is_stopping)})


def parse(args: tuple[object, ...], kwargs: dict[str, object]) -> UUID:
    """Return the job id of a message; raise `Reject`, which drops the message, for any other content."""
    try:
        if kwargs or len(args) != 1:
            raise ValueError(f"{len(args)} positional and {len(kwargs)} named arguments")
        return UUID(str(args[0]))
    except ValueError as error:
        raise Reject(f"a {TASK} message holds one job id and nothing else: {error}", requeue=False) from error


def is_over(runtime: Runtime, job_id: UUID, attempt: int | None) -> bool:
    """Whether an attempt was begun before: then this message is a duplicate, and the next attempt has its own."""
    if attempt is None:
        return False
    try:
        with transaction(runtime.factory) as session:
            return jobs.was_begun(session, job_id, attempt)
    except DATABASE_AWAY:
        return False  # the claim waits for the database and decides


def ended(runtime: Runtime, job_id: UUID, attempt: int | None) -> str:
    """Return the summary of a completed attempt; raise one of `ENDS` for any other end."""
    try:
        with transaction(runtime.factory) as session:
            row = metrics.ended(session, job_id, attempt)
    except DATABASE_AWAY as error:
        raise AttemptReturned("the database is away; the job's row says how it ended") from error
    if row is None:
        raise AttemptReturned("the lease is lost; another attempt has the job, or it was deleted")
    if row.outcome == "completed":
        return f"completed {row.path}, {row.num_steps} steps, {row.gpu_seconds or 0:.2f} s"
    if JobStatus.CANCELLED in (row.outcome, row.status):
        raise AttemptCancelled("by its user")
    if row.outcome == "failed" or row.error_code:
        raise AttemptFailed(f"{row.error_code}: {row.error_message}")
    raise AttemptReturned(f"{row.outcome}; back in the queue")


def unclaimed(runtime: Runtime, job_id: UUID, attempt: int | None) -> str:
    """Return the result of a message without a job to claim; raise `Ignore` if another task reports its end."""
    try:
        with transaction(runtime.factory) as session:
            status = jobs.status_of(session, job_id)
    except DATABASE_AWAY:
        raise Ignore from None
    if status == JobStatus.CANCELLED:
        raise AttemptCancelled("before it began")
    if status is None:
        raise AttemptCancelled("the job was deleted")
    if status == JobStatus.COMPLETED and attempt is None:
        return "checked"
    raise Ignore
