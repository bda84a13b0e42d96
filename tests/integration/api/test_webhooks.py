"""Addresses are told what happened: signed, at least once, and never where the service must not call."""

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from running import mp4, settings_of, wait_until, work
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api import addresses, webhooks
from api.addresses import Blocked
from api.app import create_app
from api.broker import Broker
from api.outbox_relay import Relay
from api.webhooks import Webhooks
from db import jobs, keys
from db import webhooks as rows
from db.models import Delivery, Job, Webhook, WebhookCursor
from db.session import transaction
from db.states import JobStatus
from shared.storage import Storage

DOCUMENT = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
PROMPT = {"prompt": "a red circle", "metadata": {"scene": "12"}}
LONG_AGO = func.now() - text("interval '8 days'")


@dataclass(kw_only=True)
class Receiver:
    """A real HTTP server that remembers what it was told."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # to come, then 200
    hold: threading.Event | None = None  # answers wait for it

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://").partition("/")[0]


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    """Makes receivers on free ports of this machine."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread, Receiver]] = []

    def make() -> Receiver:
        receiver = Receiver()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, dict(self.headers), body))
                if receiver.hold is not None:
                    receiver.hold.wait(30)
                status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread, receiver))
        return receiver

    yield make
    for server, thread, receiver in servers:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    """One receiver."""
    return receivers()


@pytest.fixture
def hooked(environment: dict[str, str]) -> Iterator[TestClient]:
    """The API with keys, which may call this machine."""
    app = create_app(settings_of(environment, auth="keys", webhook_hosts="127.0.0.1"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def relay(session_factory: sessionmaker[Session], environment: dict[str, str]) -> Iterator[Webhooks]:
    """What a relay does with webhooks, turn by turn."""
    parts = Webhooks(session_factory, settings_of(environment, webhook_hosts="127.0.0.1"))
    yield parts
    parts.close()


def register(client: TestClient, url: str, headers: dict[str, str], **more: object) -> dict:
    answer = client.post("/v1/webhooks", json={"url": url, **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def submit(client: TestClient, headers: dict[str, str], **more: object) -> str:
    answer = client.post("/v1/videos", json={**PROMPT, **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def ended(client: TestClient, headers: dict[str, str], **more: object) -> str:
    id_ = submit(client, headers, **more)
    client.post(f"/v1/videos/{id_}/cancel", headers=headers)
    return id_


def turn(relay: Webhooks, session: Session) -> None:
    """A turn of the relay, and the end of all that it began."""
    relay.turn()
    wait_until(lambda: not relay._busy)
    session.rollback()


def verified(secret: str, headers: dict[str, str], body: bytes) -> dict:
    """What a receiver does, in the words of the documents."""
    code = next(
        one for one in re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL) if "hmac" in one
    )
    names: dict = {}
    exec(code, names)
    with pytest.raises(ValueError, match="not signed"):
        names["verified"](secret, headers, body + b" ")
    return names["verified"](secret, headers, body)


def test_an_endpoint_is_told_of_every_end_and_the_signature_holds(
    hooked: TestClient,
    new_key,
    relay: Webhooks,
    receiver: Receiver,
    session_factory,
    storage: Storage,
    session: Session,
) -> None:
    mine, other = new_key("a"), new_key("b")
    before = ended(hooked, mine)
    relay.turn()
    hook = register(hooked, receiver.url, mine)
    done, failed, cancelled = submit(hooked, mine), submit(hooked, mine), ended(hooked, mine)
    ended(hooked, other)
    work(session_factory, storage, UUID(done[6:]), mp4())
    with transaction(session_factory) as own:
        claim = jobs.claim(own, UUID(failed[6:]), owner="w", lease_s=30)
        jobs.fail(own, claim, code="model_unavailable", message="no model")

    for _ in range(3):  # at most two at once go to one address
        turn(relay, session)

    secret = hooked.get("/v1/webhooks/secret", headers=mine).json()["secret"]
    told = {one["data"]["id"]: one for one in (verified(secret, headers, body) for _, headers, body in receiver.got)}
    assert {id_: one["type"] for id_, one in told.items()} == {
        done: "video.completed",
        failed: "video.failed",
        cancelled: "video.cancelled",
    }
    assert before not in told
    assert told[done]["data"] == hooked.get(f"/v1/videos/{done}", headers=mine).json()
    assert told[done]["data"]["usage"]["gpu_seconds"] == 0.5
    path, headers, _ = receiver.got[0]
    assert (path, headers["Host"], headers["Content-Type"]) == ("/hook", receiver.host, "application/json")
    shown = hooked.get(f"/v1/webhooks/{hook['id']}", headers=mine).json()["last_delivery"]
    assert (shown["state"], shown["status"], shown["error"], shown["attempt"]) == ("delivered", 200, None, 1)


def test_a_video_may_name_an_address_of_its_own_which_nobody_is_shown(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")

    id_ = ended(hooked, mine, webhook_url=receiver.url + "?token=hush")
    turn(relay, session)
    turn(relay, session)

    ((path, headers, body),) = receiver.got
    secret = hooked.get("/v1/webhooks/secret", headers=mine).json()["secret"]
    assert path == "/hook?token=hush"
    assert verified(secret, headers, body)["data"]["id"] == id_
    assert b"hush" not in body
    assert "hush" not in hooked.get(f"/v1/videos/{id_}", headers=mine).text


def test_what_was_not_taken_is_sent_again_later_and_in_the_same_words(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    hook = register(hooked, receiver.url, mine, events=["video.cancelled"])
    receiver.answers = [(500, {}), (302, {"Location": "http://127.0.0.1:1/elsewhere"})]
    ended(hooked, mine)

    for number in range(3):
        turn(relay, session)
        assert len(receiver.got) == number + 1
        turn(relay, session)  # it is not due yet
        assert len(receiver.got) == number + 1
        if number == 0:
            last = hooked.get(f"/v1/webhooks/{hook['id']}", headers=mine).json()["last_delivery"]
            assert (last["status"], last["error"]) == (500, "answered 500")
            assert last["next_attempt_at"] >= last["tried_at"] + 4
        session.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=func.now()))
        session.commit()
    turn(relay, session)

    assert len(receiver.got) == 3  # a redirect was not followed, the third was taken
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.got}) == 1
    assert session.scalars(select(Delivery.status)).one() == 200


def test_a_delivery_that_is_under_way_says_so_and_nothing_of_the_attempt_before(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    hook = register(hooked, receiver.url, mine)
    receiver.answers = [(500, {})]
    ended(hooked, mine)

    def last() -> dict[str, Any]:
        return hooked.get(f"/v1/webhooks/{hook['id']}", headers=mine).json()["last_delivery"]

    turn(relay, session)
    before = last()
    session.execute(update(Delivery).values(due_at=func.now()))
    session.commit()
    receiver.hold = threading.Event()
    relay.turn()
    wait_until(lambda: len(receiver.got) == 2)
    meanwhile = last()
    receiver.hold.set()
    wait_until(lambda: not relay._busy)

    assert (before["state"], before["attempt"], before["error"]) == ("failed", 1, "answered 500")
    assert meanwhile == {**meanwhile, "state": "sending", "attempt": 2, "status": None, "error": None}
    assert meanwhile["next_attempt_at"] is None
    assert last()["state"] == "delivered"


def test_a_receiver_that_is_gone_or_never_answers_well_is_given_up(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    register(hooked, receiver.url, mine)
    receiver.answers = [(410, {}), (500, {})]
    ended(hooked, mine)
    turn(relay, session)
    assert session.scalars(select(Delivery.due_at)).one() is None

    ended(hooked, mine)
    session.execute(text("ALTER TABLE webhook_deliveries ALTER attempt SET DEFAULT 11"))
    session.commit()
    turn(relay, session)

    assert len(receiver.got) == 2
    assert session.scalars(select(Delivery.due_at)).all() == [None, None]
    assert sum(webhooks.PAUSES_S) > 48 * 3600


def test_a_relay_that_dies_while_it_sends_leaves_it_to_the_next(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    register(hooked, receiver.url, mine)
    ended(hooked, mine)
    relay._collect()
    with transaction(relay._factory) as dying:
        assert len(rows.take(dying, limit=9, busy=[], most_each=2, most_of_tenant=9)) == 1  # and never heard of again
    turn(relay, session)
    assert receiver.got == []

    session.execute(update(Delivery).values(due_at=func.now()))  # its lease is over
    session.commit()
    turn(relay, session)

    assert len(receiver.got) == 1


def test_a_slow_receiver_holds_up_itself_alone(
    hooked: TestClient, new_key, relay: Webhooks, receivers: Callable[[], Receiver], session: Session
) -> None:
    slow, quick = receivers(), receivers()
    slow.hold = threading.Event()
    one, two = new_key("a"), new_key("b")
    register(hooked, slow.url, one)
    register(hooked, quick.url, two)
    for _ in range(12):
        ended(hooked, one)
    relay.turn()
    wait_until(lambda: len(slow.got) == webhooks.MOST_EACH)

    ended(hooked, two)
    relay.turn()  # which returns although nobody answers

    wait_until(lambda: len(quick.got) == 1)
    assert len(slow.got) == webhooks.MOST_EACH
    slow.hold.set()


def test_an_address_for_which_no_thread_was_to_be_had_is_told_once_there_is_one(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    register(hooked, receiver.url, mine)
    begin = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name.startswith("webhook"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    with pytest.MonkeyPatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_thread)
        for _ in range(webhooks.MOST_EACH):
            ended(hooked, mine)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                relay.turn()
    session.execute(update(Delivery).values(due_at=func.now()))
    session.commit()
    relay.turn()

    wait_until(lambda: len(receiver.got) == webhooks.MOST_EACH)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == webhooks.MOST_EACH


@contextmanager
def drip(pause_s: float) -> Iterator[str]:
    """A receiver that begins to answer and never ends: a character of one header after the other."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as line, suppress(OSError):
                line.sendall(b"HTTP/1.1 200 OK\r\nX-Mud: ")
                while not over.wait(pause_s):
                    line.sendall(b"x")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        finally:
            over.set()
            thread.join()


def test_a_receiver_that_answers_drop_by_drop_is_given_up_in_time(
    hooked: TestClient, new_key, relay: Webhooks, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 0.5)
    mine = new_key("a")

    with drip(pause_s=0.1) as url:
        register(hooked, url, mine)
        ended(hooked, mine)
        turn(relay, session)

    assert session.scalars(select(Delivery.error)).one() == "no answer within 0.5 s"


def test_a_tenant_with_many_slow_receivers_holds_up_itself_alone(
    hooked: TestClient, new_key, relay: Webhooks, receivers: Callable[[], Receiver], session: Session
) -> None:
    """Addresses of its own cost a tenant nothing: each video may name another."""
    slow, quick = receivers(), receivers()
    slow.hold = threading.Event()
    one, two = new_key("a"), new_key("b")
    for number in range(webhooks.NUM_SENDERS):
        ended(hooked, one, webhook_url=f"{slow.url}/{number}")
    for _ in range(2):
        relay.turn()
    wait_until(lambda: len(slow.got) == webhooks.MOST_OF_TENANT)

    ended(hooked, two, webhook_url=quick.url)
    relay.turn()

    wait_until(lambda: len(quick.got) == 1)
    assert len(slow.got) == webhooks.MOST_OF_TENANT
    slow.hold.set()


def test_the_duty_that_fails_holds_up_no_publishing(
    settings, engine, storage: Storage, redis_url: str, monkeypatch: pytest.MonkeyPatch, client: TestClient, session
) -> None:
    monkeypatch.setattr(Webhooks, "_collect", lambda _: 1 / 0)
    relay = Relay(settings, engine, Broker(redis_url), storage)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        client.post("/v1/videos", json=PROMPT)
        published = select(func.count()).where(Job.status == JobStatus.QUEUED, Job.published_at.is_not(None))
        wait_until(lambda: session.rollback() or session.scalar(published) == 1)
    finally:
        relay.stop()
        thread.join()


def heard(factory: sessionmaker[Session]) -> tuple[list[UUID], bool]:
    """Videos that ended since the last time, and whether anything was written."""
    with transaction(factory) as session:
        found = [row.id for page in rows.ended(session, ["a"]) for row in page]
        session.flush()
        return found, session.scalar(text("SELECT pg_current_xact_id_if_assigned()")) is not None


def test_nothing_is_written_while_no_video_changes(hooked: TestClient, new_key, session_factory) -> None:
    id_ = UUID(ended(hooked, new_key("a"))[6:])

    assert heard(session_factory) == ([id_], True)
    assert [heard(session_factory) for _ in range(3)] == [([], False)] * 3
    submit(hooked, new_key("b"))  # of nobody who wants to hear
    assert heard(session_factory) == ([], True)
    assert heard(session_factory) == ([], False)


def test_one_process_reads_what_ended_and_the_others_do_not_wait(hooked: TestClient, new_key, session_factory) -> None:
    id_ = UUID(ended(hooked, new_key("a"))[6:])

    with transaction(session_factory) as first:
        pages = rows.ended(first, ["a"])
        assert [row.id for row in next(pages)] == [id_]
        assert heard(session_factory) == ([], False)
        assert list(pages) == []
    assert heard(session_factory) == ([], False)


def test_a_restored_database_with_numbers_of_the_future_tells_what_ends(
    hooked: TestClient, new_key, session_factory, session: Session
) -> None:
    session.execute(update(WebhookCursor).values(horizon=10**12))
    session.commit()

    assert heard(session_factory) == ([], True)
    id_ = UUID(ended(hooked, new_key("a"))[6:])
    assert heard(session_factory) == ([id_], True)
    assert heard(session_factory) == ([], False)


def test_an_endpoint_of_a_revoked_key_is_told_nothing(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session, session_factory
) -> None:
    gone, stays = new_key("a"), new_key("a")
    register(hooked, receiver.url, gone)
    ended(hooked, stays)
    relay._collect()
    with transaction(session_factory) as own:
        keys.revoke(own, gone["Authorization"].split("-")[2])

    ended(hooked, stays)
    turn(relay, session)

    assert receiver.got == []


def test_a_video_of_long_ago_is_not_told_anew_when_its_row_is_written_again(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = {**new_key("a"), "Idempotency-Key": "nightly"}
    ended(hooked, mine, webhook_url=receiver.url)
    turn(relay, session)
    assert len(receiver.got) == 1
    session.execute(update(Job).values(created_at=LONG_AGO, finished_at=LONG_AGO))
    session.execute(update(Delivery).values(created_at=LONG_AGO))
    rows.sweep(session, limit=10)
    session.commit()

    submit(hooked, mine, webhook_url=receiver.url)  # which takes the key from the old one
    turn(relay, session)

    assert len(receiver.got) == 1


def test_an_endpoint_is_told_nothing_of_what_ended_before_it_was_there(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    ended(hooked, mine)
    relay.turn()
    register(hooked, receiver.url, mine)

    session.execute(
        update(Job).values(receipt={"wrong_match": True}, changed=text("pg_current_xact_id()::text::bigint"))
    )
    session.commit()
    turn(relay, session)

    assert receiver.got == []


def test_after_a_rotation_both_secrets_sign_for_a_day(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session
) -> None:
    mine = new_key("a")
    register(hooked, receiver.url, mine)
    old = hooked.get("/v1/webhooks/secret", headers=mine).json()["secret"]
    new = hooked.post("/v1/webhooks/secret/rotate", headers=mine).json()["secret"]
    ended(hooked, mine)
    turn(relay, session)
    session.execute(text("UPDATE webhook_secrets SET previous_until = now()"))
    session.commit()
    ended(hooked, mine)
    turn(relay, session)

    (_, first, body), (_, second, later) = receiver.got
    assert old != new
    verified(old, first, body)
    verified(new, first, body)
    verified(new, second, later)
    assert len(second["webhook-signature"].split()) == 1


def test_tenants_see_their_own_endpoints_and_who_may_look_no_secret(hooked: TestClient, new_key) -> None:
    mine, other, looks = new_key("a"), new_key("b"), new_key("a", scopes=["read"])
    hook = register(hooked, "https://example.org/hook", mine)

    assert hooked.get(f"/v1/webhooks/{hook['id']}", headers=other).status_code == 404
    assert hooked.delete(f"/v1/webhooks/{hook['id']}", headers=other).status_code == 404
    assert hooked.get("/v1/webhooks", headers=other).json()["data"] == []
    assert hooked.get("/v1/webhooks/secret", headers=looks).status_code == 403
    assert hooked.get("/v1/webhooks/secret", headers=other) != hooked.get("/v1/webhooks/secret", headers=mine)
    assert hooked.delete(f"/v1/webhooks/{hook['id']}", headers=mine).json()["deleted"] is True


# URL → what is wrong with it
NEVER = [
    ("http://example.org/hook", "is not an https URL, and the operator has not named its host in CHAI_WEBHOOK_HOSTS"),
    ("https://127.0.0.1/hook", "leads to 127.0.0.1: no public address, and only those are called"),
    ("https://[::1]/hook", "leads to ::1: no public address, and only those are called"),
    ("https://[::ffff:10.0.0.1]/", "leads to ::ffff:a00:1: no public address, and only those are called"),
    ("https://169.254.169.254/latest/meta-data", "leads to 169.254.169.254: no public address, and only those are"),
    ("https://me:secret@example.org/", "holds a user name; put a secret into the path, or check the signature"),
    ("ftp://example.org/", "is not an https URL; write it like https://example.org/hook"),
    ("https:///hook", "is not an https URL; write it like https://example.org/hook"),
    ("https://a..b/", "is no URL ("),
    (f"https://{'a' * 64}.org/", "is no URL ("),
    ("https://example.org:99999/", "is no URL (Port out of range 0-65535)"),
    ("https://example.org/\r\nX: y", "holds the control character"),
]


@pytest.mark.parametrize(("url", "said"), NEVER)
def test_an_address_that_is_never_called_is_refused_at_once(shared_client: TestClient, url: str, said: str) -> None:
    if "control" in said:
        url, said = url.replace("\r\n", "\x0b"), said
    registered = shared_client.post("/v1/webhooks", json={"url": url})
    submitted = shared_client.post("/v1/videos", json={**PROMPT, "webhook_url": url})

    assert (registered.status_code, submitted.status_code) == (400, 400)
    assert registered.json()["error"]["message"].startswith(f"url {said}")
    assert submitted.json()["error"]["message"].startswith(f"webhook_url {said}")


# what a name resolves to, all of them private in one way or another
PRIVATE = [
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.2",
    "0.0.0.0",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_not_called(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))
    private = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, private])

    with pytest.raises(Blocked, match=r"leads to example\.org, .*: no public address"):
        addresses.resolve(addresses.check("https://example.org/hook", ()), ())


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f.1/", "https://127.1/"])
def test_numbers_that_are_addresses_in_disguise_lead_nowhere(url: str) -> None:
    with pytest.raises(Blocked, match="no public address"):
        addresses.resolve(addresses.check(url, ()), ())


def told_at(url: str) -> Webhook:
    return Webhook(tenant="a", url=url, events=["video.cancelled"])


def test_the_connection_goes_to_the_address_that_was_looked_at(
    hooked: TestClient, new_key, relay: Webhooks, receivers, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, elsewhere = receivers(), receivers()
    port = looked_at.host.partition(":")[2]
    real, answers = socket.getaddrinfo, iter(["127.0.0.1"])

    def rebound(host: str, *rest: object, **more: object) -> list:
        if host == "hook.example":  # a second question would be answered with another place, if it were asked
            found = next(answers, None)
            assert found, "the name was looked up twice"
            return real(found, port, type=socket.SOCK_STREAM)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    relay._allowed = hooked.app.state.service.settings.webhook_allowed | {"hook.example"}
    mine = new_key("a")
    with transaction(relay._factory) as own:
        rows.register(
            own, Webhook(tenant="a", key=None, url=f"http://hook.example:{port}/x", events=["video.cancelled"])
        )
    ended(hooked, mine)

    turn(relay, session)

    assert [(path, headers["Host"]) for path, headers, _ in looked_at.got] == [("/x", f"hook.example:{port}")]
    assert elsewhere.got == []


@pytest.mark.parametrize("dead", [["::1"], ["127.0.0.2", "::1"], []], ids=["IPv6", "several", "none"])
def test_a_name_with_several_addresses_is_reached_at_whichever_answers(
    hooked: TestClient,
    new_key,
    relay: Webhooks,
    receiver: Receiver,
    session: Session,
    dead: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`localhost` is ::1 first where a receiver listens at 127.0.0.1 alone; a host may have no way to IPv6."""
    port = int(receiver.host.partition(":")[2])
    named(monkeypatch, "hook.example", [*dead, "127.0.0.1", "127.0.0.3"], port)
    relay._allowed = frozenset({"hook.example"})
    with transaction(relay._factory) as own:
        rows.register(
            own, Webhook(tenant="a", key=None, url=f"http://hook.example:{port}/x", events=["video.cancelled"])
        )
    ended(hooked, new_key("a"))

    turn(relay, session)

    assert [path for path, _, _ in receiver.got] == ["/x"]


def test_a_name_none_of_whose_addresses_answers_is_tried_again_later(
    hooked: TestClient, new_key, relay: Webhooks, receiver: Receiver, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.host.partition(":")[2])
    named(monkeypatch, "hook.example", ["::1", "127.0.0.2"], port)
    relay._allowed = frozenset({"hook.example"})
    with transaction(relay._factory) as own:
        rows.register(
            own, Webhook(tenant="a", key=None, url=f"http://hook.example:{port}/x", events=["video.cancelled"])
        )
    ended(hooked, new_key("a"))

    turn(relay, session)

    (delivery,) = session.scalars(select(Delivery))
    assert delivery.error.startswith("no answer (ConnectError: ")
    assert delivery.attempt == 1
    assert receiver.got == []


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", None])
def test_a_receiver_with_a_certificate_of_the_house_is_trusted_where_the_environment_names_it(
    hooked: TestClient,
    new_key,
    relay: Webhooks,
    session: Session,
    tmp_path: Path,
    name: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate, key = certified(tmp_path, "hook.example")
    for one in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(one, raising=False)
    if name:
        monkeypatch.setenv(name, str(certificate if name == "SSL_CERT_FILE" else tmp_path))
    webhooks._trusted.cache_clear()
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a handshake that the caller breaks off
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    named(monkeypatch, "hook.example", ["127.0.0.1"], server.server_port)
    relay._allowed = frozenset({"hook.example"})
    with transaction(relay._factory) as own:
        url = f"https://hook.example:{server.server_port}/x"
        rows.register(own, told_at(url))
    ended(hooked, new_key("a"))

    turn(relay, session)

    server.shutdown()
    thread.join()
    server.server_close()
    webhooks._trusted.cache_clear()
    assert got == (["/x"] if name else [])
    (delivery,) = session.scalars(select(Delivery))
    assert ("CERTIFICATE_VERIFY_FAILED" in (delivery.error or "")) == (name is None)


def certified(folder: Path, host: str) -> tuple[Path, Path]:
    """Make a certificate of a host that vouches for itself, and link it as OpenSSL looks for it in a folder."""
    certificate, key = folder / "house.pem", folder / "house.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", key, "-out", certificate]
    subprocess.run(made, check=True, capture_output=True)
    asked = ["openssl", "x509", "-noout", "-hash", "-in", certificate]
    hashed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    (folder / f"{hashed}.0").symlink_to(certificate)
    return certificate, key


def named(monkeypatch: pytest.MonkeyPatch, name: str, found: list[str], port: int) -> None:
    """Let a name lead to these addresses, in this order."""
    real = socket.getaddrinfo

    def resolved(host: str, *rest: object, **more: object) -> list:
        if host == name:
            return [info for one in found for info in real(one, port, type=socket.SOCK_STREAM)]
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
