"""/readyz says whether jobs get through; every route says so when the database does not take them."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from running import CARDS, settings_of, wait_until, work
from sqlalchemy import Engine, event, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.readiness import FRESH_S
from api.settings import ApiSettings
from cli import doctor
from cli.services.postgres import Postgres
from db import heartbeats, identities
from db.migrate import upgrade
from db.models import Heartbeat, Job
from db.session import connect
from shared.storage import FileMissing


def age(session: Session, seconds: float) -> None:
    session.execute(update(Heartbeat).values(seen_at=Heartbeat.seen_at - timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("relay:a", "broker", "no relay has reached the broker for 9"),
        ("worker:a", "workers", "no worker has given a sign of life for 9"),
    ],
)
def test_a_part_that_fell_silent_is_named(
    client: TestClient, session: Session, name: str, part: str, message: str
) -> None:
    heartbeats.beat(session, name)
    age(session, 90)
    session.commit()

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["checks"][part].startswith(message)
    assert client.head("/readyz").status_code == 503


def test_workers_that_live_and_take_no_jobs_are_named_without_their_files(client: TestClient, session: Session) -> None:
    heartbeats.beat(session, "worker:a", {"is_fit": False, "reason": "temporary_folder: /srv/tmp is full"})
    session.commit()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["workers"] == "no worker takes jobs: temporary_folder; its log says why"


def test_a_worker_that_starts_takes_no_api_out_of_service(client: TestClient, session: Session) -> None:
    heartbeats.beat(session, "worker:a", {"is_fit": False, "reason": heartbeats.STARTING})
    session.commit()
    client.post("/v1/videos", json={"prompt": "a red circle"})

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["checks"]["workers"]) == (200, "ok")
    assert answer.json()["notes"] == ["1 queued: every worker with the model 'tiny' is starting"]


def test_jobs_that_no_worker_takes_are_named_and_stop_nobody(
    client: TestClient, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAI_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(doctor, "_ask", lambda _, path: client.get(path))  # this API has no port
    heartbeats.beat(session, "relay:a")
    heartbeats.beat(session, "worker:a", {"models": ["wan"]})
    session.commit()
    for _ in range(2):
        client.post("/v1/videos", json={"prompt": "a red circle"})

    answer = client.get("/readyz")
    found = [finding for finding in doctor.check_service(tmp_path) if finding.what == "jobs that wait"]

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    (note,) = answer.json()["notes"]
    assert note.startswith("2 queued: no worker has the model 'tiny': start one on a machine that has it")
    assert [(finding.state, finding.seen) for finding in found] == [
        ("look", "2 queued: no worker has the model 'tiny'")
    ]


def test_tables_of_an_earlier_version_are_not_ready_and_say_what_to_do(client: TestClient, session: Session) -> None:
    newest = session.scalar(text("SELECT version_num FROM alembic_version"))
    session.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    session.execute(text("ALTER TABLE jobs RENAME COLUMN progress TO stride"))
    session.commit()

    ready, made = client.get("/readyz"), client.post("/v1/videos", json={"prompt": "a"})

    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == (
        f"the tables of the database are at 0004, this version needs {newest}: run `chai migrate`"
    )
    assert (made.status_code, made.headers["retry-after"]) == (503, "1")
    assert made.json()["error"]["message"].endswith("the operator runs `chai migrate`")


def test_tables_of_a_later_version_serve(client: TestClient, session: Session) -> None:
    session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    session.commit()

    assert client.get("/readyz").json()["checks"]["database"] == "ok"


def test_parts_that_live_are_well(client: TestClient, session: Session) -> None:
    for name in ("relay:old", "worker:old"):
        heartbeats.beat(session, name)
    age(session, 3600)
    for name in ("relay:new", "worker:new"):
        heartbeats.beat(session, name)
    session.commit()

    head, answer = client.head("/readyz"), client.get("/readyz")

    assert (head.status_code, answer.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == answer.headers["content-type"]
    assert answer.json()["checks"] == dict.fromkeys(("database", "storage", "broker", "workers"), "ok")


def test_ids_that_nobody_publishes_are_noticed(client: TestClient, session: Session) -> None:
    client.post("/v1/videos", json={"prompt": "a red circle"})
    session.execute(update(Job).values(created_at=Job.created_at - timedelta(minutes=2)))
    session.commit()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["outbox"].startswith("jobs have waited for a relay for 12")


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_storage_that_is_not_the_workers_is_noticed(client: TestClient, session: Session, is_marked: bool) -> None:
    service = client.app.state.service
    if is_marked:
        service.storage.marker()
    assert client.get("/readyz").json()["checks"]["storage"] == "ok"  # no worker has found one yet
    identities.adopt_storage(session, uuid4())
    session.commit()
    service.readiness._until = service.readiness._storage_until = 0.0

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["storage"] == "does not work (ForeignStorage); the server's log says why"
    if not is_marked:
        with pytest.raises(FileMissing):  # a look marks nothing
            service.storage.marker(create=False)


def test_a_storage_that_hangs_is_named_and_takes_one_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, answers = client.app.state.service, threading.Event()
    asked: list[str] = []
    monkeypatch.setattr("api.readiness.PATIENCE_S", 1.0)
    monkeypatch.setattr(service.storage, "check", lambda: (asked.append("check"), answers.wait(60)))
    try:
        for _ in range(3):
            service.readiness._until = 0.0
            assert client.get("/readyz").json()["checks"] == {"storage": "did not answer within 1 s"}
        assert asked == ["check"]
    finally:
        answers.set()

    def is_well() -> bool:
        service.readiness._until = 0.0
        return client.get("/readyz").json()["checks"].get("storage") == "ok"

    wait_until(is_well, 10)


def test_many_who_ask_are_answered_from_one_look(client: TestClient, session: Session) -> None:
    client.get("/readyz")
    before = session.scalar(text("SELECT seen_at FROM heartbeats WHERE name = 'api'"))
    session.commit()

    for _ in range(20):
        client.get("/readyz")

    after = session.scalar(text("SELECT seen_at FROM heartbeats WHERE name = 'api'"))
    assert (after - before).total_seconds() < 3 or after == before


def test_the_row_that_all_apis_write_is_free_once_it_is_written(client: TestClient, engine: Engine) -> None:
    """A machine that is cut off between a statement and its commit would make all the others unready."""
    seen = []

    def look(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO heartbeats"):
            with engine.begin() as other:
                row = "SELECT name FROM heartbeats WHERE name = 'api' FOR UPDATE NOWAIT"
                seen.append(other.scalar(text(row)))

    with client.app.state.service.sessions() as session:
        event.listen(session.get_bind(), "after_cursor_execute", look)
    client.get("/readyz")

    assert seen == ["api"]


ROUTES = [
    ("POST", "/v1/videos", {"prompt": "a"}),
    ("POST", "/v1/videos/sync", {"prompt": "a"}),
    ("POST", "/v1/videos/{id}/cancel", None),
    ("DELETE", "/v1/videos/{id}", None),
    ("POST", "/v1/bulk-runs", {"manifest_key": "new"}),
    ("POST", "/v1/bulk-runs/{batch}/items", {"items": [{"custom_id": "1", "prompt": "a"}]}),
    ("POST", "/v1/bulk-runs/{batch}/seal", None),
    ("POST", "/v1/bulk-runs/{batch}/cancel", None),
]
LOOKS = [
    ("GET", "/v1/videos", None),
    ("GET", "/v1/videos/{id}", None),
    ("GET", "/v1/videos/{id}/content", None),
    ("GET", "/v1/bulk-runs", None),
    ("GET", "/v1/bulk-runs/{batch}", None),
]


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of this module's own, to make read-only and to stop."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), durable=False).start()
    upgrade(server.url)
    yield server
    server.stop()


def test_a_database_that_takes_no_writes_or_is_gone_is_a_503_on_every_route(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    settings = settings_in(own_postgres.url, tmp_path)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        id_ = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]

        def ask(routes: list) -> dict[str, tuple]:
            answers = {}
            for method, path, body in routes:
                answer = client.request(method, path.format(id=id_, batch=batch), **({"json": body} if body else {}))
                code = answer.json().get("error", {}).get("message") if answer.status_code >= 400 else None
                answers[f"{method} {path}"] = (answer.status_code, answer.headers.get("retry-after"), code)
            return answers

        read_only(own_postgres, on=True)
        client.app.state.service.sessions.kw["bind"].dispose()
        said = "the database takes no writes at the moment; nothing was changed, try again in a second"
        assert set(ask(ROUTES).values()) == {(503, "1", said)}
        assert {status for status, _, _ in ask(LOOKS).values()} == {200, 409}
        assert client.get("/readyz").status_code == 503
        read_only(own_postgres, on=False)

        own_postgres.stop()
        said = "the database does not answer; nothing was changed, try again in a second"
        assert set(ask(ROUTES + LOOKS).values()) == {(503, "1", said)}
        wait_until(lambda: "OperationalError" in client.get("/readyz").json()["checks"]["database"])
        time.sleep(FRESH_S)  # what was found before the stop is old
        assert client.get("/readyz").json()["checks"]["storage"] == "ok"  # it is not to blame
        own_postgres.start()


def read_only(server: Postgres, *, on: bool) -> None:
    engine = connect(server.admin_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


def settings_in(database_url: str, folder: Path, **more: object) -> ApiSettings:
    given = {"DATABASE_URL": database_url, "STORAGE_URL": folder.as_uri(), "CHAI_MODELS_DIR": str(CARDS)}
    return settings_of(given | {"CHAI_DEFAULT_MODEL": "tiny"}, **more)


def test_a_spent_pool_is_a_503_on_every_route(database_url: str, tmp_path: Path) -> None:
    app = create_app(settings_in(database_url, tmp_path, num_threads=1))
    with TestClient(app, base_url="http://127.0.0.1") as client, ExitStack() as held:
        id_ = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
        engine = app.state.service.sessions.kw["bind"]
        engine.pool._timeout = 0.05  # not ten seconds for each route
        for _ in range(2):
            held.enter_context(engine.connect())

        said = {
            f"{method} {path}": client.request(method, path.format(id=id_, batch=batch), json=body)
            for method, path, body in ROUTES + LOOKS
        }

        assert {(answer.status_code, answer.headers.get("retry-after")) for answer in said.values()} == {(503, "1")}
        held.close()
        assert client.get(f"/v1/videos/{id_}").status_code == 200


def test_a_request_behind_a_storage_that_hangs_is_answered_in_time(
    database_url: str, tmp_path: Path, session_factory: sessionmaker[Session]
) -> None:
    app = create_app(settings_in(database_url, tmp_path, request_timeout_s=0.5))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        id_ = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        assert work(session_factory, app.state.service.storage, UUID(id_.removeprefix("video_")), b"mp4")
        with session_factory.begin() as session:
            (job,) = session.scalars(select(Job))
            file = tmp_path / job.output["name"]
            job.output = {**job.output, "bytes": 0}
        file.unlink()
        os.mkfifo(file)  # whoever reads it waits, as on a share whose server is gone

        answer = client.get(f"/v1/videos/{id_}/content")
        file.open("wb").close()

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "overdue"
        assert client.get(f"/v1/videos/{id_}").status_code == 200
