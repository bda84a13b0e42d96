"""What a command says about failures of the database and the storage."""

import sys

from cli.errors import discreet


def of_database(error: Exception) -> str | None:
    """Return the message for an error of the database or its migrations; None for any other, a fault of ours."""
    package, name = type(error).__module__.partition(".")[0], type(error).__name__
    first = discreet(str(error).strip().split("\n")[0])
    if package == "alembic":
        return f"{first}; `chai migrate head` goes to the newest tables"
    if package in ("sqlalchemy", "psycopg2") and (way_out := _way_out(error)):
        return f"{first}; {way_out}"
    if package in ("sqlalchemy", "psycopg2") and name in ("OperationalError", "InterfaceError", "ArgumentError"):
        return f"the database does not answer as it should: {first}; `chai doctor` looks at it"
    if package in ("sqlalchemy", "psycopg2") and "invalid dsn" in first:
        return f"DATABASE_URL is not understood: {first}"
    if package in ("sqlalchemy", "psycopg2") and name == "DataError":
        return f"the database holds no such value: {first}"
    if package in ("sqlalchemy", "psycopg2") and "does not exist" in first:
        return f"the database lacks tables ({first}); bring it up to date with `chai migrate`"
    return None


def _way_out(error: Exception) -> str | None:
    """Return the remedy for a database that is not set up as the service needs; None for other errors."""
    from db.session import NO_POOLER, takes_no_settings  # already loaded

    if takes_no_settings(error):
        return NO_POOLER
    state = getattr(getattr(error, "orig", error), "pgcode", None)
    if state in ("0A000", "58P01") and "EXTENSION" in (getattr(error, "statement", None) or ""):
        return "install pgvector 0.8.4 or newer on the server of DATABASE_URL"
    ways_out = {
        "42501": "a superuser gives the service's role a database and the extension, once: docs/operation.md, Security",
        "42704": "`chai doctor` looks whether pgvector is there, new enough and found",
        "42P07": "DATABASE_URL names a database with tables of another program; give the service one of its own",
    }
    return ways_out.get(str(state))


def of_storage(error: Exception) -> str | None:
    """Return the message for an error of the storage; None for any other."""
    storage = sys.modules.get("shared.storage")  # do not import it just for this
    if storage is None or not isinstance(error, storage.StorageError):
        return None
    return f"the storage does not answer as it should: {discreet(str(error))}; `chai doctor` looks at it"
