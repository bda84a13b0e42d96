"""The whole service as a stranger meets it: over HTTP, with a stand-in for the worker."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from running import CARDS, api_thread, worker_thread
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.settings import ApiSettings
from shared.storage import Storage


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
