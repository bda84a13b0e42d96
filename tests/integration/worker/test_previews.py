"""What a running video is becoming, from the hold of its worker to whoever asks."""

from uuid import UUID

from fastapi.testclient import TestClient
from running import CARDS, settings_of, wait_until
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from db import jobs
from db.session import transaction
from worker.jobs.lease import Lease
from worker.settings import WorkerSettings


def test_a_picture_is_seen_while_its_attempt_runs_and_by_its_tenant_only(
    database_url: str, storage_url: str, session_factory: sessionmaker[Session]
) -> None:
    environment = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "CHAI_DEFAULT_MODEL": "tiny"}
    worker = WorkerSettings.model_validate({"DATABASE_URL": database_url, "progress_s": 0.01})
    with TestClient(create_app(settings_of(environment, models_dir=CARDS)), base_url="http://127.0.0.1") as client:
        id_ = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
        path = f"/v1/videos/{id_}/preview"
        waiting = client.get(path)
        with transaction(session_factory) as session:
            claim = jobs.claim(session, UUID(id_.removeprefix("video_")), owner="w1", lease_s=60)
        assert claim is not None

        with Lease(session_factory, claim, worker) as lease:
            for number, content in enumerate((b"first", b"second"), start=1):
                lease.check(step=number, preview=content)
                wait_until(lambda content=content: client.get(f"{path}?step=1").content == content)  # type: ignore[misc]
        with transaction(session_factory) as session:
            jobs.complete(session, claim, output={"name": "videos/x.mp4"}, receipt={})

        assert (waiting.status_code, client.get(path).status_code) == (204, 204)
        assert client.get(path.replace(id_, f"video_{UUID(int=1).hex}")).status_code == 404
