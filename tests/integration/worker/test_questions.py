"""What would happen to a prompt, asked over HTTP and answered by a worker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from open_transactions import num_standing
from running import settings_of
from sqlalchemy import Engine, select

from api.app import create_app
from db import namespaces, questions
from db.models import Namespace
from db.session import transaction
from worker.models import embedders
from worker.questions import answer_one

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX = "a red fox runs through a snowy forest"


@pytest.fixture
def client(start: Start, database_url: str, storage_url: str) -> Iterator[tuple[TestClient, Any]]:
    service = start()
    environment = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "CHAI_DEFAULT_MODEL": "tiny"}
    settings = settings_of(environment, models_dir=service.runtime.settings.models_dir)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client, service


@contextmanager
def answering(service: Any) -> Iterator[None]:
    """A worker that looks for questions itself."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.02):
            answer_one(service.runtime)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_answer_is_what_the_next_job_does_and_nothing_is_recorded(client: tuple[TestClient, Any]) -> None:
    api, service = client
    made = service.run(RED_FOX, tenant="local")
    asked = {"prompt": "a red fox sleeps, no people"}

    with answering(service):
        said = api.post("/v1/cache/try", json=asked).json()
    job = service.run(asked["prompt"], tenant="local")

    assert (said["object"], said["path"], said["steps"]) == ("cache.try", job.path, job.receipt["steps"])
    assert (said["reason"], said["explanation"]) == (job.receipt["reason"], job.receipt["explanation"])
    assert [entity["text"] for entity in said["entities"]] == ["red fox"]
    assert [(match["donor_entity"], match["donor"]) for match in said["matched"]] == [
        ("red fox", f"video_{made.id.hex}")
    ]
    assert said["excluded"] == ["person"]
    assert (said["seconds"], said["full_seconds"] > 0) == (None, True)  # none of the fast path before
    assert api.get("/v1/videos").json()["data"][0]["id"] == f"video_{job.id.hex}"


def test_the_cache_of_another_embedder_is_not_asked(client: tuple[TestClient, Any]) -> None:
    api, service = client
    service.run(RED_FOX, tenant="local")
    with transaction(service.factory) as session:  # tried for a while, after this worker's own
        own = session.scalars(select(Namespace)).one()
        given = {name: value for name, value in own.identity.items() if name not in ("scope", "owner")}
        given |= {"embedder": "all-MiniLM-L6-v2"}
        namespaces.get_or_create(session, given, scope="tenant", owner="local", dims=384, byte_budget=2**20)

    with answering(service):
        said = api.post("/v1/cache/try", json={"prompt": "a red fox sleeps"}).json()

    assert (said["path"], said["reason"]) == ("fast", "entity_hit")


def test_nothing_of_another_tenant_is_told(client: tuple[TestClient, Any]) -> None:
    api, service = client
    service.run(RED_FOX, tenant="ada")

    with answering(service):
        said = api.post("/v1/cache/try", json={"prompt": RED_FOX}).json()

    assert (said["path"], said["matched"], said["reason"]) == ("full", [], "empty_cache")


def test_a_question_that_nobody_answers_is_withdrawn(
    client: tuple[TestClient, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, service = client
    monkeypatch.setattr("api.routes.cache.ANSWER_S", 0.2)

    answer = api.post("/v1/cache/try", json={"prompt": RED_FOX})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_answer")
    with transaction(service.factory) as session:
        assert questions.take(session, younger_s=60) is None


def test_a_request_that_cannot_be_is_refused_as_when_it_is_sent(client: tuple[TestClient, Any]) -> None:
    api, _ = client
    asked = {"prompt": RED_FOX, "size": "31x31"}

    tried, sent = (api.post(path, json=asked).json() for path in ("/v1/cache/try", "/v1/videos"))

    assert tried == sent
    assert tried["error"]["param"] == "size"


def test_no_transaction_stands_open_while_an_embedder_loads(
    client: tuple[TestClient, Any], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, service = client
    loaded, standing = service.runtime.embedder, []

    def load(_name: str) -> Any:
        standing.append(num_standing(engine))
        return loaded

    monkeypatch.setattr(embedders, "load_embedder", load)
    service.runtime.embedder = None
    assert not answer_one(service.runtime)
    assert standing == []  # nobody asked

    with answering(service):
        assert api.post("/v1/cache/try", json={"prompt": RED_FOX}).status_code == 200

    assert standing == [0]
