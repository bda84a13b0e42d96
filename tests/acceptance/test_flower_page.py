"""Flower as `chai up` serves it: on loopback, read-only, behind a password."""

import json
import time

import httpx
import pytest
from chai_up import Home


@pytest.fixture
def flower(home: Home) -> str:
    url = str(json.loads((home.folder / "var" / "run" / "up.json").read_text())["flower_url"])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/healthcheck").is_success:
                return url
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("Flower does not answer")


@pytest.fixture
def password(home: Home) -> tuple[str, str]:
    file = home.folder / "var" / "run" / "flower.secret"
    assert file.stat().st_mode & 0o777 == 0o600
    return "chai", file.read_text()


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"])
@pytest.mark.parametrize("given", [None, ("chai", "wrong"), ("admin", "")])
def test_pages_and_api_ask_for_the_password(flower: str, path: str, given: tuple[str, str] | None) -> None:
    assert httpx.get(flower + path, auth=given).status_code == 401


def test_the_page_lists_the_worker(flower: str, password: tuple[str, str]) -> None:
    deadline = time.monotonic() + 60
    page = ""
    while "worker@" not in page and time.monotonic() < deadline:
        page = httpx.get(f"{flower}/workers", auth=password, follow_redirects=True).text
        time.sleep(0.5)

    assert "worker@" in page


def test_the_api_shows_the_worker_and_the_task_of_a_job(home: Home, flower: str, password: tuple[str, str]) -> None:
    home.chai("submit", "a red ball", "--steps", "2", "--watch")

    workers = httpx.get(f"{flower}/api/workers", params={"refresh": "1"}, auth=password, timeout=30).json()
    tasks = httpx.get(f"{flower}/api/tasks", auth=password).json()

    (worker,) = workers
    assert worker.startswith("worker@")
    names = {queue["name"] for queue in workers[worker]["active_queues"]}
    assert {name for name in names if "." not in name} == {"interactive", "bulk"}  # the others are of its models
    assert {task["name"] for task in tasks.values()} == {"chai.generate"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/shutdown/worker@host",
        "/api/worker/pool/restart/worker@host",
        "/api/task/send-task/chai.generate",
        "/api/task/async-apply/chai.generate",
        "/api/task/revoke/00000000-0000-0000-0000-000000000000",
    ],
)
def test_nothing_can_be_changed(flower: str, password: tuple[str, str], path: str) -> None:
    answer = httpx.post(flower + path, auth=password, json={"args": []})

    assert answer.status_code == 403


def test_flower_listens_on_loopback_only(flower: str) -> None:
    assert flower.startswith("http://127.0.0.1:")
