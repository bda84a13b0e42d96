"""Daily sums, kept after the rows that they sum up are deleted: a year of figures in a few rows per namespace."""

# ruff: noqa: S608 - only constants of this module are put into the text
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.decisions import IS_HIT, STEPS_LEFT_OUT

_DAY = "(created_at AT TIME ZONE 'UTC')::date"
# Days that are over and have no sums. A day is summed up once: its rows do not change any more, but may be deleted.
# Not at midnight: transactions that began before may have rows of that day to commit.
OVER = "date_trunc('day', now() - interval '10 minutes', 'UTC')"  # days before this are over
_OPEN = f"created_at < {OVER} AND {_DAY} > coalesce((SELECT max(day) FROM cache_days), '-infinity')"


def roll_up(session: Session) -> int:
    """Sum up the days that are over; return the number of rows written. A repetition changes nothing."""
    found = session.execute(text(_STATEMENT))
    return int(found.rowcount)  # type: ignore[attr-defined]


_STATEMENT = f"""
    WITH of_lookups AS (
        SELECT {_DAY} AS day, namespace_id, count(*) AS decisions, count(*) FILTER (WHERE {IS_HIT}) AS hits
        FROM lookups WHERE {_OPEN} GROUP BY 1, 2
    ), reasons AS (
        SELECT day, namespace_id, jsonb_object_agg(reason, number) AS by_reason FROM (
            SELECT {_DAY} AS day, namespace_id, reason, count(*) AS number FROM lookups WHERE {_OPEN} GROUP BY 1, 2, 3
        ) AS counted GROUP BY 1, 2
    ), of_events AS (
        SELECT {_DAY} AS day, namespace_id, count(*) FILTER (WHERE kind = 'insert') AS inserts,
            count(*) FILTER (WHERE kind = 'evict') AS evictions, count(*) FILTER (WHERE kind = 'refuse') AS refusals
        FROM cache_events WHERE {_OPEN} GROUP BY 1, 2
    ), of_metrics AS (
        SELECT {_DAY} AS day, namespace_id, count(*) AS videos, coalesce(sum(gpu_seconds), 0) AS gpu_seconds,
            coalesce(sum(seconds_saved), 0) AS seconds_saved, coalesce(sum(bytes_read), 0) AS bytes_read,
            coalesce(sum(bytes_written), 0) AS bytes_written, coalesce(sum(steps), 0) AS steps_saved
        FROM job_metrics AS made LEFT JOIN LATERAL (
            SELECT {STEPS_LEFT_OUT} AS steps FROM lookups AS decision WHERE {IS_HIT}
            AND decision.job_id = made.job_id AND decision.attempt = made.attempt AND decision.reason = made.reason
        ) AS of_donor ON true
        WHERE outcome = 'completed' AND namespace_id IS NOT NULL AND {_OPEN} GROUP BY 1, 2
    ), keys AS (
        SELECT day, namespace_id FROM of_lookups UNION SELECT day, namespace_id FROM of_events
        UNION SELECT day, namespace_id FROM of_metrics
    )
    INSERT INTO cache_days (day, namespace_id, decisions, hits, steps_saved, by_reason, inserts, evictions, refusals,
        videos, gpu_seconds, seconds_saved, bytes_read, bytes_written)
    SELECT day, namespace_id, coalesce(decisions, 0), coalesce(hits, 0), coalesce(steps_saved, 0),
        coalesce(by_reason, '{{}}'), coalesce(inserts, 0), coalesce(evictions, 0), coalesce(refusals, 0),
        coalesce(videos, 0), coalesce(gpu_seconds, 0), coalesce(seconds_saved, 0), coalesce(bytes_read, 0),
        coalesce(bytes_written, 0)
    FROM keys LEFT JOIN of_lookups USING (day, namespace_id) LEFT JOIN reasons USING (day, namespace_id)
        LEFT JOIN of_events USING (day, namespace_id) LEFT JOIN of_metrics USING (day, namespace_id)
    ON CONFLICT DO NOTHING
"""
