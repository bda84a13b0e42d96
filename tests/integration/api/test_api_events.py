"""Streams of changes: everything that was committed is told, to whom it belongs, once or more but never not at all."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx
import pytest
from fastapi.testclient import TestClient
from running import Process, api_thread, mp4, settings_of, work
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from api import events
from api.app import create_app
from api.settings import ApiSettings
from db import acceptance, changes, keys
from db.keys import Caller
from db.models import Job
from db.session import transaction
from shared.storage import Storage

PROMPT = {"prompt": "a red circle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One event as a client reads it."""

    id: int
    name: str
    data: dict


def read(lines: Iterator[str]) -> Iterator[Heard]:
    """Read a stream of events, comments left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield Heard(id=int(fields["id"]), name=fields["event"], data=json.loads(fields["data"]))
            fields = {}


@contextmanager
def followed(url: str, **headers: str) -> Iterator[Iterator[Heard]]:
    """A stream of a live service, its first event heard."""
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
        client.stream("GET", "/v1/events", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        heard = read(answer.iter_lines())
        assert next(heard).name == "ready"
        yield heard


@pytest.fixture
def url(settings: ApiSettings) -> Iterator[str]:
    """A live service, in a thread."""
    app = create_app(settings)
    with api_thread(app) as url:
        yield url
        app.state.service.release()


def post(url: str, **headers: str) -> dict:
    return httpx.post(f"{url}/v1/videos", json=PROMPT, headers=headers, trust_env=False).raise_for_status().json()


def uuid_of(video: dict) -> UUID:
    return UUID(video["id"].removeprefix("video_"))


def test_a_life_is_told_from_first_to_last(url: str, session_factory: sessionmaker[Session], storage: Storage) -> None:
    with followed(url) as heard:
        video = post(url)
        first = next(heard)
        work(session_factory, storage, uuid_of(video), mp4())
        last = next(event for event in heard if event.data["status"] == "completed")

    assert (first.name, first.data["id"], first.data["status"]) == ("video", video["id"], "queued")
    assert last.data["usage"]["gpu_seconds"] == 0.5
    assert last.data == httpx.get(f"{url}/v1/videos/{video['id']}", trust_env=False).json()


def test_an_event_is_one_line_to_every_reader(url: str) -> None:
    """`iter_lines` cuts a text at ends of lines that JSON leaves as they are."""
    prompt = "a red\u2028circle\u2029moves"
    with followed(url) as heard:
        httpx.post(f"{url}/v1/videos", json={"prompt": prompt}, trust_env=False).raise_for_status()
        told = next(heard)

    assert told.data["prompt"] == prompt


def test_who_comes_back_hears_what_happened_meanwhile(url: str) -> None:
    with followed(url) as heard:
        seen = post(url)
        last = next(heard)
    missed = [post(url)["id"] for _ in range(3)]

    with followed(url, **{"Last-Event-ID": str(last.id)}) as heard:
        told = {next(heard).data["id"] for _ in range(3 + 1)} - {seen["id"]}

    assert told == set(missed)


def test_what_commits_late_is_told_all_the_same(url: str, session_factory: sessionmaker[Session]) -> None:
    with followed(url) as heard, session_factory() as late:
        slow, _ = acceptance.accept(late, _job("slow"))
        for _ in range(3):
            post(url)
            next(heard)
        time.sleep(3 * events.LOOK_S)

        late.commit()

        assert next(heard).data["id"].endswith(slow.id.hex)


def test_a_removed_video_is_told_as_removed(url: str) -> None:
    with followed(url) as heard:
        video = post(url)
        next(heard)

        httpx.delete(f"{url}/v1/videos/{video['id']}", trust_env=False)
        event = next(heard)

    assert (event.name, event.data["id"]) == ("video.deleted", video["id"])


def test_very_many_changes_are_one_word(url: str, session_factory: sessionmaker[Session]) -> None:
    with followed(url) as heard:
        with transaction(session_factory) as session:
            session.add_all([_job(f"line {number}") for number in range(events.MOST_AT_ONCE + 1)])
        event = next(heard)
        after = post(url)

        assert event.name == "reload"
        assert next(heard).data["id"] == after["id"]


def test_nobody_hears_of_another_tenants_videos(
    environment: dict[str, str], new_key: Callable[..., dict[str, str]]
) -> None:
    app, ours, theirs = create_app(settings_of(environment, auth="keys")), new_key("a"), new_key("b")

    with api_thread(app) as url, followed(url, **ours) as heard:
        post(url, **theirs)
        mine = post(url, **ours)

        assert next(heard).data["id"] == mine["id"]
        app.state.service.release()
        assert list(heard) == []


def test_a_stream_needs_a_key_where_all_do(guarded: TestClient) -> None:
    for path in ("/v1/events", f"/v1/videos/video_{UUID(int=1).hex}/events"):
        assert guarded.get(path).status_code == 401


def test_the_stream_of_one_video_ends_with_it(
    client: TestClient, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    video = client.post("/v1/videos", json=PROMPT).json()
    work(session_factory, storage, uuid_of(video), mp4())

    heard = list(read(iter(client.get(f"/v1/videos/{video['id']}/events").text.split("\n"))))

    assert [event.name for event in heard] == ["ready", "video"]
    assert heard[-1].data["status"] == "completed"


def test_one_video_is_followed_while_others_change(
    url: str, session_factory: sessionmaker[Session], storage: Storage
) -> None:
    video = post(url)
    with httpx.stream("GET", f"{url}/v1/videos/{video['id']}/events", trust_env=False, timeout=20) as answer:
        heard = read(answer.iter_lines())
        assert [next(heard).name, next(heard).data["status"]] == ["ready", "queued"]
        post(url)
        work(session_factory, storage, uuid_of(video), mp4())
        rest = list(heard)

    assert {event.data["id"] for event in rest} == {video["id"]}
    assert rest[-1].data["status"] == "completed"


def test_an_unknown_video_has_no_stream(client: TestClient) -> None:
    assert client.get(f"/v1/videos/video_{UUID(int=1).hex}/events").status_code == 404


@pytest.mark.parametrize("path", ["/v1/events", "/v1/videos/{}/events"])
def test_head_does_not_wait_for_the_end(client: TestClient, path: str) -> None:
    video = client.post("/v1/videos", json=PROMPT).json()

    answer = client.head(path.format(video["id"]))

    assert (answer.status_code, answer.content) == (200, b"")


def test_silence_is_broken_now_and_then(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.2)

    with httpx.stream("GET", f"{url}/v1/events", trust_env=False, timeout=20) as answer:
        assert next(line for line in answer.iter_lines() if line.startswith(":")) == events.HEARTBEAT.strip()


def test_a_shutdown_does_not_wait_for_listeners(api_server: Process) -> None:
    with followed(api_server.url) as heard:
        began = time.monotonic()

        api_server.terminate()
        assert list(heard) == []
        assert time.monotonic() - began < 4


def test_many_listeners_cost_one_look(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[list[str]] = []
    since = changes.since

    with followed(url) as first, followed(url) as second, followed(url) as third:
        monkeypatch.setattr(changes, "since", lambda *args, **more: looks.append(args[2]) or since(*args, **more))
        time.sleep(5 * events.LOOK_S)
        num_looks = len(looks)
        video = post(url)

        assert {next(heard).data["id"] for heard in (first, second, third)} == {video["id"]}
    assert 1 <= num_looks <= 6


def test_every_write_moves_a_job_behind_the_horizon(session_factory: sessionmaker[Session], storage: Storage) -> None:
    with transaction(session_factory) as session:
        job, _ = acceptance.accept(session, _job("x"))
    with transaction(session_factory) as session:
        low = changes.horizon(session)
        assert changes.since(session, low, ["local"], limit=10).rows == []

    work(session_factory, storage, job.id, mp4())

    with transaction(session_factory) as session:
        found = changes.since(session, low, ["local"], limit=10)
        assert [row.id for row in found.rows] == [job.id]
        assert found.horizon > low
        assert changes.since(session, found.horizon, ["local"], limit=10).rows == []


def test_rows_of_a_restored_database_are_not_told_for_ever(session_factory: sessionmaker[Session]) -> None:
    with transaction(session_factory) as session:
        job, _ = acceptance.accept(session, _job("x"))
        low = changes.horizon(session)
    with transaction(session_factory) as session:
        session.execute(text("UPDATE jobs SET changed = 1 << 40"))

    with transaction(session_factory) as session:
        assert changes.since(session, low, ["local"], limit=10).rows == []
        assert session.scalars(select(Job.id)).one() == job.id


def _job(prompt: str) -> Job:
    return Job(tenant="local", prompt=prompt, model="tiny", width=64, height=64, num_frames=16, fps=8)


def test_a_stream_ends_when_its_key_is_revoked_and_the_others_go_on(
    settings: ApiSettings,
    new_key: Callable[..., dict[str, str]],
    session_factory: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "KEYS_S", 0.1)
    mine, other = new_key("a"), new_key("a")
    app = create_app(settings.model_copy(update={"auth": "keys"}))
    with api_thread(app) as url:
        with followed(url, **mine) as ends, followed(url, **other) as goes_on:
            with transaction(session_factory) as session:
                keys.revoke(session, mine["Authorization"].split("-")[2])
            heard = list(ends)
            video = post(url, **other)
            told = next(goes_on)
        app.state.service.release()

    assert heard == []
    assert told.data["id"] == video["id"]


def test_who_comes_back_to_a_database_of_an_earlier_day_is_told_to_read_the_lists(url: str) -> None:
    with followed(url, **{"Last-Event-ID": "9" * 18}) as heard, followed(url) as other:
        video = post(url)

        assert [next(heard).name, next(heard).data["id"]] == ["reload", video["id"]]
        assert next(other).data["id"] == video["id"]  # the others are told as before


def test_a_listener_of_another_tenant_that_comes_while_a_look_is_under_way_misses_nothing(
    session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look reads the changes of the tenants that listened when it began, and moves the place to read on from."""
    told, may_look, is_looking = events.Events(session_factory), threading.Event(), threading.Event()
    look = told._look

    def late(tenants: Sequence[str]) -> object:
        is_looking.set()
        assert may_look.wait(20)
        return look(tenants)

    async def hear() -> str:
        first = told.listen(Caller(tenant="ada", group=None, scopes=frozenset()))
        assert "ready" in await anext(first)
        monkeypatch.setattr(told, "_look", late)
        is_looking.clear()
        assert await run_in_threadpool(is_looking.wait, 20)
        second = told.listen(Caller(tenant="bob", group=None, scopes=frozenset()))
        assert "ready" in await anext(second)
        heard = asyncio.create_task(anext(second))
        await asyncio.sleep(0.2)  # it has read what was before, which is nothing
        with transaction(session_factory) as session:
            asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
            acceptance.accept(session, Job(tenant="bob", **asked))
        may_look.set()
        try:
            return await asyncio.wait_for(heard, 5)
        finally:
            await first.aclose()
            await second.aclose()

    assert "a fox" in asyncio.run(hear())


def test_what_was_read_is_told_though_the_keys_cannot_be_looked_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 60.0)  # longer than the test waits for the event
    with followed(url) as heard:
        calls = iter([OperationalError("SELECT", None, Exception("the server is restarting"))])
        look = events.Events._look

        def fail_after_a_change(self: events.Events, tenants: Sequence[str]) -> object:
            found = look(self, tenants)
            monkeypatch.setattr(events, "KEYS_S", -1.0 if found[0] else 1e9)
            return found

        async def send_away(self: events.Events) -> None:
            if error := next(calls, None):
                raise error

        monkeypatch.setattr(events.Events, "_look", fail_after_a_change)
        monkeypatch.setattr(events.Events, "_send_away", send_away)

        video = post(url)

        assert next(heard).data["id"] == video["id"]
