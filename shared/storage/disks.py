"""Writing files to disks so that they are complete, survive a power cut, and are unreadable to other accounts."""

import os
import stat
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from shared.storage.errors import TemporaryFolderError

# Of files and folders on disks: for the account that runs the service, or for its group where parts run under several.
MODES = {"private": (0o600, 0o700), "group": (0o660, 0o770)}
Access = Literal["private", "group"]
_PROBE_BYTES = 1 << 20


def check_temporary_folder() -> None:
    """Write a megabyte where temporary files go and remove it; raise `TemporaryFolderError` that names the folder."""
    place = tempfile.tempdir or os.environ.get("TMPDIR", "the usual folders")
    try:
        place = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        raise TemporaryFolderError(
            f"temporary files cannot be written to {place}: {reason}; make room there, or set TMPDIR to another folder"
        ) from error


def private(path: str, flags: int) -> int:
    """Open a file for its account alone (0600); an `opener` of `open`."""
    return os.open(path, flags, 0o600)


def allow(path: Path, mode: int) -> None:
    """Give a privately made file its mode; this has no effect on a disk without modes."""
    now = stat.S_IMODE(path.stat().st_mode)
    if now & 0o777 != mode:
        with suppress(PermissionError, NotImplementedError):
            path.chmod(mode | now & ~0o777)  # keep setgid, by which a folder passes on its group


def make_folders(folder: Path, root: Path, mode: int) -> None:
    """Make a folder and its missing parents; existing ones keep their mode."""
    if folder.is_dir():
        return
    if folder == root:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        make_folders(folder.parent, root, mode)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        allow(folder, mode)


def link(temporary: Path, path: Path) -> None:
    """Give a file a second name unless that is taken (FileExistsError); on disks without links, rename it."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        temporary.replace(path)


def list_files(folder: Path) -> list[tuple[str, int, datetime]]:
    """Return name, length and time of the plain files of a folder; those that vanish meanwhile are left out."""
    found: list[tuple[str, int, datetime]] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    found.append((entry.name, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC)))
    return found


def sync(file: IO[bytes]) -> None:
    """Make written data survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
