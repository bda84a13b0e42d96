"""Figures of attempts and decisions: one row each, changed only by an operator's verdict; and statistics of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, tuple_
from sqlalchemy.orm import Session

from db.jobs import Claim
from db.models import Job, JobMetric, PlanRow

MEAN_OF = 50  # attempts in a mean
LOANS_OF = 1000  # decisions in a donor's share of layouts
SPREAD_OF = 500  # attempts in a spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What attempts of one path took: GPU seconds and bytes."""

    low_s: float  # 10th percentile
    mean_s: float
    high_s: float  # 90th percentile
    wall_s: float | None  # mean, with reading and writing
    video_bytes: float | None  # mean
    latent_bytes: float  # mean, as kept in the cache
    usual_s: float | None = None  # median of wall_s: a first run, which warms up, does not move it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An attempt that failed or was lost."""

    outcome: str  # failed, lost
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt ended, and the present state of its job."""

    outcome: str
    path: str | None
    num_steps: int | None
    gpu_seconds: float | None
    error_code: str | None  # of the job
    error_message: str | None
    status: str | None  # of the job; None when it was deleted


def end(
    session: Session, claim: Claim, write: Callable[[Session, Claim], object], *, outcome: str, **figures: Any
) -> None:
    """End an attempt: first `write` the job, checking the fence, then the row of figures.

    In the opposite order, a worker whose attempt was ended elsewhere would run into that attempt's row (a constraint
    violation) and never learn that its lease is lost. Raises what `write` raises, above all `LeaseLost`.
    """
    write(session, claim)
    record(session, claim, outcome=outcome, **figures)


def record(session: Session, claim: Claim, *, outcome: str, **figures: Any) -> None:
    """Write the row of this attempt, in the transaction that ended it. `figures` are columns of `JobMetric`."""
    session.execute(
        insert(JobMetric).values(
            job_id=claim.job.id,
            attempt=claim.attempt,
            fence=claim.fence,
            tenant=claim.job.tenant,
            queue_wait_s=claim.queue_wait_s,
            worker=claim.owner,
            outcome=outcome,
            # Not the transaction's, which may have waited: `db.prometheus` goes by it.
            created_at=func.clock_timestamp(),
            **figures,
        ),
    )


def of_attempt(session: Session, job_id: UUID, attempt: int) -> JobMetric | None:
    """Return the figures of one attempt; None if it wrote none."""
    query = select(JobMetric).where(JobMetric.job_id == job_id, JobMetric.attempt == attempt)
    return session.scalars(query).one_or_none()


def ended(session: Session, job_id: UUID, attempt: int | None) -> Ended | None:
    """Return how an attempt ended, or the latest one if no number is given; None if it wrote nothing."""
    rows = select(JobMetric.outcome, JobMetric.path, JobMetric.num_steps, JobMetric.gpu_seconds)
    rows = rows.add_columns(Job.error_code, Job.error_message, Job.status).outerjoin(Job, Job.id == JobMetric.job_id)
    rows = rows.where(JobMetric.job_id == job_id)
    if attempt is not None:
        rows = rows.where(JobMetric.attempt == attempt)
    row = session.execute(rows.order_by(JobMetric.attempt.desc()).limit(1)).one_or_none()
    return None if row is None else Ended(**row._mapping)


def of_jobs(session: Session, jobs: Sequence[Job]) -> dict[UUID, JobMetric]:
    """Return the figures of the latest attempt of each of these jobs, if it wrote any."""
    latest = tuple_(JobMetric.job_id, JobMetric.attempt).in_([(job.id, job.attempt) for job in jobs])
    return {metric.job_id: metric for metric in session.scalars(select(JobMetric).where(latest))}


def layout_loans(session: Session, namespace_id: UUID, *, last: int = LOANS_OF) -> tuple[int, dict[str, int]]:
    """Return the number of a namespace's latest decisions, at most `last`, and how many used each donor's layout."""
    query = text(
        "SELECT plan->>'reason' = 'layout_hit' AS took, plan->'matched'->0->>'entry_id' AS entry FROM lookups "
        "WHERE namespace_id = :namespace_id ORDER BY id DESC LIMIT :last"
    )
    rows = session.execute(query, {"namespace_id": namespace_id, "last": last}).all()
    return len(rows), dict(Counter(row.entry for row in rows if row.took))


def spread(session: Session, **size: object) -> dict[str, Spread]:
    """Return by path what the latest completed attempts at one model and size took, of any tenant.

    `size` names `model`, `width`, `height` and `num_frames`. Loading the model, done once a night, and waiting for the
    previous job are left out.
    """
    found = session.execute(_SPREAD, {**size, "last": SPREAD_OF}).mappings()
    return {row["path"]: Spread(**{name: row[name] for name in row if name != "path"}) for row in found}


_SPREAD = text(
    """
    SELECT path, avg(gpu_seconds) AS mean_s, avg(wall_s) AS wall_s,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY wall_s) AS usual_s,
        percentile_cont(0.1) WITHIN GROUP (ORDER BY gpu_seconds) AS low_s,
        percentile_cont(0.9) WITHIN GROUP (ORDER BY gpu_seconds) AS high_s,
        avg(video_bytes) AS video_bytes, avg(latent_bytes) AS latent_bytes
    FROM (
        SELECT metric.path, metric.gpu_seconds, coalesce(metric.bytes_written, 0)::float AS latent_bytes,
            (jobs.output->>'bytes')::float AS video_bytes,
            (SELECT sum(value::float) FROM jsonb_each_text(metric.stage_s) WHERE key NOT IN ('load', 'turn')) AS wall_s,
            row_number() OVER (PARTITION BY metric.path ORDER BY metric.id DESC) AS place
        FROM job_metrics AS metric JOIN jobs ON jobs.id = metric.job_id AND jobs.attempt = metric.attempt
        WHERE metric.outcome = 'completed' AND metric.gpu_seconds IS NOT NULL AND metric.path IS NOT NULL
            AND jobs.model = :model AND jobs.width = :width AND jobs.height = :height AND jobs.num_frames = :num_frames
    ) AS latest WHERE place <= :last GROUP BY path
    """
)


def mean_full_seconds(session: Session, *, namespace_id: UUID | None, since: datetime | None) -> float | None:
    """Return the mean GPU seconds of completed full runs of a namespace, or of all, from a time on, or None."""
    full = select(func.avg(JobMetric.gpu_seconds)).where(JobMetric.path == "full", JobMetric.outcome == "completed")
    if namespace_id is not None:
        full = full.where(JobMetric.namespace_id == namespace_id)
    if since is not None:
        full = full.where(JobMetric.created_at >= since)
    return session.scalar(full)


def ends(session: Session) -> dict[tuple[UUID, int], tuple[datetime, str]]:
    """Return when and how every attempt ended, by job and fence."""
    rows = select(JobMetric.job_id, JobMetric.fence, JobMetric.created_at, JobMetric.outcome)
    return {(row.job_id, row.fence): (row.created_at, row.outcome) for row in session.execute(rows)}


def mean_run_seconds(session: Session, *, last: int = MEAN_OF) -> dict[str, float]:
    """Return by model how long the latest completed attempts took from claim to end, in seconds.

    Without the time spent waiting for the previous job.
    """
    query = text(
        "SELECT jobs.model, avg(extract(epoch FROM jobs.finished_at - jobs.claimed_at) "
        "- coalesce((stage_s->>'turn')::float, 0)) AS mean FROM ("
        "SELECT job_id, stage_s FROM job_metrics WHERE outcome = 'completed' ORDER BY id DESC LIMIT :last) AS recent "
        "JOIN jobs ON jobs.id = recent.job_id WHERE jobs.status = 'completed' GROUP BY jobs.model",
    )
    return {row.model: float(row.mean) for row in session.execute(query, {"last": last}) if row.mean is not None}


def gpu_seconds(session: Session, tenant: str) -> float:
    """Return what the attempts of a tenant took within the last day, in GPU seconds."""
    within = JobMetric.created_at > func.now() - timedelta(days=1)
    total = session.scalar(select(func.sum(JobMetric.gpu_seconds)).where(JobMetric.tenant == tenant, within))
    return total or 0.0


def free_in_s(session: Session, tenant: str, most: float) -> float:
    """Return in how many seconds a tenant's GPU seconds of the last day will have fallen below `most`."""
    query = text(
        "SELECT extract(epoch FROM created_at + interval '1 day' - now()) FROM (SELECT created_at, "
        "sum(gpu_seconds) OVER (ORDER BY created_at DESC, id DESC) AS since FROM job_metrics "
        "WHERE tenant = :tenant AND created_at > now() - interval '1 day') AS attempts "
        "WHERE since >= :most ORDER BY created_at DESC LIMIT 1"
    )
    return float(session.scalar(query, {"tenant": tenant, "most": most}) or 0.0)


def last_faults(session: Session, *, last: int = 500) -> dict[str, Fault]:
    """Return the last fault of each worker among the latest attempts of all workers."""
    recent = select(JobMetric).order_by(JobMetric.id.desc()).limit(last).subquery()
    query = select(recent.c.worker, recent.c.outcome, recent.c.reason, recent.c.created_at).where(
        recent.c.outcome.in_(("failed", "lost")), recent.c.worker.is_not(None)
    )
    rows = session.execute(query.order_by(recent.c.created_at)).all()
    return {row.worker: Fault(outcome=row.outcome, reason=row.reason, at=row.created_at) for row in rows}


def sightings(session: Session, namespace_id: UUID, texts: Sequence[str], *, but: UUID) -> dict[str, int]:
    """Return in how many other jobs' look-ups each of these entities occurred."""
    if not texts:
        return {}
    query = text(
        "SELECT e->>'text' AS entity, count(*) AS number FROM lookups, jsonb_array_elements(entities) AS e "
        "WHERE namespace_id = :namespace_id AND job_id <> :but AND e->>'text' = ANY(:texts) GROUP BY 1",
    )
    rows = session.execute(query, {"namespace_id": namespace_id, "but": but, "texts": list(texts)})
    return {row.entity: row.number for row in rows}


def plans(session: Session, namespace_key: str) -> dict[str, list[dict[str, Any]]]:
    """Return the calibrated recipes by case; empty before a calibration."""
    rows = session.scalars(select(PlanRow).where(PlanRow.namespace_key == namespace_key))
    return {row.kind: row.plan["recipes"] for row in rows}


def lock_plans(session: Session, namespace_key: str) -> None:
    """Lock these plans until the transaction ends, against both calibrations and the monitor."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": namespace_key})


def set_plans(session: Session, namespace_key: str, rows: Sequence[PlanRow]) -> None:
    """Replace the previous plans by those of a calibration."""
    lock_plans(session, namespace_key)
    for old in session.scalars(select(PlanRow).where(PlanRow.namespace_key == namespace_key)):
        session.delete(old)
    session.flush()
    session.add_all(rows)
    session.flush()
