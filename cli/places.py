"""Fallback folders for results, so that nothing is lost if the requested folder cannot be written.

The first folder that works is used and named. Disks fill up and shares go away during the night, so each write may move
on to the next folder; files already written stay where they are.
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
    """No folder could be written; the service still has the result."""


def put(folders: Sequence[Path], write: Callable[[Path], T], *, what: str, later: str) -> tuple[Path, T]:
    """Call `write` with the first folder in which it succeeds; return that folder and the result.

    The last resort is the folder for temporary files. Raises `NoPlace`, whose message ends with `later`: how to get it
    afterwards.
    """
    failures: list[str] = []
    for folder in chain(folders, _last_resort()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # detect an unwritable folder before the work
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
    """Provide a path whose content becomes `file` if the block succeeds, whole or not at all.

    The path is unique, so that two commands that write the same file at once do not interfere.
    """
    place = Path(os.path.realpath(file))  # keep a link: replace its target
    partial = place.with_name(f"{place.name}.{uuid4().hex[:8]}.part")
    try:
        yield partial
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Return the operating system's message for an error."""
    return error.strerror or (errno.errorcode.get(error.errno, "") if error.errno else "") or str(error)


def _last_resort() -> Iterator[Path]:
    """Yield the folder for temporary files, made only when it is needed."""
    try:
        yield Path(tempfile.mkdtemp(prefix="chai-"))
    except OSError:
        return
