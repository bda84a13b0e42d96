"""Whole files or none, under names that cannot lead elsewhere, and no file without a row for long."""

import hashlib
import os
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep
from db import jobs
from db.models import Job
from db.session import transaction
from shared.storage import FileMissing, Storage, StorageError, StoredFile, latents_name, video_name

ID = UUID("12345678-1234-5678-1234-567812345678")
CONTENT = b"not yet a video"


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


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path.as_uri())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write(video_name(ID, 1), CONTENT)

    assert list((tmp_path / "videos").iterdir()) == []


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
        job = jobs.accept(session, Job(**asked))[0]
    with transaction(session_factory) as session:
        claim = jobs.claim(session, job.id, owner="w", lease_s=30)
        assert claim is not None
        published = storage.write(video_name(job.id, claim.fence), CONTENT)
        jobs.complete(session, claim, output={"name": published.name}, receipt={})
    orphans = [video_name(job.id, 9), video_name(uuid4(), 1), latents_name(uuid4(), 1), "videos/.writing-ab-x.mp4"]
    for name in orphans:
        storage.write(name, CONTENT)
    hour_ago = time.time() - 3600
    for path in (tmp_path / "storage").rglob("*.*"):
        os.utime(path, (hour_ago, hour_ago))
    young = storage.write(video_name(uuid4(), 1), CONTENT)

    removed = sweep(storage, session_factory, older_s=1800)

    assert sorted(removed) == sorted(orphans)
    assert {file.name for file in storage.files("videos")} == {published.name, young.name}
