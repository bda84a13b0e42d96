"""Whole files or none, under names that cannot lead elsewhere, and no file without a row for long."""

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep
from db import acceptance, jobs
from db.models import Job
from db.session import transaction
from shared.storage import (
    FileMissing,
    Storage,
    StorageError,
    StoredFile,
    TemporaryFolderError,
    check_temporary_folder,
    latents_name,
    shown,
    video_name,
)

ID = UUID("12345678-1234-5678-1234-567812345678")
CONTENT = b"not yet a video"


class Remembering(MemoryFileSystem):
    """Memory behind a cache of listings, which answers as those of S3 and its like do: from the last listing."""

    protocol = "remembering"
    find = AbstractFileSystem.find  # which lists

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True)
        listed = self.dircache[path] if path in self.dircache else super().ls(path, detail=True)
        return listed if detail else [entry["name"] for entry in listed]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        folder = self._parent(path)
        if folder not in self.dircache:
            return super().info(path)
        for entry in self.dircache[folder]:
            if entry["name"] == path:
                return entry
        raise FileNotFoundError(path)


@pytest.fixture(params=["disk", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The two ways in which a file becomes visible: by a rename, or as a whole."""
    return Storage(tmp_path.as_uri() if request.param == "disk" else f"memory://{uuid4()}")


def test_a_file_comes_back_as_it_was_written(storage: Storage) -> None:
    file = storage.write(video_name(ID, 3), CONTENT)

    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert file == StoredFile(name=f"videos/{ID}.3.mp4", num_bytes=len(CONTENT), sha256=sha256)
    assert storage.read(file.name) == CONTENT
    assert storage.size(file.name) == len(CONTENT)
    assert [found.name for found in storage.files("videos")] == [file.name]


def test_a_file_can_be_read_from_the_middle(storage: Storage) -> None:
    name = storage.write(video_name(ID, 1), CONTENT).name

    with storage.open(name) as stream:
        stream.seek(4)
        assert stream.read(3) == b"yet"


def test_removing_twice_is_removing_once(storage: Storage) -> None:
    name = storage.write(video_name(ID, 1), CONTENT).name

    storage.remove(name)
    storage.remove(name)

    with pytest.raises(FileMissing, match=f"{name}: no such file"):
        storage.read(name)


@pytest.mark.parametrize(
    "name",
    ["../secret", "videos/../../secret", "/etc/passwd", "videos//x", "videos/.hidden", "x.mp4", "videos/a/../b", ""],
)
def test_a_name_that_the_service_does_not_make_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name that this service makes"):
        Storage(tmp_path.as_uri()).read(name)


def test_a_link_out_of_the_storage_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "storage" / "videos").symlink_to(tmp_path / "elsewhere")
    storage = Storage((tmp_path / "storage").as_uri())

    with pytest.raises(ValueError, match="lies outside of"):
        storage.write(video_name(ID, 1), CONTENT)
    with pytest.raises(StorageError, match="lies outside of"):  # no job's fault: the worker stops
        storage.check(folders=["videos"])


def test_a_folder_that_is_none_fails_the_check_of_who_writes_there(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    (tmp_path / "latents").touch()

    storage.check(folders=["videos"])

    with pytest.raises(StorageError, match=r"latents in .* is no folder that this account may write to"):
        storage.check(folders=["videos", "latents"])


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path.as_uri())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write(video_name(ID, 1), CONTENT)

    assert list((tmp_path / "videos").iterdir()) == []


def test_a_file_of_another_process_is_found_after_a_listing() -> None:
    fsspec.register_implementation("remembering", Remembering, clobber=True)
    url = f"remembering://{uuid4()}"
    ours, theirs = Storage(url), Storage(url)
    ours.write(video_name(ID, 1), CONTENT)
    assert len(list(ours.files("videos"))) == 1

    name = theirs.write(video_name(uuid4(), 1), CONTENT).name

    assert (ours.size(name), ours.read(name)) == (len(CONTENT), CONTENT)
    assert len(list(ours.files("videos"))) == 2
    theirs.remove(name)
    with pytest.raises(FileMissing):
        ours.size(name)


@pytest.mark.parametrize(("access", "file_mode", "folder_mode"), [("private", 0o600, 0o700), ("group", 0o660, 0o770)])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_the_account_of_the_service_or_its_group_whatever_the_process_allows(
    tmp_path: Path, access: Any, file_mode: int, folder_mode: int, umask: int
) -> None:
    storage = Storage((tmp_path / "storage").as_uri(), access=access)
    before = os.umask(umask)
    try:
        storage.write(video_name(ID, 1), CONTENT)
        storage.marker()
    finally:
        os.umask(before)

    made = list((tmp_path / "storage").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {file_mode}
    folders = [tmp_path / "storage", *(path for path in made if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {folder_mode}


def test_a_folder_that_is_there_keeps_its_mode_and_hands_its_group_down(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage").chmod(0o2775)

    Storage((tmp_path / "storage").as_uri(), access="group").write(video_name(ID, 1), CONTENT)

    assert stat.S_IMODE((tmp_path / "storage").stat().st_mode) == 0o2775
    assert stat.S_IMODE((tmp_path / "storage" / "videos").stat().st_mode) == 0o2770


def test_a_storage_has_one_id_for_everybody(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as threads:
        start = threading.Barrier(8)
        ids = set(threads.map(lambda _: (start.wait(), storage.marker())[1], range(8)))

    assert len(ids) == 1
    assert {storage.marker(), Storage(storage.url).marker(create=False)} == ids
    assert [name for name in local_files(storage) if "writing" in name] == []


def test_two_storages_have_two_ids(tmp_path: Path) -> None:
    assert Storage((tmp_path / "a").as_uri()).marker() != Storage((tmp_path / "b").as_uri()).marker()


def test_whoever_only_looks_for_the_id_leaves_no_mark(storage: Storage) -> None:
    with pytest.raises(FileMissing, match="service/storage-id: no such file"):
        storage.marker(create=False)

    assert local_files(storage) == []


def test_an_id_that_is_none_is_named(storage: Storage) -> None:
    storage.write("service/storage-id", b"mine")

    with pytest.raises(StorageError) as error:
        storage.marker()

    assert str(error.value) == (
        f"service/storage-id in {storage.url} holds no id but b'mine'; "
        "restore it from a backup, or remove it and the service makes another"
    )


def test_a_disk_without_links_gets_its_id_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    storage = Storage(tmp_path.as_uri())

    assert storage.marker() == storage.marker()


def test_a_check_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()

    assert local_files(storage) == []


def fail(*_: object, **__: object) -> Any:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("verb", "break_it"),
    [
        ("write", lambda patch, storage: patch.setattr(storage._fs, "pipe_file", fail)),
        ("read", lambda patch, storage: patch.setattr(storage._fs, "cat_file", fail)),
        ("read", lambda patch, storage: patch.setattr(storage._fs, "cat_file", lambda _: b"of somebody else")),
        ("remove", lambda patch, storage: patch.setattr(storage._fs, "rm_file", fail)),
    ],
)
def test_a_check_names_the_step_that_failed(
    verb: str, break_it: Callable[[pytest.MonkeyPatch, Storage], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(f"memory://{uuid4()}")
    break_it(monkeypatch, storage)

    with pytest.raises(StorageError, match=f"cannot {verb} a small file in {storage.url}: checks/"):
        storage.check()


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sftp://ada:secret@host/chai", "sftp://ada:***@host/chai"),
        ("sftp://ada@host/chai", "sftp://ada@host/chai"),
        ("simplecache::ftp://ada:s:e@host/a:b@c", "simplecache::ftp://ada:***@host/a:b@c"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
    ],
)
def test_a_password_in_a_url_is_in_no_message(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_a_temporary_folder_that_works_is_left_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    check_temporary_folder()

    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(TemporaryFolderError) as error:
        check_temporary_folder()

    assert str(error.value) == (
        f"temporary files cannot be written to {tmp_path / 'gone'}: No such file or directory; "
        "make room there, or set TMPDIR to another folder"
    )


def test_a_temporary_folder_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: Path("/dev/full").open("wb", buffering=0))  # noqa: SIM115

    with pytest.raises(TemporaryFolderError, match="No space left on device; make room there, or set TMPDIR"):
        check_temporary_folder()


def local_files(storage: Storage) -> list[str]:
    """Return every file of a storage, whatever its name."""
    return list(storage._fs.find(storage._root))


FOREIGN = [
    "videos/.nfs0000000000a1b2c300000001",  # removed while somebody reads it
    "videos/Thumbs.db",
    "videos/.DS_Store",
    "videos/holiday.mp4",
    f"videos/{ID}.1.mp4.bak",
    f"videos/old/{ID}.1.mp4",
    "latents/notes (copy).txt",
    "latents/naïve",
]


def test_what_is_not_the_services_own_is_neither_listed_nor_removed(
    session_factory: sessionmaker[Session], storage: Storage
) -> None:
    orphan = storage.write(video_name(uuid4(), 1), CONTENT).name
    for name in FOREIGN:
        plant(storage, name)

    assert [file.name for folder in ("videos", "latents") for file in storage.files(folder)] == [orphan]
    assert sweep(storage, session_factory, older_s=-1) == [orphan]
    assert len(local_files(storage)) == len(FOREIGN)


def plant(storage: Storage, name: str) -> None:
    path = f"{storage._root}/{name}"
    storage._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    storage._fs.pipe_file(path, CONTENT)


def test_a_sweep_takes_old_files_that_no_row_names(
    session_factory: sessionmaker[Session], storage_url: str, tmp_path: Path
) -> None:
    storage = Storage(storage_url)
    with transaction(session_factory) as session:
        asked = {
            "tenant": "ada",
            "prompt": "a fox",
            "model": "tiny",
            "width": 32,
            "height": 32,
            "num_frames": 17,
            "fps": 8,
        }
        job = acceptance.accept(session, Job(**asked))[0]
    with transaction(session_factory) as session:
        claim = jobs.claim(session, job.id, owner="w", lease_s=30)
        assert claim is not None
        published = storage.write(video_name(job.id, claim.fence), CONTENT)
        jobs.complete(session, claim, output={"name": published.name}, receipt={})
    half_written = f"videos/.writing-0a1b2c3d-{uuid4()}.1.mp4"
    check = "checks/0123456789abcdef"
    orphans = [video_name(job.id, 9), video_name(uuid4(), 1), latents_name(uuid4(), 1), half_written, check]
    for name in orphans:
        storage.write(name, CONTENT)
    hour_ago = time.time() - 3600
    for path in (tmp_path / "storage").rglob("*"):
        os.utime(path, (hour_ago, hour_ago))
    young = storage.write(video_name(uuid4(), 1), CONTENT)

    removed = sweep(storage, session_factory, older_s=1800)

    assert sorted(removed) == sorted(orphans)
    assert {file.name for file in storage.files("videos")} == {published.name, young.name}


def test_a_sweep_makes_room_on_a_disk_that_is_full(
    session_factory: sessionmaker[Session], storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(storage_url)
    orphan, young = (storage.write(video_name(uuid4(), 1), CONTENT).name for _ in range(2))
    hour_ago = time.time() - 3600
    os.utime(tmp_path / "storage" / orphan, (hour_ago, hour_ago))

    def full(*_: object) -> StoredFile:
        raise StorageError("No space left on device")

    monkeypatch.setattr(storage, "write", full)

    assert sweep(storage, session_factory, older_s=1800) == [orphan]
    assert [file.name for file in storage.files("videos")] == [young]


def running(session_factory: sessionmaker[Session]) -> jobs.Claim:
    """A job that an attempt has."""
    asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 17, "fps": 8}
    with transaction(session_factory) as session:
        claim = jobs.claim(session, acceptance.accept(session, Job(tenant="ada", **asked))[0].id, owner="w", lease_s=30)
    assert claim is not None
    return claim


def test_a_file_of_an_attempt_that_goes_on_stays_whatever_clocks_say(
    session_factory: sessionmaker[Session], storage: Storage
) -> None:
    """The clock of the relay may be hours ahead: each file of a moment ago is old then."""
    claim = running(session_factory)
    id_ = claim.job.id
    mine = [video_name(id_, claim.fence), f"videos/.writing-0a1b2c3d-{id_}.{claim.fence}.mp4"]
    for name in (*mine, before := video_name(id_, claim.fence - 1)):
        storage.write(name, CONTENT)

    assert sweep(storage, session_factory, older_s=-1) == [before]

    with transaction(session_factory) as session:
        jobs.cancelled(session, claim)
    assert sorted(sweep(storage, session_factory, older_s=-1)) == sorted(mine)


def test_a_video_that_is_published_while_the_sweep_asks_for_its_rows_stays(
    session_factory: sessionmaker[Session], storage: Storage, engine: Engine
) -> None:
    claim = running(session_factory)
    id_ = claim.job.id
    mine = storage.write(video_name(id_, claim.fence), CONTENT).name

    @event.listens_for(engine, "after_cursor_execute", once=True)
    def publish(*_: Any) -> None:
        with transaction(session_factory) as session:
            jobs.complete(session, claim, output={"name": mine}, receipt={})

    assert sweep(storage, session_factory, older_s=-1) == []
    assert storage.read(mine) == CONTENT


def test_a_file_that_cannot_be_removed_keeps_no_other(
    session_factory: sessionmaker[Session], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(storage.write(video_name(uuid4(), 1), CONTENT).name for _ in range(3))
    remove = storage._fs.rm_file

    def refuse(path: str) -> None:
        if path.endswith(names[0]):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        remove(path)

    monkeypatch.setattr(storage._fs, "rm_file", refuse)

    assert sorted(sweep(storage, session_factory, older_s=-1)) == names[1:]
    assert [file.name for file in storage.files("videos")] == names[:1]


def test_a_disk_that_is_gone_from_its_mount_point_takes_and_misses_nothing(tmp_path: Path) -> None:
    storage, name = Storage(f"file://{tmp_path}/mount"), video_name(uuid4(), 1)
    storage.marker()
    storage.write(name, CONTENT)
    (tmp_path / "mount").rename(tmp_path / "disk")
    (tmp_path / "mount").mkdir()

    for act in (lambda: storage.write(name, CONTENT), lambda: storage.read(name), lambda: storage.size(name)):
        with pytest.raises(StorageError, match="has lost its service/storage-id: mount the disk again") as error:
            act()
        assert not isinstance(error.value, FileMissing)

    assert list((tmp_path / "mount").iterdir()) == []
    (tmp_path / "mount").rmdir()
    (tmp_path / "disk").rename(tmp_path / "mount")
    assert storage.read(name) == CONTENT
