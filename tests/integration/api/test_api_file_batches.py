"""Batches of files under bad lines, crashes, limits and other tenants."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from open_transactions import num_standing
from running import relay_process, settings_of, wait_until
from sqlalchemy import Engine, event, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from api import file_batches as parts
from api import file_lines, sweeps
from api.file_batches import FileBatches
from api.file_lines import MAX_LINE_BYTES
from db import batches, identities, jobs
from db import files as stored_files
from db.models import File, FileBatch, Job, RefusedLine
from db.session import transaction
from shared.storage import FILES, Storage, StorageError

BATCH = {"endpoint": "/v1/videos", "completion_window": "24h"}


def line(number: int, **body: object) -> dict:
    request = {"prompt": f"circle {number}", **body}
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/videos", "body": request}


def text(*lines: object) -> bytes:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()


def upload(client: TestClient, content: bytes, **more: Any) -> str:
    answer = client.post("/v1/files", files={"file": ("night.jsonl", content)}, data={"purpose": "batch"}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def begin(client: TestClient, content: bytes, **more: Any) -> str:
    answer = client.post("/v1/batches", json={"input_file_id": upload(client, content, **more), **BATCH}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


@pytest.fixture
def relay(session_factory: sessionmaker[Session], storage: Storage, environment: dict[str, str]) -> FileBatches:
    """What a relay does with batches, step by step."""
    return FileBatches(session_factory, storage, settings_of(environment))


def errors(client: TestClient, batch: dict) -> list[dict]:
    content = client.get(f"/v1/files/{batch['error_file_id']}/content").content
    return [json.loads(one) for one in content.splitlines()]


# a line → the code of what is wrong with it, and a part of the sentence
BAD = [
    ("{", "invalid_json", "the body is not JSON"),
    ("[]", "invalid_json", "is not a JSON object"),
    ({**line(1), "custom_id": ""}, "invalid_value", "custom_id is empty"),
    ({**line(1), "method": "GET"}, "invalid_value", "method 'GET' is not known; use 'POST'"),
    ({**line(1), "url": "/v1/images"}, "invalid_value", "url '/v1/images' is not known; use '/v1/videos'"),
    ({**line(1), "extra": 1}, "unknown_field", "extra is not a field of this request"),
    (line(1, custom_id="x"), "unknown_field", "body.custom_id is not a field of this request"),
    (line(1, prompt=""), "invalid_value", "prompt is empty"),
    (line(1, webhook_url="https://10.0.0.1/"), "invalid_value", "webhook_url leads to 10.0.0.1: no public address"),
    (line(1, model="sora-2"), "unknown_model", "model 'sora-2' is not here"),
    (line(1, metadata={"a": "x" * MAX_LINE_BYTES}), "line_too_long", f"more than {MAX_LINE_BYTES} bytes"),
    ({**line(1), "custom_id": "a\0b"}, "invalid_value", "custom_id holds the control character U+0000"),
    ('{"custom_id": "half \\ud800", "method": "POST", "url": "/v1/videos", "body": {}}', "invalid_value", "custom_id"),
]


def test_a_bad_line_costs_itself_only(client: TestClient, relay: FileBatches, session: Session) -> None:
    id_ = begin(client, b"\xef\xbb\xbf" + text(line(0), *(bad for bad, _, _ in BAD), "", line(99)) + b"\r\n")

    while relay.turn():
        pass

    prompts = session.scalars(select(Job.prompt).order_by(Job.created_at)).all()
    assert prompts == ["circle 0", "circle 99"]
    client.post(f"/v1/batches/{id_}/cancel")
    while relay.turn():
        pass
    batch = client.get(f"/v1/batches/{id_}").json()
    assert batch["request_counts"] == {"total": len(BAD) + 2, "completed": 0, "failed": len(BAD) + 2}
    found = errors(client, batch)
    assert len(found) == len(BAD) + 2
    for number, ((_, code, said), told) in enumerate(zip(BAD, found, strict=False), 2):
        error = told["response"]["body"]["error"]
        assert (told["line"], error["code"]) == (number, code)
        assert said in error["message"]


def test_a_line_of_results_is_one_to_every_reader(client: TestClient, relay: FileBatches) -> None:
    """`splitlines` and `iter_lines` cut a text at ends of lines that JSON leaves as they are."""
    name = "shot\u2028one\u2029"
    id_ = begin(client, text({**line(1, prompt="a red\u2028circle"), "custom_id": name}))
    while relay.turn():
        pass
    client.post(f"/v1/batches/{id_}/cancel")
    while relay.turn():
        pass

    content = client.get(f"/v1/files/{client.get(f'/v1/batches/{id_}').json()['error_file_id']}/content")

    (told,) = content.text.splitlines()
    assert json.loads(told)["custom_id"] == name


def test_reading_goes_on_after_a_crash_without_a_line_lost_or_doubled(
    client: TestClient, relay: FileBatches, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "CHUNK", 3)
    id_ = begin(client, text(*(line(number) for number in range(4)), "bad", *(line(number) for number in range(4, 8))))
    assert relay.turn()

    with monkeypatch.context() as patch:  # power is cut after the lines were written and before the commit
        patch.setattr(parts.file_batches, "refuse", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            relay.turn()
    while relay.turn():
        pass

    assert session.scalars(select(Job.custom_id).order_by(Job.created_at)).all() == [f"line-{n}" for n in range(8)]
    assert session.scalars(select(RefusedLine.line)).all() == [5]
    shown = client.get(f"/v1/batches/{id_}").json()
    assert (shown["status"], shown["request_counts"]) == ("in_progress", {"total": 9, "completed": 0, "failed": 1})


def test_a_killed_relay_leaves_a_file_that_the_next_one_reads_to_its_end(
    client: TestClient, environment: dict[str, str], tmp_path: Path, session_factory: sessionmaker[Session]
) -> None:
    number = 3000
    id_ = begin(client, text(*(line(one) if one % 10 else "bad" for one in range(number))))

    def num_jobs() -> int:
        with session_factory() as session:
            return session.scalar(select(func.count()).select_from(Job))

    with relay_process(environment, tmp_path) as relay:
        wait_until(lambda: num_jobs() > 0)
        relay.kill()
    with relay_process(environment, tmp_path):
        wait_until(lambda: client.get(f"/v1/batches/{id_}").json()["status"] == "in_progress", timeout_s=60)

    with session_factory() as session:
        assert session.scalar(select(func.count(func.distinct(Job.custom_id)))) == num_jobs() == number * 9 // 10
        assert session.scalar(select(func.count()).select_from(RefusedLine)) == number // 10


def test_what_has_not_ended_in_its_24_hours_is_expired(
    client: TestClient, relay: FileBatches, session: Session
) -> None:
    id_ = begin(client, text(line(1), line(2)))
    relay.turn()
    session.execute(update(FileBatch).values(expires_at=func.now()))
    session.commit()

    relay.turn()
    batches.finish(session)
    session.commit()
    while relay.turn():
        pass

    batch = client.get(f"/v1/batches/{id_}").json()
    assert (batch["status"], batch["output_file_id"]) == ("expired", None)
    assert batch["expired_at"] >= batch["finalizing_at"]
    assert [one["error"]["code"] for one in errors(client, batch)] == ["batch_expired"] * 2


def test_files_are_written_while_no_transaction_stands_open(
    client: TestClient, relay: FileBatches, session: Session, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a long batch may take longer than the database lets one stand."""
    standing, writing = [], Storage.writing

    @contextmanager
    def watched(storage: Storage, name: str) -> Iterator[IO[bytes]]:
        with writing(storage, name) as stream:
            yield stream
            standing.append(num_standing(engine))

    monkeypatch.setattr(Storage, "writing", watched)
    id_ = begin(client, text(line(1), line(2), "bad"))
    relay.turn()
    for video in session.scalars(select(Job.id)).all():
        jobs.request_cancel(session, "local", video)
    batches.finish(session)
    session.commit()
    standing.clear()

    while relay.turn():
        pass

    assert client.get(f"/v1/batches/{id_}").json()["status"] == "completed"
    assert standing == [0]


def test_the_same_idempotency_key_gives_the_same_batch(client: TestClient) -> None:
    first, second = (upload(client, text(line(number))) for number in range(2))
    key = {"Idempotency-Key": "k"}

    made = [client.post("/v1/batches", json={"input_file_id": first, **BATCH}, headers=key) for _ in range(2)]
    life = {"output_expires_after": {"anchor": "created_at", "seconds": 3600}}
    others = [{"input_file_id": second}, {"input_file_id": first, **life}]
    refused = [client.post("/v1/batches", json={**BATCH, **other}, headers=key) for other in others]

    assert made[0].json() == made[1].json()
    assert made[1].headers["idempotent-replayed"] == "true"
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_a_batch_is_a_bulk_run_that_can_be_paused_and_not_added_to(client: TestClient, relay: FileBatches) -> None:
    id_ = begin(client, text(line(1)))
    run = client.get(f"/v1/bulk-runs/{id_}").json()
    added = client.post(f"/v1/bulk-runs/{id_}/items", json={"items": [{"custom_id": "x", "prompt": "a"}]})
    relay.turn()

    paused = client.post(f"/v1/bulk-runs/{id_}/pause").json()
    again = client.post(f"/v1/bulk-runs/{id_}/retry")

    assert (run["name"], run["object"]) == ("night.jsonl", "bulk_run")
    assert (paused["id"], paused["status"]) == (id_, "paused")
    assert [answer.json()["error"]["code"] for answer in (added, again)] == ["batch_of_a_file"] * 2
    assert [video["batch_id"] for video in client.get(f"/v1/videos?batch_id={id_}").json()["data"]] == [id_]


def test_a_file_with_too_many_lines_fails_its_batch(environment: dict[str, str]) -> None:
    from api.app import create_app

    settings = settings_of(environment, max_batch_jobs=2)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        id_ = begin(client, text(line(1), "", line(2), line(3)))

        batch = client.get(f"/v1/batches/{id_}").json()

    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["message"] == "the file has 3 lines and may have 2; make several"


def test_a_file_that_vanished_fails_its_batch(client: TestClient, relay: FileBatches, storage: Storage) -> None:
    id_ = begin(client, text(line(1)))
    for file in storage.files(FILES):
        storage.remove(file.name)

    relay.turn()

    batch = client.get(f"/v1/batches/{id_}").json()
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "input_file_gone")


def test_a_file_that_breaks_its_reading_fails_its_batch_and_slows_no_other(
    client: TestClient, relay: FileBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, other = begin(client, text(line(0), line(1))), begin(client, text(line(2)))

    def break_on(found: Any, request: Callable[[Any], Any] = file_lines.request) -> Any:
        if b"circle 1" in found.content:
            raise ValueError("a string literal cannot contain this")
        return request(found)

    monkeypatch.setattr(file_lines, "request", break_on)
    for _ in range(parts.GIVE_UP - 1):
        with pytest.raises(ValueError, match="cannot contain"):
            relay.turn()
    while relay.turn():
        pass

    failed = client.get(f"/v1/batches/{poison}").json()
    assert failed["status"] == "failed"
    assert failed["errors"]["data"][0]["code"] == "unreadable_line"
    assert client.get(f"/v1/batches/{other}").json()["status"] == "in_progress"


def test_nothing_is_kept_of_a_broken_file_whose_batch_was_ended_otherwise(
    client: TestClient, relay: FileBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = begin(client, text(line(0)))

    def break_on(_: Any) -> Any:
        raise ValueError("a string literal cannot contain this")

    monkeypatch.setattr(file_lines, "request", break_on)
    with pytest.raises(ValueError, match="cannot contain"):
        relay.turn()
    client.post(f"/v1/batches/{id_}/cancel")
    while FileBatches(relay._factory, relay._storage, relay._settings).turn():  # another relay
        pass

    relay.turn()

    assert client.get(f"/v1/batches/{id_}").json()["status"] == "cancelled"
    assert not relay._broken


def test_a_service_that_is_away_fails_no_batch(
    client: TestClient, relay: FileBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = begin(client, text(line(0)))

    def broken(*_: object) -> None:
        raise StorageError("the bucket is away")

    with monkeypatch.context() as patch:
        patch.setattr(parts.files, "get", broken)
        for _ in range(2 * parts.GIVE_UP):
            with pytest.raises(StorageError):
                relay.turn()
    while relay.turn():
        pass

    assert client.get(f"/v1/batches/{id_}").json()["status"] == "in_progress"


def test_a_file_that_is_missing_with_its_storage_fails_no_batch(
    client: TestClient, relay: FileBatches, session: Session, storage: Storage
) -> None:
    id_ = begin(client, text(line(1)))
    identities.adopt_storage(session, uuid4())
    session.commit()
    for file in storage.files(FILES):  # of another storage nothing is there
        storage.remove(file.name)

    with pytest.raises(StorageError, match="has no id, the service's storage"):
        relay.turn()

    assert client.get(f"/v1/batches/{id_}").json()["status"] == "validating"


def test_other_tenants_know_neither_file_nor_batch(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    mine, other = new_key("a"), new_key("b")
    file = upload(guarded, text(line(1)), headers=mine)
    batch = guarded.post("/v1/batches", json={"input_file_id": file, **BATCH}, headers=mine).json()["id"]

    for method, path in [
        ("GET", f"/v1/files/{file}"),
        ("GET", f"/v1/files/{file}/content"),
        ("DELETE", f"/v1/files/{file}"),
        ("GET", f"/v1/batches/{batch}"),
        ("POST", f"/v1/batches/{batch}/cancel"),
        ("GET", f"/v1/files?after={file}"),
    ]:
        assert guarded.request(method, path, headers=other).status_code == 404, path
    begun = guarded.post("/v1/batches", json={"input_file_id": file, **BATCH}, headers=other)
    assert begun.status_code == 404
    for path in ("/v1/files", "/v1/batches"):
        assert guarded.get(path, headers=other).json()["data"] == []


def test_a_key_with_little_room_gets_no_batch(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    headers = new_key("a", max_queued=1)
    file = upload(guarded, text(line(1), line(2)), headers=headers)

    answer = guarded.post("/v1/batches", json={"input_file_id": file, **BATCH}, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert guarded.get("/v1/bulk-runs", headers=headers).json()["data"] == []


def test_lines_that_are_still_to_be_read_wait_too(guarded: TestClient, new_key: Callable[..., dict[str, str]]) -> None:
    headers = new_key("a", max_queued=3)
    begin(guarded, text(line(1), line(2)), headers=headers)

    file = upload(guarded, text(line(1), line(2)), headers=headers)
    second = guarded.post("/v1/batches", json={"input_file_id": file, **BATCH}, headers=headers)
    video = guarded.post("/v1/videos", json={"prompt": "a circle"}, headers=headers)

    assert (second.status_code, second.json()["error"]["code"]) == (429, "queue_full")
    assert second.json()["error"]["message"] == "2 videos wait and this key allows 3; try again when some have run"
    assert video.status_code == 200


FORM = "multipart/form-data; boundary=x"
PURPOSE = '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
FILE = '--x\r\nContent-Disposition: form-data; name="file"; filename="../../etc/passwd"\r\n\r\n{}\r\n'

# type, body → status and a part of the sentence
REFUSED = [
    ("application/json", "{}", 415, "Content-Type 'application/json' is not read here; send multipart/form-data"),
    ("multipart/form-data", "x", 400, "Content-Type has no boundary"),
    (FORM, PURPOSE + "--x--\r\n", 400, "file is missing; add it"),
    (FORM, FILE + "--x--\r\n", 400, "purpose is missing; add it"),
    (FORM, PURPOSE + FILE, 400, "the form ends in the middle"),
    (FORM, FILE + FILE + "--x--\r\n", 400, "file is given twice"),
    (FORM, PURPOSE + FILE.replace('"file"', '"other"') + "--x--\r\n", 400, "other is a file, and file is the only one"),
    (FORM, PURPOSE.replace("batch", "b" * 2000) + FILE + "--x--\r\n", 400, "purpose has more than 1024 bytes"),
    (
        FORM,
        PURPOSE + PURPOSE.replace("purpose", "colour") + FILE + "--x--\r\n",
        400,
        "colour is not a field of this request",
    ),
    (FORM, PURPOSE + FILE.replace("passwd", "\udcff") + "--x--\r\n", 400, "file's name is not UTF-8 at byte 10"),
    (FORM, PURPOSE + FILE.replace("passwd", "\0") + "--x--\r\n", 400, "holds U+0000; remove it"),
    (FORM, PURPOSE + PURPOSE.replace("purpose", "file") + "--x--\r\n", 400, "file is a text field here, not a file"),
    (FORM, "nonsense", 400, "the body is not multipart/form-data as its Content-Type says"),
]


@pytest.mark.parametrize(("type_", "body", "status", "said"), REFUSED)
def test_a_refused_upload_leaves_nothing(
    client: TestClient, storage: Storage, type_: str, body: str, status: int, said: str
) -> None:
    content = body.encode("utf-8", "surrogateescape")
    answer = client.post("/v1/files", content=content, headers={"Content-Type": type_})

    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert list(storage.files(FILES)) == []


def test_a_file_has_a_name_of_the_server_whatever_the_sender_calls_it(client: TestClient, storage: Storage) -> None:
    headers = {"Content-Type": FORM}
    file = client.post("/v1/files", content=PURPOSE + FILE + "--x--\r\n", headers=headers).json()

    assert file["filename"] == "../../etc/passwd"
    assert [one.name for one in storage.files(FILES)] == [f"files/{UUID(file['id'][5:])}.jsonl"]
    answer = client.get(f"/v1/files/{file['id']}/content")
    assert answer.headers["content-disposition"] == f'attachment; filename="{file["id"]}.jsonl"'


def test_a_look_at_a_file_does_not_read_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Content-Type": FORM}
    file = client.post("/v1/files", content=PURPOSE + FILE + "--x--\r\n", headers=headers).json()
    get = client.get(f"/v1/files/{file['id']}/content")
    monkeypatch.setattr(Storage, "open", lambda *_, **__: pytest.fail("the file was opened"))

    head = client.head(f"/v1/files/{file['id']}/content")

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "content-disposition", "accept-ranges"):
        assert head.headers[name] == get.headers[name]


def test_files_are_bounded_one_by_one_and_together(environment: dict[str, str], storage: Storage) -> None:
    from api.app import create_app

    settings = settings_of(environment, max_file_bytes=2048, max_files_bytes=3000)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        long = client.post("/v1/files", files={"file": ("a", b"x" * 200_000)}, data={"purpose": "batch"})
        with ThreadPoolExecutor(8) as senders:
            files = {"file": ("a", b"x" * 2000)}
            sent = senders.map(lambda _: client.post("/v1/files", files=files, data={"purpose": "batch"}), range(16))
            taken, *more = sorted(sent, key=lambda answer: answer.status_code)

    assert (long.status_code, long.json()["error"]["code"]) == (413, "body_too_large")
    assert taken.status_code == 200
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in more} == {(413, "files_full")}
    assert [file.num_bytes for file in storage.files(FILES)] == [2000]


def test_the_bytes_of_a_file_whose_row_has_no_answer_stay_until_it_is_known_that_there_is_none(
    environment: dict[str, str], storage: Storage, session_factory: sessionmaker[Session]
) -> None:
    from api.app import create_app

    app = create_app(settings_of(environment))
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def fall_silent(*_: object) -> None:
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))

        engine = app.state.service.sessions.kw["bind"]
        event.listen(engine, "commit", fall_silent)
        answer = client.post("/v1/files", files={"file": ("a", b"{}")}, data={"purpose": "batch"})
        event.remove(engine, "commit", fall_silent)

    assert answer.status_code == 503
    (file,) = storage.files(FILES)
    assert sweeps.sweep(storage, session_factory, older_s=-1) == [file.name]


def test_files_go_when_their_time_is_over_and_orphans_too(
    client: TestClient, storage: Storage, session: Session, session_factory: sessionmaker[Session]
) -> None:
    kept, old = (upload(client, text(line(number))) for number in range(2))
    session.execute(update(File).where(File.id == UUID(old[5:])).values(expires_at=func.now()))
    session.commit()
    storage.write("files/00000000-0000-4000-8000-000000000000.jsonl", b"of a process that died")
    assert client.get(f"/v1/files/{old}").status_code == 404

    with transaction(session_factory) as other:
        gone = stored_files.purge(other, limit=10)
    orphans = sweeps.sweep(storage, session_factory, older_s=0)

    assert gone == [f"files/{UUID(old[5:])}.jsonl"]
    assert sorted(orphans) == sorted([*gone, "files/00000000-0000-4000-8000-000000000000.jsonl"])
    assert client.get(f"/v1/files/{kept}").status_code == 200


def test_a_file_is_downloaded_by_range_as_a_video_is(client: TestClient) -> None:
    content = text(line(0), line(1))
    id_ = upload(client, content)

    def ask(**headers: str) -> Any:
        return client.get(
            f"/v1/files/{id_}/content", headers={name.replace("_", "-"): of for name, of in headers.items()}
        )

    whole, rest, tail = ask(), ask(Range="bytes=5-"), ask(Range="bytes=-3")
    etag = whole.headers["etag"]
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    assert (rest.status_code, rest.content) == (206, content[5:])
    assert tail.headers["content-range"] == f"bytes {len(content) - 3}-{len(content) - 1}/{len(content)}"
    assert ask(Range=f"bytes={len(content)}-").status_code == 416
    assert ask(If_None_Match=etag).status_code == 304
    assert ask(Range="bytes=5-", If_Range='"another"').content == content


def test_an_empty_file_is_downloaded(client: TestClient) -> None:
    id_ = upload(client, b"")

    assert client.get(f"/v1/files/{id_}/content").content == b""
    beyond = client.get(f"/v1/files/{id_}/content", headers={"Range": "bytes=0-"})
    assert (beyond.status_code, beyond.json()["error"]["message"]) == (
        416,
        "Range 'bytes=0-' lies behind the end; the file has 0 bytes, leave it out",
    )


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_whoever_deletes_files_while_paging_sees_every_one_once(
    client: TestClient, session: Session, session_factory: sessionmaker[Session], order: str
) -> None:
    made = [upload(client, text(line(number))) for number in range(5)]
    seen, after = [], {}

    while True:
        page = client.get("/v1/files", params={"limit": 2, "order": order, **after}).json()
        seen += [file["id"] for file in page["data"]]
        if not page["has_more"]:
            break
        if not after:
            assert client.delete(f"/v1/files/{page['last_id']}").status_code == 200
        else:  # its time is over, and the relay takes it away
            session.execute(update(File).where(File.id == UUID(page["last_id"][5:])).values(expires_at=func.now()))
            session.commit()
            with transaction(session_factory) as other:
                stored_files.purge(other, limit=10)
        after = {"after": page["last_id"]}

    assert seen == (made if order == "asc" else made[::-1])


def test_lines_are_counted_and_read_alike_however_they_are_cut() -> None:
    content = b"\n a\r\n\n\nb\n" + b"c" * (3 * MAX_LINE_BYTES) + b"\nd"

    whole = list(file_lines.read(io.BytesIO(content)))
    rest = list(file_lines.read(io.BytesIO(content), offset=whole[0].end, number=whole[0].number))

    assert [(one.number, one.content) for one in whole] == [(2, b"a"), (5, b"b"), (6, None), (7, b"d")]
    assert rest == whole[1:]
