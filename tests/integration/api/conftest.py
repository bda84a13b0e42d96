"""The API in this process (`client`) and as a live process (`api_server`), each on a database of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from running import CARDS, Process, api_process, described_once, settings_of
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.settings import ApiSettings
from db import keys
from db.session import transaction
from shared.storage import Storage


@pytest.fixture(scope="session", autouse=True)
def _apps_are_described_once() -> Iterator[None]:
    with described_once():
        yield


@pytest.fixture
def environment(database_url: str, redis_url: str, storage_url: str) -> dict[str, str]:
    """Environment variables of every part of one small service."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STORAGE_URL": storage_url,
        "CHAI_MODELS_DIR": str(CARDS),
        "CHAI_DEFAULT_MODEL": "tiny",
        "CHAI_POLL_AFTER_MS": "20",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> ApiSettings:
    """The same as settings."""
    return settings_of(environment)


@pytest.fixture
def client(settings: ApiSettings) -> Iterator[TestClient]:
    """The API, in this process."""
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def storage(storage_url: str) -> Storage:
    """Where the videos are."""
    return Storage(storage_url)


@pytest.fixture
def api_server(environment: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """The API as a live process on a free loopback port: `.url`, `.kill()`, `.terminate()`, `.log`."""
    with api_process(environment, tmp_path) as process:
        yield process


@pytest.fixture
def new_key(session_factory: sessionmaker[Session]) -> Callable[..., dict[str, str]]:
    """Makes an API key for a tenant; returns the header that carries it."""

    def make(tenant: str, **options: object) -> dict[str, str]:
        with transaction(session_factory) as session:
            key, _ = keys.create(session, tenant, **options)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
def guarded(environment: dict[str, str]) -> Iterator[TestClient]:
    """The API as it is off loopback: every request needs a key."""
    with TestClient(create_app(settings_of(environment, auth="keys")), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The API in this process, one for all cases of a table; they leave nothing that another case could see."""
    environment = {
        "DATABASE_URL": module_database_url,
        "STORAGE_URL": tmp_path_factory.mktemp("storage").as_uri(),
        "CHAI_MODELS_DIR": str(CARDS),
        "CHAI_DEFAULT_MODEL": "tiny",
        "CHAI_SYNC_TIMEOUT_S": "0.05",
    }
    with TestClient(create_app(settings_of(environment)), base_url="http://127.0.0.1") as client:
        yield client
