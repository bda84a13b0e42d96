"""What a key allows, and what it does not count."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from running import api_process
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from api.errors import QueueFull
from api.limits import Limits
from db import keys, metrics
from db.keys import Caller
from db.models import ApiKey, JobMetric
from db.session import transaction

NewKey = Callable[..., dict[str, str]]
PROMPT = {"prompt": "a red circle"}


def test_a_key_allows_so_many_new_videos_a_minute_and_any_number_of_replays(
    guarded: TestClient, new_key: NewKey
) -> None:
    headers = new_key("a", max_per_minute=2)
    made = [guarded.post("/v1/videos", json=PROMPT, headers={**headers, "Idempotency-Key": key}) for key in "xy"]

    refused = guarded.post("/v1/videos", json=PROMPT, headers=headers)
    again = guarded.post("/v1/videos", json=PROMPT, headers={**headers, "Idempotency-Key": "x"})

    assert [answer.status_code for answer in made] == [200, 200]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["message"].startswith("this key allows 2 new videos a minute; try again in ")
    assert (again.status_code, again.json()["id"]) == (200, made[0].json()["id"])
    assert guarded.post("/v1/videos", json=PROMPT, headers=new_key("b", max_per_minute=2)).status_code == 200


def test_lines_that_earlier_runs_made_need_no_room(guarded: TestClient, new_key: NewKey) -> None:
    lines = {"items": [{"custom_id": "one", **PROMPT}]}

    def added(key: dict[str, str], manifest: str) -> dict:
        run = guarded.post("/v1/bulk-runs", json={"manifest_key": manifest, "series": "s"}, headers=key).json()["id"]
        return guarded.post(f"/v1/bulk-runs/{run}/items", json=lines, headers=key).json()

    first = added(new_key("a"), "first")
    again = added(new_key("a", max_gpu_seconds=0), "second")

    assert (first["accepted"], again.get("reused")) == (1, 1), again


def test_a_minute_gives_back_a_minutes_worth_and_no_more(session: Session) -> None:
    _, key = keys.create(session, "a", max_per_minute=3)
    caller = Caller(tenant="a", group=None, scopes=frozenset(), key=key.prefix, max_per_minute=3)

    def allowed_after(seconds: int) -> int:
        session.execute(update(ApiKey).values(minute_at=ApiKey.minute_at - timedelta(seconds=seconds)))
        for number in range(10):
            try:
                Limits().check(session, caller)
            except QueueFull:
                return number
        return 10

    assert [allowed_after(seconds) for seconds in (0, 20, 3600)] == [3, 1, 3]


def test_two_processes_count_the_videos_of_a_key_together(
    environment: dict[str, str], guarded: TestClient, new_key: NewKey, tmp_path: Path
) -> None:
    headers = new_key("a", max_per_minute=5)
    with api_process({**environment, "CHAI_AUTH": "keys"}, tmp_path) as other:

        def post(number: int) -> int:
            if number % 2:
                return guarded.post("/v1/videos", json=PROMPT, headers=headers).status_code
            return httpx.post(f"{other.url}/v1/videos", json=PROMPT, headers=headers, trust_env=False).status_code

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(post, range(12)))

    assert (answers.count(200), answers.count(429)) == (5, 7)


def test_a_video_that_came_to_nothing_takes_nothing_of_the_minute(session_factory: sessionmaker[Session]) -> None:
    with transaction(session_factory) as session:
        _, key = keys.create(session, "a", max_per_minute=1)

    def take() -> float:
        return keys.take(session, key.prefix, 1)

    with session_factory() as session:
        assert (take(), take() > 0) == (0, True)
        session.rollback()
    with session_factory() as session:
        assert take() == 0


def test_a_tenant_that_used_its_gpu_seconds_of_a_day_waits(
    guarded: TestClient, new_key: NewKey, session: Session
) -> None:
    def used(seconds: float, tenant: str, **more: object) -> None:
        session.add(
            JobMetric(job_id=uuid4(), attempt=1, fence=1, tenant=tenant, outcome="failed", gpu_seconds=seconds, **more)
        )
        session.commit()

    headers = new_key("a", max_gpu_seconds=10)
    used(9, "a")
    used(9, "b")
    assert guarded.post("/v1/videos", json=PROMPT, headers=headers).status_code == 200
    used(1, "a")
    guarded.app.state.service.limits._spent.clear()

    answer = guarded.post("/v1/videos", json=PROMPT, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
    assert answer.json()["error"]["message"] == (
        "10 GPU seconds were used within a day and this key allows 10; try again later"
    )
    assert 86_300 < int(answer.headers["retry-after"]) <= 86_420  # 9 of the 10 go on counting for a day


def test_a_caller_is_told_when_enough_of_yesterday_is_over(session: Session) -> None:
    for hours, seconds in ((23, 5), (20, 5), (2, 5)):
        used_at = session.scalar(select(func.now() - timedelta(hours=hours)))
        session.add(
            JobMetric(
                job_id=uuid4(),
                attempt=1,
                fence=1,
                tenant="a",
                outcome="failed",
                gpu_seconds=seconds,
                created_at=used_at,
            )
        )
    session.flush()

    waits = [round(metrics.free_in_s(session, "a", most) / 3600) for most in (15, 10, 5, 16)]

    assert waits == [1, 4, 22, 0]


def test_limits_of_a_key_can_be_set_and_lifted(guarded: TestClient, session_factory: sessionmaker[Session]) -> None:
    with transaction(session_factory) as session:
        key, row = keys.create(session, "a", max_queued=0)
    headers = {"Authorization": f"Bearer {key}"}
    assert guarded.post("/v1/videos", json=PROMPT, headers=headers).status_code == 429

    with transaction(session_factory) as session:
        keys.limit(session, row.prefix, max_queued=None, max_per_minute=5)

    assert guarded.post("/v1/videos", json=PROMPT, headers=headers).status_code == 200
    with (
        transaction(session_factory) as session,
        pytest.raises(ValueError, match="limit 'max_size' is not known; use "),
    ):
        keys.limit(session, row.prefix, max_size=1)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_queued": 0}, "this key lets 0 videos wait, not 1; send fewer at once, or ask the operator"),
        ({"max_per_minute": 0}, "this key allows no new videos; ask the operator for some"),
        ({"max_gpu_seconds": 0}, "this key allows no GPU seconds; ask the operator for some"),
    ],
)
def test_who_will_never_have_room_is_not_told_to_come_again(
    guarded: TestClient, new_key: NewKey, limits: dict[str, int], said: str
) -> None:
    answer = guarded.post("/v1/videos", json=PROMPT, headers=new_key("a", **limits))

    assert (answer.status_code, answer.json()["error"]["message"]) == (429, said)
    assert (answer.headers["x-should-retry"], "retry-after" in answer.headers) == ("false", False)


def test_more_lines_than_may_ever_wait_are_told_apart_from_those_that_must_wait(
    guarded: TestClient, new_key: NewKey
) -> None:
    headers = new_key("a", max_queued=2)
    batch = guarded.post("/v1/bulk-runs", json={"manifest_key": "m"}, headers=headers).json()["id"]

    def add(*names: str) -> httpx.Response:
        items = {"items": [{"custom_id": name, **PROMPT} for name in names]}
        return guarded.post(f"/v1/bulk-runs/{batch}/items", json=items, headers=headers)

    three, two, more = add("a", "b", "c"), add("a", "b"), add("c")

    assert [answer.status_code for answer in (three, two, more)] == [429, 200, 429]
    assert [answer.headers.get("x-should-retry") for answer in (three, more)] == ["false", None]
    assert three.json()["error"]["message"].startswith("this key lets 2 videos wait, not 3; send fewer at once")
    assert more.json()["error"]["message"] == "2 videos wait and this key allows 2; try again when some have run"


def test_so_many_videos_wait_and_no_more_however_many_requests_come_at_once(
    guarded: TestClient, new_key: NewKey
) -> None:
    headers = new_key("a", max_queued=3)

    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: guarded.post("/v1/videos", json=PROMPT, headers=headers), range(48)))

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 45


def test_a_key_ends_when_its_life_is_over(guarded: TestClient, new_key: NewKey) -> None:
    assert guarded.get("/v1/videos", headers=new_key("a", life=timedelta(hours=1))).status_code == 200
    assert guarded.get("/v1/videos", headers=new_key("a", life=timedelta(0))).status_code == 401


def test_the_document_shows_a_request_that_this_server_serves(shared_client: TestClient) -> None:
    document = shared_client.get("/openapi.json").json()

    for content in document["paths"]["/v1/videos"]["post"]["requestBody"]["content"].values():
        assert (content["example"]["model"], content["example"]["size"]) == ("tiny", "64x64")
        assert content["schema"]["properties"]["size"]["examples"] == ["64x64", "64x48"]
        assert shared_client.post("/v1/videos", json=content["example"]).status_code == 200
