"""Bulk runs over HTTP."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from running import settings_of
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.routes import bulk_runs
from db import batches, jobs, outbox
from db.models import Batch, Job, JobMetric
from db.states import JobStatus, Queue


@pytest.fixture
def batch(client: TestClient) -> str:
    """The id of an open batch."""
    return client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "night"}).json()["id"]


def line(number: int, **more: object) -> dict:
    return {"custom_id": f"line-{number}", "prompt": f"circle {number}", **more}


def test_a_manifest_key_finds_its_batch_again(client: TestClient) -> None:
    first = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "night"})
    again = client.post("/v1/bulk-runs", json={"manifest_key": "m", "name": "another"})

    shown = first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == shown
    assert shown.pop("id").startswith("batch_")
    assert shown.pop("created_at") > 1_700_000_000
    assert shown == {
        "object": "bulk_run",
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
        "window": None,
        "is_held": False,
        "window_changes_at": None,
        "series": None,
        "num_reused": 0,
        "num_bad_lines": 0,
        "forecast": None,
        "sealed_at": None,
        "completed_at": None,
    }


@pytest.mark.parametrize("is_sealed", [False, True])
def test_lines_that_a_run_has_are_known_also_where_their_model_has_gone_since(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, is_sealed: bool
) -> None:
    """A list that goes on after an interruption meets a service that was restarted with other models."""
    before = client.post("/v1/bulk-runs", json={"manifest_key": "a", "series": "night"}).json()["id"]
    client.post(f"/v1/bulk-runs/{before}/items", json={"items": [line(1)]})
    run = client.post("/v1/bulk-runs", json={"manifest_key": "b", "series": "night"}).json()["id"]
    first = client.post(f"/v1/bulk-runs/{run}/items", json={"items": [line(1), line(2)]}).json()
    if is_sealed:
        client.post(f"/v1/bulk-runs/{run}/seal")
    for name in list(client.app.state.service.cards):
        monkeypatch.delitem(client.app.state.service.cards, name)

    again = client.post(f"/v1/bulk-runs/{run}/items", json={"items": [line(1), line(2)]}).json()
    changed = client.post(f"/v1/bulk-runs/{run}/items", json={"items": [line(2, seed=1), line(2)]}).json()

    assert [item["status"] for item in first["data"]] == ["reused", "accepted"]
    assert [(item["status"], item["id"]) for item in again["data"]] == [
        ("reused", first["data"][0]["id"]),
        ("known", first["data"][1]["id"]),
    ]
    assert (again["known"], again["reused"], again["refused"]) == (1, 1, 0)
    assert [item["status"] for item in changed["data"]] == ["refused", "known"]
    assert changed["data"][0]["error"]["code"] == "unknown_model"


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
    answer = client.post(f"/v1/bulk-runs/{batch}/items", content=body, headers=is_json).json()

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
        "custom_id 'line-6' was used before with a different request; use a new one",
        "custom_id holds the half of a surrogate pair U+D800 at position 5; remove it",
    ]
    assert answer["data"][5]["id"] == answer["data"][6]["id"]
    jobs = session.scalars(select(Job).order_by(Job.custom_id)).all()
    assert [(job.custom_id, job.queue, job.seed) for job in jobs] == [("line-1", "bulk", 7), ("line-6", "bulk", None)]
    assert {job.published_at for job in jobs} == {None}


def test_a_thousand_lines_sent_twice_are_a_thousand_videos(client: TestClient, session: Session, batch: str) -> None:
    lines = {"items": [line(number) for number in range(1000)]}

    first = client.post(f"/v1/bulk-runs/{batch}/items", json=lines).json()
    again = client.post(f"/v1/bulk-runs/{batch}/items", json=lines).json()

    assert (first["accepted"], again["known"]) == (1000, 1000)
    waiting = session.scalars(select(Job.custom_id).order_by(Job.created_at, Job.id)).all()
    assert waiting == [item["custom_id"] for item in first["data"]]
    next_ones = outbox.pick(session, Queue.BULK, [], limit=1000)
    assert [str(job.id) for job in next_ones] == [
        str(UUID(item["id"].removeprefix("video_"))) for item in first["data"]
    ]
    assert [item["id"] for item in first["data"]] == [item["id"] for item in again["data"]]
    assert client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]["total"] == 1000


def test_more_than_a_thousand_lines_at_once_are_too_many(client: TestClient, batch: str) -> None:
    answer = client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(n) for n in range(1001)]})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "items has 1001 members; use at most 1000"


def test_a_sealed_batch_takes_no_more_lines(client: TestClient, batch: str) -> None:
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(1)]})
    sealed = client.post(f"/v1/bulk-runs/{batch}/seal", json={"num_bad_lines": 3}).json()

    answer = client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(2)]})

    assert (sealed["status"], sealed["num_bad_lines"]) == ("in_progress", 3)
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == (
        f"batch {batch} is in_progress and takes no more lines; open another with a new manifest_key"
    )
    assert answer.json()["error"]["code"] == "batch_not_open"


def test_sealing_twice_changes_nothing(client: TestClient, batch: str) -> None:
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(1)]})

    first = client.post(f"/v1/bulk-runs/{batch}/seal", json={"num_bad_lines": 3}).json()

    assert client.post(f"/v1/bulk-runs/{batch}/seal").json() == first


def test_a_run_keeps_what_its_sender_expected(
    client: TestClient, batch: str, session_factory: sessionmaker[Session]
) -> None:
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(1)]})
    expected = {"order": "planned", "num_fast": 0, "num_full": 1, "low_h": 0.1, "likely_h": 0.2, "high_h": 0.5}

    refused = client.post(f"/v1/bulk-runs/{batch}/seal", json={"forecast": {**expected, "order": "any"}})
    client.post(f"/v1/bulk-runs/{batch}/seal", json={"forecast": {**expected, "ends_at": 1_800_000_000}})

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "forecast.order")
    for name, number in (("ends_at", "1" + "0" * 30), ("low_h", "1e400")):  # what no page could show
        impossible = json.dumps({**expected, name: 0}).replace(f'"{name}": 0', f'"{name}": {number}')
        answer = client.post(
            f"/v1/bulk-runs/{batch}/seal",
            content=f'{{"forecast": {impossible}}}',
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"forecast.{name}")
    assert client.get(f"/v1/bulk-runs/{batch}").json()["forecast"] == {**expected, "ends_at": 1_800_000_000}

    with session_factory() as session:  # one of before there were bounds
        session.execute(update(Batch).values(forecast={**expected, "ends_at": 10**30}))
        session.commit()
    assert [run["forecast"] for run in client.get("/v1/bulk-runs").json()["data"]] == [None]
    assert client.get(f"/nights/{batch}").status_code == 200


def test_an_empty_batch_ends_when_it_is_sealed(client: TestClient, batch: str) -> None:
    sealed = client.post(f"/v1/bulk-runs/{batch}/seal").json()

    assert sealed["status"] == "completed"
    assert sealed["completed_at"] >= sealed["created_at"]


def test_cancelling_a_batch_cancels_its_videos(client: TestClient, batch: str) -> None:
    client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(1), line(2)]})

    first = client.post(f"/v1/bulk-runs/{batch}/cancel").json()

    assert (first["status"], first["request_counts"]["cancelled"]) == ("cancelled", 2)
    assert client.post(f"/v1/bulk-runs/{batch}/cancel").json() == first
    videos = client.get("/v1/videos", params={"batch_id": batch, "order": "asc"}).json()["data"]
    assert [(video["custom_id"], video["status"]) for video in videos] == [
        ("line-1", "cancelled"),
        ("line-2", "cancelled"),
    ]


def test_a_list_longer_than_a_run_may_be_is_refused_before_its_first_line(environment: dict[str, str]) -> None:
    settings = settings_of(environment, max_batch_jobs=2)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        refused = client.post("/v1/bulk-runs", json={"manifest_key": "m", "num_lines": 3})
        taken = client.post("/v1/bulk-runs", json={"manifest_key": "m", "num_lines": 2})
        runs = client.get("/v1/bulk-runs").json()["data"]

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "num_lines")
    assert refused.json()["error"]["message"] == (
        "num_lines 3 is more than the 2 that a run may have; divide the list, "
        "or let the operator raise CHAI_MAX_BATCH_JOBS"
    )
    assert [run["id"] for run in runs] == [taken.json()["id"]]


def test_batches_are_listed_newest_first_in_pages(client: TestClient) -> None:
    made = [client.post("/v1/bulk-runs", json={"manifest_key": str(number)}).json()["id"] for number in range(3)]

    page = client.get("/v1/bulk-runs", params={"limit": 2}).json()
    rest = client.get("/v1/bulk-runs", params={"limit": 2, "after": page["last_id"]}).json()

    assert [batch["id"] for batch in page["data"] + rest["data"]] == made[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_bulk_videos_wait_behind_interactive_ones(client: TestClient, batch: str) -> None:
    item = client.post(f"/v1/bulk-runs/{batch}/items", json={"items": [line(1)]}).json()["data"][0]
    client.post("/v1/videos", json={"prompt": "now"})

    assert client.get(f"/v1/videos/{item['id']}").json()["queue_position"] == 1


def opened(client: TestClient, key: str, series: str | None = "night.txt") -> str:
    return client.post("/v1/bulk-runs", json={"manifest_key": key, "series": series}).json()["id"]


def added(client: TestClient, batch: str, *lines: dict) -> dict:
    return client.post(f"/v1/bulk-runs/{batch}/items", json={"items": list(lines)}).json()


def statuses(answer: dict) -> list[str]:
    return [item["status"] for item in answer["data"]]


def set_status(session: Session, video: str, status: JobStatus) -> None:
    job = session.get_one(Job, UUID(video.removeprefix("video_")))
    job.status, job.output = status, {"name": f"videos/{video}.mp4", "bytes": 1} if status == "completed" else None
    session.commit()


def test_a_changed_list_runs_only_what_is_new(client: TestClient, session: Session) -> None:
    first = added(client, opened(client, "a"), line(1, line="1"), line(2, line="2"), line(3, line="3"))
    set_status(session, first["data"][0]["id"], JobStatus.COMPLETED)
    changed = opened(client, "b")

    lines = [line(9, line="1"), line(1, line="2"), line(2, line="3")]  # 9 is new, 3 is gone; 1 is made, 2 will be
    answer = added(client, changed, *lines)

    assert statuses(answer) == ["accepted", "reused", "reused"]
    assert (answer["accepted"], answer["reused"]) == (1, 2)
    assert [item["id"] for item in answer["data"][1:]] == [item["id"] for item in first["data"][:2]]
    assert added(client, changed, *lines)["data"][1:] == answer["data"][1:]  # sent again: no third video
    shown = client.post(f"/v1/bulk-runs/{changed}/seal").json()
    assert shown["num_reused"] == 2
    assert (shown["request_counts"]["total"], shown["request_counts"]["completed"]) == (3, 1)
    videos = client.get("/v1/videos", params={"batch_id": changed, "order": "asc"}).json()["data"]
    assert [(video["line"], video["custom_id"], video["batch_id"] == changed) for video in videos] == [
        ("2", "line-1", False),
        ("3", "line-2", False),
        ("1", "line-9", True),
    ]


def test_a_line_is_what_it_asks_for_whatever_its_name(client: TestClient) -> None:
    added(
        client, opened(client, "a"), line(1), {"custom_id": "b", "prompt": "two"}, {"custom_id": "c", "prompt": "two"}
    )

    twice = [{"custom_id": name, "prompt": "two"} for name in "xcz"]
    answer = added(client, opened(client, "b"), line(1, seed=3), {**line(1), "custom_id": "new name"}, *twice)

    # another seed is another line; two videos show "two", so the third line that asks for it is made
    assert statuses(answer) == ["accepted", "reused", "reused", "reused", "accepted"]
    assert len({item["id"] for item in answer["data"]}) == 5


@pytest.mark.parametrize("series", [None, "another list"])
def test_runs_of_other_series_and_tenants_share_nothing(client: TestClient, series: str | None) -> None:
    added(client, opened(client, "a"), line(1))

    assert statuses(added(client, opened(client, "b", series), line(1))) == ["accepted"]


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_came_to_nothing_is_made_anew(client: TestClient, session: Session, status: JobStatus) -> None:
    first = added(client, opened(client, "a"), line(1))
    set_status(session, first["data"][0]["id"], status)

    assert statuses(added(client, opened(client, "b"), line(1))) == ["accepted"]


def test_cancelling_a_run_leaves_what_a_later_one_waits_for(client: TestClient) -> None:
    first, second = opened(client, "a"), opened(client, "b")
    added(client, first, line(1), line(2))
    added(client, second, line(1))

    client.post(f"/v1/bulk-runs/{first}/cancel")

    counts = client.get(f"/v1/bulk-runs/{second}").json()["request_counts"]
    assert (counts["total"], counts["queued"]) == (1, 1)
    assert client.get(f"/v1/bulk-runs/{second}").json()["num_reused"] == 0  # the line is its own now
    assert statuses(added(client, second, line(1))) == ["known"]
    assert client.get(f"/v1/bulk-runs/{first}").json()["request_counts"]["cancelled"] == 1


def test_a_run_that_comes_before_a_long_one_is_cancelled_to_its_end_gets_what_it_found_there(
    client: TestClient, session: Session
) -> None:
    first, second = opened(client, "a"), opened(client, "b")
    added(client, first, line(1), line(2))
    with session.begin():
        run = session.scalars(select(Batch).where(Batch.manifest_key == "a")).one()
        batches.cancel(session, run)  # and no line as yet
    assert statuses(added(client, second, line(1))) == ["reused"]

    with session.begin():
        batches.finish(session)

    assert client.get(f"/v1/bulk-runs/{second}").json()["request_counts"]["queued"] == 1
    assert client.get(f"/v1/bulk-runs/{first}").json()["request_counts"]["cancelled"] == 1


def test_what_a_run_waits_for_that_is_added_to_at_this_moment_is_neither_cancelled_nor_waited_for(
    client: TestClient, session: Session, session_factory: sessionmaker[Session]
) -> None:
    first, second = opened(client, "a"), opened(client, "b")
    added(client, first, line(1), line(2))
    added(client, second, line(1))

    with session_factory() as other, other.begin():
        other.execute(text("SELECT FROM batches WHERE manifest_key = 'b' FOR UPDATE"))
        client.post(f"/v1/bulk-runs/{first}/cancel")
        counts = client.get(f"/v1/bulk-runs/{first}").json()["request_counts"]
        assert (counts["queued"], counts["cancelled"]) == (1, 1)
    with session.begin():
        batches.finish(session)

    assert client.get(f"/v1/bulk-runs/{second}").json()["request_counts"]["queued"] == 1
    assert client.get(f"/v1/bulk-runs/{first}").json()["request_counts"]["total"] == 1


def test_a_run_ends_when_the_videos_of_earlier_runs_have(client: TestClient, session: Session) -> None:
    first = added(client, opened(client, "a"), line(1))
    second = opened(client, "b")
    added(client, second, line(1))

    before = client.post(f"/v1/bulk-runs/{second}/seal").json()["status"]
    set_status(session, first["data"][0]["id"], JobStatus.COMPLETED)
    batches.finish(session)
    session.commit()

    assert (before, client.get(f"/v1/bulk-runs/{second}").json()["status"]) == ("in_progress", "completed")


def ended(session: Session, batch: str) -> list[tuple[str | None, str]]:
    rows = session.scalars(select(Job).where(Job.batch_id == UUID(batch[6:])).order_by(Job.created_at))
    return [(row.custom_id, row.status) for row in rows]


def sealed(client: TestClient, *lines: dict, **more: object) -> str:
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "sealed", **more}).json()["id"]
    added(client, batch, *lines)
    client.post(f"/v1/bulk-runs/{batch}/seal")
    return batch


def test_nothing_of_a_paused_run_starts_until_it_is_resumed(client: TestClient, session: Session) -> None:
    batch = sealed(client, line(1), line(2))
    handed = outbox.pick(session, Queue.BULK, [], limit=1)
    outbox.handed_over(session, [handed[0].id])
    session.commit()

    paused = client.post(f"/v1/bulk-runs/{batch}/pause").json()

    assert (paused["status"], paused["is_held"]) == ("paused", True)
    assert outbox.pick(session, Queue.BULK, [], limit=9) == []
    assert jobs.claim(session, handed[0].id, owner="w", lease_s=9) is None  # though a worker has its message
    assert (outbox.is_idle(session), outbox.unheard_s(session)) == (True, None)
    assert client.post(f"/v1/bulk-runs/{batch}/pause").json() == paused
    resumed = client.post(f"/v1/bulk-runs/{batch}/resume").json()
    assert (resumed["status"], resumed["is_held"]) == ("in_progress", False)
    assert len(outbox.pick(session, Queue.BULK, [], limit=9)) == 2  # the one that was handed over is handed over again


def test_what_runs_when_a_run_is_paused_ends_and_may_end_the_run(client: TestClient, session: Session) -> None:
    batch = sealed(client, line(1))
    job = outbox.pick(session, Queue.BULK, [], limit=1)[0]
    assert jobs.claim(session, job.id, owner="w", lease_s=9)
    session.commit()
    client.post(f"/v1/bulk-runs/{batch}/pause")

    assert client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]["in_progress"] == 1
    session.execute(update(Job).values(status=JobStatus.FAILED, lease_until=None))
    batches.finish(session)
    session.commit()

    assert client.get(f"/v1/bulk-runs/{batch}").json()["status"] == "completed"


@pytest.mark.parametrize(
    ("steps", "change", "message"),
    [
        ((), "pause", "is open and cannot be paused; seal it first"),
        (
            ("seal", "cancel"),
            "pause",
            "is cancelled and cannot be paused; retry makes again what failed or was cancelled",
        ),
        (
            ("seal", "cancel"),
            "resume",
            "is cancelled and cannot be resumed; retry makes again what failed or was cancelled",
        ),
        ((), "retry", "is open and cannot be tried again; seal it first"),
    ],
)
def test_a_run_that_cannot_be_changed_so_says_what_would_help(
    client: TestClient, batch: str, steps: tuple[str, ...], change: str, message: str
) -> None:
    added(client, batch, line(1))
    for step in steps:
        client.post(f"/v1/bulk-runs/{batch}/{step}")

    answer = client.post(f"/v1/bulk-runs/{batch}/{change}")

    assert (answer.status_code, answer.json()["error"]["message"]) == (409, f"batch {batch} {message}")


def test_a_retry_makes_failed_and_cancelled_lines_anew_in_their_order(client: TestClient, session: Session) -> None:
    batch = sealed(client, *[line(number, line=str(number), seed=7) for number in range(4)])
    videos = client.get("/v1/videos", params={"batch_id": batch, "order": "asc"}).json()["data"]
    set_status(session, videos[0]["id"], JobStatus.COMPLETED)
    set_status(session, videos[1]["id"], JobStatus.FAILED)
    client.post(f"/v1/bulk-runs/{batch}/cancel")

    failed = client.post(f"/v1/bulk-runs/{batch}/retry", json={"only": "failed"}).json()
    rest = client.post(f"/v1/bulk-runs/{batch}/retry").json()

    assert (failed["status"], failed["request_counts"]["queued"], failed["request_counts"]["cancelled"]) == (
        "in_progress",
        1,
        2,
    )
    assert (rest["request_counts"]["queued"], rest["request_counts"]["total"], rest["completed_at"]) == (3, 4, None)
    assert ended(session, batch) == [
        ("line-0", "completed"),
        ("line-1", "queued"),
        ("line-2", "queued"),
        ("line-3", "queued"),
    ]
    made = client.get("/v1/videos", params={"batch_id": batch, "order": "asc"}).json()["data"]
    assert [(video["line"], video["seed"], video["attempt"]) for video in made[1:]] == [(n, 7, 0) for n in "123"]
    assert client.get(f"/v1/videos/{videos[1]['id']}").json()["id"] == made[1]["id"]  # its id leads to the retry
    assert client.post(f"/v1/bulk-runs/{batch}/retry").json() == rest  # nothing is left to try again
    assert statuses(added(client, batch, line(1, seed=7))) == ["known"]


def test_a_retry_makes_lines_of_earlier_runs_that_came_to_nothing(client: TestClient, session: Session) -> None:
    first = added(client, opened(client, "a"), line(1))["data"][0]["id"]
    later = [opened(client, key) for key in "bc"]
    for batch in later:
        added(client, batch, line(1, line="5"))
        client.post(f"/v1/bulk-runs/{batch}/seal")
    set_status(session, first, JobStatus.FAILED)

    shown = client.post(f"/v1/bulk-runs/{later[0]}/retry").json()

    assert (shown["num_reused"], shown["request_counts"]["queued"]) == (0, 1)
    assert client.get(f"/v1/videos/{first}").json()["status"] == "failed"  # the first run keeps its own
    assert client.get(f"/v1/bulk-runs/{later[1]}").json()["request_counts"]["failed"] == 1


def test_the_id_of_a_video_leads_to_its_latest_retry(client: TestClient, session: Session) -> None:
    batch = opened(client, "a")
    first = added(client, batch, line(1))["data"][0]["id"]
    client.post(f"/v1/bulk-runs/{batch}/seal")

    def retried(id_: str) -> str:
        set_status(session, id_, JobStatus.FAILED)
        client.post(f"/v1/bulk-runs/{batch}/retry")
        return client.get("/v1/videos", params={"batch_id": batch}).json()["data"][0]["id"]

    second = retried(first)
    latest = retried(second)
    while jobs.purge(session):
        session.commit()

    assert len({first, second, latest}) == 3
    assert [client.get(f"/v1/videos/{id_}").json()["id"] for id_ in (first, second)] == [latest, latest]
    assert client.get(f"/v1/videos/{first}/content").json()["error"]["code"] == "video_not_ready"
    assert client.head(f"/v1/videos/{first}/events").status_code == 200
    assert client.post(f"/v1/videos/{first}/cancel").json()["id"] == latest
    assert client.delete(f"/v1/videos/{second}").status_code == 200
    assert {client.get(f"/v1/videos/{id_}").status_code for id_ in (first, second, latest)} == {404}


@pytest.mark.parametrize("has_ended", [False, True])
def test_another_run_that_reuses_a_video_has_its_retry(client: TestClient, session: Session, has_ended: bool) -> None:
    """The later run takes its line from the first: made again there, it is the later run's, too, which waits for it."""
    first, later = opened(client, "a"), opened(client, "b")
    video = added(client, first, line(1))["data"][0]["id"]
    added(client, later, line(1, line="5"))
    for batch in (first, later):
        client.post(f"/v1/bulk-runs/{batch}/seal")
    set_status(session, video, JobStatus.FAILED)
    if has_ended:
        assert len(batches.finish(session)) == 2
        session.commit()

    client.post(f"/v1/bulk-runs/{first}/retry")
    assert not batches.finish(session)
    session.commit()

    (made,) = client.get("/v1/videos", params={"batch_id": later}).json()["data"]
    assert (made["id"] != video, made["status"], made["line"]) == (True, "queued", "5")
    shown = client.get(f"/v1/bulk-runs/{later}").json()
    assert (shown["status"], shown["num_reused"], shown["request_counts"]["queued"]) == ("in_progress", 1, 1)


def test_lines_of_a_paused_run_stand_before_nobody_and_have_no_end_in_sight(
    client: TestClient, session: Session
) -> None:
    paused = sealed(client, line(1), line(2), line(3))
    other = opened(client, "other")
    _, id_, done = (item["id"] for item in added(client, other, line(4), line(5), line(6))["data"])
    set_status(session, done, JobStatus.COMPLETED)
    job_id, ended_at = UUID(done[6:]), datetime.now(UTC)
    session.execute(update(Job).values(claimed_at=ended_at - timedelta(seconds=3), finished_at=ended_at))
    session.add(JobMetric(job_id=job_id, attempt=1, fence=1, tenant="local", outcome="completed"))
    session.commit()

    client.post(f"/v1/bulk-runs/{paused}/pause")
    (last,) = client.get("/v1/videos", params={"batch_id": paused, "limit": 1}).json()["data"]
    videos = [client.get(f"/v1/videos/{name}").json() for name in (id_, last["id"])]

    assert [video["queue_position"] for video in videos] == [1, 2]  # behind its own run's alone
    assert (videos[0]["eta_seconds"] is None, videos[1]["eta_seconds"]) == (False, None)
    assert videos[1]["waiting_reason"] == "its bulk run is paused"
    client.post(f"/v1/bulk-runs/{paused}/resume")
    assert client.get(f"/v1/videos/{id_}").json()["queue_position"] == 4


def test_a_line_that_waits_for_its_window_counts_the_hours_until_then(client: TestClient, session: Session) -> None:
    now = datetime.now(UTC)
    opens, closes = (f"{now + timedelta(hours=hours):%H:%M:%S}" for hours in (2, 3))
    batch = sealed(client, line(1), window={"start": opens, "end": closes})

    held_s = batches.held_s(session, UUID(batch[6:]))

    assert held_s is not None
    assert 7100 < held_s <= 7200


def test_a_running_line_is_told_to_stop_when_the_window_of_its_run_closes(client: TestClient, session: Session) -> None:
    now = datetime.now(UTC)
    runs = {name: opened(client, name, None) for name in ("finish", "stop")}
    claims = {}
    for at_end, batch in runs.items():
        id_ = added(client, batch, line(1))["data"][0]["id"]
        client.post(f"/v1/bulk-runs/{batch}/seal")
        claims[at_end] = jobs.claim(session, UUID(id_[6:]), owner="w", lease_s=60)
        session.commit()

    told_before = [jobs.is_to_stop(session, claim) for claim in claims.values()]
    session.commit()
    opens, closes = (f"{now + timedelta(hours=hours):%H:%M:%S}" for hours in (2, 3))
    for at_end, batch in runs.items():
        window = {"start": opens, "end": closes, "at_end": at_end}
        client.post(f"/v1/bulk-runs/{batch}/window", json={"window": window})

    assert told_before == [False, False]
    assert [jobs.is_to_stop(session, claims[name]) for name in ("finish", "stop")] == [False, True]
    jobs.stopped(session, claims["stop"])
    session.commit()
    (video,) = client.get("/v1/videos", params={"batch_id": runs["stop"]}).json()["data"]
    assert (video["status"], video["attempt"]) == ("queued", 1)
    assert outbox.pick(session, Queue.BULK, [], limit=9) == []  # until the window opens


def test_a_window_that_is_closed_holds_a_run_and_one_that_opens_frees_it(client: TestClient, session: Session) -> None:
    now = datetime.now(UTC)
    soon, later = (f"{now + timedelta(seconds=s):%H:%M:%S}" for s in (3, 3600))
    batch = sealed(client, line(1), window={"start": soon, "end": later})
    before = client.get(f"/v1/bulk-runs/{batch}").json()

    closed = outbox.pick(session, Queue.BULK, [], limit=9)
    session.rollback()
    time.sleep(max(0.0, 3.1 - (datetime.now(UTC) - now).total_seconds()))
    changed = batches.keep_windows(session)
    session.commit()

    assert (before["is_held"], before["window"]) == (
        True,
        {"start": soon, "end": later, "tz": "UTC", "at_end": "finish"},
    )
    assert before["window_changes_at"] == int((now + timedelta(seconds=3)).timestamp())
    assert (closed, len(changed)) == ([], 1)
    assert len(outbox.pick(session, Queue.BULK, [], limit=9)) == 1
    assert batches.keep_windows(session) == []
    session.rollback()
    freed = client.post(f"/v1/bulk-runs/{batch}/window", json={"window": None}).json()
    assert (freed["window"], freed["is_held"], freed["window_changes_at"]) == (None, False, None)


def test_a_window_that_cannot_be_read_here_keeps_no_other_shut(client: TestClient, session: Session) -> None:
    """The machine of the API may know a time zone that the relay's does not."""
    now = datetime.now(UTC)
    opened, closes = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-2, 2))
    runs = [sealed(client, line(1), manifest_key=f"run {n}", window={"start": opened, "end": closes}) for n in range(3)]
    ids = sorted(UUID(run.removeprefix("batch_")) for run in runs)
    foreign = {"start": opened, "end": closes, "tz": "Mars/Olympus", "at_end": "finish"}
    session.execute(update(Batch).values(is_held=True))
    session.execute(update(Batch).where(Batch.id == ids[1]).values(run_window=foreign))

    assert batches.keep_windows(session) == [ids[0], ids[2]]


def test_what_runs_when_a_window_closes_ends_and_nothing_else_starts(client: TestClient, session: Session) -> None:
    now = datetime.now(UTC)
    before, closes = (f"{now + timedelta(seconds=s):%H:%M:%S}" for s in (-3600, 3))
    batch = sealed(client, line(1), line(2), window={"start": before, "end": closes})
    first = outbox.pick(session, Queue.BULK, [], limit=1)[0]
    claim = jobs.claim(session, first.id, owner="w", lease_s=60)
    session.commit()
    time.sleep(max(0.0, 3.1 - (datetime.now(UTC) - now).total_seconds()))

    changed = batches.keep_windows(session)
    session.commit()

    assert len(changed) == 1
    assert outbox.pick(session, Queue.BULK, [], limit=9) == []
    jobs.complete(session, claim, output={}, receipt={})
    session.commit()
    counts = client.get(f"/v1/bulk-runs/{batch}").json()["request_counts"]
    assert (counts["completed"], counts["queued"]) == (1, 1)


def test_what_is_no_window_is_refused_with_the_way_out(client: TestClient) -> None:
    window = {"start": "22:00", "end": "06:00", "tz": "Mars"}

    answer = client.post("/v1/bulk-runs", json={"manifest_key": "w", "window": window})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "window tz 'Mars' is no time zone; write it like Europe/Berlin or UTC"


def test_programs_from_before_bulk_runs_had_a_path_of_their_own_go_on_working(client: TestClient) -> None:
    batch = client.post("/v1/batches", json={"manifest_key": "old", "name": "night"}).json()
    path = f"/v1/batches/{batch['id']}"

    items = client.post(f"{path}/items", json={"items": [line(1), {"custom_id": "2", "prompt": ""}]}).json()

    assert (batch["object"], batch["name"]) == ("bulk_run", "night")
    assert (items["accepted"], items["refused"]) == (1, 1)
    assert client.post(f"{path}/seal").json()["status"] == "in_progress"
    assert client.get(path).json()["request_counts"]["queued"] == 1
    assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert client.get("/v1/batches/batch_x").json()["error"]["message"].startswith("no batch 'batch_x'")


def test_a_run_without_lines_can_be_removed_and_no_other(client: TestClient) -> None:
    empty, full = (client.post("/v1/bulk-runs", json={"manifest_key": key}).json()["id"] for key in "ab")
    client.post(f"/v1/bulk-runs/{full}/items", json={"items": [{"custom_id": "1", "prompt": "a"}]})

    removed, kept = client.delete(f"/v1/bulk-runs/{empty}"), client.delete(f"/v1/bulk-runs/{full}")

    assert removed.json() == {"id": empty, "object": "bulk_run.deleted", "deleted": True}
    assert client.delete(f"/v1/bulk-runs/{empty}").status_code == 404
    assert client.get(f"/v1/bulk-runs?after={empty}").json()["data"] == []  # of a page that it ended
    assert (kept.status_code, kept.json()["error"]["code"]) == (409, "batch_not_empty")
    assert [run["id"] for run in client.get("/v1/bulk-runs").json()["data"]] == [full]
    again = client.post("/v1/bulk-runs", json={"manifest_key": "a"})
    assert (again.json()["status"], "idempotent-replayed" in again.headers) == ("open", False)


def test_a_run_that_is_tried_again_while_it_is_closed_does_not_end(
    client: TestClient, session: Session, session_factory: sessionmaker[Session]
) -> None:
    batch = sealed(client, line(1))
    session.execute(update(Job).values(status=JobStatus.FAILED))
    session.execute(
        text(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); "
            "RETURN NULL; END $$"
        )
    )
    session.execute(text("CREATE TRIGGER slowly BEFORE UPDATE ON batches EXECUTE FUNCTION slowly()"))
    session.commit()

    def close() -> None:
        with session_factory() as other, other.begin():
            batches.finish(other)

    try:
        with ThreadPoolExecutor() as pool:
            closing = pool.submit(close)
            time.sleep(0.3)  # its statement has begun
            client.post(f"/v1/bulk-runs/{batch}/retry")
            closing.result()
    finally:
        session.execute(text("DROP FUNCTION slowly CASCADE"))
        session.commit()

    shown = client.get(f"/v1/bulk-runs/{batch}").json()
    assert (shown["status"], shown["request_counts"]["queued"]) == ("in_progress", 1)


@pytest.mark.parametrize("who", ["the API", "the relay"])
def test_lines_that_are_tried_again_are_not_cancelled_by_the_cancel_before(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    batch = sealed(client, line(1), line(2))
    session.execute(update(Job).where(Job.custom_id == "line-1").values(status=JobStatus.FAILED))
    session.commit()
    cancel_lines = jobs.cancel_lines
    tries: list[Future[Any]] = []

    with ThreadPoolExecutor() as pool:

        def late(session: Session, id_: UUID, *, limit: int) -> int:
            if not tries:
                tries.append(pool.submit(client.post, f"/v1/bulk-runs/{batch}/retry"))
                wait(tries, timeout=0.5)
            return cancel_lines(session, id_, limit=limit)

        monkeypatch.setattr(jobs, "cancel_lines", late)
        if who == "the relay":
            monkeypatch.setattr(bulk_runs, "cancel_lines", lambda *_, **__: True)  # as if the API had died
        client.post(f"/v1/bulk-runs/{batch}/cancel")
        if who == "the relay":
            batches.finish(session)
            session.commit()
        assert tries[0].result().status_code == 200

    assert ("line-1", "queued") in ended(session, batch)
