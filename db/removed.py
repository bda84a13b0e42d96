"""Where rows stood that their tenant removed: whoever pages through a list while deleting goes on behind them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import Batch, File, Job, RemovedRow

LIFE = timedelta(days=1)  # a removed row is good as a cursor for this long


def note(session: Session, rows: Sequence[tuple[UUID, str, datetime]]) -> None:
    """Keep where rows stood, of which each is its id, its tenant and when it was made; forget the old ones."""
    if rows:
        stood = [{"id": id_, "tenant": tenant, "created_at": created_at} for id_, tenant, created_at in rows]
        session.execute(insert(RemovedRow), stood)
    session.execute(delete(RemovedRow).where(RemovedRow.removed_at < func.now() - LIFE))


def stood(
    session: Session, table: type[Job] | type[File] | type[Batch], tenant: str, id_: UUID
) -> tuple[datetime, UUID]:
    """Return where a row stands in the list of its tenant, or stood until it was removed; raise `NotFound`."""
    for kind in (table, RemovedRow):
        query = select(kind.created_at).where(kind.id == id_, kind.tenant == tenant)
        if (created_at := session.scalar(query)) is not None:
            return created_at, id_
    raise NotFound(f"no row {id_}")
