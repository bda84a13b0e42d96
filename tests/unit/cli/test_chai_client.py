"""The client that programs use, against a server that misbehaves on demand."""

import asyncio
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from scripted_service import Script

import chai_client
from chai_client import AsyncClient, Client, Refused, Unfinished, Unreachable, calls, transport

VIDEO = {"id": "video_1", "status": "queued", "progress": 0}
ROOT = Path(__file__).parents[3]
ABC, DEF = (f'"{letters * 8}"' for letters in ("abc0", "def0"))  # versions of a file
PART = f"a.mp4.{ABC[1:-1]}.part"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


def test_it_needs_nothing_of_the_service() -> None:
    code = "import chai_client, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    found = set(eval(done.stdout))
    assert {"chai_client", "httpx"} <= found
    assert not found & {"api", "cli", "db", "shared", "worker", "torch", "sqlalchemy", "psycopg2", "pydantic", "typer"}


def broken_off(scripted: Script) -> None:
    scripted.answer(b"0123456789", content_length="16", ETag=ABC)
    scripted.answer(b"abcdef", status=206, ETag=ABC, Content_Range="bytes 10-15/16")


def test_a_download_that_breaks_off_goes_on_where_it_ended(scripted: Script, tmp_path: Path) -> None:
    broken_off(scripted)

    with Client(scripted.url) as client:
        number = client.download("video_1", tmp_path / "a.mp4")

    assert (number, (tmp_path / "a.mp4").read_bytes()) == (16, b"0123456789abcdef")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    headers = scripted.requests[1][2]
    assert (headers["Range"], headers["If-Range"]) == ("bytes=10-", ABC)


def test_the_asynchronous_one_does_the_same(scripted: Script, tmp_path: Path) -> None:
    broken_off(scripted)

    async def download() -> int:
        async with AsyncClient(scripted.url) as client:
            return await client.download("video_1", tmp_path / "a.mp4")

    assert asyncio.run(download()) == 16
    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"
    assert scripted.requests[1][2]["Range"] == "bytes=10-"


def test_what_another_day_began_is_taken_up_and_another_version_is_not(scripted: Script, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(b"0123456789")
    scripted.answer(b"abcdef", status=206, ETag=ABC, Content_Range="bytes 10-15/16")
    with Client(scripted.url) as client:
        client.download("video_1", tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"

    (tmp_path / PART).write_bytes(b"0123456789")
    scripted.answers = [(200, {"ETag": DEF}, b"other")]
    with Client(scripted.url) as client:
        client.download("video_1", tmp_path / "a.mp4")

    assert (tmp_path / "a.mp4").read_bytes() == b"other"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


# what came instead of bytes 10 to 15 of the version that is half here
OTHER_PARTS = [
    ("bytes 8-15/16", ABC, b"89abcdef"),  # a cache that keeps blocks of its own
    ("bytes 0-15/16", ABC, b"0123456789abcdef"),
    ("bytes 10-15/16", DEF, b"ABCDEF"),
    ("bytes 10-15/*", ABC, b"abcdef"),
    (None, ABC, b"abcdef"),
    ("bytes 10-15/16", None, b"abcdef"),
]


@pytest.mark.parametrize(("part", "etag", "content"), OTHER_PARTS)
@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_another_part_than_was_asked_for_is_not_put_behind_what_is_here(
    scripted: Script, tmp_path: Path, part: str | None, etag: str | None, content: bytes, is_asynchronous: bool
) -> None:
    (tmp_path / PART).write_bytes(b"0123456789")
    headers = {name: value for name, value in (("Content_Range", part), ("ETag", etag)) if value}
    scripted.answer(content, status=206, **headers)
    scripted.answer(b"0123456789abcdef", ETag=ABC)

    assert downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=is_asynchronous) == 16

    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"
    assert "Range" not in scripted.requests[1][2]


@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_a_part_that_ends_early_is_not_the_end(scripted: Script, tmp_path: Path, is_asynchronous: bool) -> None:
    (tmp_path / PART).write_bytes(b"0123456789")
    scripted.answer(b"abc", status=206, ETag=ABC, Content_Range="bytes 10-12/16")
    scripted.answer(b"def", status=206, ETag=ABC, Content_Range="bytes 13-15/16")

    assert downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=is_asynchronous) == 16

    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"


def downloaded(scripted: Script, file: Path, *, is_asynchronous: bool) -> int:
    async def download() -> int:
        async with AsyncClient(scripted.url) as client:
            return await client.download("video_1", file)

    if is_asynchronous:
        return asyncio.run(download())
    with Client(scripted.url) as client:
        return client.download("video_1", file)


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_a_refusal_that_breaks_off_is_a_service_that_went_away(
    scripted: Script, tmp_path: Path, is_asynchronous: bool
) -> None:
    scripted.answer(b'{"er', status=404, content_length="100")

    with pytest.raises(Unreachable, match=r"went away during /v1/videos/video_1/content"):
        downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=is_asynchronous)


def test_what_had_come_whole_needs_its_name_only(scripted: Script, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(b"0123456789")
    scripted.answer({"error": {"message": "behind the end"}}, status=416, Content_Range="bytes */10")

    with Client(scripted.url) as client:
        assert client.download("video_1", tmp_path / "a.mp4") == 10

    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789"


def test_what_other_files_left_behind_is_theirs(scripted: Script, tmp_path: Path) -> None:
    others = {PART, "a.mp4.part", "a.jpg.new.part"}
    for name in others:
        (tmp_path / name).write_bytes(b"0123456789")
    scripted.answer(b"abcdef", ETag=ABC)

    assert downloaded(scripted, tmp_path / "a", is_asynchronous=False) == 6

    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_where_no_file_can_be_locked_downloads_come_whole(
    scripted: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_asynchronous: bool
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    scripted.answer(b"0123456789", ETag=ABC)

    assert downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=is_asynchronous) == 10

    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    imported = "import sys; sys.modules['fcntl'] = None; import chai_client"
    subprocess.run([sys.executable, "-c", imported], check=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipe has a name here")
@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_a_pipe_is_written_to_and_not_replaced(scripted: Script, tmp_path: Path, is_asynchronous: bool) -> None:
    scripted.answer(b"0123456789", ETag=ABC)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    assert downloaded(scripted, pipe, is_asynchronous=is_asynchronous) == 10

    assert (os.read(reader, 100), pipe.is_fifo()) == (b"0123456789", True)
    os.close(reader)


@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_a_folder_is_no_place_for_a_file_and_nothing_is_fetched(
    scripted: Script, tmp_path: Path, is_asynchronous: bool
) -> None:
    with pytest.raises(IsADirectoryError):
        downloaded(scripted, tmp_path, is_asynchronous=is_asynchronous)

    assert scripted.requests == []


def test_a_name_of_any_legal_length_is_one(scripted: Script, tmp_path: Path) -> None:
    broken_off(scripted)
    file = tmp_path / f"{'n' * 251}.mp4"

    assert downloaded(scripted, file, is_asynchronous=False) == 16

    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert "Range" in scripted.requests[1][2]


@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_the_page_of_a_sign_in_is_no_video(scripted: Script, tmp_path: Path, is_asynchronous: bool) -> None:
    scripted.answer(b"<html>sign in", Content_Type="text/html; charset=utf-8")

    with pytest.raises(Unreachable, match=r"not CHAI \(GET /v1/videos/video_1/content gave a page\); check"):
        downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=is_asynchronous)

    assert list(tmp_path.iterdir()) == []


def test_a_service_that_has_moved_is_named_by_its_new_place(scripted: Script) -> None:
    scripted.answer(b"", status=301, Location="https://example.org/v1/videos/video_1")

    with Client(scripted.url) as client, pytest.raises(Refused) as refused:
        client.get("video_1")

    assert str(refused.value) == (
        f"{scripted.url}/v1/videos/video_1 answered 301: look at https://example.org/v1/videos/video_1; "
        "set CHAI_URL to where that is"
    )


def test_a_download_that_is_refused_leaves_nothing_behind(scripted: Script, tmp_path: Path) -> None:
    scripted.answer({"error": {"message": "no video"}}, status=404)

    with pytest.raises(Refused, match="no video"):
        downloaded(scripted, tmp_path / "a.mp4", is_asynchronous=False)

    assert list(tmp_path.iterdir()) == []


def test_waiting_asks_the_service_to_hold_its_answer_and_ends_in_time(scripted: Script) -> None:
    scripted.answer(VIDEO, openai_poll_after_ms="1")

    with Client(scripted.url) as client, pytest.raises(Unfinished, match="video_1 is queued after 0 s; it goes on"):
        client.wait("video_1", timeout_s=0)

    assert "Prefer" not in scripted.requests[0][2]


@pytest.mark.parametrize(
    ("timeout_s", "patience_s", "held"),
    [
        (None, 30.0, "wait=15"),  # half of what the connection puts up with
        (None, 90.0, "wait=20"),
        (7.5, 30.0, "wait=7"),  # what is left
        (None, 1.0, None),
    ],
)
def test_no_answer_is_held_for_longer_than_somebody_waits_for_it(
    scripted: Script, timeout_s: float | None, patience_s: float, held: str | None
) -> None:
    scripted.answer({**VIDEO, "status": "completed"})

    with Client(scripted.url, timeout_s=patience_s) as client:
        client.wait("video_1", timeout_s=timeout_s)

    assert scripted.requests[0][2].get("Prefer") == held


def test_who_waits_sits_out_a_service_without_its_database_and_no_refusal(scripted: Script) -> None:
    for _ in range(6):
        scripted.answer({"error": {"message": "the database does not answer"}}, status=503, Retry_After="0")
    scripted.answer({**VIDEO, "status": "completed"})
    scripted.answer({"error": {"message": "no video"}}, status=404)

    with Client(scripted.url) as client:
        assert client.wait("video_1")["status"] == "completed"
        with pytest.raises(Refused, match="no video"):
            client.wait("video_1")


def test_nobody_is_waited_for_longer_than_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "NUM_TRIES", 1)

    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable):
        client.wait("video_1", timeout_s=0)


@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_a_service_that_says_nothing_is_waited_for_no_longer_either(
    monkeypatch: pytest.MonkeyPatch, is_asynchronous: bool
) -> None:
    monkeypatch.setattr(transport, "GRACE_S", 0.1)

    async def wait_asynchronously(url: str) -> None:
        async with AsyncClient(url) as client:
            await client.wait("video_1", timeout_s=0.2)

    def wait(url: str) -> None:
        if is_asynchronous:
            asyncio.run(wait_asynchronously(url))
        with Client(url) as client:
            client.wait("video_1", timeout_s=0.2)

    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Unreachable, match="no answer"):
        wait(f"http://127.0.0.1:{server.getsockname()[1]}")

    assert time.monotonic() - began < 5


def test_a_batch_that_has_not_ended_has_no_results_yet() -> None:
    batch = {"id": "batch_1", "status": "in_progress", "output_file_id": None, "error_file_id": None}

    with Client() as client, pytest.raises(Unfinished, match="batch_1 is in_progress; wait_batch waits for its"):
        list(client.results(batch))


@pytest.mark.parametrize("body", [[1], {"checks": []}, {"checks": {"database": "ok"}}, "no JSON"])
def test_another_server_is_no_ready_service(scripted: Script, body: object) -> None:
    scripted.answer(body)

    with Client(scripted.url) as client:
        assert not client.is_ready()


def test_a_post_is_sent_again_with_the_same_key(scripted: Script) -> None:
    scripted.answer({}, status=503)
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        assert client.create("a", seed=7, cancel_after="30m") == VIDEO

    (_, _, first, body), (_, _, second, _) = scripted.requests
    assert body == {"prompt": "a", "seed": 7}
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert first["Cancel-After"] == "30m"


@pytest.mark.parametrize("status", [408, 409])
def test_a_post_whose_first_try_has_not_ended_is_sent_again(scripted: Script, status: int) -> None:
    scripted.answer({"error": {"message": "the first request goes on"}}, status=status, Retry_After="0")
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        assert client.create("a") == VIDEO


@pytest.mark.parametrize(
    ("asked", "low_s", "high_s"),
    [
        ("30", 30, 30),  # a key that may make two videos a minute
        ("9" * 400, 0, 0.01),
        (formatdate(0, usegmt=True), 0, 0),
        ("soon", 0, 0.01),
    ],
)
def test_a_pause_is_as_long_as_the_service_asks(asked: str, low_s: float, high_s: float) -> None:
    assert low_s <= transport.pause_s(1, httpx.Response(503, headers={"Retry-After": asked})) <= high_s


@pytest.mark.parametrize(
    ("ends_in_s", "low_s", "high_s"),
    [(30, 25, 30), (600, 0, 0.01)],  # the second longer than anybody sits out: as without it
)
def test_a_pause_may_be_asked_for_by_the_time_of_its_end(ends_in_s: float, low_s: float, high_s: float) -> None:
    answer = httpx.Response(503, headers={"Retry-After": formatdate(time.time() + ends_in_s, usegmt=True)})

    assert low_s <= transport.pause_s(1, answer) <= high_s


def test_no_pause_is_longer_than_somebody_waits(scripted: Script) -> None:
    scripted.answer({}, status=503, Retry_After="60")
    began = time.monotonic()

    with Client(scripted.url) as client, pytest.raises(Refused):
        client.wait("video_1", timeout_s=0.1)

    assert time.monotonic() - began < 5


def test_a_filter_that_is_none_is_left_out(scripted: Script) -> None:
    scripted.answer({"data": [], "has_more": False})

    with Client(scripted.url) as client:
        assert list(client.list(status=None, model=None, limit=3)) == []

    assert scripted.requests[0][1] == "/v1/videos?limit=3"


def test_what_has_no_name_in_a_batch_takes_that_of_no_other() -> None:
    requests = [{"prompt": "a", "custom_id": "2"}, {"prompt": "b"}, {"prompt": "c", "custom_id": None}]

    lines = [json.loads(line) for line in transport.lines(iter(requests)).splitlines()]

    assert [(line["custom_id"], line["body"]) for line in lines] == [
        ("2", {"prompt": "a"}),
        ("2_", {"prompt": "b"}),
        ("3", {"prompt": "c"}),
    ]


def test_a_refusal_comes_back_from_another_process() -> None:
    error = Refused("no", status=404, code="not_found", param="id", is_passing=False)

    again = pickle.loads(pickle.dumps(error))

    assert (str(again), vars(again)) == ("no", vars(error))


@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_a_call_that_waits_for_its_turn_takes_nobody_for_absent(kind: type[httpx.Client | httpx.AsyncClient]) -> None:
    http = kind(**transport.options("http://127.0.0.1:9", None, 7.0))

    free = calls.get("video_1")
    timed = replace(free, until=time.monotonic() + 3)

    assert free.build(http).extensions["timeout"] == {"connect": 7.0, "read": 7.0, "write": 7.0, "pool": None}
    assert timed.build(http).extensions["timeout"]["pool"] <= 3 + transport.GRACE_S
    with pytest.raises(Unfinished, match="/v1/videos/video_1 had no turn in time beside so many other calls"):
        transport.Tries("http://127.0.0.1:9", timed).lost(httpx.PoolTimeout(""))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_may_be_handed_to_another_process(kind: type[Client | AsyncClient]) -> None:
    client = kind("http://127.0.0.1:9/v1", "sk-chai-x", timeout_s=7.0)

    again = pickle.loads(pickle.dumps(client))

    assert type(again) is kind
    assert (again.url, again._key, again._timeout_s) == ("http://127.0.0.1:9", "sk-chai-x", 7.0)


FORKED = """
import os, sys
from chai_client import Client
with Client(sys.argv[1]) as client:
    client.get("video_1")
    child = os.fork()
    client.get("video_2" if child else "video_3")
    if child:
        os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_has_connections_of_its_own(scripted: Script) -> None:
    scripted.answer(VIDEO)
    scripted.keeps_connections = True

    subprocess.run([sys.executable, "-c", FORKED, scripted.url], cwd=ROOT, check=True, timeout=60)

    port_of = dict(zip((path[-1] for _, path, _, _ in scripted.requests), scripted.ports, strict=True))
    assert port_of["1"] == port_of["2"] != port_of["3"]


LOOPED = """
import asyncio, sys
from chai_client import AsyncClient
client = AsyncClient(sys.argv[1])
for _ in range(2):
    asyncio.run(client.get("video_1"))
"""


def test_an_event_loop_has_connections_of_its_own(scripted: Script) -> None:
    scripted.answer(VIDEO)
    scripted.keeps_connections = True

    subprocess.run([sys.executable, "-c", LOOPED, scripted.url], cwd=ROOT, check=True, timeout=60)

    assert len(scripted.requests) == 2


@pytest.mark.parametrize("status", [None, 502, 504])
@pytest.mark.parametrize("is_asynchronous", [False, True], ids=["", "asynchronous"])
def test_what_a_lost_answer_said_was_deleted_is_deleted(
    scripted: Script, is_asynchronous: bool, status: int | None
) -> None:
    if status is None:
        scripted.answer(b'{"id": "vid', content_length="100")  # breaks off: nobody knows what became of it
    else:
        scripted.answer({}, status=status)  # of what stands between
    scripted.answer({"error": {"message": "no video"}}, status=404)

    async def delete_asynchronously() -> None:
        async with AsyncClient(scripted.url) as client:
            await client.delete("video_1")

    def delete() -> None:
        with Client(scripted.url) as client:
            client.delete("video_1")

    asyncio.run(delete_asynchronously()) if is_asynchronous else delete()

    assert len(scripted.requests) == 2
    with pytest.raises(Refused, match="no video"):  # of a first try there never was any
        delete()


@pytest.mark.parametrize(("path", "kind"), [("/v1/videos/video_1", "video"), ("/v1/bulk-runs/run_1", "bulk_run")])
def test_what_was_deleted_is_called_what_it_is(path: str, kind: str) -> None:
    said = transport.deleted(transport.Call(method="DELETE", path=path)).json()

    assert said == {"id": path.rpartition("/")[2], "object": f"{kind}.deleted", "deleted": True}


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert offered(Client) == offered(AsyncClient)


def test_nobody_there_is_said(tmp_path: Path) -> None:
    async def look() -> None:
        async with AsyncClient("http://127.0.0.1:9") as client:
            await client.get("video_1")

    with pytest.raises(Unreachable, match=r"no answer from http://127\.0\.0\.1:9"):
        asyncio.run(look())
    assert issubclass(Unreachable, chai_client.ChaiError)
