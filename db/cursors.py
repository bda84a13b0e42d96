"""Pages of a tenant's lists: the rows after a cursor, in the order in which they were made."""

from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

from db import removed
from db.models import Batch, File, Job

Row = TypeVar("Row", Job, File, Batch)


def part(
    session: Session,
    query: Select[Row],
    table: type[Row],
    tenant: str,
    *,
    limit: int,
    after: UUID | None,
    newest_first: bool = True,
) -> list[Row]:
    """Return up to `limit` rows of a query after the cursor `after`; raise `NotFound` for a foreign cursor."""
    place = table.created_at, table.id
    if after:
        here = tuple_(*removed.stood(session, table, tenant, after))
        query = query.where(tuple_(*place) < here if newest_first else tuple_(*place) > here)
    order = (column.desc() for column in place) if newest_first else place
    return list(session.scalars(query.order_by(*order).limit(limit)))
