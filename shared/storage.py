"""Files on shared storage: a local or network disk, memory or an object store, whatever an fsspec URL names.

A reader finds a whole file or none: disks get a temporary name, a sync and a rename, object stores show a file once all
of it is there. Names are made here, of a job's id and the fence of the attempt that writes; a file without a row that
names it is an orphan and swept.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import fsspec
from fsspec.implementations.local import LocalFileSystem

VIDEOS = "videos"
LATENTS = "latents"
_NAME = re.compile(r"(?:[a-z0-9_-]+/)+[A-Za-z0-9][A-Za-z0-9._-]*")
_TEMPORARY = ".writing-"
_WHOLE_OR_NOTHING = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}  # a put becomes visible as a whole


class StorageError(Exception):
    """The storage did not do what was asked; it may later."""


class FileMissing(StorageError):
    """There is no such file."""


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


def video_name(job_id: UUID, fence: int) -> str:
    """Return the name of the video that one attempt writes."""
    return f"{VIDEOS}/{job_id}.{fence}.mp4"


def latents_name(job_id: UUID, fence: int) -> str:
    """Return the name of the file of latents that one attempt writes."""
    return f"{LATENTS}/{job_id}.{fence}.safetensors"


class Storage:
    """Whole files under one URL. Every method raises `StorageError` when the storage cannot be reached."""

    def __init__(self, url: str) -> None:
        self.url = url
        with _translated(url):
            self._fs, self._root = fsspec.url_to_fs(url)
        self._is_local = isinstance(self._fs, LocalFileSystem)
        protocols = self._fs.protocol
        self._is_atomic = bool(_WHOLE_OR_NOTHING & ({protocols} if isinstance(protocols, str) else set(protocols)))

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write a file so that nobody ever sees a part of it; an existing one is replaced."""
        path = self._path(name)
        with _translated(name):
            if self._is_local:
                _write_locally(Path(path), content)
            elif self._is_atomic:
                self._fs.pipe_file(path, content)
            else:
                self._write_and_move(path, content)
        return StoredFile(name=name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _write_and_move(self, path: str, content: bytes) -> None:
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/{_temporary(last)}"
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
        with _translated(name):
            content: bytes = self._fs.cat_file(self._path(name))
        return content

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading at any position; raise `FileMissing`."""
        with _translated(name):
            stream: IO[bytes] = self._fs.open(self._path(name), "rb")
        return stream

    def size(self, name: str) -> int:
        """Return the length of a file in bytes; raise `FileMissing`."""
        with _translated(name):
            return int(self._fs.info(self._path(name))["size"])

    def local_path(self, name: str) -> Path | None:
        """Return where a file lies on this machine's file system; None for storage that is not one."""
        return Path(self._path(name)) if self._is_local else None

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is as good as removed."""
        with suppress(FileMissing), _translated(name):
            self._fs.rm_file(self._path(name))

    def files(self, folder: str) -> Iterator[FoundFile]:
        """List a folder and what is below it, half-written files included."""
        with _translated(folder):
            self._fs.invalidate_cache()
            found = self._fs.find(f"{self._root}/{folder}", detail=True)
        for path, info in found.items():
            name = path.removeprefix(self._root).lstrip("/")
            yield FoundFile(name=name, num_bytes=int(info["size"]), modified_at=_modified_at(info))

    def check(self) -> None:
        """Write, read and remove a small file; raise `StorageError` when that fails."""
        name = f"checks/{secrets.token_hex(8)}"
        self.write(name, b"chai")
        self.read(name)
        self.remove(name)

    def _path(self, name: str) -> str:
        """Return the full path of a name, which cannot lead out of the root."""
        if not _NAME.fullmatch(name.replace(_TEMPORARY, "")):
            raise ValueError(f"{name!r} is not a name that this service makes")
        path = f"{self._root}/{name}"
        if self._is_local and not Path(path).resolve().is_relative_to(Path(self._root).resolve()):
            raise ValueError(f"{name!r} lies outside of {self.url}")
        return path


def _temporary(last: str) -> str:
    return f"{_TEMPORARY}{secrets.token_hex(4)}-{last}"


def _write_locally(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary(path.name))
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _modified_at(info: dict[str, Any]) -> datetime:  # Any: each kind of storage has its own fields
    for field in ("mtime", "LastModified", "last_modified", "created"):
        if (value := info.get(field)) is not None:
            return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else value.astimezone(UTC)
    return datetime.now(UTC)  # unknown: too young to sweep


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn whatever a storage driver raises into this module's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileMissing(f"{what}: no such file") from error
    except (ValueError, StorageError):
        raise
    except Exception as error:  # each driver has its own
        raise StorageError(f"{what}: {type(error).__name__}: {error}") from error
