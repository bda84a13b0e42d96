"""Settings of every part of the service, read once from the environment."""

import re
import ssl
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
REDIS_URL = "redis://127.0.0.1:6379/0"
DATABASE_FORM = "write it like postgresql://USER:PASSWORD@HOST:5432/NAME"
# Of connections to the broker: one whose end nobody tells (a failover, a firewall that forgot it) is given up. Kombu by
# itself waits without limit, and a worker that does takes no message any more, while its signs of life go on.
BROKER_PATIENCE = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 5,  # of what waits for messages: it is made anew after twice that, and a second
}
_PSYCOPG2 = "postgresql+psycopg2://"
_DATABASE = re.compile(  # the rest, with user and password: whatever is before the first @ behind which nothing is left
    r"(?:(?P<user>[^:]*?)(?::(?P<password>.*?))?@)?(?:\[[^\]]*\]|[^/:?@]*)(?::\d+)?(?:/[^?@\n]*)?(?:\?(?:\w+=.*)?)?",
    re.ASCII,
)
_RAW = re.compile(r"[@/?#:\[\] ]|%(?![0-9A-Fa-f]{2})")  # that must be escaped in a name or a password
_HALF_A_SCHEME = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9]+:/?(?!/)", re.ASCII)
_ADDRESSES = frozenset({"DATABASE_URL", "REDIS_URL", "STORAGE_URL"})
_DATABASE_NUMBER = re.compile(r"/?\d*", re.ASCII)


def checked_redis_url(url: str) -> str:
    """Return the address of a broker; raise ValueError if no part could use it."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("redis", "rediss") and parts.port != 0 and _DATABASE_NUMBER.fullmatch(parts.path)
    except ValueError:  # of a port that is no number
        is_one = None
    if not is_one:
        raise ValueError("is no address of a Redis; write it like redis://:PASSWORD@HOST:6379/0")
    return url


def broker_use_ssl(url: str) -> dict[str, Any] | bool:  # Any: each option has a type of its own
    """Return Celery's TLS option for a broker: the certificate is verified unless the address says otherwise.

    By default Celery verifies none, and a worker, whose transport is our own, would not encrypt.
    """
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if urlsplit(url).scheme == "rediss" else False


def checked_database_url(url: str) -> str:
    """Return a database's address in a form that every driver reads alike; raise ValueError if it is not one.

    SQLAlchemy and libpq differ on passwords with @, / or ?, and quote the end of one as the host's name.
    """
    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3, which is not installed.
    for bare in ("postgresql://", "postgres://"):
        if url.startswith(bare):
            url = _PSYCOPG2 + url.removeprefix(bare)
    if not url.startswith(_PSYCOPG2):
        raise ValueError(f"must begin with {_PSYCOPG2} (Postgres 15+ with pgvector)")
    rest = url.removeprefix(_PSYCOPG2)
    found = _DATABASE.fullmatch(rest)
    if found is None:
        raise ValueError(f"is no address of a database; {DATABASE_FORM}")
    if found["user"] is not None:
        named = [_RAW.sub(lambda raw: quote(raw[0], safe=""), part) for part in found.groups() if part is not None]
        url = f"{_PSYCOPG2}{':'.join(named)}{rest[found.end(found.lastgroup or 0) :]}"
    _check_options(url)
    return url


def _check_options(url: str) -> None:
    """Raise ValueError for an invalid port, and for options after `?` that Postgres does not have."""
    from psycopg2 import ProgrammingError, extensions
    from sqlalchemy import make_url

    asked = make_url(url)
    if asked.port is not None and not 0 < asked.port < 65536:
        raise ValueError(f"has the port {asked.port}; there are 1 to 65535")
    names = asked.translate_connect_args(username="user", database="dbname")
    try:
        extensions.make_dsn(**names | dict(asked.query))
    except ProgrammingError as error:
        raise ValueError(f"cannot be used: {str(error).strip()}") from None


class SettingsError(ValueError):
    """Well-formed settings that do not fit the environment; the message names the variable or the file."""


class Settings(BaseSettings):
    """Shared settings; a bad value stops the process and names the variable."""

    model_config = SettingsConfigDict(env_prefix="CHAI_", extra="ignore", frozen=True)

    database_url: str = Field(alias="DATABASE_URL")  # postgresql+psycopg2://…
    redis_url: str = Field(default=REDIS_URL, alias="REDIS_URL")
    # Any fsspec URL. A folder's path stands in it as it is: fsspec reads no %20, so `Path.as_uri()` names another one.
    storage_url: str = Field(default=f"file://{ROOT / 'var' / 'storage'}", alias="STORAGE_URL")
    storage_access: Literal["private", "group"] = "private"  # on disks: for the service's account, or for its group too
    models_dir: Path = ROOT / "worker" / "cards"  # one folder with a chai.json for each model
    default_model: str = "small"

    lease_s: float = Field(default=30.0, ge=1, le=3600)  # a worker silent for this long has lost its job
    max_lost: int = Field(default=3, ge=1, le=100)  # leases that may expire before a job fails as worker_lost
    sweep_s: float = Field(default=5.0, gt=0, le=600)  # pause between two reconciler sweeps

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, values: dict[str, object]) -> dict[str, object]:
        """Drop empty values, since compose files set unset variables like that: `CHAI_X: ${CHAI_X:-}`.

        An empty address is an error: no other server or folder may replace it.
        """
        return {name: value for name, value in values.items() if value != "" or name in _ADDRESSES}

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two heartbeats: four chances before a lease expires."""
        return self.lease_s / 4

    @field_validator("database_url")
    @classmethod
    def _needs_psycopg2(cls, url: str) -> str:
        return checked_database_url(url)

    @field_validator("redis_url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        return checked_redis_url(url)

    @field_validator("storage_url")
    @classmethod
    def _has_a_driver(cls, url: str) -> str:
        from fsspec import get_filesystem_class  # imported here, since parts without storage may lack it

        if _HALF_A_SCHEME.match(url):
            raise ValueError("is neither an address nor a folder; write s3://BUCKET/chai with two slashes, or ./NAME")
        protocol, _, place = url.partition("://") if "://" in url else ("file", "", url)
        if not place.strip("/"):
            raise ValueError("names no folder or bucket; write it like file:///srv/chai or s3://BUCKET/chai")
        try:
            get_filesystem_class(protocol)
        except ValueError:
            known = "file://, s3://, gs:// or az://"
            raise ValueError(f"names no storage that fsspec knows; use {known}, or a folder") from None
        except ImportError as error:
            raise ValueError(f"needs a driver: {error}") from None
        return url
