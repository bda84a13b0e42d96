"""What a decision of the cache reads from its namespace and what it writes: one message to the database each.

The search between the two is `db.cache_search.neighbours`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import ScalarResult, select
from sqlalchemy.orm import Session

from db.cache_search import CODES_BELOW, CODES_BESIDE_OTHERS
from db.jobs import Claim, lease_lost
from db.metrics import MEAN_OF
from db.models import CacheEntry, Job, Lookup, Namespace
from db.prepared import Prepared
from shared.reasons import HITS

IS_HIT = f"reason IN {HITS}"  # in SQL
# In SQL, of a row of `lookups`: the denoising steps of its plan, those of full mode, and what a donor saves of them.
NUM_STEPS = (
    "((plan#>>'{recipe,num_steps}')::int - coalesce((plan#>>'{recipe,reuse_options,skipped_steps}')::int, "
    "(plan#>>'{recipe,schedule,skipped_steps}')::int, 0))"
)
FULL_NUM_STEPS = "(plan->>'full_num_steps')::int"
STEPS_LEFT_OUT = f"({FULL_NUM_STEPS} - {NUM_STEPS})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A namespace and what else a decision reads."""

    space: Namespace  # as it was; of no session, so that nothing asks or changes the database by it
    plans: Mapping[str, Sequence[Mapping[str, Any]]]  # calibrated recipes by case; empty before a calibration
    seconds: Mapping[str, float]  # mean GPU seconds of the latest completed attempts, by path
    num_entities: int | None  # of all namespaces with vectors as long as this one's; None where nobody goes by it


def known(session: Session, fingerprint: str, *, plan_key: str) -> Known | None:
    """Return the namespace with this fingerprint and the plans under `plan_key`; None if it does not exist."""
    rows = _KNOWN.run(session, {"fingerprint": fingerprint, "plan_key": plan_key, "last": MEAN_OF})
    if not rows:
        return None
    *columns, plans, seconds, num_entities = tuple(rows[0])
    space = Namespace(**dict(zip(_NAMESPACE.keys(), columns, strict=True)))
    recipes = {kind: plan["recipes"] for kind, plan in (plans or {}).items()}
    means = {path: float(mean) for path, mean in (seconds or {}).items()}
    return Known(space=space, plans=recipes, seconds=means, num_entities=num_entities)


_NAMESPACE = Namespace.__table__.columns
_KNOWN = Prepared(
    "known",
    {"fingerprint": "text", "plan_key": "text", "last": "int"},
    f"""
    SELECT {", ".join(column.name for column in _NAMESPACE)},
        (SELECT jsonb_object_agg(kind, plan) FROM plans WHERE namespace_key = :plan_key) AS plans,
        (
            SELECT jsonb_object_agg(path, mean) FROM (VALUES ('full'), ('fast')) AS asked(path) CROSS JOIN LATERAL (
                SELECT avg(gpu_seconds) AS mean FROM (
                    SELECT gpu_seconds FROM job_metrics WHERE namespace_id = namespaces.id AND path = asked.path
                    AND outcome = 'completed' ORDER BY id DESC LIMIT :last
                ) AS recent
            ) AS of_path WHERE mean IS NOT NULL
        ) AS seconds,
        CASE WHEN num_entities >= {CODES_BELOW} AND num_entities < {CODES_BESIDE_OTHERS} THEN
            (SELECT sum(num_entities) FROM namespaces AS every WHERE every.dims = namespaces.dims)
        END AS of_all  -- for the way to search: elsewhere it is not asked for, since it reads every namespace
    FROM namespaces WHERE fingerprint = :fingerprint
    """,  # noqa: S608 - what is put into the text is ours
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An entry that is kept from eviction for a run, and what that run has to know of it: columns of `CacheEntry`."""

    id: UUID
    tenant: str
    donor_job_id: UUID
    name: str
    num_bytes: int
    sha256: str | None
    chain: int
    written_for: str | None
    full_seconds: float

    @classmethod
    def of(cls, entry: CacheEntry) -> Self:
        """Return what a run would have to know of an entry that nothing holds: it may be gone by then."""
        return cls(**{column.name: getattr(entry, column.name) for column in fields(cls)})


def record(session: Session, claim: Claim, space: Namespace, donors: Sequence[UUID], **decision: Any) -> list[Pinned]:
    """Write the row of a decision and pin its donors; return those still resident, in the order given.

    `decision` are columns of `Lookup`. Writing it twice changes nothing. Holds the job's row, and so the fence, while
    it does; raises `LeaseLost`.
    """
    values = {name: value if name == "reason" else json.dumps(value) for name, value in decision.items()}
    values |= {
        "job_id": claim.job.id,
        "fence": claim.fence,
        "attempt": claim.attempt,
        "namespace_id": space.id,
        "donors": list(donors),
    }
    found = _RECORD.run(session, values, before=_HOLD)
    if not found:
        raise lease_lost(claim)
    rows = {row.id: Pinned(**row._mapping) for row in found if row.id is not None}
    return [rows[id_] for id_ in donors if id_ in rows]


def of_attempt(session: Session, job_id: UUID, fence: int) -> Lookup | None:
    """Return the record of an attempt's decision; None if it made none, or if the record was deleted."""
    return session.scalars(select(Lookup).where(Lookup.job_id == job_id, Lookup.fence == fence)).one_or_none()


def of_namespace(session: Session, namespace_id: UUID) -> ScalarResult[Lookup]:
    """Return the records of a namespace's decisions in the order in which they were made."""
    return session.scalars(
        select(Lookup).where(Lookup.namespace_id == namespace_id).order_by(Lookup.created_at, Lookup.id)
    )


def log(session: Session, *, namespace_id: UUID | None, since: datetime | None) -> list[tuple[Lookup, Job, Namespace]]:
    """Return the records of decisions of a namespace, or of all, from a time on, each with its job and namespace."""
    rows = select(Lookup, Job, Namespace).join(Job, Job.id == Lookup.job_id)
    rows = rows.join(Namespace, Namespace.id == Lookup.namespace_id).order_by(Lookup.created_at, Lookup.id)
    if namespace_id is not None:
        rows = rows.where(Lookup.namespace_id == namespace_id)
    if since is not None:
        rows = rows.where(Lookup.created_at >= since)
    return [(lookup, job, space) for lookup, job, space in session.execute(rows)]


# The lock comes first, in a statement of its own, and nobody takes the job after it. FOR KEY SHARE meets the evictor's
# FOR UPDATE: one of the two sees the other. It does not meet hits that a job which ends counts, and passes over an
# entry that is about to go: whoever holds either may be a machine that nobody can reach any more.
_HOLD = "SELECT FROM jobs WHERE id = %(job_id)s AND fence = %(fence)s AND status = 'in_progress' FOR NO KEY UPDATE; "
_RECORD = Prepared(
    "record_decision",
    {
        "job_id": "uuid",
        "fence": "bigint",
        "attempt": "int",
        "namespace_id": "uuid",
        "donors": "uuid[]",
        "reason": "text",
        **dict.fromkeys(("entities", "neighbours", "settings", "plan", "occupancy", "timings"), "jsonb"),
    },
    f"""
    WITH held AS (SELECT id FROM jobs WHERE id = :job_id AND fence = :fence AND status = 'in_progress'),
    decision AS (
        INSERT INTO lookups (job_id, fence, attempt, namespace_id, entities, neighbours, settings, plan, reason,
            occupancy, timings)
        SELECT held.id, :fence, :attempt, :namespace_id, :entities, :neighbours, :settings, :plan, :reason,
            :occupancy, :timings
        FROM held ON CONFLICT DO NOTHING
    ),
    lent AS (
        SELECT * FROM cache_entries WHERE id = ANY(:donors) AND status = 'resident'
        AND EXISTS (SELECT FROM held) FOR KEY SHARE SKIP LOCKED
    ),
    pinned AS (
        INSERT INTO cache_pins (entry_id, job_id, fence) SELECT id, :job_id, :fence FROM lent ON CONFLICT DO NOTHING
    )
    SELECT {", ".join(f"lent.{column.name}" for column in fields(Pinned))} FROM held LEFT JOIN lent ON true
    """,  # noqa: S608 - what is put into the text is ours
)
