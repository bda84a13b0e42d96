"""Folders of copies that may go: the longest unused first."""

import os
from pathlib import Path


def mark_used(file: Path) -> None:
    """Put a file behind all others in the order of going; raise OSError."""
    os.utime(file)


def make_room(folder: Path, max_bytes: int) -> None:
    """Remove the longest unused files until the others hold at most so many bytes; raise OSError.

    Others may remove files of the same folder at the same time.
    """
    found = []
    for file in folder.iterdir():
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        found.append((status.st_mtime_ns, status.st_size, file))
    used = 0
    for _, num_bytes, file in sorted(found, reverse=True):
        used += num_bytes
        if used > max_bytes:
            file.unlink(missing_ok=True)
