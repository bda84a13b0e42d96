"""One attempt at a job: taken under a lease, run, and brought to an end that its row tells."""

import logging
import secrets
from contextlib import AbstractContextManager
from uuid import UUID

from db.jobs import Claim
from shared import tracing
from shared.generation import GenerationParams
from worker.jobs import outcomes
from worker.jobs.context import JobContext, Parts, RunResult
from worker.jobs.lease import Lease, claim_job
from worker.jobs.runner import run
from worker.quality import monitor
from worker.runtime import Runtime

GATE_PATIENCE_S = 30.0  # for a message that came while the worker tries itself
MAX_SEED = 2**31  # what every client can hold


logger = logging.getLogger(__name__)


def generate(runtime: Runtime, job_id: UUID) -> bool:
    """Run a job to an end that its row tells: completed, failed, cancelled or back in the queue.

    Does nothing and returns False when somebody else has the job, when it has ended, and while this worker is not fit.
    Raises only what leaves this process unusable.
    """
    if not runtime.gate.wait(GATE_PATIENCE_S):
        logger.warning("job %s is left to others: this worker takes no jobs (%s)", job_id, runtime.gate.reason)
        return False
    models = runtime.models() or None  # where no card can be read the claim goes on, and the fault is seen
    claim = claim_job(runtime.factory, job_id, owner=runtime.owner, lease_s=runtime.settings.lease_s, models=models)
    if claim is None:
        return False
    params = GenerationParams.of(claim.job)
    seed = secrets.randbelow(MAX_SEED) if params.seed is None else params.seed
    with _traced(claim), Lease(runtime.factory, claim, runtime.settings) as lease:
        job = JobContext(claim=claim, params=params, seed=seed, hold=lease)
        try:
            run(job, parts(runtime))
        except Exception as error:
            outcomes.end_unfinished(runtime, job, error)
        tracing.note(path=job.figures.path, reason=job.figures.reason, steps=job.figures.num_steps)
    return True


def _traced(claim: Claim) -> AbstractContextManager[object]:
    """Return the span of an attempt, where spans are wanted."""
    job, waited_s = claim.job, claim.queue_wait_s
    video = f"video_{job.id.hex}"
    return tracing.attempt(job.traceparent, waited_s=waited_s, video=video, number=claim.attempt, model=job.model)


def parts(runtime: Runtime) -> Parts:
    """Return what a process's jobs share, as the runner knows it."""

    def publish(job: JobContext, result: RunResult) -> None:
        if outcomes.publish(runtime, job, result):
            is_canonical = job.params.is_canonical(runtime.card(job.params.model))
            monitor.sample(
                runtime.factory,
                runtime.settings,
                job.claim,
                result.plan,
                result.file.name,
                is_canonical=is_canonical,
            )

    return Parts(
        model=runtime.model,
        cache=runtime.cache,
        storage=runtime.storage,
        publish=publish,
        storage_patience_s=runtime.settings.storage_patience_s,
        pace=runtime.pace,
        previews=runtime.previews,
    )
