"""Questions to the cache: what would happen to a prompt. The API asks, any worker answers; nothing is kept."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db.models import Json, Question

CHANNEL = "chai_questions"  # NOTIFY wakes the workers at the commit
LIFE_S = 30.0  # longer than anybody waits


def ask(session: Session, tenant: str, group: str | None, asked: Mapping[str, Any]) -> int:
    """Insert a question and wake the workers at the commit; return its number. Deletes old questions."""
    session.execute(delete(Question).where(Question.created_at < func.now() - timedelta(seconds=LIFE_S)))
    values = {"tenant": tenant, "group": group, "asked": dict(asked)}
    number = session.scalars(insert(Question).values(values).returning(Question.id)).one()
    session.execute(text(f"NOTIFY {CHANNEL}"))
    return number


def take(session: Session, *, younger_s: float) -> Question | None:
    """Return the oldest unanswered question, locked until the transaction ends; None if there is none."""
    return session.scalars(_open(younger_s)).one_or_none()


def is_asked(session: Session, *, younger_s: float) -> bool:
    """Return whether a question waits that nobody is answering."""
    return bool(session.scalars(_open(younger_s).with_only_columns(Question.id)).first())


def _open(younger_s: float) -> Select[Question]:
    is_fresh = Question.created_at > func.now() - timedelta(seconds=younger_s)
    query = select(Question).where(Question.answer.is_(None), is_fresh).order_by(Question.id).limit(1)
    return query.with_for_update(skip_locked=True)


def answer(session: Session, number: int, said: Mapping[str, Any]) -> None:
    """Write the answer of a question."""
    session.execute(update(Question).where(Question.id == number).values(answer=dict(said)))


def answered(session: Session, number: int) -> Json | None:
    """Return the answer and delete the question; None while there is none."""
    query = delete(Question).where(Question.id == number, Question.answer.is_not(None)).returning(Question.answer)
    return session.scalars(query).one_or_none()


def withdraw(session: Session, number: int) -> None:
    """Delete a question that nobody waits for any more."""
    session.execute(delete(Question).where(Question.id == number))
