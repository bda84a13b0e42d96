"""Ids as callers see them: `video_` or `batch_` and 32 hex digits. A bare UUID is read too."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from db.errors import NotFound


def video_id(id_: UUID) -> str:
    """Return the public form of a job's id."""
    return f"video_{id_.hex}"


def batch_id(id_: UUID) -> str:
    """Return the public form of a batch's id."""
    return f"batch_{id_.hex}"


def parse(kind: str, text: str) -> UUID:
    """Read the id of a "video" or "batch"; a text that cannot be one is unknown like any other: `NotFound`."""
    try:
        return UUID(text.removeprefix(f"{kind}_"))
    except ValueError:
        raise _unknown(kind, text) from None


@contextmanager
def known(kind: str, text: str) -> Iterator[UUID]:
    """Give the parsed id to the block; a `NotFound` from either names the id as the caller wrote it."""
    try:
        yield parse(kind, text)
    except NotFound:
        raise _unknown(kind, text) from None


def _unknown(kind: str, text: str) -> NotFound:
    return NotFound(f"no {kind} {text[:80]!r} for this key; GET /v1/{kind}{_PLURAL[kind]} lists what there is")


_PLURAL = {"video": "s", "batch": "es"}


def unix(time: datetime | None) -> int | None:
    """Return whole Unix seconds."""
    return None if time is None else int(time.timestamp())
