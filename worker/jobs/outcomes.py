"""How an attempt ends: published, cancelled, given up, given back, or without a word."""

import logging
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import jobs, metrics
from db.errors import LeaseLost
from db.jobs import Claim
from db.models import Job
from db.session import transaction
from shared.storage import StorageError
from worker.cache.decisions import planning
from worker.errors import Cancelled, GiveUp, TryAgain
from worker.jobs.context import JobContext, RunResult
from worker.jobs.retry import DATABASE_AWAY, retry_database
from worker.models import faults
from worker.runtime import Runtime

logger = logging.getLogger(__name__)


def publish(runtime: Runtime, job: JobContext, result: RunResult) -> bool:
    """Make the video the job's output, with its receipt, metrics, hits and cache entry, in one transaction.

    False when the job is no longer this attempt's to publish.
    """
    output = dict(result.output(job.params))
    receipt = planning.receipt(
        result.plan.plan, own_donors=result.plan.own_donors, gpu_seconds_saved=result.seconds_saved
    )

    def complete(session: Session, claim: Claim) -> None:
        jobs.complete(session, claim, output=output, receipt=receipt)
        runtime.cache.commit(session, claim, result.plan, result.kept)

    return end(runtime, job, "completed", complete)


def end_unfinished(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """End an attempt that raised. Raises the error again where it leaves this process unusable."""
    if isinstance(error, LeaseLost):
        discard(runtime, job, error)
    elif isinstance(error, Cancelled):
        end(runtime, job, "cancelled", jobs.cancelled)
    else:
        _end_broken(runtime, job, error)


def end(runtime: Runtime, job: JobContext, outcome: str, write: Callable[[Session, Claim], object]) -> bool:
    """End the attempt in one transaction: what `write` says of the job, then the metrics row; False if it is lost."""
    job.figures.versions = faults.versions()

    def commit() -> None:
        with transaction(runtime.factory) as session:
            metrics.end(session, job.claim, write, outcome=outcome, **job.figures.columns())

    try:
        retry_database(commit, until=lambda: job.hold.is_expired)
    except (LeaseLost, *DATABASE_AWAY) as error:
        discard(runtime, job, error)
        return False
    logger.info("job %s: attempt %d %s", job.job_id, job.claim.attempt, outcome)
    return True


def _end_broken(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """The job fails, or goes back to the queue when another attempt may do better."""
    logger.warning("job %s: attempt %d broke", job.job_id, job.claim.attempt, exc_info=error)
    found = diagnose(error)

    def write(session: Session, claim: Claim) -> None:
        if isinstance(found, GiveUp):
            jobs.fail(session, claim, code=found.code, message=found.message)
        else:
            max_lost = runtime.settings.max_lost
            jobs.give_back(session, claim, max_lost=max_lost, code=found.code, message=found.message)

    end(runtime, job, "failed" if isinstance(found, GiveUp) else "released", write)
    if faults.is_broken(error):
        raise error  # the device answers nothing more in this process


def diagnose(error: Exception) -> GiveUp | TryAgain:
    """Say whether another attempt can help, and tell the user what to do if not."""
    if isinstance(error, (GiveUp, TryAgain)):
        return error
    if faults.is_out_of_memory(error):
        return GiveUp(
            "out_of_memory", "the video does not fit the worker's memory; ask for a smaller size or less seconds"
        )
    if isinstance(error, ValueError):
        return GiveUp("invalid_request", f"the model cannot run this request: {error}")
    if isinstance(error, StorageError):
        return TryAgain("storage_unavailable", "the video was made but could not be stored; try again later")
    if isinstance(error, DATABASE_AWAY):
        return TryAgain("database_unavailable", "the database was away during the run; try again later")
    return TryAgain("internal_error", f"the worker failed ({type(error).__name__}); ask the operator for its log")


def discard(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """Leave the job to whoever has it now, and take away this attempt's file unless it was published after all.

    A commit whose answer was lost in a restart looks like a lost lease here: the row decides.
    """
    logger.warning("job %s: attempt %d ends without a word: %s", job.job_id, job.claim.attempt, error)
    name = job.video_name
    query = select(Job.id).where(Job.id == job.job_id, Job.output["name"].astext == name)
    try:
        with transaction(runtime.factory) as session:
            is_published = session.scalars(query).first() is not None
        if not is_published:
            runtime.storage.remove(name)
    except (*DATABASE_AWAY, StorageError) as failure:
        logger.warning("%s is left to the sweep of orphaned files: %s", name, failure)
