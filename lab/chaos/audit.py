"""The rules of the design, checked with SQL of this module's own: nothing here uses the service's code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import psycopg2

FINAL = ("completed", "failed", "cancelled")
_WATCH = """
CREATE TABLE chaos_audit (
    id bigint GENERATED ALWAYS AS IDENTITY, job_id uuid, status text, attempt int, owner text,
    at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' OR OLD.status IS DISTINCT FROM NEW.status THEN
        INSERT INTO chaos_audit (job_id, status, attempt, owner)
        VALUES (NEW.id, NEW.status, NEW.attempt, NEW.lease_owner);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_watch AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_note();
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The state that a run left behind."""

    jobs: int
    statuses: dict[str, int]
    errors: dict[str, int]  # of failed jobs, by code
    lost: int  # accepted, never deleted, and missing
    doubled: int  # completed twice, or changed after a final state
    stuck: int  # not ended
    unmeasured: int  # attempts without exactly one row of figures
    recovery_p50_s: float | None  # from a blow to the worker that held a job until the job's next attempt
    recovery_max_s: float | None
    num_recoveries: int
    ledger: int  # bytes that namespaces count as used
    rows: int  # bytes of the existing entries
    files: int  # bytes of latents on disk
    videos_without_row: int
    rows_without_video: int

    @property
    def is_good(self) -> bool:
        """Whether every rule holds."""
        broken = (self.lost, self.doubled, self.stuck, self.unmeasured, self.videos_without_row)
        return not any(broken) and not self.rows_without_video and self.ledger == self.rows == self.files

    def columns(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


@contextmanager
def _cursor(database_url: str) -> Iterator[Any]:  # Any: psycopg2 has no types
    plain = database_url.replace("postgresql+psycopg2://", "postgresql://")
    with closing(psycopg2.connect(plain, connect_timeout=5)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def watch(database_url: str) -> None:
    """Record every change of a job's status from now on."""
    with _cursor(database_url) as cursor:
        cursor.execute(_WATCH)


def num_open(database_url: str) -> int:
    """Return how many jobs have not ended."""
    with _cursor(database_url) as cursor:
        cursor.execute("SELECT count(*) FROM jobs WHERE status <> ALL(%s)", (list(FINAL),))
        return int(cursor.fetchone()[0])


def num_fit_workers(database_url: str) -> int:
    """Return how many workers have lately given a sign of life and take jobs."""
    with _cursor(database_url) as cursor:
        cursor.execute(
            "SELECT count(*) FROM heartbeats WHERE name LIKE 'worker:%' AND seen_at > now() - interval '15 s' "
            "AND (detail->>'is_fit')::boolean"
        )
        return int(cursor.fetchone()[0])


def judge(
    database_url: str, storage: Path, *, accepted: set[UUID], deleted: set[UUID], hits: Sequence[tuple[float, str]]
) -> Verdict:
    """Return the verdict on a run; `hits` are blows to workers: seconds since the epoch and the worker's name."""
    with _cursor(database_url) as cursor:
        cursor.execute("SELECT id, status, error_code, attempt, output->>'name' FROM jobs")
        rows = cursor.fetchall()
        cursor.execute("SELECT job_id, status, extract(epoch FROM at), owner FROM chaos_audit ORDER BY id")
        changes = cursor.fetchall()
        completed = "count(*) FILTER (WHERE outcome = 'completed')"
        cursor.execute(f"SELECT job_id, count(*), {completed} FROM job_metrics GROUP BY 1")  # noqa: S608 - a constant
        measured = {id_: (number, completed) for id_, number, completed in cursor.fetchall()}
        cursor.execute("SELECT coalesce(sum(bytes_used), 0) FROM namespaces")
        ledger = int(cursor.fetchone()[0])
        cursor.execute("SELECT coalesce(sum(num_bytes), 0) FROM cache_entries WHERE status <> 'gone'")
        entries = int(cursor.fetchone()[0])
    there = {UUID(str(row[0])) for row in rows}
    outputs = {row[4] for row in rows if row[4]}
    videos = {f"videos/{file.name}" for file in (storage / "videos").glob("*")}
    recoveries = _recoveries(changes, hits)
    return Verdict(
        jobs=len(accepted | there),
        statuses=dict(Counter(row[1] for row in rows)),
        errors=dict(Counter(row[2] for row in rows if row[1] == "failed")),
        lost=len(accepted - there - deleted),
        doubled=_num_doubled(changes) + sum(completed > 1 for _, completed in measured.values()),
        stuck=sum(row[1] not in FINAL for row in rows),
        unmeasured=sum(measured.get(row[0], (0, 0))[0] != row[3] for row in rows if row[1] in FINAL),
        recovery_p50_s=round(median(recoveries), 2) if recoveries else None,
        recovery_max_s=round(max(recoveries), 2) if recoveries else None,
        num_recoveries=len(recoveries),
        ledger=ledger,
        rows=entries,
        files=sum(file.stat().st_size for file in (storage / "latents").glob("*")),
        videos_without_row=len(videos - outputs),
        rows_without_video=len(outputs - videos),
    )


def _num_doubled(changes: Sequence[tuple[Any, ...]]) -> int:
    """Return how often a job changed after it had ended."""
    ended: set[str] = set()
    number = 0
    for id_, status, _, _ in changes:
        number += id_ in ended
        if status in FINAL:
            ended.add(id_)
    return number


def _recoveries(changes: Sequence[tuple[Any, ...]], hits: Sequence[tuple[float, str]]) -> list[float]:
    """Return, for each job that a hit worker held, the time until its next attempt began."""
    found: list[float] = []
    for at, worker in hits:
        held: dict[str, bool] = {}
        for id_, status, changed, owner in changes:
            changed = float(changed)
            if changed <= at:
                held[id_] = status == "in_progress" and str(owner).startswith(f"{worker}@")
            elif held.pop(id_, False):
                pass_on = [float(c[2]) for c in changes if c[0] == id_ and float(c[2]) > at and c[1] == "in_progress"]
                found += [pass_on[0] - at] if pass_on and status == "queued" else []
    return found
