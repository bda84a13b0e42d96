"""How migrations run: one at a time, with short locks, each in its own transaction."""

import os

from alembic import context
from sqlalchemy import text

from db.models import Base
from db.session import connect

# Any fixed number: whoever holds it migrates, everybody else waits.
_LOCK = 0x63686169

_LOCK_TIMEOUT_S = float(os.environ.get("CHAI_MIGRATION_LOCK_TIMEOUT_S", "5"))

_url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]


def _run() -> None:
    # Without a machine at its other end the lock is soon free again. Whoever waits for it waits as long as it takes.
    engine = connect(_url, pool_size=1, application="chai-migrate", lock_patience_s=0)
    with engine.connect() as connection:
        # Session-level, so that it spans the transactions of all steps.
        connection.execute(text("SET statement_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        # A migration that waits for a lock makes everybody behind it wait too: give up early, try again later.
        connection.execute(
            text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": f"{_LOCK_TIMEOUT_S * 1000:.0f}ms"}
        )
        connection.commit()
        try:
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                transaction_per_migration=True,
                compare_type=True,
                compare_server_default=True,
            )
            with context.begin_transaction():
                context.run_migrations()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
    engine.dispose()


_run()
