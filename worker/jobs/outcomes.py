"""How an attempt ends: published, cancelled, failed, requeued, or unrecorded because the lease was lost."""

import logging
from collections.abc import Callable

from sqlalchemy.orm import Session

from db import jobs, metrics
from db.errors import LeaseLost
from db.jobs import Claim
from db.session import transaction
from shared.storage import StorageError
from worker import fitness
from worker.errors import Cancelled, Stopped
from worker.jobs import faults
from worker.jobs.context import JobContext, RunResult
from worker.jobs.faults import Blame
from worker.jobs.outages import DATABASE_AWAY, retry_database
from worker.models import device_faults
from worker.runtime import Runtime

logger = logging.getLogger(__name__)


def publish(runtime: Runtime, job: JobContext, result: RunResult) -> bool:
    """Make the video the job's output, with its receipt, metrics, hits and cache entry, in one transaction.

    Return False if the job no longer belongs to this attempt.
    """
    output = dict(result.output(job.params))
    receipt = result.plan.receipt(gpu_seconds_saved=result.seconds_saved)

    def complete(session: Session, claim: Claim) -> None:
        jobs.complete(session, claim, output=output, receipt=receipt)
        runtime.cache.commit(session, claim, result.plan, result.kept)

    is_published = end(runtime, job, "completed", complete)
    if is_published:
        runtime.faulty_jobs.clear()
    return is_published


def end_unfinished(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """End an attempt that raised. Raise the error again if it leaves this process unusable."""
    if isinstance(error, LeaseLost):
        discard(runtime, job, error)
    elif isinstance(error, Cancelled):
        end(runtime, job, "cancelled", jobs.cancelled)
    elif isinstance(error, Stopped):
        end(runtime, job, "released", jobs.stopped)
    else:
        _end_broken(runtime, job, error)


def end(runtime: Runtime, job: JobContext, outcome: str, write: Callable[[Session, Claim], object]) -> bool:
    """End the attempt in one transaction: `write` the job, then the metrics row; False if the lease is lost."""
    job.figures.versions |= device_faults.versions()

    def commit() -> None:
        with transaction(runtime.factory) as session:
            metrics.end(session, job.claim, write, outcome=outcome, **job.figures.columns())

    try:
        retry_database(commit, until=lambda: job.lease.is_expired)
    except (LeaseLost, *DATABASE_AWAY) as error:
        discard(runtime, job, error)
        return False
    logger.info("job %s: attempt %d %s", job.job_id, job.claim.attempt, outcome)
    return True


def _end_broken(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """Fail the job or return it to the queue; the attempt counts against it unless this machine is at fault."""
    logger.warning("job %s: attempt %d broke", job.job_id, job.claim.attempt, exc_info=error)
    device_faults.forget(error)  # the machine tests itself next, and needs the memory of this run
    fault = faults.judge(error, lambda: fitness.tried(runtime, fitness.LOCAL))
    limits = runtime.settings

    def write(session: Session, claim: Claim) -> None:
        said = {"code": fault.code, "message": fault.message}
        if fault.blame is Blame.JOB:
            jobs.fail(session, claim, **said)
        elif fault.is_free:
            jobs.refuse(session, claim, max_faults=limits.max_faults, **said)
        else:
            jobs.give_back(session, claim, max_lost=limits.max_lost, **said)

    end(runtime, job, "failed" if fault.blame is Blame.JOB else "released", write)
    if device_faults.is_broken(error):
        runtime.gate.close(f"{fault.code}: the device answers no more")
        raise error  # the device no longer answers in this process
    fitness.note(runtime, job.job_id, fault)


def discard(runtime: Runtime, job: JobContext, error: Exception) -> None:
    """Leave the job to whoever has it now, and remove this attempt's file unless it was published after all.

    A commit whose answer was lost in a restart looks like a lost lease here: the row decides, once it is not being
    written.
    """
    logger.warning("job %s: attempt %d ends without a word: %s", job.job_id, job.claim.attempt, error)
    name = job.video_name
    try:
        with transaction(runtime.factory) as session:
            is_published = jobs.published(session, job.job_id) == name
        if not is_published:
            for left in (name, *job.picture_names.values()):
                runtime.storage.remove(left)
    except (*DATABASE_AWAY, StorageError) as failure:
        logger.warning("%s is left to the sweep of orphaned files: %s", name, failure)
