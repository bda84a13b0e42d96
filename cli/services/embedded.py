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
    """Where the services are, and those of them that run here."""

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
    """Run what is not given as a URL on `var/postgres` and `var/redis` for the block; Redis stops before Postgres.

    Raises FolderInUse when another launcher runs on `var`, MissingProgram and StartFailed.
    """
    servers: list[Postgres | Redis] = []
    with ExitStack() as stack:
        stack.enter_context(folder_lock(var))
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
