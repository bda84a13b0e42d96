"""One launcher per folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.services.errors import FolderInUse


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder/lock` for the block, or raise FolderInUse naming the holder.

    The kernel drops the lock when the holder dies in any way, so a lock file on disk never needs cleaning up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
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
        yield
