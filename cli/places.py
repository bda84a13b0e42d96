"""Where a result goes when the place that was asked for cannot take it: nothing is lost for want of a folder.

The first place that works is used and named. Disks fill up and shares go away in the middle of a night, so each write
may move on to the next place; what was written before stays where it is.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from cli.errors import CommandError
from cli.output import note

T = TypeVar("T")


class NoPlace(CommandError):
    """No place took it; the service still has it."""


def put(folders: Sequence[Path], write: Callable[[Path], T], *, what: str, later: str) -> tuple[Path, T]:
    """Call `write` with the first folder that takes it; return that folder and what `write` returned.

    The last resort is the folder for temporary files. Raises `NoPlace`, which ends with `later`: how to get it yet.
    """
    failures: list[str] = []
    for folder in chain(folders, _last_resort()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # what takes nothing is known before the work
                pass
            written = write(folder)
        except OSError as error:
            failures.append(f"{folder} ({reason(error)})")
            continue
        if failures:
            note(f"{what} cannot be written to {', '.join(failures)}; written to {folder} instead")
        return folder, written
    raise NoPlace(f"{what} cannot be written to {', '.join(failures)}; {later}")


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a path whose content becomes `file` when the block ends well, whole or not at all.

    It is nobody else's: two commands that write the same file at once do not write into each other's.
    """
    place = Path(os.path.realpath(file))  # a link stays one, and leads to the new
    partial = place.with_name(f"{place.name}.{uuid4().hex[:8]}.part")
    try:
        yield partial
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Say what an operating system's error is, in its own words."""
    return error.strerror or (errno.errorcode.get(error.errno, "") if error.errno else "") or str(error)


def _last_resort() -> Iterator[Path]:
    """Name the folder for temporary files, and make it only when it is wanted."""
    try:
        yield Path(tempfile.mkdtemp(prefix="chai-"))
    except OSError:
        return
