"""Who may call, and that nobody sees what belongs to another tenant."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from running import settings_of
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import keys
from db.models import ApiKey
from db.session import transaction

NewKey = Callable[..., dict[str, str]]


def test_without_a_key_nothing_is_served(guarded: TestClient) -> None:
    answer = guarded.get("/v1/videos")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"] == {
        "message": "the Authorization header is missing; send 'Bearer sk-chai-…'",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_api_key",
    }


@pytest.mark.parametrize("header", ["sk-chai-12345678-abc", "Basic YTpi", "Bearer"])
def test_a_header_without_a_bearer_key_is_not_called_missing(guarded: TestClient, header: str) -> None:
    answer = guarded.get("/v1/videos", headers={"Authorization": header})

    assert (answer.status_code, answer.json()["error"]["message"]) == (
        401,
        "the Authorization header has no Bearer key; send 'Bearer sk-chai-…'",
    )


@pytest.mark.parametrize("key", ["sk-chai-12345678-nonsense", "sk-chai", "nonsense", "sk-chai-\x00-a", "Ä"])
def test_an_unknown_key_is_refused(guarded: TestClient, key: str) -> None:
    answer = guarded.get("/v1/models", headers={"Authorization": f"Bearer {key}".encode()})

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == (
        "this API key is unknown, expired or revoked; ask the operator for one"
    )


def test_a_revoked_key_is_refused(guarded: TestClient, new_key: NewKey, session_factory: sessionmaker[Session]) -> None:
    header = new_key("a")
    assert guarded.get("/v1/videos", headers=header).status_code == 200

    with transaction(session_factory) as session:
        keys.revoke(session, header["Authorization"].split("-")[2])

    assert guarded.get("/v1/videos", headers=header).status_code == 401


def test_a_key_without_the_scope_is_refused(guarded: TestClient, new_key: NewKey) -> None:
    answer = guarded.get("/v1/videos", headers=new_key("a", scopes=["admin"]))

    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "this API key has no scope 'jobs'; ask the operator for one that has"


@pytest.mark.parametrize("others", [[], ["read"], ["jobs"]])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/v1/cache", 200),
        ("GET", "/cache", 200),  # a page
        ("POST", f"/v1/videos/video_{0:032x}/wrong-match", 404),  # its own tenant's only
    ],
)
def test_what_is_the_operators_takes_the_scope_admin_and_no_other(
    guarded: TestClient, new_key: NewKey, method: str, path: str, status: int, others: list[str]
) -> None:
    assert guarded.request(method, path, headers=new_key("a", scopes=["admin", *others])).status_code == status
    if others:
        assert guarded.request(method, path, headers=new_key("a", scopes=others)).status_code == 403


def test_a_key_that_may_look_changes_nothing(guarded: TestClient, new_key: NewKey) -> None:
    header = new_key("a", scopes=["read"])

    assert guarded.get("/v1/videos", headers=header).status_code == 200
    assert guarded.post("/v1/videos", json={"prompt": "one"}, headers=header).status_code == 403


def test_the_use_of_a_key_is_noted(guarded: TestClient, new_key: NewKey, session: Session) -> None:
    header = new_key("a")

    guarded.get("/v1/videos", headers=header)

    assert session.scalars(select(ApiKey.last_used_at)).one() is not None


def test_health_needs_no_key(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == guarded.get("/readyz").status_code == 200


def test_another_tenants_things_do_not_exist(guarded: TestClient, new_key: NewKey) -> None:
    mine, other = new_key("a"), new_key("b")
    video = guarded.post("/v1/videos", json={"prompt": "mine"}, headers=mine).json()["id"]
    batch = guarded.post("/v1/bulk-runs", json={"manifest_key": "m"}, headers=mine).json()["id"]
    routes = [
        ("GET", f"/v1/videos/{video}"),
        ("POST", f"/v1/videos/{video}/cancel"),
        ("DELETE", f"/v1/videos/{video}"),
        ("GET", f"/v1/videos/{video}/content"),
        ("GET", f"/v1/videos?after={video}"),
        ("GET", f"/v1/bulk-runs/{batch}"),
        ("POST", f"/v1/bulk-runs/{batch}/seal"),
        ("POST", f"/v1/bulk-runs/{batch}/cancel"),
        ("GET", f"/v1/bulk-runs?after={batch}"),
        ("GET", f"/v1/videos?batch_id={batch}"),
        ("GET", f"/library?batch_id={batch}"),
    ]

    for method, path in routes:
        assert guarded.request(method, path, headers=other).status_code == 404, path
    items = {"items": [{"custom_id": "1", "prompt": "theirs"}]}
    assert guarded.post(f"/v1/bulk-runs/{batch}/items", json=items, headers=other).status_code == 404
    for path in ("/v1/videos", "/v1/bulk-runs"):
        assert guarded.get(path, headers=other).json()["data"] == []
    assert guarded.get(f"/v1/videos/{video}", headers=mine).json()["status"] == "queued"


def test_tenants_may_use_the_same_idempotency_and_manifest_keys(guarded: TestClient, new_key: NewKey) -> None:
    ids = set()
    for tenant in ("a", "b"):
        header = new_key(tenant)
        video = guarded.post("/v1/videos", json={"prompt": tenant}, headers={**header, "Idempotency-Key": "k"})
        batch = guarded.post("/v1/bulk-runs", json={"manifest_key": "m"}, headers=header)
        ids |= {video.json()["id"], batch.json()["id"]}

    assert len(ids) == 4


def test_a_key_limits_how_many_videos_wait(guarded: TestClient, new_key: NewKey) -> None:
    header = new_key("a", max_queued=2)
    first = guarded.post("/v1/videos", json={"prompt": "one"}, headers=header).json()
    guarded.post("/v1/videos", json={"prompt": "two"}, headers=header)

    answer = guarded.post("/v1/videos", json={"prompt": "three"}, headers=header)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"] == {
        "message": "2 videos wait and this key allows 2; try again when some have run",
        "type": "rate_limit_error",
        "param": None,
        "code": "queue_full",
    }
    guarded.post(f"/v1/videos/{first['id']}/cancel", headers=header)
    assert guarded.post("/v1/videos", json={"prompt": "three"}, headers=header).status_code == 200


@pytest.mark.parametrize(
    ("host", "auth", "needs_keys"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("example.org", None, True),
        ("127.0.0.1", "keys", True),
        ("0.0.0.0", "off", False),
    ],
)
def test_off_loopback_keys_are_needed_unless_said_otherwise(host: str, auth: str | None, needs_keys: bool) -> None:
    settings = settings_of({"DATABASE_URL": "postgresql://h/d"}, api_host=host, auth=auth)

    assert settings.needs_keys is needs_keys
