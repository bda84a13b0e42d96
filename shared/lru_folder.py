"""Folders of disposable copies, of which the longest unused are removed first.

Only files with names of ours are removed: a folder that holds other files too must not lose them.
"""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_OURS = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{8})?")


def name_of(key: str) -> str:
    """Return the file name of the copy for a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def partial_of(copy: Path) -> Path:
    """Return the path to which a copy is written until it is complete and gets its name."""
    return copy.with_suffix(f".{secrets.token_hex(4)}")


def mark_used(file: Path) -> None:
    """Make a file the last in the order of removal; on a read-only disk this has no effect."""
    with suppress(OSError):
        os.utime(file)


def make_room(folder: Path, max_bytes: int) -> None:
    """Remove the longest unused files until the others hold at most that many bytes; raise OSError.

    Other processes may remove files of the same folder at the same time.
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
