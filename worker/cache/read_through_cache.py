"""Copies of donors on a worker's own disk, for storage that is far away.

Files of latents never change under a name, and each is checked against its row's checksum before use, so a copy may be
broken but never stale. If the folder is full, the longest unused go first.
"""

from contextlib import suppress
from pathlib import Path

from shared.lru_folder import make_room, mark_used, name_of, partial_of
from shared.storage import Storage


class ReadThroughCache:
    """Reads files of a storage through a folder of copies; without a folder it reads the storage itself."""

    def __init__(self, storage: Storage, folder: Path | None, *, max_bytes: int) -> None:
        self._storage = storage
        self._folder = folder
        self._max_bytes = max_bytes

    def read(self, name: str) -> bytes:
        """Return a file; raise what `Storage.read` raises."""
        copy = self._copy(name)
        if copy is None:
            return self._storage.read(name)
        try:
            content = copy.read_bytes()
            mark_used(copy)
        except OSError:
            content = self._storage.read(name)
            self._keep(copy, content)
        return content

    def renew(self, name: str) -> bytes | None:
        """Return a file from the storage itself if its copy turned out to be broken; None if there is no copy.

        Raises what `Storage.read` raises.
        """
        copy = self._copy(name)
        if copy is None or not copy.exists():
            return None
        content = self._storage.read(name)
        self._keep(copy, content)
        return content

    def _copy(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / name_of(name)

    def _keep(self, copy: Path, content: bytes) -> None:
        """Write a copy under a temporary name, and make room for it; if the disk refuses, only the copy is missing."""
        if len(content) > self._max_bytes:
            return
        partial = partial_of(copy)
        try:
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.touch(mode=0o600)  # latents of tenants: private to this account
            partial.write_bytes(content)
            partial.replace(copy)
            make_room(copy.parent, self._max_bytes)
        except OSError:
            with suppress(OSError):
                partial.unlink()
