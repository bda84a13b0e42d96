"""Bring a database to the newest tables. Safe to run from several processes at once."""

import functools
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def config(database_url: str) -> Config:
    """Return Alembic's configuration for a database."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # % has a meaning there
    settings.attributes["database_url"] = database_url
    return settings


def behind(session: Session) -> str | None:
    """Say that the tables are older than this version, and what to do; None when they are not. Newer ones serve too."""
    steps = _steps()
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        found = None
    else:
        found = session.scalar(text("SELECT version_num FROM alembic_version"))
    if found == steps[0] or (found is not None and found not in steps):
        return None
    return f"the tables of the database are at {found or 'nothing'}, this version needs {steps[0]}: run `chai migrate`"


@functools.cache
def _steps() -> tuple[str, ...]:
    """Return all revisions that this version knows, the newest first."""
    return tuple(step.revision for step in ScriptDirectory.from_config(config("")).walk_revisions())


def upgrade(database_url: str, revision: str = "head") -> None:
    """Go up to a revision; a second process waits for the first and then finds nothing to do."""
    command.upgrade(config(database_url), revision)


def downgrade(database_url: str, revision: str = "base") -> None:
    """Go down to a revision, data included."""
    command.downgrade(config(database_url), revision)
