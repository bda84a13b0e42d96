"""Ids as callers see them: `video_`, `batch_`, `file-` or `wh_` and 32 hex digits. A bare UUID is read too."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Literal, Protocol, TypedDict
from uuid import UUID, uuid5

from db.errors import NotFound

Kind = Literal["video", "bulk run", "batch", "file", "webhook"]
_EVENTS = UUID("3f0f6c52-5d7e-4d0e-8c1c-0d5a6f6f9a11")
_PREFIX = {"video": "video_", "bulk run": "batch_", "batch": "batch_", "file": "file-", "webhook": "wh_"}
_LIST = {
    "video": "/v1/videos",
    "bulk run": "/v1/bulk-runs",
    "batch": "/v1/batches",
    "file": "/v1/files",
    "webhook": "/v1/webhooks",
}


def batch_id(id_: UUID) -> str:
    """Return the public form of a bulk run's id; for a run from a file, it is also the batch's id."""
    return f"{_PREFIX['batch']}{id_.hex}"


def file_id(id_: UUID) -> str:
    """Return the public form of a file's id."""
    return f"{_PREFIX['file']}{id_.hex}"


def webhook_id(id_: UUID) -> str:
    """Return the public form of the id of a webhook."""
    return f"{_PREFIX['webhook']}{id_.hex}"


def event_id(key: str) -> str:
    """Return the id of an event; it is the same however often the event is sent."""
    return f"evt_{uuid5(_EVENTS, key).hex}"


def parse(kind: Kind, text: str) -> UUID:
    """Read an id; a text that is not one is treated as unknown: `NotFound`."""
    try:
        return UUID(text.removeprefix(_PREFIX[kind]))
    except ValueError:
        raise _unknown(kind, text) from None


@contextmanager
def known(kind: Kind, text: str) -> Iterator[UUID]:
    """Pass the parsed id to the block; a `NotFound` from parsing or the block names the id as the caller wrote it."""
    try:
        yield parse(kind, text)
    except NotFound:
        raise _unknown(kind, text) from None


def cursor(kind: Kind, after: str | None) -> AbstractContextManager[UUID | None]:
    """Pass the parsed id after which a page begins, if any, to the block; like `known` if there is one."""
    return known(kind, after) if after else nullcontext()


class Listed(Protocol):
    """A row of a page."""

    @property
    def id(self) -> str:
        """The public form."""


class Ends(TypedDict):
    """Where a page begins and ends, as in every list."""

    first_id: str | None
    last_id: str | None
    has_more: bool


def ends(data: Sequence[Listed], *, has_more: bool) -> Ends:
    """Return the ends of a page of rows."""
    return Ends(first_id=data[0].id if data else None, last_id=data[-1].id if data else None, has_more=has_more)


def _unknown(kind: Kind, text: str) -> NotFound:
    return NotFound(f"no {kind} {text[:80]!r} for this key; GET {_LIST[kind]} lists what there is")


def unix(time: datetime | None) -> int | None:
    """Return whole Unix seconds."""
    return None if time is None else int(time.timestamp())
