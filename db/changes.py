"""Jobs that changed since some moment, without missing any that were committed late.

Each row carries the number of the transaction that last wrote it. A horizon is the lowest number still running at some
moment: anything not visible then has that number or a higher one, however late it commits. A time stamp would not do,
since a transaction may commit after a younger one was read.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.models import Job

_HORIZON = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
# a restored database may hold higher numbers, of the one that was dumped
NOT_OF_THE_FUTURE = text("changed < pg_snapshot_xmax(pg_current_snapshot())::text::bigint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The present state of jobs written at or after a horizon, oldest change first; removed ones too."""

    rows: list[Job]
    horizon: int  # where to continue reading
    is_cut: bool  # there were more than the limit, and `rows` is empty


def horizon(session: Session) -> int:
    """Return where to continue reading, to see everything that this session does not see yet."""
    return int(session.scalar(_HORIZON) or 0)


def since(session: Session, low: int, tenants: Collection[str], *, limit: int) -> Changes:
    """Return how some tenants' jobs changed since a horizon. Some may have been read before: compare `changed`."""
    high = horizon(session)  # before the rows: those that become visible between the two statements are read again
    query = select(Job).where(Job.changed >= low, Job.tenant.in_(tenants), NOT_OF_THE_FUTURE)
    rows = list(session.scalars(query.order_by(Job.changed, Job.id).limit(limit + 1)))
    is_cut = len(rows) > limit
    return Changes(rows=[] if is_cut else rows, horizon=high, is_cut=is_cut)
