"""F19: one key, one job."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.models import Job
from shared.storage import FILES, Storage

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


def upload(client: TestClient, content: bytes = b"{}\n", name: str = "a.jsonl", **more: Any) -> httpx.Response:
    form = {"files": {"file": (name, content)}, "data": {"purpose": "batch"}}
    return client.post("/v1/files", **form, **({"headers": KEY} | more))


def register(client: TestClient, url: str = "https://93.184.215.14/a", **more: Any) -> httpx.Response:
    return client.post("/v1/webhooks", json={"url": url}, **({"headers": KEY} | more))


MAKERS = {"/v1/files": (upload, {"content": b"[]\n"}), "/v1/webhooks": (register, {"url": "https://93.184.215.14/b"})}


@pytest.mark.parametrize("path", MAKERS)
def test_files_and_webhooks_go_by_the_same_rules_as_videos(client: TestClient, path: str) -> None:
    make, other = MAKERS[path]
    first, again, changed, new = (
        make(client),
        make(client),
        make(client, **other),
        make(client, headers={"Idempotency-Key": "order-2"}),
    )

    assert "idempotent-replayed" not in first.headers
    assert (again.headers["idempotent-replayed"], again.json()) == ("true", first.json())
    assert (changed.status_code, changed.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(client.get(path).json()["data"]) == 2
    client.delete(f"{path}/{first.json()['id']}")
    assert make(client).json()["id"] not in (first.json()["id"], new.json()["id"])  # the key is free at once


@pytest.mark.parametrize("path", MAKERS)
def test_a_key_of_files_and_webhooks_is_its_tenant_s_own(
    guarded: TestClient, new_key: Callable[..., dict[str, str]], path: str
) -> None:
    make, _ = MAKERS[path]

    ids = {make(guarded, headers={**KEY, **new_key(tenant)}).json()["id"] for tenant in ("ada", "bob")}

    assert len(ids) == 2


@pytest.mark.parametrize("path", MAKERS)
def test_parallel_posts_with_one_key_make_one_file_or_webhook(client: TestClient, path: str) -> None:
    make, _ = MAKERS[path]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: make(client), range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len(client.get(path).json()["data"]) == 1


@pytest.mark.parametrize(("table", "path"), [("files", "/v1/files"), ("webhooks", "/v1/webhooks")])
def test_after_a_day_the_key_of_a_file_or_webhook_is_new(
    client: TestClient, session: Session, table: str, path: str
) -> None:
    make, other = MAKERS[path]
    first = make(client)
    session.execute(text(f"UPDATE {table} SET created_at = created_at - interval '25 hours'"))
    session.commit()

    later = make(client, **other)

    assert later.status_code == 200
    assert later.json()["id"] != first.json()["id"]


def test_nothing_is_left_of_an_upload_that_was_there_before(client: TestClient, storage: Storage) -> None:
    upload(client)

    upload(client)
    refused = upload(client, headers={"Idempotency-Key": "\u00fc".encode()})

    assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert len(list(storage.files(FILES))) == 1


def test_a_file_whose_time_is_over_is_not_given_again(client: TestClient, session: Session) -> None:
    first = upload(client)
    session.execute(text("UPDATE files SET expires_at = now()"))
    session.commit()

    assert upload(client).json()["id"] != first.json()["id"]
