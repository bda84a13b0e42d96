"""A worker's process, in the test's own: real Postgres, storage, model and embedder."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance
from db.models import CacheEntry, Job, Namespace
from db.session import transaction
from db.states import EntryStatus
from shared.storage import Storage
from worker import fitness
from worker.jobs.attempt import generate
from worker.models.embedders import load_embedder
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny
from worker.runtime import Runtime
from worker.settings import WorkerSettings


@pytest.fixture(scope="session")
def pipeline() -> Any:
    return tiny()


@pytest.fixture(scope="session")
def embedder() -> Any:
    return load_embedder()


@pytest.fixture
def ending() -> Iterator[threading.Event]:
    """For runtimes of this process: set when the test is over, so that none tries its machine again beside the next.

    A trial loads the model, and diffusers makes every module of the process without memory while it loads one.
    """
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == fitness.THREAD:
            thread.join(60)


WRONG = """
    SELECT id, bytes_used, num_entities FROM namespaces WHERE bytes_used <> (
        SELECT coalesce(sum(num_bytes), 0) FROM cache_entries WHERE namespace_id = namespaces.id AND status <> 'gone'
    ) OR num_entities <> (SELECT count(entry_id) FROM cache_entities WHERE namespace_id = namespaces.id)
"""  # namespaces whose row does not say what they hold


@dataclass
class Service:
    """One worker's process."""

    runtime: Runtime
    factory: sessionmaker[Session]
    storage: Storage
    folder: Path

    def run(self, prompt: str, *, tenant: str = "ada", **values: Any) -> Job:
        given = {"model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8, **values}
        with transaction(self.factory) as session:
            job, _ = acceptance.accept(session, Job(tenant=tenant, prompt=prompt, **given))
        generate(self.runtime, job.id)
        with self.factory() as session:
            return session.get_one(Job, job.id)

    def with_settings(self, **values: Any) -> "Service":
        """The same worker, started anew with other settings."""
        return replace(self, runtime=replace(self.runtime, settings=self.runtime.settings.model_copy(update=values)))

    def entries(self) -> list[CacheEntry]:
        with self.factory() as session:
            return list(session.scalars(select(CacheEntry).order_by(CacheEntry.created_at)))

    def check_ledger(self) -> None:
        """The ledger equals the bytes on disk, in all and of each namespace; what serves hits has its whole file."""
        on_disk = {file.name: file.num_bytes for file in self.storage.files("latents")}
        with self.factory() as session:
            used = session.scalar(select(func.coalesce(func.sum(Namespace.bytes_used), 0)))
            rows = session.scalars(select(CacheEntry).where(CacheEntry.status == EntryStatus.RESIDENT)).all()
            over = session.scalars(select(Namespace).where(Namespace.bytes_used > Namespace.byte_budget)).all()
            wrong = session.execute(text(WRONG)).all()
        assert used == sum(on_disk.values())
        assert {row.name: row.num_bytes for row in rows}.items() <= on_disk.items()
        assert over == []
        assert wrong == []


@pytest.fixture
def start(
    database_url: str,
    session_factory: sessionmaker[Session],
    storage_url: str,
    tmp_path: Path,
    pipeline: Any,
    embedder: Any,
    ending: threading.Event,
) -> Callable[..., Service]:
    models = tmp_path / "models" / "tiny"
    models.mkdir(parents=True)
    card = {"name": "tiny", "title": "Tiny", "source": "random-tiny", "sizes": ["32x32"], "fps": 8, "frames": [8]}
    (models / "chai.json").write_text(json.dumps(card | {"full_steps": 6, "fast_steps": 5}))

    def start_(**values: Any) -> Service:
        given = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "models_dir": tmp_path / "models"}
        settings = WorkerSettings.model_validate(given | values)
        storage = Storage(storage_url)
        runtime = Runtime(
            settings=settings,
            owner="w1",
            factory=session_factory,
            storage=storage,
            load=lambda card, _: OpenSoraModel(pipeline, card),
            embedder=embedder,
            ending=ending,
        )
        folder = Path(storage_url.removeprefix("file://"))
        return Service(runtime=runtime, factory=session_factory, storage=storage, folder=folder)

    return start_
