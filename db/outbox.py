"""Jobs and checks that wait to be handed to the broker: the best jobs first, a few at a time.

A queued job whose `published_at` is null waits for the relay: its row is its own outbox row, written in the transaction
that accepts it. The table `outbox` holds only checks of the monitor.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, TextClause, delete, func, insert, select, text, true, update
from sqlalchemy.orm import Session

from db.job_pauses import EVERYBODY_WAITS
from db.models import Batch, Job, WaitingCheck
from db.states import JobStatus, Queue

CHANNEL = "chai_outbox"  # NOTIFY wakes the relay at the commit
LAST = 9  # priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that waits for its next attempt."""

    id: UUID
    attempt: int  # the number of that attempt
    tenant: str
    batch_id: UUID | None
    priority: int
    created_at: datetime
    prompt: str
    mode: str

    @property
    def is_returned(self) -> bool:
        """Whether a worker has had it before."""
        return self.attempt > 1

    @property
    def run(self) -> tuple[str, UUID | None]:
        """The unit that shares fairly within a tenant: a bulk run, or all jobs outside of runs."""
        return self.tenant, self.batch_id


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """Jobs of one run, queue and model that workers have or may take."""

    queue: str
    model: str
    tenant: str
    batch_id: UUID | None
    num_handed: int  # to the broker and not claimed yet
    num_running: int


def notify(session: Session) -> None:
    """Wake the relay once this transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def is_held() -> ColumnElement[bool]:
    """The condition that a job's run is paused or waits for its window."""
    return select(Batch.id).where(Batch.id == Job.batch_id, Batch.is_held).exists()


def unheard_s(session: Session) -> float | None:
    """Return for how many seconds the oldest job not yet handed over has waited; None if there is none."""
    waits = Job.status == JobStatus.QUEUED, Job.published_at.is_(None), ~is_held()
    oldest = select(func.min(Job.created_at)).where(*waits)
    age = session.scalar(select(func.extract("epoch", func.clock_timestamp() - oldest.scalar_subquery())))
    return None if age is None else float(age)


def waiting(session: Session) -> list[tuple[str, str, int]]:
    """Return queue, model and number of the jobs that wait and are not held; reads every one of them."""
    query = select(Job.queue, Job.model, func.count()).where(Job.status == JobStatus.QUEUED, ~is_held())
    rows = session.execute(query.group_by(Job.queue, Job.model).order_by(Job.model))
    return [(queue, model, number) for queue, model, number in rows]


def in_flight(session: Session) -> list[InFlight]:
    """Return the jobs that are handed over or running; a handful of rows per worker."""
    query = text(
        "SELECT queue, model, tenant, batch_id, sum(handed)::int AS num_handed, sum(running)::int AS num_running FROM ("
        "SELECT queue, model, tenant, batch_id, 1 AS handed, 0 AS running FROM jobs "
        "WHERE status = 'queued' AND published_at IS NOT NULL UNION ALL "
        "SELECT queue, model, tenant, batch_id, 0, 1 FROM jobs WHERE status = 'in_progress') AS flying "
        "GROUP BY queue, model, tenant, batch_id"
    )
    return [InFlight(**row) for row in session.execute(query).mappings()]


def pick(
    session: Session, queue: Queue, flying: Sequence[InFlight], *, limit: int, models: Collection[str] | None = None
) -> list[Waiting]:
    """Return the jobs of a queue, and of these models, to hand over next, best first; see `best`.

    Two walks along an index find every run, and every tenant's jobs outside of runs, with waiting jobs, by one probe
    each; only the first `limit` rows of each are read, however long the backlog.
    """
    rows = session.execute(_pick(models), _values(queue, limit, models)).mappings()
    return best({row["id"]: Waiting(**row) for row in rows}.values(), flying, limit=limit)


def returned(session: Session, queue: Queue, *, limit: int, models: Collection[str] | None = None) -> list[Waiting]:
    """Return jobs that a worker gave back or lost: there are few, and they are handed over before all others."""
    rows = session.execute(text(_came_back(_waits(models))), _values(queue, limit, models)).mappings()
    return [Waiting(**row) for row in rows]


def _values(queue: Queue, limit: int, models: Collection[str] | None) -> dict[str, Any]:
    return {"queue": queue.value, "limit": limit} | ({} if models is None else {"models": sorted(models)})


def best(waiting: Iterable[Waiting], flying: Iterable[InFlight], *, limit: int) -> list[Waiting]:
    """Order waiting jobs: returned ones, then by priority, then in turn between tenants and their runs, then by age.

    In turn: next comes the tenant or run with the fewest jobs running, handed over, or already placed in this order. A
    run of one line does not wait behind four thousand of another, nor a tenant with one run behind one with ten.
    """
    tenants: Counter[str] = Counter()
    runs: Counter[tuple[str, UUID | None]] = Counter()
    for busy in flying:
        number = busy.num_handed + busy.num_running
        tenants[busy.tenant] += number
        runs[busy.tenant, busy.batch_id] += number
    heads = _by_run(waiting)
    chosen: list[Waiting] = []
    while heads and len(chosen) < limit:
        job = min((jobs[-1] for jobs in heads.values()), key=lambda job: _rank(job, tenants, runs))
        heads[job.run].pop()
        if not heads[job.run]:
            del heads[job.run]
        tenants[job.tenant] += 1
        runs[job.run] += 1
        chosen.append(job)
    return chosen


def _by_run(waiting: Iterable[Waiting]) -> dict[tuple[str, UUID | None], list[Waiting]]:
    """Return the jobs of each run, in reverse order."""
    heads: dict[tuple[str, UUID | None], list[Waiting]] = {}
    for job in sorted(waiting, key=_own_order, reverse=True):
        heads.setdefault(job.run, []).append(job)
    return heads


def _own_order(job: Waiting) -> tuple[bool, int, datetime, UUID]:
    return not job.is_returned, job.priority, job.created_at, job.id


def _rank(job: Waiting, tenants: Counter[str], runs: Counter[tuple[str, UUID | None]]) -> tuple[Any, ...]:
    is_new, priority, *age = _own_order(job)
    return (is_new, priority, tenants[job.tenant], runs[job.run], *age)


def take(session: Session, ids: Sequence[UUID]) -> set[UUID]:
    """Lock those of these jobs that still wait and that no other relay has locked.

    In the order of their ids, as everywhere that many are locked, so that there is no deadlock.
    """
    waits = select(Job.id).where(
        Job.id.in_(ids), Job.status == JobStatus.QUEUED, Job.published_at.is_(None), ~is_held()
    )
    return set(session.scalars(waits.order_by(Job.id).with_for_update(skip_locked=True, key_share=True)))


def handed_over(session: Session, ids: Collection[UUID]) -> None:
    """Record that the broker has these jobs."""
    session.execute(
        update(Job).where(Job.id.in_(ids)).values(published_at=func.clock_timestamp()),
        execution_options={"synchronize_session": False},
    )


def unclaimed(session: Session, queue: Queue, *, older_s: float) -> dict[UUID, int]:
    """Return the jobs handed over `older_s` ago or earlier and not claimed, each with its next attempt's number."""
    since = func.now() - timedelta(seconds=older_s)
    stale = Job.status == JobStatus.QUEUED, Job.queue == queue, Job.published_at < since
    return {job.id: job.next for job in session.execute(select(Job.id, (Job.attempt + 1).label("next")).where(*stale))}


def take_back(session: Session, ids: Collection[UUID]) -> list[UUID]:
    """Let jobs whose message is lost wait again, unless a worker has claimed them after all."""
    handed = Job.id.in_(ids), Job.status == JobStatus.QUEUED, Job.published_at.is_not(None)
    which = select(Job.id).where(*handed).order_by(Job.id).with_for_update(skip_locked=True)
    back = update(Job).where(Job.id.in_(which)).values(published_at=None)
    return list(session.scalars(back.returning(Job.id), execution_options={"synchronize_session": False}))


def hold_back(session: Session, batch_id: UUID) -> None:
    """Let those jobs of a run wait here again that the broker has but no worker; their messages lead to nothing.

    A job whose row another transaction holds is just being claimed, or comes back through `take_back`.
    """
    handed = Job.batch_id == batch_id, Job.status == JobStatus.QUEUED, Job.published_at.is_not(None)
    session.execute(
        update(Job)
        .where(Job.id.in_(select(Job.id).where(*handed).order_by(Job.id).with_for_update(skip_locked=True)))
        .values(published_at=None),
        execution_options={"synchronize_session": False},
    )


def is_idle(session: Session, *, models: Collection[str] | None = None) -> bool:
    """Whether no job of these models waits for a worker, apart from those of held runs."""
    return not session.scalar(select(awaits(models)))


def awaits(models: Collection[str] | None = None) -> ColumnElement[bool]:
    """The condition that a job of these models waits for a worker."""
    return select(Job.id).where(Job.status == JobStatus.QUEUED, ~is_held(), _of(models)).exists()


def _of(models: Collection[str] | None) -> ColumnElement[bool]:
    return true() if models is None else Job.model.in_(models)


def add_last(session: Session, job_ids: Sequence[UUID]) -> None:
    """Queue checks of these jobs, to be handed over when nothing else waits, and wake the relay at the commit."""
    if not job_ids:
        return
    rows = [{"job_id": job_id, "queue": Queue.BULK, "priority": LAST} for job_id in job_ids]
    session.execute(insert(WaitingCheck), rows)
    notify(session)


def take_checks(session: Session, *, limit: int, models: Collection[str] | None = None) -> list[WaitingCheck]:
    """Lock the oldest checks, of jobs of these models, that no other relay has locked."""
    query = (
        select(WaitingCheck)
        .join(Job, Job.id == WaitingCheck.job_id)
        .where(_of(models))
        .order_by(WaitingCheck.id)
        .limit(limit)
    )
    return list(session.scalars(query.with_for_update(of=WaitingCheck, skip_locked=True)))


def forget_checks(session: Session, job_ids: Select[UUID]) -> None:
    """Remove the checks of these jobs."""
    session.execute(
        delete(WaitingCheck).where(WaitingCheck.job_id.in_(job_ids)), execution_options={"synchronize_session": False}
    )


def checks_handed_over(session: Session, rows: Sequence[WaitingCheck]) -> None:
    """Remove checks that the broker has."""
    session.execute(delete(WaitingCheck).where(WaitingCheck.id.in_([row.id for row in rows])))


_FIELDS = "id, attempt + 1 AS attempt, tenant, batch_id, priority, created_at, prompt, mode"
_AGE = "priority, created_at, id"
_FREE = "NOT EXISTS (SELECT FROM batches WHERE batches.id = batch_id AND is_held)"


def _waits(models: Collection[str] | None) -> str:
    waits = (
        "queue = :queue AND status = 'queued' AND published_at IS NULL "
        f"AND (retry_at IS NULL OR retry_at <= now() OR num_faults < {EVERYBODY_WAITS})"
    )
    return waits if models is None else f"{waits} AND model = ANY(:models)"


def _came_back(waits: str) -> str:
    return f"SELECT {_FIELDS} FROM jobs WHERE {waits} AND attempt > 0 AND {_FREE} ORDER BY {_AGE} LIMIT :limit"  # noqa: S608


def _pick(models: Collection[str] | None) -> TextClause:
    waits = _waits(models)
    return text(
        f"""
        WITH RECURSIVE runs AS (
            (SELECT tenant, batch_id FROM jobs WHERE {waits} AND batch_id IS NOT NULL ORDER BY tenant, batch_id LIMIT 1)
            UNION ALL
            SELECT next.tenant, next.batch_id FROM runs CROSS JOIN LATERAL (
                SELECT tenant, batch_id FROM jobs
                WHERE {waits} AND batch_id IS NOT NULL AND (tenant, batch_id) > (runs.tenant, runs.batch_id)
                ORDER BY tenant, batch_id LIMIT 1) AS next
        ), tenants AS (
            (SELECT tenant FROM jobs WHERE {waits} AND batch_id IS NULL ORDER BY tenant LIMIT 1)
            UNION ALL
            SELECT next.tenant FROM tenants CROSS JOIN LATERAL (
                SELECT tenant FROM jobs WHERE {waits} AND batch_id IS NULL AND tenant > tenants.tenant
                ORDER BY tenant LIMIT 1) AS next
        )
        SELECT job.* FROM runs CROSS JOIN LATERAL (
            SELECT {_FIELDS} FROM jobs WHERE {waits} AND tenant = runs.tenant AND batch_id = runs.batch_id
            ORDER BY {_AGE} LIMIT :limit) AS job
        WHERE NOT EXISTS (SELECT FROM batches WHERE batches.id = runs.batch_id AND is_held)
        UNION ALL
        SELECT job.* FROM tenants CROSS JOIN LATERAL (
            SELECT {_FIELDS} FROM jobs WHERE {waits} AND batch_id IS NULL AND tenant = tenants.tenant
            ORDER BY {_AGE} LIMIT :limit) AS job
        UNION ALL
        ({_came_back(waits)})
        """,  # noqa: S608 - only constants of this module are put into the text
    )
