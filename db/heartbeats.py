"""Signs of life: a row a part, written every few seconds, on the database clock.

Names say what beats: `relay` or `relay:NAME` once the broker took something from it, `worker:NAME` while a worker lives
and may claim, `api` for the database itself, which a writer proves to be writable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Heartbeat

STARTING = "starting"  # why a worker takes no jobs yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The latest sign of life of one part."""

    name: str
    age_s: float  # on the database clock
    detail: dict[str, Any]  # what the part says of itself; Any: JSON


def beat(session: Session, name: str, detail: Mapping[str, Any] | None = None) -> None:
    """Say that a part lives now."""
    values = {"name": name, "seen_at": func.clock_timestamp(), "detail": dict(detail or {})}
    fresh = insert(Heartbeat).values(values)
    changed = {"seen_at": fresh.excluded.seen_at, "detail": fresh.excluded.detail}
    session.execute(fresh.on_conflict_do_update(index_elements=["name"], set_=changed))


def seen(session: Session, kind: str) -> list[Beat]:
    """Return the latest signs of life of all parts of a kind (`relay`, `worker`), the youngest first."""
    age = func.extract("epoch", func.clock_timestamp() - Heartbeat.seen_at).label("age_s")
    which = or_(Heartbeat.name == kind, Heartbeat.name.startswith(f"{kind}:", autoescape=True))
    rows = session.execute(select(Heartbeat.name, age, Heartbeat.detail).where(which).order_by(age))
    return [Beat(name=row.name, age_s=float(row.age_s), detail=row.detail) for row in rows]


def forget(session: Session, name: str) -> None:
    """Take the row of a part that ends on purpose away."""
    session.execute(delete(Heartbeat).where(Heartbeat.name == name))


def sweep(session: Session, *, older: timedelta) -> None:
    """Forget parts that died long ago."""
    session.execute(delete(Heartbeat).where(Heartbeat.seen_at < func.now() - older))
