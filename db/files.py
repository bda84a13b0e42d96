"""Files of tenants: inputs and outputs of batches. The bytes are in storage, under names chosen by the service."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from db import acceptance, cursors, removed
from db.errors import InUse, NotFound
from db.models import File, FileBatch
from db.states import FileBatchStatus


class FileInUse(InUse):
    """A batch still reads the file."""

    param = "file_id"
    code = "file_in_use"


def add(session: Session, file: File, *, life: timedelta) -> File:
    """Insert a file whose bytes are already stored; it may be removed after `life`."""
    file.expires_at = session.scalars(select(func.now() + life)).one()
    session.add(file)
    session.flush()
    session.refresh(file)
    return file


def replayed(session: Session, file: File) -> File | None:
    """Return the file that the same idempotency key made before, see `acceptance.replayed`."""
    return acceptance.replayed(session, file, has_ended=_is_expired())


def get(session: Session, tenant: str, id_: UUID, *, is_needed: bool = False) -> File:
    """Return the tenant's file, if needed locked until the transaction ends; raise `NotFound`."""
    query = select(File).where(File.id == id_, File.tenant == tenant, ~_is_expired())
    file = session.scalars(query.with_for_update(read=True) if is_needed else query).one_or_none()
    if file is None:
        raise NotFound(f"no file {id_}")
    return file


def page(
    session: Session,
    tenant: str,
    *,
    limit: int,
    after: UUID | None = None,
    newest_first: bool = True,
    purpose: str | None = None,
) -> list[File]:
    """Return up to `limit` of the tenant's files after the cursor; raise `NotFound` for a foreign cursor."""
    query = select(File).where(File.tenant == tenant, ~_is_expired())
    if purpose:
        query = query.where(File.purpose == purpose)
    return cursors.part(session, query, File, tenant, limit=limit, after=after, newest_first=newest_first)


def num_bytes(session: Session, tenant: str) -> int:
    """Return the total size of the tenant's files."""
    return int(session.scalar(select(func.coalesce(func.sum(File.num_bytes), 0)).where(File.tenant == tenant)) or 0)


def remove(session: Session, tenant: str, id_: UUID) -> str:
    """Delete a file's row; return the name of its bytes, for the caller to unlink. Raises `NotFound`, `FileInUse`."""
    query = select(File).where(File.id == id_, File.tenant == tenant).with_for_update()
    file = session.scalars(query).one_or_none()
    if file is None:
        raise NotFound(f"no file {id_}")
    if session.scalar(select(_is_read(file.id))):
        raise FileInUse("a batch is reading this file; cancel the batch, or wait until it is in_progress")
    session.delete(file)
    removed.note(session, [(file.id, file.tenant, file.created_at)])
    session.flush()
    return file.name


def purge(session: Session, *, limit: int) -> list[str]:
    """Delete the rows of expired files that nothing reads; return the names of their bytes."""
    query = select(File).where(_is_expired(), ~_is_read(File.id)).order_by(File.id).limit(limit)
    old = session.scalars(query.with_for_update(skip_locked=True)).all()
    for file in old:
        session.delete(file)
    removed.note(session, [(file.id, file.tenant, file.created_at) for file in old])
    session.flush()
    return [file.name for file in old]


def known(session: Session, names: Collection[str]) -> set[str]:
    """Return which of these names belong to a file."""
    return set(session.scalars(select(File.name).where(File.name.in_(names))))


def _is_expired() -> ColumnElement[bool]:
    return File.expires_at <= func.now()


def _is_read(id_: object) -> ColumnElement[bool]:
    return (
        select(FileBatch.id)
        .where(FileBatch.input_file_id == id_, FileBatch.status == FileBatchStatus.VALIDATING)
        .exists()
    )
