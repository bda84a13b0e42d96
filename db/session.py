"""Engines and sessions: built once by whoever owns the process, closed by it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker


def connect(database_url: str, *, pool_size: int = 5, application: str = "chai") -> Engine:
    """Return a pooled engine that survives a restart of Postgres.

    `pool_pre_ping` replaces connections that died while idle. A statement may run for 30 s and wait 5 s for a lock:
    a stuck statement must not hold a heartbeat past its lease.
    """
    return create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 5,
            "application_name": application,
            "options": "-c timezone=utc -c statement_timeout=30s -c lock_timeout=5s",
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
        },
    )


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; rows stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Open a session, commit at the end, roll back on an exception."""
    with factory() as session, session.begin():
        yield session
