"""Statistics of the cache from the rows of decisions, events and attempts; read only.

Everything covers one namespace, or all, from a time on. A *hit* is a decision to use a donor.
"""

# ruff: noqa: S608 - only constants of this module are put into the text
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.decisions import IS_HIT, STEPS_LEFT_OUT

_RANGE = "(:namespace_id IS NULL OR namespace_id = CAST(:namespace_id AS uuid)) AND created_at >= :since"
_GROUPS = {
    "kind": "plan->>'hit'",  # of the hit: scene, object, both, prompt, none
    "reason": "reason",
    "day": "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which rows are counted."""

    since: datetime
    namespace_id: UUID | None = None  # None: all

    @property
    def _values(self) -> dict[str, Any]:
        return {"since": self.since, "namespace_id": None if self.namespace_id is None else str(self.namespace_id)}


def decisions(session: Session, within: Range, *, by: str) -> list[dict[str, Any]]:
    """Return the number of decisions and of hits by `kind`, `reason` or `day`; days in order, otherwise most first."""
    if by == "day":
        return [dict(row) for row in session.execute(_BY_DAY, within._values).mappings()]
    query = text(
        f"SELECT {_GROUPS[by]} AS name, count(*) AS decisions, count(*) FILTER (WHERE {IS_HIT}) AS hits "
        f"FROM lookups WHERE {_RANGE} GROUP BY 1 ORDER BY 2 DESC, 1",
    )
    return [dict(row) for row in session.execute(query, within._values).mappings()]


# Days with stored sums, and the others from their rows.
_BY_DAY = text(
    "SELECT to_char(day, 'YYYY-MM-DD') AS name, sum(decisions)::bigint AS decisions, sum(hits)::bigint AS hits "
    "FROM (SELECT day, decisions, hits FROM cache_days WHERE day >= :since AND (:namespace_id IS NULL "
    "OR namespace_id = CAST(:namespace_id AS uuid)) UNION ALL "
    f"SELECT (created_at AT TIME ZONE 'UTC')::date, 1, ({IS_HIT})::int FROM lookups WHERE {_RANGE} AND NOT EXISTS ("
    "SELECT FROM cache_days AS d WHERE d.day = (created_at AT TIME ZONE 'UTC')::date AND d.day >= :since "
    "AND d.namespace_id = lookups.namespace_id)) AS days GROUP BY day ORDER BY day"
)


def donors(session: Session, within: Range, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the entries that served most: hits, their share of all hits, and the prompt that made the entry."""
    query = text(
        "SELECT hits.entry_id AS entry, hits.number AS hits, hits.number / sum(hits.number) OVER () AS share, prompt "
        "FROM (SELECT entry_id, count(*) AS number FROM cache_events "
        f"WHERE kind = 'hit' AND {_RANGE} GROUP BY entry_id) AS hits "
        "LEFT JOIN cache_entries ON cache_entries.id = hits.entry_id ORDER BY 2 DESC, 1 LIMIT :limit",
    )
    rows = session.execute(query, {**within._values, "limit": limit}).mappings()
    return [{**row, "entry": str(row["entry"]), "share": float(row["share"])} for row in rows]


def events(session: Session, within: Range) -> dict[str, int]:
    """Return how often each kind of event happened."""
    query = text(f"SELECT kind, count(*) AS number FROM cache_events WHERE {_RANGE} GROUP BY kind ORDER BY kind")
    return {row.kind: row.number for row in session.execute(query, within._values)}


def savings(session: Session, within: Range) -> dict[str, float]:
    """Return the GPU seconds of completed attempts, the seconds that donors saved, and the bytes moved for that."""
    query = text(
        "SELECT coalesce(sum(gpu_seconds), 0) AS gpu_seconds, coalesce(sum(seconds_saved), 0) AS seconds_saved, "
        "coalesce(sum(bytes_read), 0)::bigint AS bytes_read, coalesce(sum(bytes_written), 0)::bigint AS bytes_written "
        f"FROM job_metrics WHERE outcome = 'completed' AND {_RANGE}",
    )
    return dict(session.execute(query, within._values).mappings().one())


def seconds_by_day(session: Session, within: Range) -> list[dict[str, Any]]:
    """Return the GPU seconds spent and saved by completed attempts on each day, in UTC."""
    query = text(
        f"SELECT {_GROUPS['day']} AS day, coalesce(sum(gpu_seconds), 0) AS spent, coalesce(sum(seconds_saved), 0) "
        f"AS saved, count(*) AS videos FROM job_metrics WHERE outcome = 'completed' AND {_RANGE} GROUP BY 1 ORDER BY 1",
    )
    return [dict(row) for row in session.execute(query, within._values).mappings()]


def entities(session: Session, within: Range, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the stored entities that matched in most hits, with the number of hits."""
    query = text(
        "SELECT match->>'donor_text' AS entity, count(*) AS hits FROM lookups, "
        f"jsonb_array_elements(plan->'matched') AS match WHERE {IS_HIT} AND {_RANGE} "
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit",
    )
    return [dict(row) for row in session.execute(query, {**within._values, "limit": limit}).mappings()]


def wrong_matches(session: Session, within: Range) -> int:
    """Return how many attempts used a match that an operator found wrong."""
    query = text(f"SELECT count(*) FROM job_metrics WHERE wrong_match AND {_RANGE}")
    return int(session.scalars(query, within._values).one())


def summary(session: Session, within: Range) -> dict[str, Any]:
    """Return all of these together: decisions with hit rates, donors, events, stored bytes, savings."""
    by = {name: [_rated(row) for row in decisions(session, within, by=name)] for name in ("kind", "reason", "day")}
    number, hits = (sum(row[name] for row in by["reason"]) for name in ("decisions", "hits"))
    lenders = donors(session, within)
    return {
        "since": within.since.isoformat(timespec="seconds"),
        "decisions": number,
        "hits": hits,
        "hit_rate": hits / number if number else None,
        **{f"by_{name}": found for name, found in by.items()},
        "entities": entities(session, within),
        "donors": lenders,
        "top_donors_share": sum(row["share"] for row in lenders),
        "events": events(session, within),
        "space": space(session, within),
        "savings": {**savings(session, within), "steps_saved": steps_saved(session, within)},
        "savings_by_day": seconds_by_day(session, within),
        "wrong_matches": wrong_matches(session, within),
    }


def _rated(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "hit_rate": row["hits"] / row["decisions"]}


def steps_saved(session: Session, within: Range) -> int:
    """Return the denoising steps that donors saved completed attempts, against full mode."""
    query = text(
        f"SELECT coalesce(sum({STEPS_LEFT_OUT}), 0) FROM (SELECT job_id, attempt, reason FROM job_metrics "
        f"WHERE outcome = 'completed' AND {IS_HIT} AND {_RANGE}) AS made JOIN lookups USING (job_id, attempt, reason)",
    )
    return int(session.scalars(query, within._values).one())


def space(session: Session, within: Range) -> dict[str, int]:
    """Return entries, entities, bytes in use and budget, as they are now."""
    query = text(
        "SELECT count(*) AS namespaces, coalesce(sum(num_entities), 0)::bigint AS entities, "
        "coalesce(sum(bytes_used), 0)::bigint AS bytes_used, coalesce(sum(byte_budget), 0)::bigint AS byte_budget, "
        "(SELECT count(*) FROM cache_entries WHERE status = 'resident' AND (:namespace_id IS NULL "
        "OR namespace_id = CAST(:namespace_id AS uuid))) AS entries "
        "FROM namespaces WHERE :namespace_id IS NULL OR id = CAST(:namespace_id AS uuid)",
    )
    return dict(session.execute(query, within._values).mappings().one())
