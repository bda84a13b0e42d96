"""Engines and sessions: built once by whoever owns the process, closed by it."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.errors import LockNotAvailable
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

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
# look-up are estimated high enough for that, take a few milliseconds, and would wait a hundred for the compiler.
# What was left open ends well within a lease (30 s), whatever stands between the two and still answers: until then the
# rows that it holds are nobody else's.
_SERVER = (
    "-c timezone=utc -c jit=off -c statement_timeout=30s -c idle_in_transaction_session_timeout=15s "
    "-c tcp_user_timeout=15s -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
)


LOCK_PATIENCE_S = 5.0


def connect(
    database_url: str, *, pool_size: int = 5, application: str = "chai", lock_patience_s: float = LOCK_PATIENCE_S
) -> Engine:
    """Return a pooled engine that survives a restart of Postgres and a network that goes and comes back.

    `pool_pre_ping` replaces connections that died while idle. A statement may run for 30 s and wait `lock_patience_s`
    for a lock: a stuck statement must not hold a heartbeat past its lease. Nobody waits longer than 10 s for one of the
    pool.
    """
    return create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={
            "application_name": application,
            "options": f"{_SERVER} -c lock_timeout={round(1000 * lock_patience_s)}",
            **_NETWORK,
        },
    )


def waited_in_vain(error: OperationalError) -> bool:
    """Say whether a statement gave up waiting for what another transaction holds."""
    return isinstance(error.orig, LockNotAvailable)


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; rows stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


def readers(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions that only read: each statement for itself, without BEGIN and COMMIT around it."""
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
