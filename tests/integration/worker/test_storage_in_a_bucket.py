"""Storage in an S3-compatible bucket, over HTTP."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from bucket_server import BUCKET, Bucket, bucket_server
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep
from shared.storage import MARKER, FileMissing, Storage, StorageError, video_name

pytest.importorskip("s3fs", reason="videos in a bucket need s3fs")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_server() as server:
        account = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**account, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_file_is_written_read_and_removed(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)

    stored = storage.write(name, b"0123456789")

    assert (stored.num_bytes, storage.size(name), storage.read(name)) == (10, 10, b"0123456789")
    with storage.open(name) as file:
        file.seek(4)
        assert file.read(2) == b"45"
    storage.check()
    storage.remove(name)
    storage.remove(name)
    for look in (storage.size, storage.read, storage.open):
        with pytest.raises(FileMissing):
            look(name)
    assert bucket.files == {}


def test_what_another_writes_is_found_though_the_folder_was_listed_before(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.write(video_name(uuid4(), 1), b"mine")
    assert len(list(storage.files("videos"))) == 1

    bucket.files[f"chai/{name}"] = b"theirs"

    assert (storage.size(name), storage.read(name), storage.open(name).read()) == (6, b"theirs", b"theirs")
    assert len(list(storage.files("videos"))) == 2


@pytest.mark.parametrize("folder", ["", "/", "/chai/", "//chai", "///chai", "/a//b", "/ü +&=%20#?", "/*[x]", "/a:b@c"])
def test_what_is_written_is_listed_and_removed_whatever_the_folder_is_called(bucket: Bucket, folder: str) -> None:
    storage, name = Storage(f"s3://{BUCKET}{folder}"), video_name(uuid4(), 1)
    storage.marker()

    storage.write(name, b"0123456789")

    assert [file.name for file in storage.files("videos")] == [name]
    storage.remove(name)
    assert list(storage.files("videos")) == []
    assert not any(key.startswith("/") for key in bucket.files)


def test_an_address_that_names_the_version_of_a_file_is_refused() -> None:
    with pytest.raises(StorageError, match="a version names one file; name a folder"):
        Storage(f"s3://{BUCKET}/chai?versionId=3").marker()


def test_a_listing_of_many_pages_is_whole_and_passes_over_the_marks_of_folders(bucket: Bucket) -> None:
    storage, names = Storage(f"s3://{BUCKET}/chai"), {video_name(uuid4(), 1) for _ in range(25)}
    bucket.page = 10
    bucket.files |= {f"chai/{name}": b"x" for name in names} | {"chai/": b"", "chai/videos/": b""}

    assert {file.name for file in storage.files("videos")} == names


@pytest.mark.parametrize(
    "answer",
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (400, "RequestTimeout"),
        (502, "-"),
        (429, "TooManyRequests"),
        (408, "RequestTimeout"),
        (409, "OperationAborted"),
    ],
)
def test_a_bucket_that_asks_for_patience_twice_is_asked_a_third_time(
    bucket: Bucket, answer: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.buckets.PAUSES_S", (0.01, 0.02))
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.write(name, b"x")
    for act in (storage.size, storage.read, storage.remove, lambda name: storage.write(name, b"x")):
        answers = iter([answer, answer])
        bucket.refuse = lambda _, answers=answers: next(answers, None)
        if answer != (400, "RequestTimeout") or act != storage.size:  # whose answer has no body that could say so
            act(name)


@pytest.mark.parametrize(
    ("answer", "way_out"),
    [
        ((301, "PermanentRedirect"), "the bucket is in another region; set AWS_DEFAULT_REGION to that"),
        ((400, "AuthorizationHeaderMalformed"), "the bucket is in another region; set AWS_DEFAULT_REGION to that"),
        ((403, "RequestTimeTooSkewed"), r"the server refuses the clock of this machine; set it \(NTP\)"),
        ((403, "InvalidObjectState"), "the file lies in an archive; restore it there"),
    ],
)
def test_what_somebody_must_see_to_is_said_with_the_way_out(
    bucket: Bucket, answer: tuple[int, str], way_out: str
) -> None:
    bucket.refuse = lambda _: answer

    with pytest.raises(StorageError, match=way_out):
        Storage(f"s3://{BUCKET}/chai").read(video_name(uuid4(), 1))


def test_all_who_make_the_id_of_a_bucket_at_once_find_the_same(bucket: Bucket) -> None:
    number, meet = 6, threading.Barrier(6)

    def first() -> object:
        storage = Storage(f"s3://{BUCKET}/chai")
        meet.wait()
        return storage.marker()

    with ThreadPoolExecutor(number) as pool:
        found = {each.result() for each in [pool.submit(first) for _ in range(number)]}

    assert len(found) == 1


def test_a_bucket_that_is_not_there_has_lost_no_file(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.write(name, b"0123456789")
    bucket.refuse = lambda _: (404, "NoSuchBucket")

    for act in (storage.size, storage.read, storage.open, storage.remove, lambda _: list(storage.files("videos"))):
        with pytest.raises(StorageError, match="there is no such bucket; create it, or name one") as error:
            act(name)
        assert not isinstance(error.value, FileMissing)
    with pytest.raises(StorageError, match="cannot write a small file in s3://videos/chai: checks/"):
        storage.check()
    with pytest.raises(StorageError, match="no such bucket"):
        storage.marker()


def test_a_server_that_knows_nothing_any_more_has_lost_no_file(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.marker()
    storage.write(name, b"0123456789")
    bucket.refuse = lambda _: (404, "NoSuchKey")  # another's server, or a gateway before none

    for act in (storage.size, storage.read, storage.open, storage.remove):
        with pytest.raises(StorageError, match=f"has lost its {MARKER}: see that its server has it again") as error:
            act(name)
        assert not isinstance(error.value, FileMissing)


def test_a_bucket_that_fails_is_asked_three_times(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    bucket.refuse = lambda _: (500, "InternalError")

    with pytest.raises(StorageError, match="OSError"):
        storage.read(name)

    assert bucket.asked == ["GET"] * 3


def test_of_a_part_little_more_than_the_part_is_fetched(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.write(name, bytes(20 << 20))

    with storage.open(name, ahead=2) as file:
        file.seek(1000)
        assert file.read(2) == bytes(2)
    with storage.open(name) as file:
        file.read(10)

    assert [asked for asked in bucket.asked if "bytes=" in asked] == ["GET bytes=1000-1003", "GET bytes=0-4194313"]


def test_a_bucket_that_goes_away_breaks_what_is_read_and_written(bucket: Bucket) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    storage.write(name, b"0123456789")
    with storage.open(name) as file:
        bucket.refuse = lambda _: (403, "AccessDenied")
        with pytest.raises(StorageError, match=name):
            file.read(2)

    other = video_name(uuid4(), 1)
    with pytest.raises(StorageError, match=other), storage.writing(other) as stream:
        stream.write(b"half")

    bucket.refuse = lambda _: None
    assert [found.name for found in storage.files("videos")] == [name]


def test_an_account_that_is_renewed_is_used(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, name = Storage(f"s3://{BUCKET}/chai"), video_name(uuid4(), 1)
    bucket.refuse = lambda asked: None if "new" in asked.headers["Authorization"] else (403, "ExpiredToken")
    with pytest.raises(StorageError, match="PermissionError"):
        storage.write(name, b"0123456789")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")

    assert storage.write(name, b"0123456789").num_bytes == 10


def test_a_bucket_that_knows_no_conditions_gets_its_id_too(bucket: Bucket) -> None:
    bucket.refuse = lambda asked: (501, "NotImplemented") if "If-None-Match" in asked.headers else None
    storage = Storage(f"s3://{BUCKET}/chai")

    assert storage.marker() == storage.marker(create=False)


def test_an_endpoint_that_is_no_address_is_the_storages_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "storage.example")

    with pytest.raises(StorageError, match="Invalid endpoint: storage"):
        Storage(f"s3://{BUCKET}/chai").check()


def test_an_account_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(StorageError) as error:
        Storage("s3://ada:secret@videos/chai").check()

    assert "set AWS_ACCESS_KEY_ID" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_server_that_takes_no_bytes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage.buckets.CALL_S", 0.5)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    name = video_name(uuid4(), 1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # nobody reads
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        storage = Storage(f"s3://{BUCKET}/chai")

        with pytest.raises(StorageError, match="TimeoutError: no answer"):
            storage.write(name, b"0123456789")
        with pytest.raises(StorageError, match="TimeoutError: no answer"), storage.writing(name) as stream:
            stream.write(b"0123456789")


@pytest.mark.parametrize("ahead_h", [-5, 0, 5])
def test_files_are_as_old_as_the_clock_says_that_dates_them(
    bucket: Bucket, session_factory: sessionmaker[Session], ahead_h: int
) -> None:
    """Of a store whose clock is behind, what was written this moment seems hours old to the relay's own clock."""
    bucket.ahead = timedelta(hours=ahead_h)
    storage = Storage(f"s3://{BUCKET}/chai")
    name = storage.write(video_name(uuid4(), 1), b"x").name

    young = sweep(storage, session_factory, older_s=3600)
    bucket.ahead += timedelta(hours=1, minutes=1)
    old = sweep(storage, session_factory, older_s=3600)

    assert (young, old) == ([], [name])
    assert bucket.files == {}
