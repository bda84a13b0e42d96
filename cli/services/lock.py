"""One launcher per folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.services.errors import FolderInUse


@contextmanager
def folder_lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """Hold `folder/lock` for the block, or raise FolderInUse naming the holder.

    The kernel drops the lock when the holder dies in any way, so a lock file on disk never needs cleaning up. Gives a
    function that says whether the folder still stands where it stood: another in its place has another lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file, _opened(folder) as held:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FolderInUse(
                f"the services in {folder} are already run by process {holder}; stop that process first, "
                "or choose another folder with CHAI_VAR_DIR"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield lambda: _is_at(folder, held)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Keep a folder open, so that no other gets its number in the file system."""
    found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield found
    finally:
        os.close(found)


def _is_at(folder: Path, held: int) -> bool:
    try:
        return os.path.samestat(os.fstat(held), folder.stat())
    except FileNotFoundError:
        return False
    except OSError:  # of a disk that does not answer
        return True
