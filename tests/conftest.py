"""Real services for every test: the embedded servers in a temporary folder, or DATABASE_URL and REDIS_URL when given.

Each test gets a migrated database of its own, cloned from a template in tens of milliseconds, and a Redis database.
"""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of torch with a thread a core stand in each other's way

import psycopg2
import psycopg2.errors
import pytest
import redis
from hypothesis import settings
from leftovers import SESSION
from psycopg2 import sql
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from cli.services.postgres import Postgres
from cli.services.redis import NUM_DATABASES, Redis
from db.migrate import upgrade
from db.session import connect, sessions
from shared.settings import Settings

settings.register_profile("unhurried", settings(), deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

os.environ[SESSION] = str(os.getpid())
TEMPLATE = f"chai_template_{os.getpid()}"
EXTERNAL_REDIS_DATABASE = 15  # emptied by the tests when REDIS_URL names a server of yours
ROOT = Path(__file__).resolve().parents[1]
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 4 << 30
_numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """End fixtures, and with them the servers, when `timeout` or a CI system sends SIGTERM.

    A shell's background jobs ignore Ctrl-C and hand that on to what they start; commands under test are to hear it.
    """
    gc.disable()  # until all is collected: a quarter of that time would go into looking through what is imported
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix the files that mostly wait, for processes and servers, with those that compute, so that no core is idle."""
    files = list(dict.fromkeys(item.path for item in items))
    computing = [file for file in files if {"unit", "golden"} & set(file.parts)]
    waiting = [file for file in files if file not in set(computing)]
    places = {file: at / len(group) for group in (waiting, computing) for at, file in enumerate(group)}
    items.sort(key=lambda item: places[item.path])


def pytest_collection_finish() -> None:
    """Look for garbage again, among what the tests make: not among a million objects of modules, which stay."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_trial_goes_on() -> Iterator[None]:
    """A worker's trial of its machine that outlives its test loads models beside all that follow."""
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "fitness"] == []


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder for the servers' data, gone after the session, as is all that the session started."""
    folder = Path(tempfile.mkdtemp(prefix="chai-test-", dir=_memory()))
    command = [sys.executable, Path(__file__).with_name("leftovers.py"), folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True) as cleaner:
        yield folder
        cleaner.communicate(b"\n")


def _memory() -> Path | None:
    """A folder in memory where there is plenty: a database is 500 small files, cloned there in a tenth of the time."""
    is_there = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return MEMORY if is_there and shutil.disk_usage(MEMORY).free > MEMORY_BYTES else None


@pytest.fixture(scope="session")
def embedded_postgres(services_folder: Path) -> Iterator[Postgres | None]:
    """The server of this session, or None when DATABASE_URL names another."""
    if "DATABASE_URL" in os.environ:
        yield None
        return
    server = Postgres(services_folder / "postgres", durable=False)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server(embedded_postgres: Postgres | None) -> str:
    """SQLAlchemy URL of a database whose role may create databases."""
    return embedded_postgres.url if embedded_postgres else Settings().database_url


@pytest.fixture(scope="session")
def postgres_admin(embedded_postgres: Postgres | None) -> str:
    """The same as the superuser, who may create and drop extensions."""
    return embedded_postgres.admin_url if embedded_postgres else Settings().database_url


@pytest.fixture(scope="session")
def redis_server(services_folder: Path) -> Iterator[str]:
    """URL of a Redis server."""
    if given := os.environ.get("REDIS_URL"):
        yield given
        return
    server = Redis(services_folder / "redis")
    try:
        yield server.start().url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with the newest schema and no rows, to clone."""
    with _fresh_database(postgres_server, TEMPLATE) as url:
        upgrade(url)
        yield TEMPLATE


@pytest.fixture(scope="module")
def module_database_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """URL of a migrated database that the tests of a module share."""
    with _fresh_database(postgres_server, _new_name(), template=migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_admin: str) -> Iterator[str]:
    """URL of a database of this test's own without tables or extensions; its role may add both."""
    with _fresh_database(postgres_admin, _new_name(), template="template0") as url:
        yield url


@pytest.fixture
def database_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """URL of a migrated, empty database of this test's own."""
    with _fresh_database(postgres_server, _new_name(), template=migrated_template) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A pooled engine on `database_url`."""
    engine = connect(database_url, application="chai-test")
    yield engine
    engine.dispose()


@pytest.fixture
def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Makes sessions, as the parts of the service do."""
    return sessions(engine)


@pytest.fixture
def session(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """One session, rolled back at the end; the test commits what others should see."""
    with session_factory() as session:
        yield session


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """URL of an empty Redis database of this test's own."""
    external = "REDIS_URL" in os.environ
    number = EXTERNAL_REDIS_DATABASE if external else 1 + next(_numbers) % (NUM_DATABASES - 1)
    url = make_url(redis_server).set(database=str(number)).render_as_string(hide_password=False)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    """fsspec URL of an empty folder for videos and latents."""
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder.as_uri()


def _new_name() -> str:
    return f"chai_test_{os.getpid()}_{next(_numbers)}"


@contextmanager
def _fresh_database(server: str, name: str, *, template: str = "template1") -> Iterator[str]:
    url = make_url(server)
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    # Without fsync, copying files costs less than logging every page of them.
    strategy = "" if "DATABASE_URL" in os.environ else " STRATEGY FILE_COPY"
    _execute(url, sql.SQL("CREATE DATABASE {name} TEMPLATE {template}" + strategy).format(**names))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        _drop(url, sql.SQL("DROP DATABASE IF EXISTS {name} WITH (FORCE)").format(**names))


def _drop(url: URL, statement: sql.Composed) -> None:
    """Drop a database; while autovacuum is at work in it, which only a superuser may end, wait for that."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return _execute(url, statement)
        except psycopg2.errors.InsufficientPrivilege:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _execute(url: URL, statement: sql.Composed) -> None:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
