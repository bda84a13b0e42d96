"""What there is one of in a service, by its id: the storage."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import ServiceId

STORAGE = "storage"


def storage(session: Session) -> UUID | None:
    """Return the id of the service's storage; None until a worker has found one."""
    return session.scalar(select(ServiceId.id).where(ServiceId.name == STORAGE))


def adopt_storage(session: Session, found: UUID) -> UUID:
    """Make this the id of the service's storage unless there is one; return the one there is."""
    session.execute(insert(ServiceId).values(name=STORAGE, id=found).on_conflict_do_nothing())
    return session.scalars(select(ServiceId.id).where(ServiceId.name == STORAGE)).one()
