"""Statements that a connection plans once."""

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from db.prepared import Prepared
from db.session import by_message, transaction

SUM = Prepared(
    "sum_of", {"numbers": "int[]", "more": "int"}, "SELECT sum(n)::int + :more FROM unnest(:numbers) AS given(n)"
)
_PLANS = text("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'sum_of'")


def sent(engine: Engine) -> list[str]:
    """Return what is sent to Postgres from now on."""
    seen = list[str]()
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    return seen


def test_it_is_planned_once_a_connection_whatever_the_values(engine: Engine, session: Session) -> None:
    seen = sent(engine)
    for last in range(8):
        SUM.on(session)
        values = {"numbers": list(range(last)), "more": 1}
        assert session.scalar(text(SUM.call), values) == (sum(range(last)) + 1 if last else None)

    assert sum(statement.startswith("PREPARE") for statement in seen) == 1
    assert tuple(session.execute(_PLANS).one()) == (8, 0)


def test_what_a_transaction_prepared_outlives_it(session_factory: sessionmaker[Session]) -> None:
    with session_factory() as session:
        SUM.on(session)
        session.rollback()
    for opened in (transaction, by_message):
        with opened(session_factory) as session:
            SUM.on(session)
            assert session.scalar(text(SUM.call), {"numbers": [1, 2], "more": 3}) == 6


def test_a_new_connection_plans_anew(engine: Engine, session_factory: sessionmaker[Session]) -> None:
    seen = sent(engine)
    for _ in range(2):
        with session_factory() as session:
            SUM.on(session)
            assert session.scalar(text(SUM.call), {"numbers": [1], "more": 1}) == 2
            session.connection().invalidate()
            session.rollback()

    assert sum(statement.startswith("PREPARE") for statement in seen) == 2
