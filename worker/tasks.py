"""The one Celery task: a shell around the job runner, and around shadow reruns for a job that has ended."""

import logging
import os
from collections.abc import Callable
from uuid import UUID

from celery import Celery
from celery.exceptions import Reject

from worker.jobs.attempt import generate
from worker.models import faults
from worker.quality.shadow_reruns import check
from worker.runtime import Runtime

NAME = "chai.generate"
DEVICE_BROKEN = 70  # exit status of a child whose GPU gave up; the pool starts a new one

logger = logging.getLogger(__name__)


def register(app: Celery, runtime: Callable[[], Runtime]) -> None:
    """Give the app its task; `runtime` is called in the child, with the first job."""

    @app.task(name=NAME, ignore_result=True)  # type: ignore[untyped-decorator]
    def generate_task(*args: object, **kwargs: object) -> None:
        job_id = parse(args, kwargs)
        try:
            if not generate(runtime(), job_id):
                check(runtime(), job_id)
        except Exception as error:
            if not faults.is_broken(error):
                raise
            logger.exception("the device is unusable in this process; starting a new one")
            os._exit(DEVICE_BROKEN)


def parse(args: tuple[object, ...], kwargs: dict[str, object]) -> UUID:
    """Return the job id of a message; raise `Reject`, which drops the message, for any other content."""
    try:
        if kwargs or len(args) != 1:
            raise ValueError(f"{len(args)} positional and {len(kwargs)} named arguments")
        return UUID(str(args[0]))
    except ValueError as error:
        raise Reject(f"a {NAME} message holds one job id and nothing else: {error}", requeue=False) from error
