"""One launcher per folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.services.errors import FolderInUse, ServiceError


@contextmanager
def folder_lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """Hold `folder/lock` for the block; raise FolderInUse with the holder, or ServiceError where nothing can be locked.

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
        except OSError as error:  # of a file system without locks: Lustre, NFS, as they may be mounted
            raise ServiceError(
                f"{folder / 'lock'} cannot be locked ({error.strerror}); choose a folder on a disk of this machine "
                "with CHAI_VAR_DIR, and name the shared one in STORAGE_URL"
            ) from error
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
