"""Batches whose lines come from a file: each is a bulk run, and a row that says how far the file was read.

The lines of a chunk and the new position are written in one transaction: if the writer dies, the next one continues
from there.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import batches, metrics
from db.errors import NotFound
from db.models import Batch, FileBatch, Job, JobMetric, RefusedLine
from db.states import FINAL, FileBatchStatus, JobStatus, check_file_batch

PAGE = 500
LIFE = timedelta(hours=24)  # the completion window
OPEN = (
    FileBatchStatus.VALIDATING,
    FileBatchStatus.IN_PROGRESS,
    FileBatchStatus.CANCELLING,
    FileBatchStatus.FINALIZING,
)


def begin(session: Session, row: FileBatch) -> FileBatch:
    """Insert a batch that is to read its file."""
    row.expires_at = session.scalars(select(func.now() + LIFE)).one()
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get(session: Session, tenant: str, id_: UUID, *, lock: bool = False) -> FileBatch:
    """Return the tenant's batch, locked until the transaction ends if it is to be changed; raise `NotFound`."""
    query = select(FileBatch).where(FileBatch.id == id_, FileBatch.tenant == tenant)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"no batch {id_}")
    return row


def is_one(session: Session, id_: UUID) -> bool:
    """Return whether a bulk run comes from a file."""
    return session.get(FileBatch, id_) is not None


def among(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Return which of these bulk runs come from a file."""
    return set(session.scalars(select(FileBatch.id).where(FileBatch.id.in_(ids))))


def page(session: Session, tenant: str, *, limit: int, after: UUID | None = None) -> list[FileBatch]:
    """Return up to `limit` batches after the cursor, newest first; raise `NotFound` for a foreign cursor."""
    query = select(FileBatch).where(FileBatch.tenant == tenant)
    if after:
        cursor = get(session, tenant, after)
        query = query.where(tuple_(FileBatch.created_at, FileBatch.id) < tuple_(cursor.created_at, cursor.id))
    return list(session.scalars(query.order_by(FileBatch.created_at.desc(), FileBatch.id.desc()).limit(limit)))


def unfinished(session: Session) -> list[UUID]:
    """Return the batches with work left to do, oldest first."""
    query = select(FileBatch.id).where(FileBatch.status.in_(OPEN)).order_by(FileBatch.created_at)
    return list(session.scalars(query))


def take(session: Session, id_: UUID) -> tuple[FileBatch, Batch] | None:
    """Lock a batch and its run to continue it; None if another process does."""
    query = (
        select(FileBatch, Batch)
        .join(Batch, Batch.id == FileBatch.id)
        .where(FileBatch.id == id_, FileBatch.status.in_(OPEN))
        .with_for_update(skip_locked=True)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row.FileBatch, row.Batch)


def move(session: Session, row: FileBatch, status: FileBatchStatus) -> None:
    """Give a batch its next status and record the time; raise `IllegalTransition`."""
    check_file_batch(FileBatchStatus(row.status), status)
    row.status = status
    if status != FileBatchStatus.VALIDATING:
        setattr(row, f"{status.value}_at", session.scalar(select(func.clock_timestamp())))
    session.flush()


def end_early(session: Session, row: FileBatch, run: Batch, status: FileBatchStatus) -> None:
    """Cancel the jobs that have not ended; when all have, the batch becomes `status`: expired or cancelled."""
    batches.cancel(session, run)
    row.ends_as = status
    session.flush()


def fail(session: Session, row: FileBatch, run: Batch, *, code: str, message: str, line: int | None = None) -> None:
    """Fail a batch whose file cannot be used, and cancel any jobs that it has begun."""
    batches.cancel(session, run)
    error = {"code": code, "message": message, "param": "input_file_id", "line": line}
    row.errors = {"object": "list", "data": [error]}
    move(session, row, FileBatchStatus.FAILED)


def is_due(session: Session, row: FileBatch) -> bool:
    """Return whether a batch's completion window is over."""
    return bool(session.scalar(select(row.expires_at <= func.now())))


def refuse(session: Session, id_: UUID, lines: Sequence[Mapping[str, Any]]) -> None:
    """Store what is wrong with some lines: `line`, `custom_id` and `error`."""
    if lines:
        session.execute(insert(RefusedLine), [{"batch_id": id_, **line} for line in lines])


def num_refused(session: Session, id_: UUID) -> int:
    """Return how many lines were not accepted."""
    return session.scalar(select(func.count()).where(RefusedLine.batch_id == id_)) or 0


def refused(session: Session, id_: UUID) -> Iterator[RefusedLine]:
    """Iterate over the lines that were not accepted, in the order of the file."""
    last = 0
    while rows := session.scalars(
        select(RefusedLine)
        .where(RefusedLine.batch_id == id_, RefusedLine.line > last)
        .order_by(RefusedLine.line)
        .limit(PAGE)
    ).all():
        yield from rows
        last = rows[-1].line
        session.expunge_all()


def num_unread(session: Session, tenant: str) -> int:
    """Return how many lines of a tenant's files have yet to become jobs."""
    left = func.greatest(0, FileBatch.num_lines - FileBatch.line)
    is_read = FileBatch.status == FileBatchStatus.VALIDATING, FileBatch.ends_as.is_(None)
    return int(session.scalar(select(func.sum(left)).where(FileBatch.tenant == tenant, *is_read)) or 0)


def counts(session: Session, id_: UUID) -> dict[str, int]:
    """Return the number of a batch's videos by status."""
    query = select(Job.status, func.count().label("number")).where(_its(id_)).group_by(Job.status)
    return {row.status: row.number for row in session.execute(query)}


def is_over(session: Session, id_: UUID) -> bool:
    """Return whether every video of a batch has ended."""
    return not session.scalar(select(select(Job.id).where(_its(id_), Job.status.not_in(FINAL)).exists()))


def ended(session: Session, id_: UUID, *, is_completed: bool) -> Iterator[tuple[Job, JobMetric | None]]:
    """Iterate over the completed videos of a batch, or over the others, in the order of their lines."""
    status = Job.status == JobStatus.COMPLETED if is_completed else Job.status != JobStatus.COMPLETED
    query = select(Job).where(_its(id_), status, Job.deleted_at.is_(None)).order_by(Job.created_at, Job.id).limit(PAGE)
    rows = session.scalars(query).all()
    while rows:
        figures = metrics.of_jobs(session, rows) if is_completed else {}
        yield from ((row, figures.get(row.id)) for row in rows)
        behind = tuple_(Job.created_at, Job.id) > tuple_(rows[-1].created_at, rows[-1].id)
        session.expunge_all()
        rows = session.scalars(query.where(behind)).all()


def _its(id_: UUID) -> ColumnElement[bool]:
    return Job.batch_id == id_
