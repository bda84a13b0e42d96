"""The client that programs use, against a server that misbehaves on demand."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_service import Script

import chai_client
from chai_client import AsyncClient, Client, Unfinished, Unreachable, transport

VIDEO = {"id": "video_1", "status": "queued", "progress": 0}
ROOT = Path(__file__).parents[3]


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
    scripted.answer(b"0123456789", content_length="16", ETag='"abc"')
    scripted.answer(b"abcdef", status=206, ETag='"abc"', Content_Range="bytes 10-15/16")


def test_a_download_that_breaks_off_goes_on_where_it_ended(scripted: Script, tmp_path: Path) -> None:
    broken_off(scripted)

    with Client(scripted.url) as client:
        number = client.download("video_1", tmp_path / "a.mp4")

    assert (number, (tmp_path / "a.mp4").read_bytes()) == (16, b"0123456789abcdef")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    headers = scripted.requests[1][2]
    assert (headers["Range"], headers["If-Range"]) == ("bytes=10-", '"abc"')


def test_the_asynchronous_one_does_the_same(scripted: Script, tmp_path: Path) -> None:
    broken_off(scripted)

    async def download() -> int:
        async with AsyncClient(scripted.url) as client:
            return await client.download("video_1", tmp_path / "a.mp4")

    assert asyncio.run(download()) == 16
    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"
    assert scripted.requests[1][2]["Range"] == "bytes=10-"


def test_what_another_day_began_is_taken_up_and_another_version_is_not(scripted: Script, tmp_path: Path) -> None:
    (tmp_path / "a.mp4.abc.part").write_bytes(b"0123456789")
    scripted.answer(b"abcdef", status=206, ETag='"abc"', Content_Range="bytes 10-15/16")
    with Client(scripted.url) as client:
        client.download("video_1", tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789abcdef"

    (tmp_path / "a.mp4.abc.part").write_bytes(b"0123456789")
    scripted.answers = [(200, {"ETag": '"def"'}, b"other")]
    with Client(scripted.url) as client:
        client.download("video_1", tmp_path / "a.mp4")

    assert (tmp_path / "a.mp4").read_bytes() == b"other"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_what_had_come_whole_needs_its_name_only(scripted: Script, tmp_path: Path) -> None:
    (tmp_path / "a.mp4.abc.part").write_bytes(b"0123456789")
    scripted.answer({"error": {"message": "behind the end"}}, status=416, Content_Range="bytes */10")

    with Client(scripted.url) as client:
        assert client.download("video_1", tmp_path / "a.mp4") == 10

    assert (tmp_path / "a.mp4").read_bytes() == b"0123456789"


def test_waiting_asks_the_service_to_hold_its_answer_and_ends_in_time(scripted: Script) -> None:
    scripted.answer(VIDEO, openai_poll_after_ms="1")

    with Client(scripted.url) as client, pytest.raises(Unfinished, match="video_1 is queued after 0 s; it goes on"):
        client.wait("video_1", timeout_s=0)

    assert scripted.requests[0][2]["Prefer"] == "wait=20"


def test_a_post_is_sent_again_with_the_same_key(scripted: Script) -> None:
    scripted.answer({}, status=503)
    scripted.answer(VIDEO)

    with Client(scripted.url) as client:
        assert client.create("a", seed=7, cancel_after="30m") == VIDEO

    (_, _, first, body), (_, _, second, _) = scripted.requests
    assert body == {"prompt": "a", "seed": 7}
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert first["Cancel-After"] == "30m"


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
