"""Figures of the whole service for monitoring: over all tenants, without anything of their requests.

Gauges are read as they are now. Ended attempts are read once, by the number of their row: rows get their numbers before
they become visible, so the youngest are left for the next time, when all of their neighbours are committed.
"""

# ruff: noqa: S608 - only constants of this module are put into the text
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

SETTLED_S = 5.0  # transactions that write such rows take milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJobs:
    """Jobs of a queue that are in one state."""

    queue: str
    state: str  # queued, held (of a run that is paused or waits for its window), in_progress
    number: int
    age_s: float  # since the oldest was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The numbers of the last rows counted."""

    attempt: int = 0
    decision: int = 0
    event: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Attempts with the same end."""

    outcome: str  # completed, failed, cancelled, released, lost
    path: str  # fast, full, none: before it was decided
    number: int
    gpu_seconds: float
    seconds_saved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What ended after some rows."""

    attempts: list[Attempts]
    stages: dict[str, float]  # seconds
    decisions: dict[str, int]  # by reason
    events: dict[str, tuple[int, int]]  # number and bytes, by kind
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All namespaces together."""

    num_bytes: int
    budget: int
    num_entities: int


def open_jobs(session: Session) -> list[OpenJobs]:
    """Return the waiting, held and running jobs, by queue."""
    query = text(
        "SELECT queue, state, count(*)::int AS number, extract(epoch FROM clock_timestamp() - min(created_at))::float "
        "AS age_s FROM (SELECT jobs.queue, jobs.created_at, CASE WHEN jobs.status = 'queued' AND is_held THEN 'held' "
        "ELSE jobs.status END AS state FROM jobs LEFT JOIN batches ON batches.id = jobs.batch_id "
        "WHERE jobs.status IN ('queued', 'in_progress')) AS open GROUP BY queue, state ORDER BY queue, state"
    )
    return [OpenJobs(**row) for row in session.execute(query).mappings()]


def stored(session: Session) -> Stored:
    """Return what the cache stores."""
    query = text(
        "SELECT coalesce(sum(bytes_used), 0)::bigint AS num_bytes, coalesce(sum(byte_budget), 0)::bigint AS budget, "
        "coalesce(sum(num_entities), 0)::bigint AS num_entities FROM namespaces"
    )
    return Stored(**session.execute(query).mappings().one())


def latest(session: Session) -> Seen:
    """Return where to continue reading, to see everything that ends from now on."""
    query = text(
        "SELECT (SELECT coalesce(max(id), 0) FROM job_metrics) AS attempt, "
        "(SELECT coalesce(max(id), 0) FROM lookups) AS decision, "
        "(SELECT coalesce(max(id), 0) FROM cache_events) AS event"
    )
    return Seen(**session.execute(query).mappings().one())


def ended(session: Session, seen: Seen) -> Ended:
    """Return what ended after some rows and is settled."""
    upto = Seen(**session.execute(_SETTLED, {"settled_s": SETTLED_S, **_values(seen)}).mappings().one())
    within = {**_values(seen), **{f"upto_{name}": value for name, value in _values(upto).items()}}
    return Ended(
        attempts=[Attempts(**row) for row in session.execute(_ATTEMPTS, within).mappings()],
        stages={row.stage: row.seconds for row in session.execute(_STAGES, within)},
        decisions={row.reason: row.number for row in session.execute(_DECISIONS, within)},
        events={row.kind: (row.number, row.num_bytes) for row in session.execute(_EVENTS, within)},
        seen=upto,
    )


def _values(seen: Seen) -> dict[str, Any]:
    return {"attempt": seen.attempt, "decision": seen.decision, "event": seen.event}


def _last(table: str, name: str) -> str:
    settled = "created_at < clock_timestamp() - make_interval(secs => :settled_s)"
    return f"(SELECT coalesce(max(id), :{name}) FROM {table} WHERE id > :{name} AND {settled}) AS {name}"


_SETTLED = text(
    f"SELECT {_last('job_metrics', 'attempt')}, {_last('lookups', 'decision')}, {_last('cache_events', 'event')}"
)
_NEW_ATTEMPTS = "FROM job_metrics WHERE id > :attempt AND id <= :upto_attempt"
_ATTEMPTS = text(
    "SELECT outcome, coalesce(path, 'none') AS path, count(*)::int AS number, "
    "coalesce(sum(gpu_seconds), 0)::float AS gpu_seconds, "
    f"coalesce(sum(seconds_saved), 0)::float AS seconds_saved {_NEW_ATTEMPTS} GROUP BY 1, 2 ORDER BY 1, 2"
)
_STAGES = text(
    "SELECT key AS stage, sum(value::float) AS seconds FROM (SELECT stage_s "
    f"{_NEW_ATTEMPTS}) AS new, jsonb_each_text(stage_s) GROUP BY key ORDER BY key"
)
_DECISIONS = text(
    "SELECT reason, count(*)::int AS number FROM lookups WHERE id > :decision AND id <= :upto_decision "
    "GROUP BY reason ORDER BY reason"
)
_EVENTS = text(
    "SELECT kind, count(*)::int AS number, coalesce(sum(num_bytes), 0)::bigint AS num_bytes FROM cache_events "
    "WHERE id > :event AND id <= :upto_event GROUP BY kind ORDER BY kind"
)
