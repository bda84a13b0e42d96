"""Both services of one folder, started and stopped in order."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.services.lock import folder_lock
from cli.services.postgres import Postgres
from cli.services.redis import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The addresses of the services, and those that run here."""

    database_url: str
    redis_url: str
    servers: tuple[Postgres | Redis, ...] = ()


@contextmanager
def running(
    var: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    durable: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Services]:
    """Do what `started` does, as the only launcher on `var`; raise FolderInUse if another one runs there."""
    with (
        folder_lock(var),
        started(var, database_url=database_url, redis_url=redis_url, durable=durable, report=report) as services,
    ):
        yield services


@contextmanager
def started(
    var: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    durable: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Services]:
    """Run services not given as a URL on `var/postgres` and `var/redis` for the block; Redis stops before Postgres.

    The caller must hold the folder's lock. Raises MissingProgram and StartFailed.
    """
    servers: list[Postgres | Redis] = []
    with ExitStack() as stack:
        if database_url is None:
            postgres = Postgres(var / "postgres", logs=var / "log", durable=durable)
            stack.callback(postgres.stop)
            servers.append(postgres)
            report("starting Postgres")
            database_url = postgres.start().url
        if redis_url is None:
            redis = Redis(var / "redis", logs=var / "log")
            stack.callback(redis.stop)
            servers.append(redis)
            report("starting Redis")
            redis_url = redis.start().url
        yield Services(database_url=database_url, redis_url=redis_url, servers=tuple(servers))
