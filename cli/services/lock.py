"""One launcher per folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.services.errors import FolderInUse, ServiceError


@contextmanager
def folder_lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """Hold `folder/lock` for the block; raise FolderInUse naming the holder, or ServiceError if locking is impossible.

    The kernel drops the lock however the holder dies, so a lock file never needs cleaning up. Yields a function that
    returns whether the folder is still in its place: another in its place has another lock.
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
        except OSError as error:  # a file system without locks, as Lustre or NFS may be mounted
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
    """Keep a folder open, so that no other can get its inode number."""
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
    except OSError:  # a disk that does not respond
        return True
