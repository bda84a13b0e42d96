"""Folders of copies hold what they may, and touch nothing else."""

import os
from pathlib import Path

from shared.lru_folder import make_room, mark_used, name_of, partial_of


def written(file: Path, *, at: int, num_bytes: int = 100) -> Path:
    file.write_bytes(bytes(num_bytes))
    os.utime(file, (at, at))
    return file


def test_the_longest_unused_copies_go_whole_or_not(tmp_path: Path) -> None:
    old, half, new = (tmp_path / name_of(key) for key in ("old", "half", "new"))
    copies = [written(old, at=1), written(partial_of(half), at=2), written(new, at=3)]

    make_room(tmp_path, 200)

    assert [file.exists() for file in copies] == [False, True, True]


def test_what_others_keep_in_the_folder_is_theirs(tmp_path: Path) -> None:
    """Whoever names a folder that is in use already is to lose nothing."""
    thesis = written(tmp_path / "thesis.odt", at=1, num_bytes=10_000)
    (tmp_path / "photos").mkdir()
    os.utime(tmp_path / "photos", (1, 1))
    copy = written(tmp_path / name_of("copy"), at=2)

    make_room(tmp_path, 200)

    assert thesis.exists()
    assert copy.exists(), "it has all the room for itself"


def test_a_copy_on_a_disk_that_is_read_only_is_not_marked(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)

    mark_used(tmp_path / "copy")
