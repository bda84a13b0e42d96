"""What there is one of in a service, by its id: the storage, and whether a STORAGE_URL names it."""

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
    """The storage is not the service's own, which this database's workers write to: somebody has to see to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageIds:
    """The two ids that are one where a storage is the service's own."""

    found: UUID | None  # what the storage keeps; None: nothing
    known: UUID | None  # what the database knows; None: no worker has found a storage yet


def service_storage(session: Session) -> UUID | None:
    """Return the id of the service's storage; None until a worker has found one."""
    return session.scalar(select(ServiceId.id).where(ServiceId.name == STORAGE))


def of_storage(storage: Storage, factory: sessionmaker[Session]) -> StorageIds:
    """Return the ids of a storage and of the service's own, and mark nothing. No transaction waits for the storage."""
    with transaction(factory) as session:
        known = service_storage(session)
    try:
        return StorageIds(found=storage.marker(create=False), known=known)
    except FileMissing:
        return StorageIds(found=None, known=known)


def check_storage(storage: Storage, factory: sessionmaker[Session], *, may_be_new: bool) -> None:
    """Raise `ForeignStorage` unless a storage is the service's own.

    With `may_be_new`, any storage will do before the first worker has found one: it may be what that one will adopt.
    Without it none with an id will: its files are of a service that this database does not know.
    """
    ids = of_storage(storage, factory)
    if ids.found != ids.known and not (may_be_new and ids.known is None):
        has, ours = ids.found or "no id", ids.known or "none yet"
        raise ForeignStorage(f"{shown(storage.url)}: it has {has}, the service's storage {ours}")


def adopt_storage(session: Session, found: UUID) -> UUID:
    """Make this the id of the service's storage unless there is one; return the one there is."""
    session.execute(insert(ServiceId).values(name=STORAGE, id=found).on_conflict_do_nothing())
    return session.scalars(select(ServiceId.id).where(ServiceId.name == STORAGE)).one()
