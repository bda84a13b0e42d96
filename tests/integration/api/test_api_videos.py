"""Submitting, looking, listing, cancelling, deleting and downloading over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from running import mp4, settings_of, wait_until, work
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.settings import ApiSettings
from db import identities, jobs
from db.models import Job
from db.session import transaction
from shared.settings import Settings
from shared.storage import Storage


def uuid_of(video: dict) -> UUID:
    return UUID(video["id"].removeprefix("video_"))


@pytest.fixture
def finished(client: TestClient, session_factory: sessionmaker[Session], storage: Storage) -> tuple[dict, bytes]:
    """A completed video and its bytes."""
    video, content = client.post("/v1/videos", json={"prompt": "a red circle"}).json(), mp4()
    assert work(session_factory, storage, uuid_of(video), content)
    return video, content


def test_a_new_video_is_the_whole_object(client: TestClient) -> None:
    request = {"prompt": "a red circle", "seed": 7, "seconds": 2, "size": "64x48", "metadata": {"scene": "12"}}

    answer = client.post("/v1/videos", json=request)

    video = answer.json()
    assert answer.status_code == 200
    assert answer.headers["openai-poll-after-ms"] == "20"
    assert answer.headers["retry-after"] == "1"
    assert video.pop("id").startswith("video_")
    assert video.pop("created_at") > 1_700_000_000
    assert video == {
        "object": "video",
        "model": "tiny",
        "prompt": "a red circle",
        "status": "queued",
        "progress": 0,
        "completed_at": None,
        "expires_at": None,
        "seconds": "2",
        "size": "64x48",
        "error": None,
        "remixed_from_video_id": None,
        "inference_time_s": None,
        "stage_durations": None,
        "peak_memory_mb": None,
        "negative_prompt": None,
        "mode": "auto",
        "path": None,
        "attempt": 0,
        "step": None,
        "num_steps": None,
        "num_inference_steps": None,
        "guidance_scale": None,
        "seed": 7,
        "fps": 8,
        "num_frames": 16,
        "queue_position": 0,
        "eta_seconds": None,
        "workers": None,
        "waiting_reason": "no worker is here: start one with `chai worker`, or all parts with `chai up`",
        "cancel_requested": False,
        "batch_id": None,
        "line": None,
        "custom_id": None,
        "cache": None,
        "metadata": {"scene": "12"},
        "usage": None,
    }


def test_what_is_accepted_waits_for_the_relay(client: TestClient, session: Session) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()

    row = session.scalars(select(Job)).one()
    assert (row.id, row.queue, row.priority, row.published_at) == (uuid_of(video), "interactive", 5, None)


@pytest.mark.parametrize("as_files", [True, False], ids=["multipart", "urlencoded"])
def test_a_form_asks_for_the_same_as_json(client: TestClient, session: Session, as_files: bool) -> None:
    form = {"prompt": "a red circle", "seed": "7", "seconds": "2", "guidance_scale": "7.5", "metadata[scene]": "12"}
    same = {"prompt": "a red circle", "seed": 7, "seconds": 2, "guidance_scale": 7.5, "metadata": {"scene": "12"}}

    if as_files:
        first = client.post("/v1/videos", files={name: (None, value) for name, value in form.items()})
    else:
        first = client.post("/v1/videos", data=form)
    client.post("/v1/videos", json=same)

    assert first.status_code == 200, first.text
    hashes = session.scalars(select(Job.request_hash)).all()
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


def test_a_finished_video_has_the_size_of_its_file(
    client: TestClient, finished: tuple[dict, bytes], session: Session
) -> None:
    video, _ = finished
    job = session.get_one(Job, uuid_of(video))
    job.output = {**job.output, "width": 56, "height": 40, "num_frames": 9}
    session.commit()

    found = client.get(f"/v1/videos/{video['id']}").json()

    assert (found["size"], found["num_frames"]) == ("56x40", 9)


def test_a_finished_video_says_what_it_took(client: TestClient, finished: tuple[dict, bytes]) -> None:
    video, content = finished

    answer = client.get(f"/v1/videos/{video['id']}")

    found = answer.json()
    assert (found["status"], found["progress"], found["path"], found["attempt"]) == ("completed", 100, "fast", 1)
    assert found["cache"] == {"path": "fast", "reason": "test"}
    assert found["usage"]["bytes"] == len(content)
    assert found["usage"]["stage_s"] == {"denoise": 0.5}
    assert 0 <= found["usage"]["run_s"] < 60
    assert found["completed_at"] >= found["created_at"]
    assert "retry-after" not in answer.headers


def test_an_unchanged_video_is_not_sent_again(client: TestClient, finished: tuple[dict, bytes]) -> None:
    path = f"/v1/videos/{finished[0]['id']}"
    etag = client.get(path).headers["etag"]

    again = client.get(path, headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    packed = client.get(path, headers={"If-None-Match": f'"x", W/{etag}'})  # as a proxy makes it that packs answers
    assert packed.status_code == 304


def test_a_bare_uuid_finds_the_video_too(client: TestClient) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()

    assert client.get(f"/v1/videos/{uuid_of(video)}").json()["id"] == video["id"]


def test_pages_hold_every_video_once(client: TestClient) -> None:
    made = [client.post("/v1/videos", json={"prompt": f"circle {number}"}).json()["id"] for number in range(5)]

    for order, expected in (("asc", made), ("desc", made[::-1])):
        seen, after = [], {}
        while True:
            page = client.get("/v1/videos", params={"limit": 2, "order": order, **after}).json()
            seen += [video["id"] for video in page["data"]]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert seen == expected


def test_lists_can_be_narrowed_to_statuses(client: TestClient, finished: tuple[dict, bytes]) -> None:
    waiting = client.post("/v1/videos", json={"prompt": "another"}).json()

    def ids(**params: object) -> list[str]:
        return [video["id"] for video in client.get("/v1/videos", params=params).json()["data"]]

    assert ids(status="queued") == [waiting["id"]]
    assert ids(status=["completed", "failed"]) == [finished[0]["id"]]
    assert ids(status="failed") == []


def test_the_queue_position_counts_those_before(client: TestClient) -> None:
    first = client.post("/v1/videos", json={"prompt": "one"}).json()
    second = client.post("/v1/videos", json={"prompt": "two"}).json()
    assert (first["queue_position"], second["queue_position"]) == (0, 1)

    client.post(f"/v1/videos/{first['id']}/cancel")

    assert client.get(f"/v1/videos/{second['id']}").json()["queue_position"] == 0


def test_content_is_the_file(client: TestClient, finished: tuple[dict, bytes]) -> None:
    video, content = finished

    answer = client.get(f"/v1/videos/{video['id']}/content")
    head = client.head(f"/v1/videos/{video['id']}/content")

    assert answer.content == content
    assert answer.headers["content-type"] == head.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))
    assert head.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),  # from the beginning
        ("bytes=100-", 100, None),  # to the end
        ("bytes=-50", -50, None),  # the last bytes
        ("bytes=10-99999999", 10, None),  # more than there is
    ],
)
def test_a_range_is_that_part_of_the_file(
    client: TestClient, finished: tuple[dict, bytes], asked: str, start: int, stop: int | None
) -> None:
    video, content = finished

    answer = client.get(f"/v1/videos/{video['id']}/content", headers={"Range": asked})

    part = content[start:stop]
    first = start % len(content)
    assert answer.status_code == 206
    assert answer.content == part
    assert answer.headers["content-length"] == str(len(part))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,5-9", "lines=1-2", "bytes=-", "bytes=x-y"])
def test_a_range_that_is_none_gives_the_whole_file(
    client: TestClient, finished: tuple[dict, bytes], asked: str
) -> None:
    answer = client.get(f"/v1/videos/{finished[0]['id']}/content", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, finished[1])


def test_a_range_behind_the_end_is_refused(client: TestClient, finished: tuple[dict, bytes]) -> None:
    size = len(finished[1])

    answer = client.get(f"/v1/videos/{finished[0]['id']}/content", headers={"Range": f"bytes={size}-"})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert answer.json()["error"] == {
        "message": f"Range 'bytes={size}-' lies behind the end; the video has {size} bytes, ask for bytes=0-{size - 1}",
        "type": "invalid_request_error",
        "param": "Range",
        "code": "range_not_satisfiable",
    }


def test_a_range_of_another_version_gives_the_whole_file(client: TestClient, finished: tuple[dict, bytes]) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}

    answer = client.get(f"/v1/videos/{finished[0]['id']}/content", headers=headers)

    assert (answer.status_code, answer.content) == (200, finished[1])


def test_content_that_the_caller_has_is_not_sent_again(client: TestClient, finished: tuple[dict, bytes]) -> None:
    path = f"/v1/videos/{finished[0]['id']}/content"
    etag = client.head(path).headers["etag"]

    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304


def test_content_before_the_end_is_a_conflict(client: TestClient) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()

    answer = client.get(f"/v1/videos/{video['id']}/content")

    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"] == {
        "message": f"video {video['id']} is queued, 0 per cent done; wait until its status is completed",
        "type": "invalid_request_error",
        "param": None,
        "code": "video_not_ready",
    }


def test_content_of_a_cancelled_video_never_comes(client: TestClient) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()
    client.post(f"/v1/videos/{video['id']}/cancel")

    error = client.get(f"/v1/videos/{video['id']}/content").json()["error"]

    assert error["message"] == f"video {video['id']} was cancelled, so it has no content; submit the prompt again"


def test_content_that_expired_is_gone(client: TestClient, session: Session, finished: tuple[dict, bytes]) -> None:
    video, _ = finished
    session.execute(update(Job).values(expires_at=Job.created_at))
    session.commit()

    answer = client.get(f"/v1/videos/{video['id']}/content")

    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "video_gone"
    assert answer.json()["error"]["message"].startswith(f"video {video['id']} expired at ")


def test_content_whose_file_is_missing_is_gone(
    client: TestClient, session: Session, storage: Storage, finished: tuple[dict, bytes]
) -> None:
    storage.remove(session.scalars(select(Job.output["name"].astext)).one())

    answer = client.get(f"/v1/videos/{finished[0]['id']}/content")

    assert answer.status_code == 410
    assert answer.json()["error"]["message"] == "the video's file is no longer there; submit the prompt again"


def test_nothing_is_gone_from_a_storage_that_is_not_the_services_own(
    client: TestClient, session: Session, storage: Storage, finished: tuple[dict, bytes]
) -> None:
    identities.adopt_storage(
        session, uuid4()
    )  # this one has no id: a disk that is not mounted, a gateway without files
    session.commit()
    storage.remove(session.scalars(select(Job.output["name"].astext)).one())

    answer = client.get(f"/v1/videos/{finished[0]['id']}/content")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../outside.mp4", 500),
        ("videos/../../outside.mp4", 500),
        ("/etc/passwd", 500),
        ("videos/link.mp4", 503),  # the name is right, the storage is not
    ],
)
def test_no_name_leads_out_of_the_storage(
    client: TestClient, session: Session, storage: Storage, finished: tuple[dict, bytes], name: str, status: int
) -> None:
    root = Path(urlsplit(storage.url).path)
    (root.parent / "outside.mp4").write_bytes(b"secret")
    (root / "videos" / "link.mp4").symlink_to(root.parent / "outside.mp4")
    session.execute(update(Job).values(output={"name": name, "bytes": 6}))
    session.commit()

    answer = client.get(f"/v1/videos/{finished[0]['id']}/content")

    assert answer.status_code == status
    assert b"secret" not in answer.content


def test_a_deleted_video_is_gone_with_its_file(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage, finished: tuple[dict, bytes]
) -> None:
    video, _ = finished

    answer = client.delete(f"/v1/videos/{video['id']}")

    assert answer.json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/content")):
        assert client.request(method, f"/v1/videos/{video['id']}{path}").status_code == 404
    assert client.get("/v1/videos").json()["data"] == []
    with transaction(session_factory) as session:
        assert jobs.purge(session) == [f"videos/{uuid_of(video)}.1.mp4"]


def test_an_unknown_video_is_not_found(client: TestClient) -> None:
    answer = client.get("/v1/videos/video_nonsense")

    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "no video 'video_nonsense' for this key; GET /v1/videos lists what there is",
            "type": "not_found_error",
            "param": None,
            "code": "not_found",
        }
    }


def test_a_failed_video_says_why(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()
    with transaction(session_factory) as session:
        claim = jobs.claim(session, uuid_of(video), owner="w", lease_s=30)
        jobs.fail(session, claim, code="out_of_memory", message="the card is too small")

    found = client.get(f"/v1/videos/{video['id']}").json()

    assert found["status"] == "failed"
    assert found["error"] == {"code": "out_of_memory", "message": "the card is too small"}
    assert found["completed_at"] >= found["created_at"]


def test_models_show_their_limits(client: TestClient) -> None:
    models = client.get("/v1/models").json()

    assert [model["id"] for model in models["data"]] == ["tiny"]
    assert client.get("/v1/models/tiny").json() == models["data"][0]
    assert models["data"][0]["sizes"] == ["64x64", "64x48"]
    assert client.get("/v1/models/sora").json()["error"]["message"] == "no model 'sora'; use tiny"


def test_the_default_model_is_the_first(environment: dict[str, str]) -> None:
    for default in ("small", "tiny"):
        settings = settings_of(
            environment, models_dir=Settings.model_fields["models_dir"].default, default_model=default
        )
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == default


def test_a_ready_service_says_so(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "checks": {}}
    assert client.get("/readyz").json() == {"status": "ok", "checks": {"database": "ok", "storage": "ok"}}


def test_every_answer_carries_a_request_id(client: TestClient) -> None:
    own = client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"]
    made: httpx.Response = client.get("/nowhere", headers={"X-Request-Id": "bad id\x7f"})

    assert own == "abc-1"
    assert len(made.headers["x-request-id"]) == 32


def test_a_storage_that_hangs_keeps_no_job_from_being_accepted(
    settings: ApiSettings, session_factory: sessionmaker[Session], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file server does that is gone: whoever reads waits, and nobody can tell for how long."""
    answers = threading.Event()
    app = create_app(settings.model_copy(update={"num_threads": 4}))
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(13) as pool:
        video = client.post("/v1/videos", json={"prompt": "a"}).json()["id"]
        assert work(session_factory, storage, UUID(video.removeprefix("video_")), mp4())
        driver = app.state.service.storage._fs
        look = driver.info
        monkeypatch.setattr(driver, "info", lambda path: answers.wait(30) and look(path))

        readers = [pool.submit(client.get, f"/v1/videos/{video}/content") for _ in range(12)]
        try:
            accepted = pool.submit(client.post, "/v1/videos", json={"prompt": "b"}).result(timeout=15)
        finally:
            answers.set()

        assert accepted.status_code == 200
        assert {reader.result().status_code for reader in readers} == {200}


@pytest.mark.parametrize(("method", "part"), [("DELETE", ""), ("POST", "/cancel")])
def test_a_change_under_way_is_waited_for_before_if_match_is_looked_at(
    client: TestClient, session_factory: sessionmaker[Session], engine: Engine, method: str, part: str
) -> None:
    video = client.post("/v1/videos", json={"prompt": "a"}).json()
    path = f"/v1/videos/{video['id']}"
    seen = {"If-Match": client.get(path).headers["etag"]}

    with ThreadPoolExecutor(1) as pool:
        with transaction(session_factory) as session:
            assert jobs.claim(session, uuid_of(video), owner="w", lease_s=30)
            asked = pool.submit(client.request, method, path + part, headers=seen)
            wait_until(lambda: _num_waiting_for_a_lock(engine) == 1)
        refused = asked.result()

    assert (refused.status_code, refused.json()["error"]["code"]) == (412, "precondition_failed")
    now = client.get(path).json()
    assert (now["status"], now["cancel_requested"]) == ("in_progress", False)


def _num_waiting_for_a_lock(engine: Engine) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return connection.scalar(text(query))
