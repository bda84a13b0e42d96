"""The id of the service's one storage, and whether a STORAGE_URL names that storage."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from db.models import ServiceId
from db.session import transaction
from shared.storage import FileMissing, Storage, StorageError, shown

STORAGE = "storage"


class ForeignStorage(StorageError):
    """The storage is not the service's own, to which this database's workers write; an operator must act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageIds:
    """Two ids, which are equal if a storage is the service's own."""

    found: UUID | None  # in the storage; None: it has no id
    known: UUID | None  # in the database; None: no worker has found a storage yet


def service_storage(session: Session) -> UUID | None:
    """Return the id of the service's storage; None until a worker has found one."""
    return session.scalar(select(ServiceId.id).where(ServiceId.name == STORAGE))


def of_storage(storage: Storage, factory: sessionmaker[Session]) -> StorageIds:
    """Return the ids of a storage and of the service's own; write neither. No transaction waits for the storage."""
    with transaction(factory) as session:
        known = service_storage(session)
    try:
        return StorageIds(found=storage.marker(create=False), known=known)
    except FileMissing:
        return StorageIds(found=None, known=known)


def check_storage(storage: Storage, factory: sessionmaker[Session], *, may_be_new: bool) -> None:
    """Raise `ForeignStorage` unless a storage is the service's own.

    With `may_be_new`, any storage passes until the first worker has found one: that worker may adopt it. Without it,
    none that has an id passes: its files belong to a service that this database does not know.
    """
    ids = of_storage(storage, factory)
    if ids.found != ids.known and not (may_be_new and ids.known is None):
        has, ours = ids.found or "no id", ids.known or "none yet"
        raise ForeignStorage(f"{shown(storage.url)}: it has {has}, the service's storage {ours}")


def adopt_storage(session: Session, found: UUID) -> UUID:
    """Make this the id of the service's storage unless it has one; return the id in force."""
    session.execute(insert(ServiceId).values(name=STORAGE, id=found).on_conflict_do_nothing())
    return session.scalars(select(ServiceId.id).where(ServiceId.name == STORAGE)).one()
