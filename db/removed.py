"""Positions of removed rows, so that paging through a list while deleting can continue after them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import Batch, File, Job, RemovedRow

LIFE = timedelta(days=1)  # how long a removed row still works as a cursor


def note(session: Session, rows: Sequence[tuple[UUID, str, datetime]]) -> None:
    """Store the positions of removed rows, each given as id, tenant and time of creation; delete old ones."""
    if rows:
        stood = [{"id": id_, "tenant": tenant, "created_at": created_at} for id_, tenant, created_at in rows]
        session.execute(insert(RemovedRow), stood)
    session.execute(delete(RemovedRow).where(RemovedRow.removed_at < func.now() - LIFE))


def stood(
    session: Session, table: type[Job] | type[File] | type[Batch], tenant: str, id_: UUID
) -> tuple[datetime, UUID]:
    """Return the position of a row, even a removed one, in the list of its tenant; raise `NotFound`."""
    for kind in (table, RemovedRow):
        query = select(kind.created_at).where(kind.id == id_, kind.tenant == tenant)
        if (created_at := session.scalar(query)) is not None:
            return created_at, id_
    raise NotFound(f"no row {id_}")
