"""The monitor's checks: jobs repeated to measure what donors cost in quality; and the thresholds that follow.

A check may be lost without harm, with its worker, message, job or donor. Nothing waits for one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from db import metrics, outbox
from db.models import Job, PlanRow, QualityCheck
from db.states import CheckStatus, JobStatus

MAX_OPEN = 100  # waiting checks of one case: a service that is never idle collects no more
NUM_LOSSES = 200  # latest ones of a case that move its threshold
MAX_STARTS = 3  # of one check; a start that made way for a job was wasted
FORGOTTEN = {CheckStatus.WAITING: timedelta(days=1), CheckStatus.RUNNING: timedelta(hours=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a check may continue."""

    is_ours: bool  # not released by a worker that shuts down
    is_quiet: bool  # no job that its worker could take is waiting


def sample(session: Session, job_id: UUID, *, output_name: str, **values: Any) -> bool:
    """Write a check of a completed job and its message; return whether one was added.

    None is added for a job whose output is another attempt's, or while `MAX_OPEN` checks of its case wait. `values` are
    columns.
    """
    ended = and_(Job.id == job_id, Job.status == JobStatus.COMPLETED, Job.output["name"].astext == output_name)
    if session.scalar(select(Job.id).where(ended)) is None or _num_open(session, values) >= MAX_OPEN:
        return False
    session.execute(insert(QualityCheck).values(job_id=job_id, **values))
    outbox.add_last(session, [job_id])
    return True


def _num_open(session: Session, values: Mapping[str, Any]) -> int:
    case = and_(QualityCheck.namespace_key == values["namespace_key"], QualityCheck.kind == values["kind"])
    return session.scalar(select(func.count()).where(case, QualityCheck.status == CheckStatus.WAITING)) or 0


def claim(session: Session, job_id: UUID, *, owner: str) -> QualityCheck | None:
    """Claim the check of a job in one statement; None if none waits."""
    waits = and_(QualityCheck.job_id == job_id, QualityCheck.status == CheckStatus.WAITING)
    values = {"status": CheckStatus.RUNNING, "owner": owner, "num_starts": QualityCheck.num_starts + 1}
    taken = (
        update(QualityCheck).where(waits).values(started_at=func.clock_timestamp(), **values).returning(QualityCheck)
    )
    return session.scalars(taken, execution_options={"populate_existing": True}).one_or_none()


def standing(session: Session, check: QualityCheck, *, models: Collection[str]) -> Standing:
    """Return whether a running check is still its worker's, and whether a job waits that the worker could take."""
    held = select(QualityCheck.id).where(_held(check)).exists()
    is_ours, is_busy = session.execute(select(held, outbox.awaits(models))).one()
    return Standing(is_ours=is_ours, is_quiet=not is_busy)


def _held(check: QualityCheck) -> ColumnElement[bool]:
    held = and_(QualityCheck.status == CheckStatus.RUNNING, QualityCheck.owner == check.owner)
    return and_(QualityCheck.id == check.id, QualityCheck.num_starts == check.num_starts, held)


def finish(session: Session, check: QualityCheck, *, seconds: float, **judged: Any) -> bool:
    """Write the result of a check; False if it no longer belongs to its worker. `judged` are columns."""
    return _end(session, _held(check), CheckStatus.DONE, seconds=seconds, **judged) == 1


def lose(session: Session, check: QualityCheck, *, reason: str, seconds: float = 0.0) -> None:
    """Give up a check."""
    _end(session, _held(check), CheckStatus.LOST, reason=reason, seconds=seconds)


def _end(session: Session, which: ColumnElement[bool], status: CheckStatus, *, seconds: float, **values: Any) -> int:
    spent = {"seconds": QualityCheck.seconds + seconds, "ended_at": func.clock_timestamp()}
    ended = update(QualityCheck).where(which).values(status=status, **spent, **values).returning(QualityCheck.id)
    return len(session.scalars(ended, execution_options={"synchronize_session": False}).all())


def put_back(session: Session, check: QualityCheck, *, seconds: float) -> None:
    """Requeue a check that made way for a job, to run when nothing else waits; give it up after `MAX_STARTS`."""
    if check.num_starts >= MAX_STARTS:
        lose(session, check, reason="made way for jobs too often", seconds=seconds)
    else:
        _return(session, _held(check), seconds)


def release(session: Session, *, owner: str) -> list[UUID]:
    """Requeue the check of a worker that shuts down; return its job."""
    return _return(session, and_(QualityCheck.owner == owner, QualityCheck.status == CheckStatus.RUNNING), 0.0)


def _return(session: Session, which: ColumnElement[bool], seconds: float) -> list[UUID]:
    values = {"status": CheckStatus.WAITING, "owner": None, "seconds": QualityCheck.seconds + seconds}
    back = update(QualityCheck).where(which).values(values).returning(QualityCheck.job_id)
    job_ids = list(session.scalars(back, execution_options={"synchronize_session": False}))
    present = list(session.scalars(select(Job.id).where(Job.id.in_(job_ids))))  # the others were deleted meanwhile
    outbox.add_last(session, present)
    return present


def sweep(session: Session) -> int:
    """Give up checks whose worker or message is gone; return how many."""
    since = func.coalesce(QualityCheck.started_at, QualityCheck.created_at)
    old = [and_(QualityCheck.status == status, since < func.now() - age) for status, age in FORGOTTEN.items()]
    number = _end(session, or_(*old), CheckStatus.LOST, seconds=0.0, reason="forgotten")
    lost = select(QualityCheck.job_id).where(QualityCheck.status == CheckStatus.LOST)
    outbox.forget_checks(session, lost)  # of a model that no worker has had for a day
    return number


def lock(session: Session, namespace_key: str, kind: str) -> PlanRow | None:
    """Lock the plans until the transaction ends; return that of this case, if it has one."""
    metrics.lock_plans(session, namespace_key)
    return session.scalars(select(PlanRow).where(_case(PlanRow, namespace_key, kind))).one_or_none()


def losses(
    session: Session, namespace_key: str, kind: str, *, judge: str, since: datetime | None, last: int = NUM_LOSSES
) -> list[tuple[float, float]]:
    """Return similarity and loss of the latest checks of a case by one judge, of jobs that ended since."""
    query = select(QualityCheck.similarity, QualityCheck.loss).where(
        _case(QualityCheck, namespace_key, kind), QualityCheck.status == CheckStatus.DONE, QualityCheck.judge == judge
    )
    if since is not None:
        query = query.where(QualityCheck.created_at > since)
    return [(row.similarity, row.loss) for row in session.execute(query.order_by(QualityCheck.id.desc()).limit(last))]


def _case(table: type[QualityCheck] | type[PlanRow], namespace_key: str, kind: str) -> ColumnElement[bool]:
    return and_(table.namespace_key == namespace_key, table.kind == kind)


def set_plan(session: Session, namespace_key: str, kind: str, **values: Any) -> None:
    """Write the moved plan of a case; needs `lock`. Only checks of later jobs count for its next move."""
    row = session.scalars(select(PlanRow).where(_case(PlanRow, namespace_key, kind))).one_or_none()
    if row is None:
        row = PlanRow(namespace_key=namespace_key, kind=kind, cost={})
        session.add(row)
    for name, value in values.items():
        setattr(row, name, value)
    row.created_at = now(session)
    session.flush()


def moved_plans(session: Session) -> list[PlanRow]:
    """Return the plans whose thresholds the monitor moved."""
    query = select(PlanRow).where(PlanRow.quality.has_key("monitor"))
    return list(session.scalars(query.order_by(PlanRow.namespace_key, PlanRow.kind)))


def now(session: Session) -> datetime:
    """Return the time on the database clock."""
    found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found


def summary(session: Session) -> Sequence[RowMapping]:
    """Return what was checked and found, by case, judge and whether the hits were in use or refused."""
    query = text(
        "SELECT c.namespace_key, c.kind, c.is_refused, max(n.identity->>'model') AS model, c.judge, "
        "count(*) FILTER (WHERE c.status = 'done') AS num_done, "
        "count(*) FILTER (WHERE c.status = 'lost') AS num_lost, "
        "count(*) FILTER (WHERE c.status IN ('waiting', 'running')) AS num_open, "
        "avg(c.loss) AS mean, stddev_samp(c.loss) / sqrt(count(c.loss)) AS error, "
        "sum(c.seconds) AS seconds FROM quality_checks c JOIN namespaces n ON n.id = c.namespace_id "
        "GROUP BY c.namespace_key, c.kind, c.is_refused, c.judge ORDER BY model, c.kind, c.is_refused, c.judge"
    )
    return session.execute(query).mappings().all()


def seconds(session: Session) -> tuple[float, float]:
    """Return the GPU seconds on record: of checks, and of jobs."""
    query = text(
        "SELECT (SELECT coalesce(sum(seconds), 0) FROM quality_checks), "
        "(SELECT coalesce(sum(gpu_seconds), 0) FROM job_metrics)"
    )
    checks, jobs = session.execute(query).one()
    return checks, jobs
