"""What changed in jobs since a moment, without missing anything that was committed late.

Each row carries the number of the transaction that last wrote it. A horizon is the lowest number that was still at work
at some moment: whatever was not visible then has that number or a higher one, however late it commits. A time stamp
would not do: a transaction may commit after a younger one was read.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.models import Job

_HORIZON = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
# a restored database may hold numbers of another one's future
NOT_OF_THE_FUTURE = text("changed < pg_snapshot_xmax(pg_current_snapshot())::text::bigint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Jobs as they are now that were written at or behind a horizon, the oldest change first; removed ones too."""

    rows: list[Job]
    horizon: int  # where to read on
    is_cut: bool  # there were more than the limit; `rows` is empty then


def horizon(session: Session) -> int:
    """Return where to read on for everything that this session does not see yet."""
    return int(session.scalar(_HORIZON) or 0)


def since(session: Session, low: int, tenants: Collection[str], *, limit: int) -> Changes:
    """Return what some tenants' jobs became since a horizon. What was read before may come again: compare `changed`."""
    high = horizon(session)  # before the rows: what becomes visible between the two statements comes again
    query = select(Job).where(Job.changed >= low, Job.tenant.in_(tenants), NOT_OF_THE_FUTURE)
    rows = list(session.scalars(query.order_by(Job.changed, Job.id).limit(limit + 1)))
    is_cut = len(rows) > limit
    return Changes(rows=[] if is_cut else rows, horizon=high, is_cut=is_cut)
