"""What a connection to Postgres is opened with."""

import os
import socket

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session, sessionmaker

from db import session as db_session
from db.session import by_message, connect, sessions, transaction
from shared.settings import Settings


def test_a_connection_gives_up_what_nobody_acknowledges_and_asks_when_it_is_quiet(engine: Engine) -> None:
    """Where packets vanish, TCP by itself would wait for a quarter of an hour."""
    with engine.connect() as connection:
        fd = connection.connection.driver_connection.fileno()
        with socket.socket(fileno=os.dup(fd)) as line:
            unanswered_ms = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            is_kept = line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            quiet_s = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            probes_s = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * line.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPCNT
            )
        rows = connection.exec_driver_sql(
            "SELECT name, setting::int FROM pg_settings WHERE name IN "
            "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'tcp_user_timeout')"
        )
        limits = dict(map(tuple, rows))

        assert 0 < unanswered_ms <= 10_000
        assert is_kept
        assert quiet_s + probes_s <= 10
        assert all(0 < setting <= 60_000 for setting in limits.values())
        lease_ms = 1000 * Settings.model_fields["lease_s"].default
        assert limits["idle_in_transaction_session_timeout"] <= lease_ms / 2  # then others have what a lost one held


def pid(session: Session) -> int:
    return int(session.scalar(text("SELECT pg_backend_pid()")) or 0)


def test_what_died_while_idle_is_replaced_at_once(session_factory: sessionmaker[Session]) -> None:
    with transaction(session_factory) as session:
        dead = pid(session)
    with transaction(session_factory) as killer:
        assert (alive := pid(killer)) == dead
        with session_factory() as other:
            dead = pid(other)
        killer.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": dead})  # ms: it has gone after that
        with transaction(session_factory) as session:
            assert pid(session) not in (dead, alive)


def test_who_was_idle_for_long_is_asked(
    session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows packets leaves nothing to read; what is asked and does not answer is replaced as well."""
    monkeypatch.setattr(db_session, "_SURE_S", -1.0)
    asked = list[object]()
    dialect = session_factory.kw["bind"].dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: asked.append(connection) or ping(connection))

    pids = []
    for _ in range(2):
        with transaction(session_factory) as session:
            pids.append(pid(session))

    assert len(asked) == 1
    assert pids[0] == pids[1]


def test_a_message_of_its_own_is_all_that_is_sent(session_factory: sessionmaker[Session]) -> None:
    """No BEGIN, no COMMIT, nothing that is set for the connection before it and set back after it."""
    with by_message(session_factory) as watching:

        def last_heard(number: int) -> str:
            return str(watching.scalar(text("SELECT query FROM pg_stat_activity WHERE pid = :pid"), {"pid": number}))

        numbers = set()
        for _ in range(3):
            with by_message(session_factory) as session:
                numbers.add(number := pid(session))
                assert last_heard(number) == "SELECT pg_backend_pid()"
            assert last_heard(number) == "SELECT pg_backend_pid()"
        assert len(numbers) == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_transaction_sees_what_others_commit_whatever_the_database_is_set_to(
    database_url: str, session: Session, level: str
) -> None:
    """Statements here rest on it: a row that another has changed meanwhile is read anew, and is no error."""
    session.execute(text("CREATE TABLE counts (number int)"))
    session.execute(text("INSERT INTO counts VALUES (0)"))
    database = session.scalar(text("SELECT current_database()"))
    session.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = '{level}'"))
    session.commit()
    factory = sessions(engine := connect(database_url))

    with transaction(factory) as first:
        assert first.scalar(text("SELECT number FROM counts")) == 0
        with transaction(factory) as second:
            second.execute(text("UPDATE counts SET number = number + 1"))
        number = first.scalar(text("UPDATE counts SET number = number + 1 RETURNING number"))

    engine.dispose()
    assert number == 2


def test_text_is_sent_in_utf_8_whatever_the_database_is_set_to(engine: Engine, database_url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET client_encoding = 'latin1'"))
    told = "红色的圆 café 🐱"
    own = connect(database_url, pool_size=1)
    try:
        with own.connect() as connection:
            assert connection.scalar(text("SELECT cast(:told AS text)"), {"told": told}) == told
    finally:
        own.dispose()
        with engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} RESET client_encoding"))


def test_a_server_that_became_a_standby_is_left_for_the_one_that_takes_writes_now(
    database_url: str, session: Session
) -> None:
    """Its connections live on and fail for ever, behind an address that leads elsewhere by now."""
    session.execute(text("CREATE TABLE counts (number int)"))
    database = session.scalar(text("SELECT current_database()"))
    session.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
    session.commit()
    factory = sessions(engine := connect(database_url))
    with factory() as first, factory() as second:
        standby = {pid(first), pid(second)}
    session.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))
    session.commit()

    with factory() as writing:
        assert pid(writing) in standby
        with pytest.raises(InternalError, match="read-only"):
            writing.execute(text("INSERT INTO counts VALUES (1)"))
    for _ in range(2):
        with transaction(factory) as writing:
            writing.execute(text("INSERT INTO counts VALUES (1)"))
            assert pid(writing) not in standby

    engine.dispose()
