"""What a caller who waits is told, and how a request may wait by itself."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import job_counts
import pytest
from fastapi.testclient import TestClient
from running import mp4, work, worker_thread
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session, sessionmaker

from api import kept_figures
from api.estimates import Estimates
from api.waiting import preferred_s
from db import heartbeats, jobs, queue_positions
from db.models import Heartbeat, Job
from db.session import transaction
from shared.storage import Storage

PROMPT = {"prompt": "a red circle"}


def uuid_of(video: dict) -> UUID:
    return UUID(video["id"].removeprefix("video_"))


def test_an_answer_waits_for_the_video_where_that_is_preferred(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    with worker_thread(session_factory, storage):
        made = client.post("/v1/videos", json=PROMPT, headers={"Prefer": "respond-async, wait=20"})
        id_ = client.post("/v1/videos", json=PROMPT).json()["id"]
        seen = client.get(f"/v1/videos/{id_}", headers={"Prefer": "wait=20"})

    assert made.json()["status"] == seen.json()["status"] == "completed"
    assert made.headers["preference-applied"] == "wait=20"


def test_nobody_waits_for_longer_than_preferred(client: TestClient) -> None:
    began = time.monotonic()

    answer = client.post("/v1/videos", json=PROMPT, headers={"Prefer": "wait=1"})

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert 1 <= time.monotonic() - began < 6


@pytest.mark.parametrize("prefer", ["wait", "wait=-1", "wait=x", "await=60", "wait=0", "return=minimal"])
def test_a_preference_that_means_nothing_is_ignored(client: TestClient, prefer: str) -> None:
    answer = client.post("/v1/videos", json=PROMPT, headers={"Prefer": prefer})

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert "preference-applied" not in answer.headers


def test_a_minute_is_the_longest_that_anybody_waits() -> None:
    assert (preferred_s("wait=60"), preferred_s("wait=61"), preferred_s(f"wait={'9' * 100}")) == (60, 60, 60)


def test_many_wait_at_once_without_holding_up_others(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    made = [client.post("/v1/videos", json=PROMPT).json() for _ in range(60)]  # more than there are threads

    with ThreadPoolExecutor(60) as pool:
        waits = [pool.submit(client.get, f"/v1/videos/{video['id']}", headers={"Prefer": "wait=30"}) for video in made]
        time.sleep(1)
        began = time.monotonic()
        assert client.get("/v1/models").status_code == 200
        assert time.monotonic() - began < 5
        for video in made:
            work(session_factory, storage, uuid_of(video), mp4())
        assert {wait.result().json()["status"] for wait in waits} == {"completed"}


def test_sync_answers_with_the_video(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    with worker_thread(session_factory, storage):
        answer = client.post("/v1/videos/sync", data={**PROMPT, "num_outputs_per_prompt": "1"})

    assert answer.status_code == 200
    assert answer.content == mp4()
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-video-id"].startswith("video_")
    assert float(answer.headers["x-inference-time-s"]) >= 0


def test_sync_has_no_parts_and_no_versions(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    asked = [{"Range": "bytes=0-4"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}]
    with worker_thread(session_factory, storage):
        answers = [client.post("/v1/videos/sync", json=PROMPT, headers=headers) for headers in asked]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, mp4())] * 3


def test_sync_answers_with_the_id_when_it_takes_too_long(client: TestClient) -> None:
    service = client.app.state.service
    settings = service.settings.model_copy(update={"sync_timeout_s": 0.2})
    object.__setattr__(service, "settings", settings)

    answer = client.post("/v1/videos/sync", json=PROMPT, headers={"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/videos/{answer.json()['id']}"
    assert "idempotent-replayed" not in answer.headers
    again = client.post("/v1/videos/sync", json=PROMPT, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == answer.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"


def test_sync_knows_the_headers_of_a_post(
    client: TestClient, session: Session, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    headers = {"Idempotency-Key": "k", "Cancel-After": "1h"}
    with worker_thread(session_factory, storage):
        first, again = (client.post("/v1/videos/sync", json=PROMPT, headers=headers) for _ in range(2))

    assert (first.status_code, again.status_code, first.content) == (200, 200, again.content)
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]
    assert session.get_one(Job, uuid_of({"id": first.headers["x-video-id"]})).cancel_at is not None


def test_sync_says_why_there_is_no_video(client: TestClient, session_factory: sessionmaker[Session]) -> None:
    key = {"Idempotency-Key": "k"}
    broken = client.post("/v1/videos", json=PROMPT, headers=key).json()
    with transaction(session_factory) as session:
        claim = jobs.claim(session, uuid_of(broken), owner="w", lease_s=30)
        jobs.fail(session, claim, code="out_of_memory", message="the card is too small")

    failed = client.post("/v1/videos/sync", json=PROMPT, headers=key)

    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "out_of_memory")
    assert failed.json()["error"]["message"] == f"video {broken['id']} failed: the card is too small"


def test_a_video_is_cancelled_when_its_time_is_over(client: TestClient, session: Session) -> None:
    made = client.post("/v1/videos", json=PROMPT, headers={"Cancel-After": "30m"}).json()
    other = client.post("/v1/videos", json=PROMPT).json()
    jobs.sweep(session, max_lost=3)
    session.commit()
    assert client.get(f"/v1/videos/{made['id']}").json()["status"] == "queued"
    session.execute(
        update(Job).where(Job.cancel_at.is_not(None)).values(cancel_at=Job.cancel_at - timedelta(minutes=30))
    )

    jobs.sweep(session, max_lost=3)
    session.commit()

    ended = client.get(f"/v1/videos/{made['id']}").json()
    assert (ended["status"], ended["error"]["code"]) == ("cancelled", "deadline")
    assert client.get(f"/v1/videos/{other['id']}").json()["status"] == "queued"


def test_a_running_video_whose_time_is_over_is_asked_to_stop(
    client: TestClient, session_factory: sessionmaker[Session]
) -> None:
    made = client.post("/v1/videos", json=PROMPT, headers={"Cancel-After": "1ms"}).json()
    with transaction(session_factory) as session:
        claim = jobs.claim(session, uuid_of(made), owner="w", lease_s=30)
    with transaction(session_factory) as session:
        jobs.sweep(session, max_lost=3)
    running = client.get(f"/v1/videos/{made['id']}").json()
    assert (running["status"], running["cancel_requested"], running["error"]) == ("in_progress", True, None)

    with transaction(session_factory) as session:
        assert jobs.beat(session, claim, lease_s=30)
        jobs.cancelled(session, claim)

    assert client.get(f"/v1/videos/{made['id']}").json()["error"]["code"] == "deadline"


@pytest.mark.parametrize("text", ["soon", "0", "-5s", "1e9", "9999h", "5 days", ""])
def test_a_duration_that_is_none_is_explained(client: TestClient, text: str) -> None:
    answer = client.post("/v1/videos", json=PROMPT, headers={"Cancel-After": text})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        f"Cancel-After {text!r} is not a duration of up to 30 days; write it like 90s, 30m or 2h"
    )


def test_who_waits_learns_whether_anybody_works(client: TestClient, session: Session) -> None:
    heartbeats.beat(session, "worker:old")
    session.execute(update(Heartbeat).values(seen_at=Heartbeat.seen_at - timedelta(minutes=5)))
    heartbeats.beat(session, "worker:a")
    heartbeats.beat(session, "worker:b")
    session.commit()

    assert client.post("/v1/videos", json=PROMPT).json()["workers"] == 2


def test_who_waits_learns_how_long_it_may_take(
    client: TestClient, session: Session, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    heartbeats.beat(session, "worker:a")
    heartbeats.beat(session, "worker:b")
    session.commit()
    done = client.post("/v1/videos", json=PROMPT).json()
    work(session_factory, storage, uuid_of(done), mp4())
    session.execute(update(Job).values(claimed_at=Job.finished_at - timedelta(seconds=10)))
    session.commit()

    etas = [client.post("/v1/videos", json=PROMPT).json()["eta_seconds"] for _ in range(4)]

    assert etas == [10, 10, 20, 20]


def test_a_job_whose_model_no_worker_has_says_so_until_one_comes(client: TestClient, session: Session) -> None:
    heartbeats.beat(session, "worker:a", {"models": ["wan"]})
    session.commit()
    id_ = client.post("/v1/videos", json=PROMPT).json()["id"]

    def look() -> dict:
        client.app.state.service.estimates.__init__()  # forget what was seen a moment ago
        return client.get(f"/v1/videos/{id_}").json()

    alone = look()
    page = client.get("/queue").text
    heartbeats.beat(session, "worker:b", {"models": ["tiny", "wan"]})
    session.commit()

    assert alone["waiting_reason"].startswith("no worker has the model 'tiny': start one on a machine that has it")
    assert (alone["workers"], alone["eta_seconds"]) == (1, None)
    assert "no worker has the model" in page
    assert look()["waiting_reason"] is None


def fill(session: Session, number: int, queue: str) -> None:
    rows = [
        {"tenant": "t", "prompt": "p", "model": "tiny", "width": 64, "height": 64, "num_frames": 8, "fps": 8,
         "queue": queue, "priority": 5 - number_ % 3}
        for number_ in range(number)
    ]  # fmt: skip
    session.execute(insert(Job).values(created_at=func.clock_timestamp()), rows)


@pytest.mark.parametrize("queue", ["interactive", "bulk"])
@pytest.mark.parametrize("place", [0, 700, 1500, 2399, 2400, 3599])
def test_a_place_in_a_long_queue_is_exact_and_cheap(session: Session, queue: str, place: int) -> None:
    fill(session, 3600, queue)
    if queue == "bulk":
        fill(session, 1300, "interactive")
    waiting = select(Job).where(Job.queue == queue).order_by(Job.priority, Job.created_at, Job.id)
    job = session.scalars(waiting.offset(place).limit(1)).one()

    found = queue_positions.between(session, job, queue_positions.mark(session))
    counted = queue_positions.counted(session, job)

    assert found == job_counts.position(session, job)
    assert counted in (None, found)
    assert Estimates().of(session, job).position == found


def test_a_batch_of_thousands_is_cancelled_in_chunks(client: TestClient, session: Session) -> None:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    fill(session, 5000, "bulk")
    session.execute(update(Job).values(batch_id=UUID(batch[6:]), tenant="local"))
    session.commit()

    answer = client.post(f"/v1/bulk-runs/{batch}/cancel").json()

    assert answer["status"] == "cancelled"
    counts = client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]
    assert (counts["cancelled"], counts["queued"]) == (5000, 0)


def test_what_is_left_of_a_cancelled_batch_is_cancelled_by_the_relay(client: TestClient, session: Session) -> None:
    from db import batches

    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [{"custom_id": "1", **PROMPT}]})
    batches.cancel(session, batches.get(session, "local", UUID(batch[6:]), lock=True))
    session.commit()

    batches.finish(session)
    session.commit()

    assert client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]["cancelled"] == 1


def test_a_line_that_a_lost_machine_holds_holds_up_no_cancel(client: TestClient, session: Session) -> None:
    from db import batches

    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    lines = [{"custom_id": str(number), **PROMPT} for number in range(3)]
    made = client.post(f"/v1/bulk-runs/{batch}/items", json={"items": lines}).json()["data"]
    session.execute(select(Job.id).where(Job.id == uuid_of(made[0])).with_for_update())

    client.post(f"/v1/bulk-runs/{batch}/cancel")  # a wait would end in 503, and in minutes at worst

    counts = client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]
    assert (counts["cancelled"], counts["queued"]) == (2, 1)
    session.rollback()
    batches.finish(session)
    session.commit()
    assert client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]["cancelled"] == 3


def test_the_first_worker_is_seen_at_once_however_long_figures_are_kept(
    session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_figures, "FRESH_S", 3600.0)
    estimates = Estimates()

    found = []
    for name in (None, "worker:a", "worker:b"):
        with transaction(session_factory) as session:
            if name:
                heartbeats.beat(session, name)
            found.append(estimates.num_workers(session))

    assert found == [None, 1, 1]
