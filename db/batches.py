"""Bulk runs: a batch row, its jobs, and what has become of them."""

from collections import Counter
from uuid import UUID

from sqlalchemy import and_, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import jobs, reused_lines
from db.errors import NotFound
from db.models import Batch, Job, ReusedLine
from db.states import FINAL, BatchStatus, JobStatus

CHUNK = 2000  # lines cancelled in one transaction


def open_(
    session: Session, tenant: str, *, name: str, manifest_key: str, series: str | None = None
) -> tuple[Batch, bool]:
    """Return the tenant's batch for this manifest and whether it is new; a known one keeps its name and series."""
    made = session.execute(
        insert(Batch)
        .values(tenant=tenant, name=name, manifest_key=manifest_key, series=series)
        .on_conflict_do_nothing()
        .returning(Batch.id),
    ).scalar_one_or_none()
    known = select(Batch).where(Batch.tenant == tenant, Batch.manifest_key == manifest_key)
    return session.scalars(known).one(), made is not None


def get(session: Session, tenant: str, id_: UUID, *, lock: bool = False) -> Batch:
    """Return the tenant's batch, held until the transaction ends when it is to be changed; raise `NotFound`."""
    query = select(Batch).where(Batch.id == id_, Batch.tenant == tenant)
    batch = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if batch is None:
        raise NotFound(f"no batch {id_}")
    return batch


def page(session: Session, tenant: str, *, limit: int, after: UUID | None = None) -> list[Batch]:
    """Return up to `limit` batches behind the cursor, the newest first; raise `NotFound` for a foreign cursor."""
    query = select(Batch).where(Batch.tenant == tenant)
    if after:
        cursor = get(session, tenant, after)
        query = query.where(tuple_(Batch.created_at, Batch.id) < tuple_(cursor.created_at, cursor.id))
    return list(session.scalars(query.order_by(Batch.created_at.desc(), Batch.id.desc()).limit(limit)))


def seal(session: Session, batch: Batch, *, num_bad_lines: int) -> None:
    """Say that no more lines will come; the batch ends when its jobs have."""
    batch.num_bad_lines = num_bad_lines
    if batch.status == BatchStatus.OPEN:
        batch.status, batch.sealed_at = BatchStatus.IN_PROGRESS, session.scalar(select(func.now()))
    session.flush()
    finish(session)


def cancel(session: Session, batch: Batch) -> None:
    """Say that a batch takes no more lines; its jobs are cancelled by `jobs.cancel_lines`, else by `finish`.

    What another run of its series waits for goes on, as that run's own.
    """
    if batch.status not in (BatchStatus.COMPLETED, BatchStatus.CANCELLED):
        reused_lines.hand_on(session, batch)
        batch.status = BatchStatus.CANCELLED
        batch.finished_at = session.scalar(select(func.now()))
    session.flush()


def counts(session: Session, batch: Batch) -> dict[str, int]:
    """Return the number of the batch's lines by the status of their jobs, those of earlier runs among them."""
    number: Counter[str] = Counter()
    for which in (Job.batch_id == batch.id, Job.id.in_(reused_lines.ids(batch.id))):
        query = select(Job.status, func.count().label("number")).where(which).group_by(Job.status)
        number.update({row.status: row.number for row in session.execute(query)})
    return dict(number)


def finish(session: Session) -> list[UUID]:
    """Close every sealed batch whose jobs have all ended, and cancel what is left of one that was cancelled."""
    is_left = or_(Job.status == JobStatus.QUEUED, and_(Job.status == JobStatus.IN_PROGRESS, ~Job.cancel_requested))
    left = select(Job.id).where(Job.batch_id == Batch.id, is_left).exists()
    for batch_id in session.scalars(select(Batch.id).where(Batch.status == BatchStatus.CANCELLED, left)):
        jobs.cancel_lines(session, batch_id, limit=CHUNK)
    running = select(Job.id).where(Job.batch_id == Batch.id, Job.status.not_in(FINAL)).exists()
    reused = select(Job.id).join(ReusedLine, ReusedLine.job_id == Job.id).where(ReusedLine.batch_id == Batch.id)
    awaited = reused.where(Job.status.not_in(FINAL)).exists()
    done = session.scalars(
        update(Batch)
        .where(Batch.status == BatchStatus.IN_PROGRESS, ~running, ~awaited)
        .values(status=BatchStatus.COMPLETED, finished_at=func.now())
        .returning(Batch.id),
        execution_options={"synchronize_session": "fetch"},
    )
    return list(done)
