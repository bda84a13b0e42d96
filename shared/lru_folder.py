"""Folders of copies that may go: the longest unused first.

Only what has a name of ours goes: whoever names a folder that holds other files too is to lose none of them.
"""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_OURS = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{8})?")


def name_of(key: str) -> str:
    """Return the name under which the copy of what a key stands for is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def partial_of(copy: Path) -> Path:
    """Return where a copy is written, before it is whole and gets its name."""
    return copy.with_suffix(f".{secrets.token_hex(4)}")


def mark_used(file: Path) -> None:
    """Put a file behind all others in the order of going; on a disk that is read only it stays where it is."""
    with suppress(OSError):
        os.utime(file)


def make_room(folder: Path, max_bytes: int) -> None:
    """Remove the longest unused files until the others hold at most so many bytes; raise OSError.

    Others may remove files of the same folder at the same time.
    """
    found = []
    for file in folder.iterdir():
        if not _OURS.fullmatch(file.name):
            continue
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
