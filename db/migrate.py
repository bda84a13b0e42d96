"""Bring a database to the newest tables. Safe to run from several processes at once."""

import functools
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import connect, sessions
from shared.settings import SettingsError

ENCODING = "UTF8"  # other encodings, as of a server set up without a locale, lack letters that prompts have
MAKE_ANEW = f"make it anew: CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0"
USABLE_PGVECTOR = (0, 8)  # the first with iterative index scans, which go on until a filter has enough rows
# pgvector's version, installed or available to a migration; whether its types are found; what would make them so, NULL
PGVECTOR = """
    SELECT coalesce(extversion, default_version), to_regtype('vector') IS NOT NULL, CASE WHEN nspname IS NOT NULL THEN
    format(
        'GRANT USAGE ON SCHEMA %1$I TO %2$I; ALTER DATABASE %3$I SET search_path = "$user", public, %1$I',
        nspname, current_user, current_database()
    ) END
    FROM pg_available_extensions LEFT JOIN pg_extension ON extname = name
    LEFT JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE name = 'vector'
"""
NEWER_PGVECTOR = "install 0.8.4 or newer, then ALTER EXTENSION vector UPDATE"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def config(database_url: str) -> Config:
    """Return Alembic's configuration for a database."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # Alembic reads % as syntax
    settings.attributes["database_url"] = database_url
    return settings


def behind(session: Session) -> str | None:
    """Return a message if the tables are older than this version, with what to do; else None. Newer tables work too."""
    found, newest = revision(session), steps()[0]
    if found == newest or is_later(found):
        return None
    return f"the tables of the database are at {found or 'nothing'}, this version needs {newest}: run `chai migrate`"


def revision(session: Session) -> str | None:
    """Return the revision of the tables; None if there are none."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def is_later(revision: str | None) -> bool:
    """Whether tables belong to a later version than this one, which does not know their revision."""
    return revision is not None and revision not in steps()


@functools.cache
def steps() -> tuple[str, ...]:
    """Return all revisions that this version knows, the newest first."""
    return tuple(step.revision for step in ScriptDirectory.from_config(config("")).walk_revisions())


def upgrade(database_url: str, to: str = "head") -> str | None:
    """Upgrade to a revision and return the tables' revision; a second process waits for the first and does nothing.

    Tables of a later version stay as they are, since this one can use them. Raises `SettingsError` for a database
    without tables whose encoding cannot hold all prompts, and for one whose pgvector is too old or not visible to its
    role.
    """
    before = _revision(database_url)
    if to == "head" and is_later(before):
        return before
    _check_pgvector(database_url)
    command.upgrade(config(database_url), to)
    return _revision(database_url)


def _revision(database_url: str) -> str | None:
    engine = connect(database_url, pool_size=1, application="chai-migrate", patience_s=None)
    try:
        with sessions(engine)() as session:
            found, encoding = revision(session), session.scalar(text("SHOW server_encoding"))
        if found is None and encoding != ENCODING:
            raise SettingsError(f"DATABASE_URL names a database that is in {encoding}; {MAKE_ANEW}")
        return found
    finally:
        engine.dispose()


def version_of(said: str) -> tuple[int, ...]:
    """Return the numbers of an extension's version."""
    return tuple(int(part) for part in said.split(".") if part.isdecimal())


def _check_pgvector(database_url: str) -> None:
    engine = connect(database_url, pool_size=1, application="chai-migrate", patience_s=None)
    try:
        with engine.connect() as connection:
            row = connection.execute(text(PGVECTOR)).one_or_none()
    finally:
        engine.dispose()
    if row is None:
        return  # the migration that adds it reports that
    version, is_found, way_out = row
    if version_of(version) < USABLE_PGVECTOR:
        raise SettingsError(f"DATABASE_URL names a database whose pgvector is {version}, too old; {NEWER_PGVECTOR}")
    if way_out and not is_found:
        raise SettingsError(f"DATABASE_URL names a role that does not look where pgvector is; by its owner: {way_out}")


def downgrade(database_url: str, to: str = "base") -> str | None:
    """Downgrade to a revision, deleting data, and return the tables' revision."""
    command.downgrade(config(database_url), to)
    return _revision(database_url)
