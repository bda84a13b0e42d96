"""Files on shared storage: a local or network disk, memory or an object store, whatever an fsspec URL names.

A reader finds a complete file or none: on disks, files are written under a temporary name, synced and renamed; object
stores show a file once it is complete. Names come from `names`; a file that no row names is an orphan and will be
swept. Files with other names are not ours: they are neither listed nor removed.

Nothing is cached between calls: another process may have written or removed a file meanwhile.
"""

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID, uuid4

import fsspec
from fsspec.dircache import DirCache
from fsspec.implementations.local import LocalFileSystem

from shared.settings import Settings, SettingsError
from shared.storage import buckets, disks, names
from shared.storage.errors import FileMissing, OutsideError, StorageError, shown

AHEAD_BYTES = 4 << 20  # read at once from a remote file
_PART_BYTES = 8 << 20  # sent at once
_WHOLE_OR_NOTHING = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}  # a put becomes visible as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that was written."""

    name: str
    num_bytes: int
    sha256: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that a listing found."""

    name: str
    num_bytes: int
    modified_at: datetime


class Storage:
    """Complete files under one URL. Every method raises `StorageError` if the storage cannot be reached.

    `access` says who may read and write on a disk; object stores have their own rules.
    """

    def __init__(self, url: str, *, access: disks.Access = "private") -> None:
        self.url = url
        self._has_mark = False  # its id was seen
        self._file_mode, self._folder_mode = disks.MODES[access]

    def connect(self) -> None:
        """Connect to the storage now rather than with the first file: some kinds authenticate with a server."""
        if self._is_local:
            with suppress(StorageError):  # before the first worker
                self.marker(create=False)

    @cached_property
    def _opened(self) -> tuple[Any, str]:  # Any: fsspec is untyped
        """The driver and its name for the root; not cached on failure, since a storage that is away may come back."""
        with self._asked(shown(self.url)):
            # An instance of its own, since fsspec shares them, and without its cache of listings: a listing from
            # before hides what others have written since.
            driver, root = fsspec.url_to_fs(self.url, skip_instance_cache=True, **buckets.options_of(self.url))
        driver.dircache = DirCache(use_listings_cache=False)
        if buckets.is_s3(self.url):
            driver.retries = 1  # its client's own count; these come on top, and for reads twice over
            buckets.bound(driver)
            root = re.sub("/+", "/", root, count=1)  # no name begins with a slash: such a folder cannot be listed
        return driver, root

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Turn the driver's errors into this module's."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # each driver has its own classes
            if buckets.is_refused(error):
                self.__dict__.pop("_opened", None)  # it read its account once; a new one reads it again
            raise buckets.translated(what, error) from error

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @property
    def _is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    @property
    def _is_atomic(self) -> bool:
        protocols = self._fs.protocol
        return bool(_WHOLE_OR_NOTHING & ({protocols} if isinstance(protocols, str) else set(protocols)))

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write a file so that nobody ever sees a part of it; an existing one is replaced."""
        path = self._path(name)
        with self._asked(name):
            if self._is_local:
                self._write_locally(Path(path), content)
            elif self._is_atomic:
                self._fs.pipe_file(path, content)
            else:
                self._write_and_move(path, content)
        return StoredFile(name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Write a new file piece by piece; it exists once the block has ended, and not at all if the block fails.

        On storages other than disks and object stores, readers may see it grow: name it in a row only afterwards.
        """
        path = self._path(name)
        try:
            if self._is_local:
                with self._temporary(Path(path)) as (temporary, local):
                    yield local
                    disks.sync(local)
                    temporary.replace(path)
            else:
                with self._remote(name, path) as remote:
                    yield remote
        except OSError as error:  # the block's own errors stay as they are
            raise StorageError(f"{name}: {type(error).__name__}: {error}") from error

    @contextmanager
    def _remote(self, name: str, path: str) -> Iterator[IO[bytes]]:
        with self._asked(name):
            if not self._is_atomic:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            driven = self._fs.open(path, "wb", block_size=_PART_BYTES)
        try:
            yield cast(IO[bytes], _Stream(driven, lambda: self._asked(name)))
            with self._asked(name):
                driven.close()
        except BaseException:
            with suppress(Exception):
                getattr(driven, "discard", driven.close)()  # the parts that were sent
            with suppress(Exception):
                driven.closed = True  # otherwise it would write its buffer when collected
            with suppress(Exception):
                self._fs.rm_file(path)
            raise

    def _write_locally(self, path: Path, content: bytes) -> None:
        with self._written(path, content) as temporary:
            temporary.replace(path)

    @contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator[Path]:
        """Write a temporary file beside `path`; what the caller's block does with it survives a power cut."""
        with self._temporary(path) as (temporary, file):
            file.write(content)
            disks.sync(file)
            yield temporary

    @contextmanager
    def _temporary(self, path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
        self._check_mounted()
        disks.make_folders(path.parent, Path(self._root), self._folder_mode)
        temporary = path.with_name(names.temporary_name(path.name))
        try:
            with open(temporary, "xb", opener=disks.private) as file:
                disks.allow(temporary, self._file_mode)
                yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)
        disks.sync_folder(path.parent)

    def _write_and_move(self, path: str, content: bytes) -> None:
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/{names.temporary_name(last)}"
        self._fs.makedirs(folder, exist_ok=True)
        try:
            self._fs.pipe_file(temporary, content)
            self._fs.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise `FileMissing`."""
        path = self._path(name)
        with self._found(name):
            content: bytes = self._fs.cat_file(path)
        return content

    def open(self, name: str, *, ahead: int = AHEAD_BYTES) -> IO[bytes]:
        """Open a file for reading at any position; raise `FileMissing`. Reads raise `StorageError`.

        From a remote file, `ahead` bytes more than requested are read at once.
        """
        path = self._path(name)
        with self._found(name):
            driven = self._fs.open(path, "rb", block_size=ahead)
        return cast(IO[bytes], _Stream(driven, lambda: self._found(name)))

    def size(self, name: str) -> int:
        """Return the length of a file in bytes; raise `FileMissing`."""
        path = self._path(name)
        with self._found(name):
            return int(self._fs.info(path)["size"])

    def remove(self, name: str) -> None:
        """Remove a file; a missing one counts as removed."""
        path = self._path(name)
        with suppress(FileMissing), self._found(name):
            self._fs.rm_file(path)

    def files(self, folder: str) -> Iterator[FoundFile]:
        """List the service's own files in a folder, including half-written ones; foreign names are skipped."""
        with self._asked(folder):
            found = disks.list_files(Path(self._root, folder)) if self._is_local else self._list(folder)
        for name, num_bytes, modified_at in found:
            if names.OURS.fullmatch(f"{folder}/{name}"):
                yield FoundFile(name=f"{folder}/{name}", num_bytes=num_bytes, modified_at=modified_at)

    def _list(self, folder: str) -> list[tuple[str, int, datetime]]:
        place = f"{self._root}/{folder}"
        found = self._fs.find(place, detail=True)
        return [
            (path.removeprefix(place).lstrip("/"), int(info["size"]), _modified_at(info))
            for path, info in found.items()
        ]

    def clock(self) -> datetime:
        """Return the time by the clock that dates the files: a file server, or a remote store, has its own."""
        name = _small_name()
        try:
            self.write(name, b"")
            with self._found(name):
                return _modified_at(self._fs.info(self._path(name)))
        finally:
            self.remove(name)

    def marker(self, *, create: bool = True) -> UUID:
        """Return the id of this storage, kept in a small file: equal ids mean the same storage.

        The first caller makes it, unless `create` is False: a worker's trial must not mark whatever happens to be
        mounted there. Raises `FileMissing` if there is none, `StorageError` if the file holds no id.
        """
        try:
            content = self.read(names.MARKER)
        except FileMissing:
            if not create:
                raise
            self._create(names.MARKER, str(uuid4()).encode())
            content = self.read(names.MARKER)
        self._has_mark = True
        try:
            return UUID(content.decode().strip())
        except ValueError:  # including errors of decoding
            raise StorageError(
                f"{names.MARKER} in {shown(self.url)} holds no id but {content[:40]!r}; "
                "restore it from a backup, or remove it and the service makes another"
            ) from None

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        """Raise `FileMissing` for a missing file, but only while the storage itself is there."""
        try:
            with self._asked(name):
                yield
        except FileMissing:
            self._check_mounted()
            raise

    def _check_mounted(self) -> None:
        """Raise `StorageError` if the storage no longer has the id seen there: then the storage is gone.

        Files written into the bare mount point of a disk are lost when the disk comes back; and files missing there, or
        in a bucket that its server no longer knows, are not really gone.
        """
        if self._has_mark:
            path = self._path(names.MARKER)
            with self._asked(shown(self.url)):
                is_there = self._fs.exists(path)
            if not is_there:
                again = "mount the disk again that was there" if self._is_local else "see that its server has it again"
                raise StorageError(f"{shown(self.url)} has lost its {names.MARKER}: {again}")

    def _create(self, name: str, content: bytes) -> None:
        """Write a file unless it exists, even if created at this moment."""
        path = self._path(name)
        with self._asked(name), suppress(FileExistsError):
            if self._is_local:
                with self._written(Path(path), content) as temporary:
                    disks.link(temporary, Path(path))
            else:
                if not self._is_atomic:
                    self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                try:
                    self._fs.pipe_file(path, content, mode="create")
                except OSError as error:  # each store has its own error for an existing file
                    if error.errno == errno.ENOSYS:  # a store without conditional writes
                        self._fs.pipe_file(path, content)
                    elif not self._fs.exists(path):
                        raise

    def check(self, *, folders: Iterable[str] = ()) -> None:
        """Write, read and remove a small file; raise `StorageError` naming the storage and the step that failed.

        On a disk, these folders, if they exist, must be writable too.
        """
        name = _small_name()
        content = secrets.token_bytes(16)
        with self._step("write"):
            self.write(name, content)
        try:
            with self._step("read"):
                if self.read(name) != content:
                    raise StorageError(f"{name}: other bytes than were written")
        finally:
            with self._step("remove"):
                self.remove(name)
        for folder in folders if self._is_local else ():
            place = Path(self._path(f"{folder}/x")).parent
            if place.exists() and not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
                raise StorageError(f"{folder} in {shown(self.url)} is no folder that this account may write to")

    @contextmanager
    def _step(self, verb: str) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            raise StorageError(f"cannot {verb} a small file in {shown(self.url)}: {error}") from error

    def _path(self, name: str) -> str:
        """Return the full path of a name, which cannot lead out of the root."""
        if not names.NAME.fullmatch(name.replace(names.TEMPORARY, "")):
            raise ValueError(f"{name!r} is not a name that this service makes")
        path = f"{self._root}/{name}"
        if self._is_local and not Path(path).resolve().is_relative_to(Path(self._root).resolve()):
            raise OutsideError(f"{name!r} lies outside of {shown(self.url)}; mount a disk there instead of a link")
        return path


def _small_name() -> str:
    return f"{names.CHECKS}/{secrets.token_hex(8)}"


def opened(settings: Settings) -> Storage:
    """Return the service's storage; raise `SettingsError` if its address is invalid."""
    storage = Storage(settings.storage_url, access=settings.storage_access)
    try:
        storage.connect()
    except StorageError as error:
        raise SettingsError(
            f"STORAGE_URL cannot be opened: {error}; start what it names, or give a folder or a bucket: "
            "file:///srv/chai, s3://BUCKET/chai"
        ) from error
    return storage


def _modified_at(info: dict[str, Any]) -> datetime:  # Any: each kind of storage has its own fields
    for field in ("mtime", "LastModified", "last_modified", "created"):
        if (value := info.get(field)) is not None:
            return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else value.astimezone(UTC)
    return datetime.now(UTC)  # unknown: too young to sweep


class _Stream(io.RawIOBase):
    """A driver's open file, whose failures are raised as `StorageError`."""

    def __init__(self, driven: IO[bytes], asked: Callable[[], AbstractContextManager[None]]) -> None:
        self._driven, self._asked, self._is_read = driven, asked, driven.readable()

    def readable(self) -> bool:
        return self._is_read

    def writable(self) -> bool:
        return not self._is_read

    def seekable(self) -> bool:
        return self._is_read

    def readinto(self, buffer: Any) -> int:  # Any: typing has no name for what is writable
        with self._asked():
            content = self._driven.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def write(self, content: Any) -> int:
        with self._asked():
            return self._driven.write(content)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        with self._asked():
            return self._driven.seek(place, whence)

    def close(self) -> None:
        if self._is_read:  # what is written is closed, or discarded, by who opened it
            self._driven.close()
        super().close()
