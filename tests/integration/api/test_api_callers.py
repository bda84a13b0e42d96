"""Who is served, and what a request may cost before that is known."""

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from running import api_process, api_thread, settings_of

from api.app import create_app
from api.server import MALFORMED

ELSEWHERE = "https://evil.example"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8400", "localhost", "LOCALHOST:1", "[::1]:8400", "127.8.9.1", "localhost."]
)
def test_names_of_this_machine_are_served(shared_client: TestClient, host: str) -> None:
    assert shared_client.get("/v1/videos", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8400", "10.0.0.1", "127.0.0.1.evil.example", "[", ""])
@pytest.mark.parametrize("path", ["/v1/videos", "/healthz", "/docs", "/nowhere"])
def test_a_name_that_was_pointed_here_is_not_served(shared_client: TestClient, host: str, path: str) -> None:
    answer = shared_client.get(path, headers={"Host": host})

    assert answer.status_code == 421
    assert answer.json()["error"]["message"] == (
        f"Host {host!r} is not this machine; without keys only 127.0.0.1, localhost and [::1] are served"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ELSEWHERE},
        {"Origin": "null"},  # a sandboxed frame, a local file
        {"Origin": "http://127.0.0.1:3000"},  # another program of this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing(client: TestClient, headers: dict[str, str]) -> None:
    video = client.post("/v1/videos", json={"prompt": "a red circle"}).json()["id"]
    batch = client.post("/v1/bulk-runs", json={"manifest_key": "m"}).json()["id"]
    requests = [
        ("POST", "/v1/videos", {"data": {"prompt": "theirs"}}),
        ("POST", f"/v1/videos/{video}/cancel", {"content": "x", "headers": {"Content-Type": "text/plain"}}),
        ("DELETE", f"/v1/videos/{video}", {}),
        ("POST", f"/v1/bulk-runs/{batch}/cancel", {}),
    ]

    answers = [
        client.request(method, path, **{**more, "headers": {**more.get("headers", {}), **headers}})
        for method, path, more in requests
    ]

    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(403, "cross_site")}
    assert client.get(f"/v1/videos/{video}").json()["status"] == "queued"
    assert len(client.get("/v1/videos").json()["data"]) == 1


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin"}])
def test_programs_and_pages_of_this_service_may_change_things(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/videos", json={"prompt": "a"}, headers=headers).status_code == 200


def test_with_keys_a_key_is_all_that_counts(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    headers = {**new_key("a"), "Host": "video.example", "Origin": ELSEWHERE}

    assert guarded.post("/v1/videos", json={"prompt": "a"}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/bulk-runs", "/v1/bulk-runs/x/items", "/v1/bulk-runs/x/seal"])
def test_without_a_key_no_body_is_read(guarded: TestClient, path: str) -> None:
    def body():
        raise AssertionError("the body was read")
        yield b""

    # the test client reads a generator when the service asks for the body, and not before
    answer = guarded.post(path, content=body(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/v1/videos", "/nowhere", "/v1/videos?statuss=queued"])
def test_no_answer_is_read_as_another_type(client: TestClient, path: str) -> None:
    assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_a_key_in_the_wrong_place_is_not_said_back(client: TestClient) -> None:
    answer = client.get("/v1/videos/sk-chai-01234567-verysecret")
    also = client.get("/sk-chai-01234567-verysecret")

    assert "verysecret" not in answer.text + also.text


def test_a_whole_url_is_answered_as_its_path(environment: dict[str, str]) -> None:
    """As a client writes to a proxy; the host in it counts, whatever the header says."""

    def status_of(target: str, host: str) -> int:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(connection.makefile("rb").readline().split()[1])

    with api_thread(create_app(settings_of(environment))) as url:
        assert status_of("http://127.0.0.1/v1/videos?limit=1", "127.0.0.1") == 200
        assert status_of("http://127.0.0.1/v1/videos?limit=0", "127.0.0.1") == 400
        assert status_of("HTTP://LOCALHOST:8400", "evil.example") == 200
        assert status_of("http://evil.example/v1/videos", "127.0.0.1") == 421


def test_a_health_check_that_names_no_host_is_answered(environment: dict[str, str]) -> None:
    """As load balancers send it, in HTTP/1.0; no browser leaves it out."""
    with (
        api_thread(create_app(settings_of(environment))) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"200"


def test_what_is_no_http_is_refused_like_everything_else(environment: dict[str, str], tmp_path: Path) -> None:
    post = b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    requests = [
        "GET /v1/videos?prompt=caf\u00e9 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),  # as curl sends it
        b"GET /v1/videos HTTP/1.1\r\n\r\n",
        post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        post + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n",
    ]
    with api_process(environment, tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        for request in requests:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
                head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            named = re.search(rb"\r\nx-request-id: ([0-9a-f]{32})(\r\n|$)", head)
            assert named
            assert named[1].decode() in process.log.read_text()
            assert json.loads(body)["error"] == {
                "message": MALFORMED,
                "type": "invalid_request_error",
                "param": None,
                "code": "malformed_request",
            }
        assert "traceback" not in process.log.read_text()


def test_half_a_request_is_not_waited_for(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"CHAI_HEADER_TIMEOUT_S": "0.5", "CHAI_BODY_TIMEOUT_S": "0.5"}
    with api_process(environment, tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)) as head,
            socket.create_connection(("127.0.0.1", port)) as body,
        ):
            head.sendall(b"GET /healthz HTT")
            body.sendall(
                b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 20\r\n\r\n{"
            )
            began = time.monotonic()
            head.settimeout(10)
            body.settimeout(10)
            assert head.recv(100) == b""
            said = body.recv(4000)

        assert time.monotonic() - began < 8
        assert said.startswith(b"HTTP/1.1 408")
        assert "traceback" not in process.log.read_text()


def test_a_connection_of_a_proxy_is_kept_for_its_next_request(environment: dict[str, str], tmp_path: Path) -> None:
    """Proxies keep idle connections for a minute, and answer 502 to whose request comes as one is closed."""
    environment |= {"CHAI_HEADER_TIMEOUT_S": "0.5", "CHAI_KEEP_ALIVE_S": "30"}
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with api_process(environment, tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(20)
            for pause_s in (6.0, 0.0):  # for longer than a head may take, and than uvicorn keeps one by itself
                connection.sendall(head + b"\r\n")
                answer = b""
                while not answer.endswith(b"}}"):
                    piece = connection.recv(4000)
                    assert piece, "closed"
                    answer += piece
                time.sleep(pause_s)
            began = time.monotonic()
            connection.sendall(head)  # and half a one is still not waited for
            assert connection.recv(4000) == b""

        assert time.monotonic() - began < 5


def test_one_connection_too_many_is_told_to_come_back(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"CHAI_MAX_CONNECTIONS": "8"}
    with api_process(environment, tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        time.sleep(0.2)

        answer = httpx.get(f"{process.url}/healthz", headers={"X-Request-Id": "mine"}, trust_env=False)

        for connection in idle:
            connection.close()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-request-id"] == "mine"
        assert answer.json()["error"]["code"] == "too_many_connections"


def test_a_caller_who_leaves_in_the_middle_leaves_no_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    with api_process(environment, tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 2000\r\n\r\n{"
            )
            time.sleep(0.2)
        deadline = time.monotonic() + 10
        while '"status": 499' not in process.log.read_text():
            assert time.monotonic() < deadline, process.log.read_text()
            time.sleep(0.05)

        assert "traceback" not in process.log.read_text()


def test_a_service_opened_to_all_without_keys_serves_every_name(environment: dict[str, str]) -> None:
    settings = settings_of(environment, api_host="0.0.0.0", auth="off")
    with TestClient(create_app(settings), base_url="http://video.example") as client:
        assert client.get("/v1/videos").status_code == 200
        assert client.post("/v1/videos", json={"prompt": "a"}, headers={"Origin": ELSEWHERE}).status_code == 403
