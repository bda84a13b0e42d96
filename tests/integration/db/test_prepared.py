"""Statements that a connection plans once."""

from datetime import UTC, datetime
from uuid import UUID

import psycopg2.extensions
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.models import Namespace
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
        rows = SUM.run(session, {"numbers": list(range(last)), "more": 1})
        assert rows == [(sum(range(last)) + 1 if last else None,)]

    assert sum(statement.startswith("PREPARE") for statement in seen) == 1
    assert tuple(session.execute(_PLANS).one()) == (8, 0)


def test_what_a_transaction_prepared_outlives_it(session_factory: sessionmaker[Session]) -> None:
    with session_factory() as session:
        SUM.run(session, {"numbers": [], "more": 0})
        session.rollback()
    for opened in (transaction, by_message):
        with opened(session_factory) as session:
            assert SUM.run(session, {"numbers": [1, 2], "more": 3}) == [(6,)]


def test_a_new_connection_plans_anew(engine: Engine, session_factory: sessionmaker[Session]) -> None:
    seen = sent(engine)
    for _ in range(2):
        with session_factory() as session:
            assert SUM.run(session, {"numbers": [1], "more": 1}) == [(2,)]
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
            return words.run(session, {"word": "a"})

    assert look() == [("a",)]
    with transaction(session_factory) as session:
        session.execute(text(change))

    with pytest.raises(OperationalError, match=r"cached plan must not|does not exist"):
        look()
    assert look() == [("a",)]


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
        words.run(session, {"word": "a"})
    with transaction(session_factory) as session:
        session.execute(text("ALTER TABLE kept ALTER COLUMN word TYPE varchar(9)"))

    def look() -> None:
        with transaction(session_factory) as session:
            words.run(session, {"word": "a"})

    with pytest.raises(OperationalError, match="gecachter Plan"):
        look()
    look()


def test_values_come_and_go_in_the_types_of_python_and_what_is_set_before_goes_along(
    engine: Engine, session: Session
) -> None:
    types = {"id": "uuid", "ids": "uuid[]", "words": "text[]", "at": "timestamptz", "given": "jsonb"}
    given = Prepared("given", types, "SELECT :id, :ids, :words, :at, :given, current_setting('chai.level') AS level")
    one, other, now = UUID(int=1), UUID(int=2), datetime(2026, 11, 28, 12, tzinfo=UTC)
    values = {"id": one, "ids": [one, other], "words": ["50 %", "it's"], "at": now, "given": '{"a": [1.5, null]}'}
    given.run(session, {**values, "level": 0}, before="SET LOCAL chai.level = %(level)s; ")
    seen = sent(engine)

    (row,) = given.run(session, {**values, "level": 7}, before="SET LOCAL chai.level = %(level)s; ")

    assert tuple(row) == (one, [one, other], ["50 %", "it's"], now, {"a": [1.5, None]}, "7")
    assert len(seen) == 1


def test_what_the_session_has_not_written_yet_is_there_unless_it_is_to_wait(session: Session) -> None:
    spaces = Prepared("spaces", {"owner": "text"}, "SELECT owner FROM namespaces WHERE owner = :owner")
    values = {"fingerprint": "f", "identity": {}, "scope": "tenant", "dims": 3, "byte_budget": 1}
    session.add(Namespace(owner="ada", **values))

    with session.no_autoflush:
        assert spaces.run(session, {"owner": "ada"}) == []
    assert spaces.run(session, {"owner": "ada"}) == [("ada",)]
