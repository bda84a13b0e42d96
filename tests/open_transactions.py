"""Transactions that stand open: what the database would end if they stood for long."""

from sqlalchemy import Engine, text


def num_standing(engine: Engine) -> int:
    """How many of the database's connections are within a transaction and do nothing."""
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        return int(connection.scalar(text(idle)) or 0)
