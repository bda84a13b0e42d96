"""Accepting jobs: a request becomes one row, however often it is sent. Functions flush; the caller commits."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import outbox
from db.errors import Conflict, InUse
from db.models import File, Job, Webhook
from db.session import waited_in_vain

K = TypeVar("K", Job, File, Webhook)  # what a request with an idempotency key makes

KEY_LIFE = timedelta(days=1)  # how long an idempotency key is remembered
KEY_PATIENCE_MS = 2000  # two requests with one key: the second waits this long for the first


def accept(session: Session, job: Job) -> tuple[Job, bool]:
    """Insert a job and wake the relay; return it and whether it is new.

    A known idempotency key (or custom id of a batch) gives the job that it was first used for. Raises `Conflict` if the
    request behind the key differs, and `InUse` if a request with the same key takes too long to wait for.
    """
    made = insert(Job).values(_values(job)).on_conflict_do_nothing().returning(Job)
    if job.idempotency_key is not None:
        session.execute(text(f"SET LOCAL lock_timeout = {KEY_PATIENCE_MS}"))
    try:
        row = session.scalars(made).one_or_none()
    except OperationalError as error:
        if waited_in_vain(error):
            key = f"Idempotency-Key {job.idempotency_key!r}"
            raise InUse(f"{key} belongs to a request that has not ended; try again in a second") from error
        raise
    if row is not None:
        outbox.notify(session)
        return row, True
    known = session.scalars(_first_use(job)).one_or_none()
    if known is None:  # deleted between the two statements
        return accept(session, job)
    check_same(known, job)
    return known, False


def replayed(session: Session, row: K, *, has_ended: ColumnElement[bool] | None = None) -> K | None:
    """Return the job, file or webhook that the same idempotency key made before; None for a new key.

    A key that was used a day ago, or for a row that is as good as gone, is new. Raises `Conflict` if the request behind
    the key differs.
    """
    if row.idempotency_key is None:
        return None
    kind: Any = type(row)  # Any: an update has no word for one of three tables
    known = session.scalars(_of_key(row)).one_or_none()
    if known is None:
        return None
    is_old = kind.created_at < func.now() - KEY_LIFE
    freed = (
        update(kind)
        .where(kind.id == known.id, is_old if has_ended is None else or_(is_old, has_ended))
        .values(idempotency_key=None)
        .returning(kind.id)
    )
    if session.scalars(freed, execution_options={"synchronize_session": False}).one_or_none():
        session.expunge(known)
        return None
    check_same(known, row)
    return known


def known_lines(session: Session, batch_id: UUID, names: Collection[str]) -> set[str]:
    """Return which of these custom ids the batch has."""
    found = session.scalars(select(Job.custom_id).where(Job.batch_id == batch_id, Job.custom_id.in_(names)))
    return {name for name in found if name}


def jobs_of_lines(session: Session, batch_id: UUID, names: Collection[str]) -> dict[str, Job]:
    """Return the jobs that a batch has under these custom ids, by custom id and in their order."""
    query = select(Job).where(Job.batch_id == batch_id, Job.custom_id.in_(names)).order_by(Job.created_at)
    return {job.custom_id or "": job for job in session.scalars(query)}


def accept_lines(session: Session, batch_id: UUID, lines: Sequence[Job]) -> dict[str, tuple[Job, bool]]:
    """Insert many lines of one batch and wake the relay; return by custom id the job and whether it is new.

    A known custom id gives the job that it was first used for: compare with `check_same`. The caller holds the batch's
    row, so that two posts to one batch cannot deadlock. Lines wait in the order given.
    """
    made = insert(Job).values(created_at=func.clock_timestamp()).on_conflict_do_nothing().returning(Job.id)
    new = set(session.scalars(made, _aligned([_values(job) for job in lines])))
    rows = jobs_of_lines(session, batch_id, [job.custom_id or "" for job in lines])
    if new:
        outbox.notify(session)
    return {name: (job, job.id in new) for name, job in rows.items()}


def check_same(known: K, row: K) -> None:
    """Raise `Conflict` unless two rows of one key or custom id come from equal requests."""
    if known.request_hash != row.request_hash:
        raise used_otherwise(row)


def used_otherwise(row: Job | File | Webhook) -> Conflict:
    """Return the error for a key or custom id that comes with a different request than before."""
    name, param = row.idempotency_key, "Idempotency-Key"
    if name is None and isinstance(row, Job):
        name, param = row.custom_id, "custom_id"
    return Conflict(f"{param} {name!r} was used before with a different request; use a new one", param=param)


def _values(job: Job) -> dict[str, Any]:
    columns = (column.key for column in Job.__table__.columns)
    return {key: getattr(job, key) for key in columns if getattr(job, key) is not None}  # else the server's default


def _aligned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {name for row in rows for name in row}
    return [{name: row.get(name) for name in names} for row in rows]


def _of_key(row: K) -> Select[K]:
    kind = type(row)
    return select(kind).where(kind.tenant == row.tenant, kind.idempotency_key == row.idempotency_key)


def _first_use(job: Job) -> Select[Job]:
    if job.idempotency_key is not None:
        return _of_key(job)
    return select(Job).where(Job.batch_id == job.batch_id, Job.custom_id == job.custom_id)
