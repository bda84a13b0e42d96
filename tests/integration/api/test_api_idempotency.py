"""F19: one key, one job."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Job

KEY = {"Idempotency-Key": "order-1"}


def test_the_same_request_again_is_the_same_video(client: TestClient) -> None:
    first = client.post("/v1/videos", json={"prompt": "a", "seed": 1}, headers=KEY)

    again = client.post("/v1/videos", json={"seed": 1, "prompt": "a"}, headers=KEY)

    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


def test_another_request_with_the_same_key_is_refused(client: TestClient) -> None:
    client.post("/v1/videos", json={"prompt": "a"}, headers=KEY)

    answer = client.post("/v1/videos", json={"prompt": "b"}, headers=KEY)

    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "message": "Idempotency-Key 'order-1' was used before with a different request; use a new one",
        "type": "invalid_request_error",
        "param": "Idempotency-Key",
        "code": "idempotency_key_reused",
    }


def test_a_replay_is_one_also_where_its_model_has_gone_since(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that was restarted with other models or another default meets clients that send again."""
    first = client.post("/v1/videos", json={"prompt": "a"}, headers=KEY)
    for name in list(client.app.state.service.cards):
        monkeypatch.delitem(client.app.state.service.cards, name)

    again = client.post("/v1/videos", json={"prompt": "a"}, headers=KEY)
    new = client.post("/v1/videos", json={"prompt": "a"}, headers={"Idempotency-Key": "order-2"})

    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (new.status_code, new.json()["error"]["param"]) == (400, "model")


def test_without_a_key_equal_requests_are_two_videos(client: TestClient) -> None:
    ids = {client.post("/v1/videos", json={"prompt": "a"}).json()["id"] for _ in range(2)}

    assert len(ids) == 2


def test_a_hundred_parallel_posts_with_one_key_make_one_job(client: TestClient, session: Session) -> None:
    def post(number: int) -> tuple[int, str, str | None]:
        answer = client.post("/v1/videos", json={"prompt": "a"}, headers=KEY)
        return answer.status_code, answer.json()["id"], answer.headers.get("idempotent-replayed")

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(post, range(100)))

    assert {status for status, _, _ in answers} == {200}
    assert len({id_ for _, id_, _ in answers}) == 1
    assert sum(replayed is None for _, _, replayed in answers) == 1
    assert session.scalar(select(func.count()).select_from(Job)) == 1
