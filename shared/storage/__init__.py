"""Files on shared storage: one class, its errors, and the names of files."""

from shared.storage.disks import check_temporary_folder
from shared.storage.errors import FileMissing, OutsideError, StorageError, TemporaryFolderError, shown
from shared.storage.names import (
    CHECKS,
    FILES,
    LATENTS,
    MARKER,
    PICTURES,
    VIDEOS,
    attempt_of,
    file_name,
    is_half_written,
    latents_name,
    picture_name,
    video_name,
)
from shared.storage.storage import AHEAD_BYTES, FoundFile, Storage, StoredFile, opened

__all__ = [
    "AHEAD_BYTES",
    "CHECKS",
    "FILES",
    "LATENTS",
    "MARKER",
    "PICTURES",
    "VIDEOS",
    "FileMissing",
    "FoundFile",
    "OutsideError",
    "Storage",
    "StorageError",
    "StoredFile",
    "TemporaryFolderError",
    "attempt_of",
    "check_temporary_folder",
    "file_name",
    "is_half_written",
    "latents_name",
    "opened",
    "picture_name",
    "shown",
    "video_name",
]
