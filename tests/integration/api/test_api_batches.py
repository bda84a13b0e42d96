"""Bulk runs over HTTP."""

import json
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import outbox
from db.models import Job
from db.states import Queue


@pytest.fixture
def batch(client: TestClient) -> str:
    """The id of an open batch."""
    return client.post("/v1/batches", json={"manifest_key": "m", "name": "night"}).json()["id"]


def line(number: int, **more: object) -> dict:
    return {"custom_id": f"line-{number}", "prompt": f"circle {number}", **more}


def test_a_manifest_key_finds_its_batch_again(client: TestClient) -> None:
    first = client.post("/v1/batches", json={"manifest_key": "m", "name": "night"})
    again = client.post("/v1/batches", json={"manifest_key": "m", "name": "another"})

    shown = first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == shown
    assert shown.pop("id").startswith("batch_")
    assert shown.pop("created_at") > 1_700_000_000
    assert shown == {
        "object": "batch",
        "endpoint": "/v1/videos",
        "name": "night",
        "manifest_key": "m",
        "status": "open",
        "request_counts": {
            "total": 0,
            "queued": 0,
            "in_progress": 0,
            "completed": 0,
            "failed": 0,
            "cancelled": 0,
        },
        "num_bad_lines": 0,
        "sealed_at": None,
        "completed_at": None,
    }


def test_good_lines_are_accepted_and_bad_ones_explained(client: TestClient, session: Session, batch: str) -> None:
    lines = [
        line(1, seed=7),
        {"custom_id": "line-2", "prompt": ""},
        {"prompt": "no name"},
        "no object",
        line(5, size="9x9"),
        line(6),
        line(6),  # says the same again
        line(6, seed=1),  # says something else under the same name
        {"custom_id": "half \ud800", "prompt": "a"},
    ]

    body, is_json = json.dumps({"items": lines}), {"Content-Type": "application/json"}
    answer = client.post(f"/v1/batches/{batch}/items", content=body, headers=is_json).json()

    assert (answer["accepted"], answer["known"], answer["refused"]) == (2, 1, 6)
    found = [(item["index"], item["custom_id"], item["status"]) for item in answer["data"]]
    assert found == [
        (0, "line-1", "accepted"),
        (1, "line-2", "refused"),
        (2, None, "refused"),
        (3, None, "refused"),
        (4, "line-5", "refused"),
        (5, "line-6", "accepted"),
        (6, "line-6", "known"),
        (7, "line-6", "refused"),
        (8, "half ?", "refused"),
    ]
    assert [item["error"]["message"] for item in answer["data"] if item["error"]] == [
        "prompt is empty; say in a sentence what the video shows",
        "custom_id is missing; add it",
        "the body 'no object' is not a JSON object; send {…}",
        "size '9x9' is none of tiny's; use 64x64, 64x48",
        "'line-6' was used before with a different request; use a new one",
        "custom_id holds the half of a surrogate pair U+D800 at position 5; remove it",
    ]
    assert answer["data"][5]["id"] == answer["data"][6]["id"]
    jobs = session.scalars(select(Job).order_by(Job.custom_id)).all()
    assert [(job.custom_id, job.queue, job.seed) for job in jobs] == [("line-1", "bulk", 7), ("line-6", "bulk", None)]
    assert {job.published_at for job in jobs} == {None}


def test_a_thousand_lines_sent_twice_are_a_thousand_videos(client: TestClient, session: Session, batch: str) -> None:
    lines = {"items": [line(number) for number in range(1000)]}

    first = client.post(f"/v1/batches/{batch}/items", json=lines).json()
    again = client.post(f"/v1/batches/{batch}/items", json=lines).json()

    assert (first["accepted"], again["known"]) == (1000, 1000)
    waiting = session.scalars(select(Job.custom_id).order_by(Job.created_at, Job.id)).all()
    assert waiting == [item["custom_id"] for item in first["data"]]
    next_ones = outbox.pick(session, Queue.BULK, [], limit=1000)
    assert [str(job.id) for job in next_ones] == [
        str(UUID(item["id"].removeprefix("video_"))) for item in first["data"]
    ]
    assert [item["id"] for item in first["data"]] == [item["id"] for item in again["data"]]
    assert client.get(f"/v1/batches/{batch}").json()["request_counts"]["total"] == 1000


def test_more_than_a_thousand_lines_at_once_are_too_many(client: TestClient, batch: str) -> None:
    answer = client.post(f"/v1/batches/{batch}/items", json={"items": [line(n) for n in range(1001)]})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "items has 1001 members; use at most 1000"


def test_a_sealed_batch_takes_no_more_lines(client: TestClient, batch: str) -> None:
    client.post(f"/v1/batches/{batch}/items", json={"items": [line(1)]})
    sealed = client.post(f"/v1/batches/{batch}/seal", json={"num_bad_lines": 3}).json()

    answer = client.post(f"/v1/batches/{batch}/items", json={"items": [line(2)]})

    assert (sealed["status"], sealed["num_bad_lines"]) == ("in_progress", 3)
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == (
        f"batch {batch} is in_progress and takes no more lines; open another with a new manifest_key"
    )
    assert answer.json()["error"]["code"] == "batch_not_open"


def test_sealing_twice_changes_nothing(client: TestClient, batch: str) -> None:
    client.post(f"/v1/batches/{batch}/items", json={"items": [line(1)]})

    first = client.post(f"/v1/batches/{batch}/seal", json={"num_bad_lines": 3}).json()

    assert client.post(f"/v1/batches/{batch}/seal").json() == first


def test_an_empty_batch_ends_when_it_is_sealed(client: TestClient, batch: str) -> None:
    sealed = client.post(f"/v1/batches/{batch}/seal").json()

    assert sealed["status"] == "completed"
    assert sealed["completed_at"] >= sealed["created_at"]


def test_cancelling_a_batch_cancels_its_videos(client: TestClient, batch: str) -> None:
    client.post(f"/v1/batches/{batch}/items", json={"items": [line(1), line(2)]})

    first = client.post(f"/v1/batches/{batch}/cancel").json()

    assert (first["status"], first["request_counts"]["cancelled"]) == ("cancelled", 2)
    assert client.post(f"/v1/batches/{batch}/cancel").json() == first
    videos = client.get("/v1/videos", params={"batch_id": batch, "order": "asc"}).json()["data"]
    assert [(video["custom_id"], video["status"]) for video in videos] == [
        ("line-1", "cancelled"),
        ("line-2", "cancelled"),
    ]


def test_batches_are_listed_newest_first_in_pages(client: TestClient) -> None:
    made = [client.post("/v1/batches", json={"manifest_key": str(number)}).json()["id"] for number in range(3)]

    page = client.get("/v1/batches", params={"limit": 2}).json()
    rest = client.get("/v1/batches", params={"limit": 2, "after": page["last_id"]}).json()

    assert [batch["id"] for batch in page["data"] + rest["data"]] == made[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_bulk_videos_wait_behind_interactive_ones(client: TestClient, batch: str) -> None:
    item = client.post(f"/v1/batches/{batch}/items", json={"items": [line(1)]}).json()["data"][0]
    client.post("/v1/videos", json={"prompt": "now"})

    assert client.get(f"/v1/videos/{item['id']}").json()["queue_position"] == 1
