"""Statements that a connection plans once."""

import psycopg2.extensions
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError
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


@pytest.mark.parametrize("change", ["ALTER TABLE kept ALTER COLUMN word TYPE varchar(9)", "DEALLOCATE ALL"])
def test_what_is_of_other_tables_or_gone_is_prepared_anew_after_one_error(
    session_factory: sessionmaker[Session], change: str
) -> None:
    """A migration goes past a part that runs, or a pooler stands between: to that part the database was away."""
    words = Prepared("words_of", {"word": "text"}, "SELECT * FROM kept WHERE word = :word")
    with transaction(session_factory) as session:
        session.execute(text("CREATE TABLE kept (word text)"))
        session.execute(text("INSERT INTO kept VALUES ('a')"))

    def look() -> object:
        with transaction(session_factory) as session:
            words.on(session)
            return session.scalar(text(words.call), {"word": "a"})

    assert look() == "a"
    with transaction(session_factory) as session:
        session.execute(text(change))

    with pytest.raises(OperationalError, match=r"cached plan must not|does not exist"):
        look()
    assert look() == "a"


def test_a_plan_of_other_tables_is_known_in_whatever_language_the_server_speaks(
    engine: Engine, session_factory: sessionmaker[Session]
) -> None:
    """The words of an error are those of `lc_messages`, its state is that of many others."""

    class German(psycopg2.extensions.cursor):
        def execute(self, *given: object) -> None:
            try:
                super().execute(*given)
            except psycopg2.Error as error:
                error.args = ("FEHLER:  gecachter Plan darf den Ergebnistyp nicht ändern",)
                raise

    event.listen(engine, "connect", lambda connection, _: setattr(connection, "cursor_factory", German))
    words = Prepared("words_of", {"word": "text"}, "SELECT * FROM kept WHERE word = :word")
    with transaction(session_factory) as session:
        session.execute(text("CREATE TABLE kept (word text)"))
        words.on(session)
        session.execute(text(words.call), {"word": "a"})
    with transaction(session_factory) as session:
        session.execute(text("ALTER TABLE kept ALTER COLUMN word TYPE varchar(9)"))

    def look() -> None:
        with transaction(session_factory) as session:
            words.on(session)
            session.execute(text(words.call), {"word": "a"})

    with pytest.raises(OperationalError, match="gecachter Plan"):
        look()
    look()
