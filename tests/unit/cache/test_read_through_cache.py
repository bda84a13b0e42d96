"""Copies of far files on a worker's own disk."""

import os
import stat
import time
from pathlib import Path

import pytest

from shared.storage import FileMissing, Storage
from worker.cache.read_through_cache import ReadThroughCache


@pytest.fixture
def far(tmp_path: Path) -> Storage:
    storage = Storage((tmp_path / "far").as_uri())
    for letter in "abc":
        storage.write(f"latents/{letter}", letter.encode() * 100)
    return storage


def test_a_file_is_fetched_once(far: Storage, tmp_path: Path) -> None:
    nearby = ReadThroughCache(far, tmp_path / "near", max_bytes=1000)
    first = nearby.read("latents/a")
    far.remove("latents/a")

    assert nearby.read("latents/a") == first == b"a" * 100


def test_copies_are_for_the_account_of_the_worker_alone(far: Storage, tmp_path: Path) -> None:
    ReadThroughCache(far, tmp_path / "near", max_bytes=1000).read("latents/a")

    folder = tmp_path / "near"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_the_longest_unused_copy_makes_room(far: Storage, tmp_path: Path) -> None:
    nearby = ReadThroughCache(far, tmp_path / "near", max_bytes=250)
    nearby.read("latents/a")
    nearby.read("latents/b")
    for copy in (tmp_path / "near").iterdir():
        os.utime(copy, (time.time() - 60, time.time() - 60))
    nearby.read("latents/a")  # used again: b is the oldest now
    nearby.read("latents/c")
    for letter in "abc":
        far.remove(f"latents/{letter}")

    assert nearby.read("latents/a")
    assert nearby.read("latents/c")
    with pytest.raises(FileMissing):
        nearby.read("latents/b")


def test_a_wrong_copy_is_fetched_anew(far: Storage, tmp_path: Path) -> None:
    nearby = ReadThroughCache(far, tmp_path / "near", max_bytes=1000)
    nearby.read("latents/a")
    (copy,) = (tmp_path / "near").iterdir()
    copy.write_bytes(b"wrong")

    assert nearby.renew("latents/a") == nearby.read("latents/a") == b"a" * 100
    assert nearby.renew("latents/b") is None


def test_a_wrong_copy_on_a_disk_that_is_read_only_stays_and_is_not_used(
    far: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    nearby = ReadThroughCache(far, tmp_path / "near", max_bytes=1000)
    nearby.read("latents/a")
    (copy,) = (tmp_path / "near").iterdir()
    copy.write_bytes(b"wrong")
    for change in ("unlink", "touch", "mkdir", "replace"):
        monkeypatch.setattr(Path, change, refuse)

    assert nearby.renew("latents/a") == b"a" * 100


def test_a_file_larger_than_the_folder_is_not_copied(far: Storage, tmp_path: Path) -> None:
    assert ReadThroughCache(far, tmp_path / "near", max_bytes=50).read("latents/a")

    assert not (tmp_path / "near").exists()


def test_a_folder_that_cannot_be_written_costs_only_the_copy(far: Storage, tmp_path: Path) -> None:
    (tmp_path / "near").write_text("in the way")

    assert ReadThroughCache(far, tmp_path / "near", max_bytes=1000).read("latents/a") == b"a" * 100


def test_without_a_folder_nothing_is_copied(far: Storage) -> None:
    nearby = ReadThroughCache(far, None, max_bytes=1000)

    assert nearby.read("latents/a") == b"a" * 100
    assert nearby.renew("latents/a") is None
