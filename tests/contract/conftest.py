"""The whole service as a stranger meets it: over HTTP, with a stand-in for the worker."""

import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from running import CARDS, api_thread, described_once, settings_of, worker_thread
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.file_batches import FileBatches
from api.settings import ApiSettings
from db import batches
from db.session import transaction
from shared.storage import Storage


@pytest.fixture(scope="session", autouse=True)
def _apps_are_described_once() -> Iterator[None]:
    with described_once():
        yield


@pytest.fixture
def app(database_url: str, storage_url: str) -> FastAPI:
    """The service, not yet started."""
    values = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "models_dir": CARDS, "default_model": "tiny"}
    return create_app(ApiSettings.model_validate({**values, "poll_after_ms": 20, "sync_timeout_s": 0.05}))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """Where it answers."""
    with api_thread(app) as url:
        yield url


@pytest.fixture
def worker(session_factory: sessionmaker[Session], storage_url: str) -> Iterator[None]:
    """Somebody who makes the videos."""
    with worker_thread(session_factory, Storage(storage_url)):
        yield


@pytest.fixture
def relay(session_factory: sessionmaker[Session], database_url: str, storage_url: str) -> Iterator[None]:
    """What a relay does with batches, a few times a second."""
    environment = {"DATABASE_URL": database_url, "CHAI_MODELS_DIR": str(CARDS), "CHAI_DEFAULT_MODEL": "tiny"}
    parts = FileBatches(session_factory, Storage(storage_url), settings_of(environment))
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            parts.turn()
            with transaction(session_factory) as session:
                batches.finish(session)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()
