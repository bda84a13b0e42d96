"""Storage in an S3-compatible bucket, over HTTP."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from bucket_server import BUCKET, Bucket, bucket_server

from shared.storage import FileMissing, Storage, video_name

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


def test_all_who_make_the_id_of_a_bucket_at_once_find_the_same(bucket: Bucket) -> None:
    number, meet = 6, threading.Barrier(6)

    def first() -> object:
        storage = Storage(f"s3://{BUCKET}/chai")
        meet.wait()
        return storage.marker()

    with ThreadPoolExecutor(number) as pool:
        found = {each.result() for each in [pool.submit(first) for _ in range(number)]}

    assert len(found) == 1
