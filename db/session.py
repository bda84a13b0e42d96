"""Engines and sessions: built once by the owner of the process, and closed by it."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.errors import FeatureNotSupported, InvalidSqlStatementName, LockNotAvailable, ReadOnlySqlTransaction
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db import patience

# A network that swallows packets must not hold a thread for the quarter of an hour that TCP would wait: what is sent
# and not answered for so long ends the connection, what is idle is asked whether anybody is there.
_NETWORK = {
    "connect_timeout": 5,  # seconds
    "tcp_user_timeout": 8000,  # milliseconds
    "keepalives": 1,
    "keepalives_idle": 4,  # seconds
    "keepalives_interval": 2,
    "keepalives_count": 2,
}
# The server's side of the same: it gives up what a lost client left open. Nor does it compile statements: those of a
# look-up are estimated high enough for that, take a few milliseconds, and would wait a hundred for the compiler. What
# is prepared (`db.prepared`) it plans once: left to itself it guesses ten values for an array, and plans anew for one.
# What was left open ends well within a lease (30 s), whatever stands between the two and still answers: until then the
# rows that it holds are nobody else's. Statements rest on READ COMMITTED, whatever a role or a database is set to: a
# row that another has changed meanwhile is read anew, and is no error.
_SERVER = (
    r"-c default_transaction_isolation=read\ committed "
    "-c timezone=utc -c jit=off -c plan_cache_mode=force_generic_plan "
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=15s "
    "-c tcp_user_timeout=15s -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
)

LOCK_PATIENCE_S = 5.0
# One that hands a connection to another between two transactions loses what is set and prepared on it, and who listens.
NO_POOLER = "name the server itself in DATABASE_URL, without a pooler: each part keeps a few connections of its own"
_SURE_S = 5.0  # idle for longer, a connection may be dead without a sign of it


class _Connection(patience.Connection):
    """Switches to autocommit and back without sending anything.

    psycopg2 itself asks the server each time for the isolation level that it already has.
    """

    def set_isolation_level(self, level: int | None) -> None:
        alone = psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT
        if level == alone or self.autocommit:
            self.autocommit = level == alone
        else:
            super().set_isolation_level(level)


def connect(
    database_url: str,
    *,
    pool_size: int = 5,
    application: str = "chai",
    lock_patience_s: float = LOCK_PATIENCE_S,
    patience_s: float | None = patience.STATEMENT_S,
) -> Engine:
    """Return a pooled engine that survives restarts of Postgres and interruptions of the network.

    Connections that died while idle are replaced. A statement may run for 30 s and wait `lock_patience_s` for a lock: a
    stuck statement must not delay a heartbeat past its lease. Nobody waits longer than 10 s for a connection, nor
    longer than `patience_s` for an answer; None: for as long as it takes.
    """
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        connect_args=arguments(database_url, application, lock_patience_s),
    )
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "patience_s", patience_s))
    event.listen(engine, "do_connect", lambda _, __, args, options: dial(*args, **options))
    _replace_the_dead(engine)
    _give_up_the_useless(engine)
    return engine


def arguments(
    database_url: str, application: str, lock_patience_s: float = LOCK_PATIENCE_S
) -> dict[str, Any]:  # Any: each has a type of its own
    """Return the arguments of psycopg2 that go with a database's address."""
    asked = make_url(database_url).query  # its own options are added to ours, and override those on waiting
    return {
        "connection_factory": _Connection,
        "cursor_factory": patience.Cursor,
        "application_name": application,
        "client_encoding": "utf8",  # whatever the role's or database's setting: prompts may contain any letter
        "options": f"{asked.get('options', '')} {_SERVER} -c lock_timeout={round(1000 * lock_patience_s)}".lstrip(),
        **{name: value for name, value in _NETWORK.items() if name not in asked},
    }


def dial(*args: Any, **options: Any) -> Any:  # Any: as psycopg2 has them, which brings no types
    """Connect as `psycopg2.connect` does, and read the server's reason for refusing in whatever encoding.

    Until a server knows its client's encoding it uses its own: "le système de base de données se lance" in Latin-1
    makes psycopg2 raise `UnicodeDecodeError`, which does not look like a server that is away, or, with some Pythons
    (3.11.2), an error without a message.
    """
    try:
        return psycopg2.connect(*args, **options)
    except psycopg2.OperationalError as error:
        if str(error):
            raise
        raise psycopg2.OperationalError("it lets nobody in, in words that are not UTF-8; its log has them") from error
    except UnicodeDecodeError as error:
        raise psycopg2.OperationalError(error.object.decode(errors="backslashreplace").strip()) from error


def _replace_the_dead(engine: Engine) -> None:
    """Check each connection taken from the pool as `pool_pre_ping` does, but ask the server only in doubt.

    When a server ends a connection, or its process dies, the socket has something to read although nothing should come.
    A network that swallows packets gives no sign, so connections that were idle for long are checked too.
    """

    def is_in_doubt(connection: Any, idle_s: float) -> bool:
        line = select.poll()
        line.register(connection.fileno(), select.POLLIN)
        return idle_s > _SURE_S or bool(line.poll(0))

    def back(_: Any, record: Any) -> None:
        record.info["back"] = time.monotonic()

    def out(connection: Any, record: Any, _: Any) -> None:
        if (since := record.info.get("back")) is None:
            return  # just opened
        try:
            if is_in_doubt(connection, time.monotonic() - since):
                _ping(engine, connection)
        except engine.dialect.loaded_dbapi.Error as error:
            if engine.dialect.is_disconnect(error, connection, None):
                raise InvalidatePoolError from error
            raise

    event.listen(engine, "checkin", back)
    event.listen(engine, "checkout", out)


def _ping(engine: Engine, connection: Any) -> None:  # Any: as psycopg2 has it
    usual_s = connection.patience_s
    connection.patience_s = patience.PING_S
    try:
        engine.dialect.do_ping(connection)
    finally:
        connection.patience_s = usual_s


def _give_up_the_useless(engine: Engine) -> None:
    """Drop connections on which nothing will ever work again, though new ones may.

    Prepared statements may refer to tables of before a migration or, behind a pooler, belong to another client. A
    server may have become a standby: a new connection reaches the one that now takes writes. To the caller the database
    was away for a moment.
    """

    def failed(context: ExceptionContext) -> None:
        error = context.original_exception
        # by the place in the server's source: its message is in the language of `lc_messages`
        is_old = isinstance(error, FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery"
        if is_old or isinstance(error, InvalidSqlStatementName):
            context.is_disconnect = True
            raise OperationalError(context.statement, None, error) from error
        if isinstance(error, ReadOnlySqlTransaction):
            context.is_disconnect = True

    event.listen(engine, "handle_error", failed)


def takes_no_settings(error: Exception) -> bool:
    """Return whether the answer came from a pooler, which refuses the settings of our connections."""
    return "startup parameter" in str(error)  # PgBouncer's own message, never translated


def waited_in_vain(error: OperationalError) -> bool:
    """Return whether a statement gave up waiting for a lock of another transaction."""
    return isinstance(error.orig, LockNotAvailable)


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; rows stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


def readers(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions that only read: each statement on its own, without BEGIN and COMMIT."""
    return sessions(engine.execution_options(isolation_level="AUTOCOMMIT"))


@contextmanager
def transaction(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session, commit at the end, roll back on an exception."""
    with factory() as session, session.begin():
        yield session


@contextmanager
def by_message(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session in which each message to the database is a transaction of its own: no BEGIN, no COMMIT."""
    with factory() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield session
