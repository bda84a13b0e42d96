"""Every statement that changes a job's state: claims, leases, ends. Functions flush; the caller commits.

A worker holds a job by a `Claim`; each of its writes says `WHERE fence = …`, so that a worker whose lease is lost can
write nothing. Leases are set and checked by the database's clock.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from db import heartbeats, job_pauses, outbox, removed, retried_lines, reused_lines
from db.errors import LeaseLost, NotFound
from db.models import Batch, Heartbeat, Job, JobMetric
from db.states import FINAL, JobStatus, check_job
from shared.run_windows import AtEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on a job, until the lease ends."""

    job: Job  # as at the claim
    fence: int
    attempt: int
    owner: str
    queue_wait_s: float  # from acceptance, or from the last return to the queue, to this claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The result of one pass over expired leases."""

    requeued: list[UUID]
    failed: list[UUID]
    cancelled: list[UUID]


def get(session: Session, tenant: str, id_: UUID, *, lock: bool = False) -> Job:
    """Return the tenant's job or, if a retry replaced it, the new one; locked if asked; raise `NotFound`."""
    query = _owned(tenant, id_)
    job = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if job is not None:
        return job
    newer = retried_lines.latest(session, tenant, id_)
    if newer is None:
        raise NotFound(f"no job {id_}")
    return get(session, tenant, newer, lock=lock)


def claim(
    session: Session, id_: UUID, *, owner: str, lease_s: float, models: Collection[str] | None = None
) -> Claim | None:
    """Claim a queued job in one statement; None if another worker has it, it has ended, or its run is held.

    With `models`, those that the worker has: None too if the job needs another one.

    The relay is notified, since the window has room for the next job.
    """
    return _claim(session, Job.id == id_, *_is_for(owner, models), owner=owner, lease_s=lease_s)


def claim_ahead(
    session: Session, *, owner: str, lease_s: float, model: str, models: Collection[str], queues: Collection[str]
) -> Claim | None:
    """Claim the next job for a worker that is still running another; None if there is no suitable one.

    None, too, while another worker is idle and could begin at once; and if the next job needs another model than
    `model`, the loaded one, or broke before: that one runs alone, and the jobs behind it wait for it.
    """
    handed = (Job.queue.in_(queues), Job.status == JobStatus.QUEUED, Job.published_at.is_not(None))
    order = (Job.queue.desc(), Job.published_at, Job.id)  # interactive before bulk
    first = select(Job.id).where(*handed, *_is_for(owner, models or None)).order_by(*order).limit(1)
    runs_beside = Job.model == model, Job.num_lost == 0, Job.num_faults == 0
    return _claim(
        session, Job.id == first.scalar_subquery(), *runs_beside, ~_SOMEBODY_IDLES, owner=owner, lease_s=lease_s
    )


def broke_before(job: Job) -> bool:
    """Whether a process died or a machine failed during the job, which then runs alone."""
    return bool(job.num_lost or job.num_faults)


_running = aliased(Job)
_BUSY = select("worker:" + _running.lease_owner).where(_running.status == JobStatus.IN_PROGRESS)
_SOMEBODY_IDLES = heartbeats.takers(Job.queue, Job.model).where(Heartbeat.name.not_in(_BUSY)).correlate(Job).exists()


def _is_for(owner: str, models: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that this worker may have a queued job now."""
    return job_pauses.may_take(owner), ~outbox.is_held(), true() if models is None else Job.model.in_(models)


def _claim(session: Session, *which: ColumnElement[bool], owner: str, lease_s: float) -> Claim | None:
    since = func.coalesce(Job.queued_at, Job.created_at)
    row = session.execute(
        update(Job)
        .where(Job.status == JobStatus.QUEUED, *which)
        .values(
            status=JobStatus.IN_PROGRESS,
            lease_owner=owner,
            lease_until=func.now() + timedelta(seconds=lease_s),
            fence=Job.fence + 1,
            attempt=Job.attempt + 1,
            claimed_at=func.clock_timestamp(),
        )
        .returning(Job, func.extract("epoch", func.clock_timestamp() - since)),
        execution_options={"synchronize_session": False, "populate_existing": True},
    ).one_or_none()
    if row is None:
        return None
    outbox.notify(session)
    job, waited = row
    return Claim(job=job, fence=job.fence, attempt=job.attempt, owner=owner, queue_wait_s=float(waited))


def beat(session: Session, claim: Claim, *, lease_s: float, **progress: Any) -> bool:
    """Extend the lease and write progress; return whether the user asked to cancel; raise `LeaseLost`.

    `progress` may hold `progress` (per cent), `step`, `num_steps`, `path` and `receipt`.
    """
    asked = session.execute(
        update(Job)
        .where(*_held(claim))
        .values(lease_until=func.now() + timedelta(seconds=lease_s), **progress)
        .returning(Job.cancel_requested),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    if asked is None:
        raise lease_lost(claim)
    return asked


def is_to_stop(session: Session, claim: Claim) -> bool:
    """Whether the job's run waits for its next window and stops running jobs outside of it."""
    stops = Batch.run_window["at_end"].astext == AtEnd.STOP
    query = select(Batch.id).where(Batch.id == claim.job.batch_id, Batch.is_held, stops)
    return claim.job.batch_id is not None and session.scalar(select(query.exists())) is True


def is_held(session: Session, claim: Claim) -> bool:
    """Whether the job's run was paused, or its window closed, since the claim: a begun job may still go on."""
    return session.scalar(select(select(Job.id).where(Job.id == claim.job.id, outbox.is_held()).exists())) is True


def stopped(session: Session, claim: Claim) -> None:
    """Put the job back into the queue, to begin again when its run goes on; nothing is held against it. See `_requeue`.

    The caller writes the row of the attempt, see `metrics.end`. Raises `LeaseLost`.
    """
    _requeue(session, [lock_claimed(session, claim)])


def complete(session: Session, claim: Claim, *, output: Mapping[str, Any], receipt: Mapping[str, Any]) -> None:
    """Publish the output; raise `LeaseLost`. A cancel that came too late is ignored: the video exists.

    Path and steps are copied from the receipt to the row: a short attempt may end before its first progress is written.
    """
    steps = {"step": receipt.get("steps", Job.step), "num_steps": receipt.get("steps", Job.num_steps)}
    values = {"output": dict(output), "receipt": dict(receipt), "path": receipt.get("path", Job.path), **steps}
    _finish(session, claim, JobStatus.COMPLETED, progress=100, **values)


def fail(session: Session, claim: Claim, *, code: str, message: str) -> None:
    """End the job for good; raise `LeaseLost`."""
    _finish(session, claim, JobStatus.FAILED, error_code=code, error_message=message)


def cancelled(session: Session, claim: Claim) -> None:
    """End the job as the user asked; raise `LeaseLost`."""
    _finish(session, claim, JobStatus.CANCELLED)


def _finish(session: Session, claim: Claim, status: JobStatus, **values: Any) -> None:
    check_job(JobStatus.IN_PROGRESS, status)
    done = session.execute(
        update(Job)
        .where(*_held(claim))
        .values(status=status, lease_until=None, finished_at=func.clock_timestamp(), **values)
        .returning(Job.id),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    if done is None:
        raise lease_lost(claim)


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return Job.id == claim.job.id, Job.fence == claim.fence, Job.status == JobStatus.IN_PROGRESS


def release(session: Session, *, owner: str) -> list[UUID]:
    """Requeue the jobs of a worker that shuts down, without counting that against them; return them.

    A job whose row another transaction holds stays: its attempt stops by itself, see `worker.jobs.lease`.
    """
    its = _locked(session, and_(Job.status == JobStatus.IN_PROGRESS, Job.lease_owner == owner), 100)
    return _ids(_return(session, its, "released", lost=0), JobStatus.QUEUED)


def lease_lost(claim: Claim) -> LeaseLost:
    """Return the error for an attempt that no longer has its job."""
    return LeaseLost(f"job {claim.job.id}: fence {claim.fence} is no longer current")


def lock_claimed(session: Session, claim: Claim) -> Job:
    """Lock the job's row until the transaction ends; raise `LeaseLost`.

    The first statement of every transaction that writes for an attempt and does not begin with a write that checks its
    fence: nobody can take the job in between.
    """
    query = select(Job).where(*_held(claim)).with_for_update(key_share=True)
    job = session.scalars(query, execution_options={"populate_existing": True}).one_or_none()
    if job is None:
        raise lease_lost(claim)
    return job


def recover(session: Session, *, owner: str, max_lost: int) -> Swept:
    """Fail or requeue the jobs of a worker whose process died, as `sweep` does when their leases expire.

    Waits for rows that another transaction holds, usually the dead process's own last statement: nothing retries before
    the lease expires.
    """
    which = and_(Job.status == JobStatus.IN_PROGRESS, Job.lease_owner == owner)
    return _recover(session, which, max_lost, 100, waits=True)


def give_back(session: Session, claim: Claim, *, max_lost: int, code: str, message: str) -> JobStatus:
    """Return a job whose attempt broke for a passing reason to the queue, or fail it if that was the last attempt.

    Broken attempts count as lost ones. The caller writes the row of the attempt, see `metrics.end`. Returns the job's
    new status, which may be cancelled: see `_requeue`. Raises `LeaseLost`.
    """
    job = lock_claimed(session, claim)
    job.num_lost += 1
    if job.num_lost < max_lost or job.cancel_requested:
        _requeue(session, [job])
    else:
        _fail(session, job, code, message)
    return JobStatus(job.status)


def refuse(session: Session, claim: Claim, *, max_faults: int, code: str, message: str) -> JobStatus:
    """Return a job that this worker's machine could not run to the queue, or fail it after too many such faults.

    The attempt does not count as lost. Other workers may have the job at once, this one only after a pause that
    doubles; from the third fault on all workers wait, so that machines that broke together do not use up its attempts
    within a second. The caller writes the row of the attempt, see `metrics.end`. Returns the job's new status, which
    may be cancelled: see `_requeue`. Raises `LeaseLost`.
    """
    job = lock_claimed(session, claim)
    job.num_faults += 1
    if job.num_faults < max_faults or job.cancel_requested:
        job.retry_at = session.scalar(select(func.clock_timestamp() + job_pauses.after(job.num_faults)))
        job.excluded = sorted({*job.excluded, claim.owner})
        _requeue(session, [job])
    else:
        _fail(session, job, code, message)
    return JobStatus(job.status)


def may_be_cancelled() -> ColumnElement[bool]:
    """The condition that a job has not ended and has not been asked to cancel."""
    return or_(Job.status == JobStatus.QUEUED, and_(Job.status == JobStatus.IN_PROGRESS, ~Job.cancel_requested))


def request_cancel(session: Session, tenant: str, id_: UUID) -> Job:
    """Cancel a waiting job at once, ask the worker of a running one to stop, leave an ended one; raise `NotFound`."""
    job = get(session, tenant, id_, lock=True)
    _cancel(job, session.scalar(select(func.clock_timestamp())))
    session.flush()
    return job


def cancel_lines(session: Session, batch_id: UUID, *, limit: int) -> int:
    """Cancel up to `limit` jobs of a batch that have not ended; return how many were handled, 0 if none is left.

    A job that another run of the series waits for goes on as that run's own. One statement per chunk keeps memory and
    locks small even for 50,000 lines. A row that another transaction holds, perhaps from a machine out of reach, is
    left to `batches.finish`, which tries again.
    """
    some = select(Job.id).where(Job.batch_id == batch_id, may_be_cancelled()).limit(limit)
    ids = set(session.scalars(some.with_for_update(skip_locked=True)))
    handed_on, left = reused_lines.hand_on(session, ids)
    _cancel_all(session, ids - handed_on - left)
    return len(ids - left)


def cancel_due(session: Session, *, limit: int = 100) -> list[UUID]:
    """Cancel the jobs whose `cancel_at` has passed; return them."""
    due = select(Job.id).where(Job.cancel_at <= func.now(), may_be_cancelled()).limit(limit)
    ids = session.scalars(
        select(Job.id).where(Job.id.in_(due)).order_by(Job.id).with_for_update(skip_locked=True)
    ).all()
    message = "this video had not ended when its Cancel-After was over; submit the prompt again"
    _cancel_all(session, ids, error_code="deadline", error_message=message)
    return list(ids)


def _cancel_all(session: Session, ids: Collection[UUID], **values: Any) -> None:
    check_job(JobStatus.QUEUED, JobStatus.CANCELLED)
    if not ids:
        return
    waits = Job.status == JobStatus.QUEUED
    session.execute(
        update(Job)
        .where(Job.id.in_(ids), Job.status.not_in(FINAL))
        .values(
            cancel_requested=True,
            status=case((waits, JobStatus.CANCELLED), else_=Job.status),
            finished_at=case((waits, func.clock_timestamp()), else_=Job.finished_at),
            **values,
        ),
        execution_options={"synchronize_session": False},
    )


def _cancel(job: Job, now: datetime | None) -> bool:
    if job.status in FINAL:
        return False
    job.cancel_requested = True
    if job.status == JobStatus.QUEUED:
        check_job(JobStatus.QUEUED, JobStatus.CANCELLED)
        job.status, job.finished_at = JobStatus.CANCELLED, now
    return True


def remove(session: Session, tenant: str, id_: UUID) -> None:
    """Hide a job from its tenant and cancel it; `purge` takes the row once it has ended. Raises `NotFound`.

    Its idempotency key and custom id are free at once: the same request makes a new job.
    """
    job = request_cancel(session, tenant, id_)
    job.idempotency_key = job.custom_id = None
    job.deleted_at = session.scalar(select(func.clock_timestamp()))
    session.flush()


def purge(session: Session, *, limit: int = 100) -> list[str]:
    """Delete the rows of removed jobs that have ended; return the names of their files, which the caller unlinks."""
    ended = select(Job.id).where(Job.deleted_at.is_not(None), Job.status.in_(FINAL)).limit(limit)
    gone = session.execute(
        delete(Job)
        .where(Job.id.in_(ended.with_for_update(skip_locked=True)))
        .returning(Job.id, Job.tenant, Job.created_at, Job.output),
        execution_options={"synchronize_session": False},
    ).all()
    removed.note(session, [(row.id, row.tenant, row.created_at) for row in gone])
    files = [file for row in gone if row.output for file in (row.output, *row.output.get("pictures", {}).values())]
    return [file["name"] for file in files]


def _owned(tenant: str, id_: UUID) -> Select[Job]:
    return select(Job).where(Job.id == id_, Job.tenant == tenant, Job.deleted_at.is_(None))


def sweep(session: Session, *, max_lost: int, limit: int = 100, away_s: float = 0.0) -> Swept:
    """Fail or requeue the jobs whose lease expired because a worker died, froze or lost the database.

    A lease that ended before the database started, or in the last `away_s` during which it took no writes, could not be
    extended: this does not count against its job.
    """
    cancel_due(session, limit=limit)
    expired = and_(Job.status == JobStatus.IN_PROGRESS, Job.lease_until < func.now())
    was_away = or_(
        Job.lease_until < func.pg_postmaster_start_time(), Job.lease_until > func.now() - timedelta(seconds=away_s)
    )
    nobodys = _locked(session, and_(expired, was_away, ~Job.cancel_requested), limit)
    freed = _return(session, nobodys, "released", lost=0)
    swept = _recover(session, expired, max_lost, limit)
    return replace(swept, requeued=[*(job.id for job in freed), *swept.requeued])


def _recover(session: Session, which: ColumnElement[bool], max_lost: int, limit: int, *, waits: bool = False) -> Swept:
    broken = _locked(session, and_(which, Job.num_lost + 1 >= max_lost, ~Job.cancel_requested), limit, waits=waits)
    failed = _give_up(session, broken)
    back = _return(session, _locked(session, which, limit, waits=waits), "lost", lost=1)
    return Swept(requeued=_ids(back, JobStatus.QUEUED), failed=failed, cancelled=_ids(back, JobStatus.CANCELLED))


def _give_up(session: Session, jobs: Sequence[Job]) -> list[UUID]:
    for job in jobs:
        broken = _attempt(job, "lost")
        job.num_lost += 1
        message = (
            f"{job.num_lost} workers died or fell silent while running this prompt; "
            "try another prompt or size, or ask the operator for the worker's log"
        )
        _fail(session, job, "worker_lost", message)
        _record(session, [broken])
    return [job.id for job in jobs]


def _return(session: Session, jobs: Sequence[Job], outcome: str, *, lost: int) -> Sequence[Job]:
    """Put locked jobs back into the queue, each with a metrics row for the broken attempt; see `_requeue`."""
    broken = [_attempt(job, outcome) for job in jobs]
    for job in jobs:
        job.num_lost += lost
    _requeue(session, jobs)
    _record(session, broken)
    return jobs


def _requeue(session: Session, jobs: Sequence[Job]) -> None:
    """Let jobs wait again as if they had never begun; one that its user has cancelled meanwhile ends here.

    Otherwise it would wait for a worker just to be cancelled, and for ever if none came.
    """
    if not jobs:
        return
    now = session.scalar(select(func.clock_timestamp()))
    for job in jobs:
        if job.cancel_requested:
            check_job(JobStatus(job.status), JobStatus.CANCELLED)
            _close(session, job, JobStatus.CANCELLED)
            continue
        check_job(JobStatus(job.status), JobStatus.QUEUED)
        job.status, job.lease_until, job.lease_owner = JobStatus.QUEUED, None, None
        job.fence += 1
        job.published_at, job.queued_at = None, now
        job.progress, job.step, job.num_steps, job.path, job.receipt = 0, None, None, None, {}
    session.flush()
    outbox.notify(session)


def _ids(jobs: Sequence[Job], status: JobStatus) -> list[UUID]:
    return [job.id for job in jobs if job.status == status]


def _locked(session: Session, which: ColumnElement[bool], limit: int, *, waits: bool = False) -> list[Job]:
    query = select(Job).where(which).order_by(Job.lease_until).limit(limit).with_for_update(skip_locked=not waits)
    return list(session.scalars(query, execution_options={"populate_existing": True}))


def _fail(session: Session, job: Job, code: str, message: str) -> None:
    check_job(JobStatus(job.status), JobStatus.FAILED)
    job.error_code, job.error_message = code, message
    _close(session, job, JobStatus.FAILED)


def _close(session: Session, job: Job, status: JobStatus) -> None:
    job.status, job.lease_until = status, None
    job.fence += 1
    job.finished_at = session.scalar(select(func.clock_timestamp()))
    session.flush()


def _attempt(job: Job, outcome: str) -> dict[str, Any]:
    """Return the metrics row of an attempt that its worker can no longer write, from the job before it is changed."""
    figures = {"attempt": job.attempt, "fence": job.fence, "path": job.path, "worker": job.lease_owner}
    return {"job_id": job.id, "tenant": job.tenant, "outcome": outcome, **figures}


def _record(session: Session, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of ended attempts, after the jobs' own: the holder of a job's row may write its attempt's."""
    if attempts:
        rows = [{**attempt, "created_at": func.clock_timestamp()} for attempt in attempts]
        session.execute(insert(JobMetric).values(rows).on_conflict_do_nothing())


def was_begun(session: Session, id_: UUID, attempt: int) -> bool:
    """Whether an attempt at a job that is now back in the queue was begun before."""
    begun = select(Job.id).where(Job.id == id_, Job.status == JobStatus.QUEUED, Job.attempt >= attempt)
    return session.scalar(begun) is not None


def status_of(session: Session, id_: UUID) -> JobStatus | None:
    """Return the status of a job; None if it was deleted."""
    status = session.scalar(select(Job.status).where(Job.id == id_))
    return None if status is None else JobStatus(status)


def published(session: Session, id_: UUID) -> str | None:
    """Return the name of a job's video, None before there is one; waits until no transaction is writing the row."""
    return session.scalar(select(Job.output["name"].astext).where(Job.id == id_).with_for_update(read=True))


def attempts_going_on(session: Session, ids: Collection[UUID]) -> set[tuple[UUID, int]]:
    """Return which of these jobs are running, each with the fence of its attempt."""
    running = select(Job.id, Job.fence).where(Job.id.in_(ids), Job.status == JobStatus.IN_PROGRESS)
    return {(id_, fence) for id_, fence in session.execute(running)}


def videos(session: Session, ids: Collection[UUID]) -> set[str | None]:
    """Return the names of these jobs' videos, None for those without one."""
    return set(session.scalars(select(Job.output["name"].astext).where(Job.id.in_(ids))))


def ping(session: Session) -> None:
    """Raise unless the database answers."""
    session.execute(text("SELECT 1"))
