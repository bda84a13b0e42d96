"""One attempt at a job: claim it under a lease, run it, and record its end in the job's row."""

import logging
import secrets
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

from db import jobs
from db.jobs import Claim
from db.session import transaction
from shared import tracing
from shared.generation import GenerationParams, Mode
from shared.ids import video_id
from shared.logs import first_line
from worker import fitness
from worker.errors import Stopped
from worker.jobs import outcomes
from worker.jobs.context import JobContext, Parts, RunResult
from worker.jobs.lease import Lease, claim_job
from worker.jobs.outages import DATABASE_AWAY
from worker.jobs.pipeline import LOOK_S, Turn
from worker.jobs.runner import run
from worker.prompts.entities import extract
from worker.quality import monitor
from worker.runtime import Runtime

GATE_PATIENCE_S = 30.0  # how long a message waits while the worker tests itself
LAST_WAIT_S = 5.0  # how long a process about to exit waits for the job beside the one that broke it
MAX_SEED = 2**31  # fits the integers of every client


logger = logging.getLogger(__name__)


def generate(runtime: Runtime, job_id: UUID, attempt: int | None = None) -> bool:
    """Run a job until it is completed, failed, cancelled or back in the queue, as its row then says.

    If the job was claimed ahead of its message, it is already running: wait for its end. Return False, having done
    nothing, if another worker has the job, if it has ended, or while this worker is unfit. Raise only errors that leave
    this process unusable.
    """
    with runtime.pipeline.door:  # nothing is claimed ahead meanwhile
        begun = runtime.pipeline.find(job_id, attempt)
        claim = None if begun else _claim(runtime, job_id)
    if begun is None and claim is None:
        return False
    try:
        if begun is not None:
            begun.result()
        elif claim is not None:
            _run(runtime, claim)
    except Exception:
        runtime.pipeline.wait_empty(LAST_WAIT_S)  # the job beside this one is released
        raise
    return True


def _claim(runtime: Runtime, job_id: UUID) -> Claim | None:
    """Claim the job of a message once the jobs that were claimed without one have ended."""
    runtime.pipeline.wait_empty()
    if not runtime.gate.wait(GATE_PATIENCE_S):
        logger.warning("job %s is left to others: this worker takes no jobs (%s)", job_id, runtime.gate.reason)
        return None
    models = runtime.models() or None  # if no card can be read, claim anyway, so that the fault shows
    owner, lease_s, is_stopped = runtime.owner, runtime.settings.lease_s, lambda: runtime.gate.is_stopped
    try:
        claim = claim_job(runtime.factory, job_id, owner=owner, lease_s=lease_s, models=models, until=is_stopped)
    except DATABASE_AWAY as error:
        logger.warning("job %s is left to others: this worker stops (%s)", job_id, first_line(error))
        return None
    if claim is not None:
        runtime.pipeline.add(claim)
    return claim


def _go_on(runtime: Runtime, current: Claim, *, lends: bool) -> None:
    """Claim and begin the next job while the current one has the device."""
    if not runtime.pipeline.door.acquire(blocking=False):
        return
    try:
        claim = _claim_ahead(runtime, current.job.model)
        if claim is None:
            return
        end = runtime.pipeline.begin(claim)
    finally:
        runtime.pipeline.door.release()
    _run_beside(runtime, claim, end, lender=current if lends else None)


def _claim_ahead(runtime: Runtime, model: str) -> Claim | None:
    if runtime.pipeline.is_full or not runtime.gate.is_open:
        return None
    models, lease_s = runtime.models(), runtime.settings.lease_s
    try:
        with transaction(runtime.factory) as session:
            return jobs.claim_ahead(
                session, owner=runtime.owner, lease_s=lease_s, model=model, models=models, queues=runtime.queues
            )
    except DATABASE_AWAY as error:
        logger.warning("the next job is not claimed ahead: %s", first_line(error))
        return None


def _may_borrow(claim: Claim, lender: Claim) -> bool:
    """Whether a job might find in the cache what another is about to store there: they name a thing in common."""
    named, shown = ({entity.head for entity in extract(each.job.prompt).entities} for each in (claim, lender))
    return claim.job.mode != Mode.FULL and not named.isdisjoint(shown)


def _run_beside(runtime: Runtime, claim: Claim, end: Future[None], lender: Claim | None) -> None:
    """Run a job that was claimed ahead; the task made of its message learns how it ended."""
    try:
        runtime.announce(claim)
        _run(runtime, claim, is_ahead=True, lender=lender if lender and _may_borrow(claim, lender) else None)
    except Exception as error:  # this process is unusable
        end.set_exception(error)
        fitness.prove(runtime)  # ends the process if no message comes
    else:
        end.set_result(None)


def _run(runtime: Runtime, claim: Claim, *, is_ahead: bool = False, lender: Claim | None = None) -> None:
    """Run an attempt that this process holds; raise only errors that leave this process unusable."""
    try:
        _attempt(runtime, claim, is_ahead=is_ahead, lender=lender)
    finally:
        runtime.pipeline.remove(claim)


def _attempt(runtime: Runtime, claim: Claim, *, is_ahead: bool, lender: Claim | None) -> None:
    """Run an attempt, after the job whose latents it waits for, if any.

    A job that broke keeps the device until it is known whose fault that was, so that the next one does not break too.
    """
    params = GenerationParams.of(claim.job)
    seed = secrets.randbelow(MAX_SEED) if params.seed is None else params.seed
    held = Lease(runtime.factory, claim, runtime.settings, is_stopping=lambda: runtime.gate.is_stopped)
    with _traced(claim), held as lease:

        def check() -> None:
            lease.check()
            if is_ahead and not runtime.gate.is_open:
                raise Stopped(f"job {claim.job.id}: its worker takes no jobs any more: {runtime.gate.reason}")

        def expect_end(left_s: float, *, lends: bool) -> None:
            if not jobs.broke_before(claim.job):
                runtime.pipeline.look(partial(_go_on, runtime, claim, lends=lends), left_s)

        def admit() -> None:
            if is_ahead and _is_held(runtime, claim):
                raise Stopped(f"job {claim.job.id}: its run was paused, or its window closed, before its turn")

        turn = Turn(runtime.pipeline.device, beside=runtime.pipeline.beside, check=check, admit=admit)
        job = JobContext(claim=claim, params=params, seed=seed, lease=lease, turn=turn, expect_end=expect_end)
        try:
            lease.check()
            while lender is not None and not runtime.pipeline.wait_end(lender, LOOK_S):
                check()
            run(job, parts(runtime))
        except Exception as error:
            outcomes.end_unfinished(runtime, job, error)
        finally:
            tracing.note(path=job.figures.path, reason=job.figures.reason, steps=job.figures.num_steps)
            turn.free()


def _is_held(runtime: Runtime, claim: Claim) -> bool:
    try:
        with transaction(runtime.factory) as session:
            return jobs.is_held(session, claim)
    except DATABASE_AWAY:
        return False  # it was admitted when it was claimed


def _traced(claim: Claim) -> AbstractContextManager[object]:
    """Return the span of an attempt; one that does nothing if tracing is off."""
    job, waited_s = claim.job, claim.queue_wait_s
    video = video_id(job.id)
    return tracing.attempt(job.traceparent, waited_s=waited_s, video=video, number=claim.attempt, model=job.model)


def parts(runtime: Runtime) -> Parts:
    """Return what the jobs of a process share, in the form that the runner expects."""

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
