"""Matches that an operator found wrong.

Two different texts are never matched again in their namespace, whichever entry has the second. If the texts are equal,
the entry does not show what its prompt says: the text is not matched with that entry again.
`db.cache_search.neighbours` leaves out both.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import IllegalTransition
from db.models import Job, JobMetric, Lookup, Veto


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A forbidden match."""

    text: str
    donor_text: str
    entry_id: UUID


def mark(session: Session, job: Job) -> list[Pair]:
    """Veto every match that a job used, and record that in its receipt and figures.

    A repetition changes nothing. Raises `IllegalTransition` for a job that used none.
    """
    row = _decision(session, job)
    if row is None:
        raise IllegalTransition("no stored video was matched")
    pairs = [
        Pair(text=match["text"], donor_text=match["donor_text"], entry_id=UUID(match["entry_id"]))
        for match in row.plan["matched"]
    ]
    values = [
        {
            "job_id": job.id,
            "namespace_id": row.namespace_id,
            "text": pair.text,
            "donor_text": pair.donor_text,
            "entry_id": pair.entry_id,
        }
        for pair in pairs
    ]
    session.execute(insert(Veto).values(values).on_conflict_do_nothing())
    _say(session, job, is_wrong=True)
    return pairs


def unmark(session: Session, job: Job) -> None:
    """Withdraw the verdict on a job's matches; those given for other jobs stay."""
    session.execute(delete(Veto).where(Veto.job_id == job.id))
    _say(session, job, is_wrong=False)


def move(session: Session, source_id: UUID, target_id: UUID) -> None:
    """Apply verdicts to another namespace as well, to which entries move."""
    session.execute(update(Veto).where(Veto.namespace_id == source_id).values(namespace_id=target_id))


def _decision(session: Session, job: Job) -> Lookup | None:
    """Return the decision that a job ran by, if it used a donor and has not been deleted."""
    query = select(Lookup).where(Lookup.job_id == job.id, Lookup.attempt == job.attempt)
    row = session.scalars(query.order_by(Lookup.id.desc()).limit(1)).one_or_none()
    return row if row is not None and row.plan["matched"] else None


def _say(session: Session, job: Job, *, is_wrong: bool) -> None:
    own = JobMetric.job_id == job.id, JobMetric.attempt == job.attempt
    session.execute(update(JobMetric).where(*own).values(wrong_match=is_wrong))
    said = {name: value for name, value in job.receipt.items() if name != "wrong_match"}
    job.receipt = said | ({"wrong_match": True} if is_wrong else {})
    session.flush()
