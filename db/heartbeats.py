"""Heartbeats: one row per part of the service, written every few seconds, on the database clock.

The names: `relay` or `relay:NAME` once the broker took something from it, `worker:NAME` while a worker lives and may
claim, `api` for the database itself, which a write proves to be writable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, delete, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.models import Heartbeat
from shared.silence import NO_MORE_JOBS_S

STARTING = "starting"  # why a worker takes no jobs yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The latest heartbeat of one part."""

    name: str
    age_s: float  # on the database clock
    detail: dict[str, Any]  # what the part reports about itself; Any: JSON

    @property
    def is_fit(self) -> bool:
        """Whether a worker takes jobs; true if it does not say."""
        return bool(self.detail.get("is_fit", True))

    @property
    def reason_code(self) -> str:
        """The code for why a worker takes no jobs; the rest of the reason may name files."""
        return str(self.detail.get("reason", "")).partition(":")[0]

    @property
    def is_starting(self) -> bool:
        """Whether a worker is starting: jobs wait for it as for one that does not exist yet."""
        return self.reason_code == STARTING

    @property
    def models(self) -> frozenset[str] | None:
        """The models that a worker has; None, meaning all, if it does not say."""
        names = self.detail.get("models")
        return frozenset(names) if isinstance(names, list) else None

    def has_model(self, name: str) -> bool:
        """Whether a worker runs jobs of a model."""
        return self.models is None or name in self.models

    def serves(self, queue: str) -> bool:
        """Whether a worker serves a queue; if it does not say which, it serves all."""
        return "queues" not in self.detail or queue in self.detail["queues"]


def beat(session: Session, name: str, detail: Mapping[str, Any] | None = None) -> None:
    """Record that a part is alive now."""
    values = {"name": name, "seen_at": func.clock_timestamp(), "detail": dict(detail or {})}
    fresh = insert(Heartbeat).values(values)
    changed = {"seen_at": fresh.excluded.seen_at, "detail": fresh.excluded.detail}
    session.execute(fresh.on_conflict_do_update(index_elements=["name"], set_=changed))


def seen(session: Session, kind: str) -> list[Beat]:
    """Return the latest heartbeats of all parts of a kind (`relay`, `worker`), newest first."""
    age = func.extract("epoch", func.clock_timestamp() - Heartbeat.seen_at).label("age_s")
    which = or_(Heartbeat.name == kind, Heartbeat.name.startswith(f"{kind}:", autoescape=True))
    rows = session.execute(select(Heartbeat.name, age, Heartbeat.detail).where(which).order_by(age))
    return [Beat(name=row.name, age_s=float(row.age_s), detail=row.detail) for row in rows]


def takers(queue: InstrumentedAttribute[str], model: InstrumentedAttribute[str]) -> Select[str]:
    """Return a query for the names of living workers that take such jobs, by the rules of `Beat`."""
    said = Heartbeat.detail
    return select(Heartbeat.name).where(
        Heartbeat.name.startswith("worker:"),
        Heartbeat.seen_at > func.now() - timedelta(seconds=NO_MORE_JOBS_S),
        func.coalesce(said["is_fit"].as_boolean(), true()),
        func.coalesce(said["queues"].contains(func.to_jsonb(queue)), true()),
        func.coalesce(said["models"].contains(func.to_jsonb(model)), true()),
    )


def forget(session: Session, name: str) -> None:
    """Delete the row of a part that ends on purpose."""
    session.execute(delete(Heartbeat).where(Heartbeat.name == name))


def sweep(session: Session, *, older: timedelta) -> None:
    """Delete the rows of parts that died long ago."""
    session.execute(delete(Heartbeat).where(Heartbeat.seen_at < func.now() - older))
