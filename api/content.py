"""Contents of a stored file: whole, or the range that a player asks for."""

import hashlib
import re
from asyncio import Semaphore
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.errors import Damaged, Gone, OutOfRange, PreconditionFailed
from api.explain import printable
from shared.storage import AHEAD_BYTES, FileMissing, Storage, StorageError

CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII | re.IGNORECASE)
_MOST_DIGITS = 18
_ONCE_MORE = "submit the prompt again, and tell the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes from `start` up to, not including, `stop` of a file of `total`."""

    start: int
    stop: int
    total: int


def span(header: str | None, total: int, what: str = "video") -> Span:
    """Read a Range header; an invalid one, or one with several ranges, means the whole file. Raises OutOfRange."""
    match asked_range(header):
        case None:
            return Span(start=0, stop=total, total=total)
        case None, last:
            start, stop = max(0, total - (last or 0)), total
        case first, None:
            start, stop = first, total
        case first, last:
            start, stop = first, min(last + 1, total)
    if start >= stop:
        way_out = f"ask for bytes=0-{total - 1}" if total else "leave it out"
        raise OutOfRange(
            f"Range {printable(header or '')!r} lies behind the end; the {what} has {total} bytes, {way_out}",
            param="Range",
            headers={"Content-Range": f"bytes */{total}"},
        )
    return Span(start=start, stop=stop, total=total)


def asked_range(header: str | None) -> tuple[int | None, int | None] | None:
    """Return first and last byte of a Range header; without a first one, `last` is the number of bytes at the end.

    None for no header, several ranges, and values that RFC 9110 says to ignore.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = (_place(digits) for digits in match.groups())
    return None if first is not None and last is not None and last < first else (first, last)


def _place(digits: str) -> int | None:
    """Read a position; one with more digits than any file's length is beyond every end."""
    if not digits:
        return None
    return int(digits) if len(digits.lstrip("0")) < _MOST_DIGITS else 10**_MOST_DIGITS


class Checked:
    """The files already verified, so that each is checked against its checksum once per process."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._names: dict[str, None] = {}

    def check(self, storage: Storage, output: Mapping[str, object], what: str = "video") -> int:
        """Return the length of a published file. Raises Gone if it is missing, Damaged if it is not intact."""
        name, sha256, written = str(output["name"]), output.get("sha256"), output.get("bytes")
        try:
            size = storage.size(name)
            if isinstance(written, int) and size != written:
                raise Damaged(f"the {what}'s file has {size} of {written} bytes; {_ONCE_MORE}")
            if sha256 and name not in self._names and _digest(storage, name) != sha256:
                raise Damaged(f"the {what}'s file is not the one that was written; {_ONCE_MORE}")
        except FileMissing as error:
            raise Gone(f"the {what}'s file is no longer there; submit the prompt again") from error
        if sha256:
            self._names[name] = None
            while len(self._names) > self._most:
                self._names.pop(next(iter(self._names)), None)
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A verified file, with its headers."""

    name: str  # in storage
    num_bytes: int
    etag: str
    media_type: str
    disposition: str  # Content-Disposition
    what: str  # in messages


def answer(
    storage: Storage,
    checked: Checked,
    output: Mapping[str, object],
    asked: Mapping[str, str],
    *,
    file_name: str,
    as_head: bool,
    what: str = "video",
) -> Response:
    """Return the video, a picture of it, or a part, as the request's headers ask.

    Raises Damaged, Gone, OutOfRange and PreconditionFailed.
    """
    kept = Kept(
        name=str(output["name"]),
        num_bytes=checked.check(storage, output, what),
        etag=f'"{str(output.get("sha256") or output["name"])[:32]}"',
        media_type="video/mp4" if what == "video" else "image/jpeg",
        disposition=f'inline; filename="{file_name}"',
        what=what,
    )
    return as_asked(storage, kept, asked, as_head=as_head)


async def in_turn(reads: Semaphore, make: Callable[..., Response], *args: Any, **options: Any) -> Response:
    """Return the answer of `make`, called in a thread; its body is read in a thread too, piece by piece.

    Each read takes a slot of `reads`, which has fewer than there are threads: if the storage hangs, other requests go
    on, and jobs are accepted.
    """
    async with reads:
        answer = await run_in_threadpool(make, *args, **options)
    if isinstance(answer, StreamingResponse):
        answer.body_iterator = _pieces(reads, answer.body_iterator)
    return answer


async def _pieces(reads: Semaphore, body: AsyncIterable[Any]) -> AsyncIterator[Any]:
    pieces = aiter(body)
    while True:
        async with reads:
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
        yield piece


def as_asked(storage: Storage, kept: Kept, asked: Mapping[str, str], *, as_head: bool) -> Response:
    """Return a file or a part of it, as the request's headers ask. Raises OutOfRange and PreconditionFailed."""
    etag = kept.etag
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": kept.disposition,
    }
    if not holds(asked.get("if-match", "*"), etag):
        raise PreconditionFailed(f"If-Match does not name {etag}; leave it out, or download the {kept.what} anew")
    if holds(asked.get("if-none-match", ""), etag, weakly=True):
        return Response(status_code=304, headers=headers)
    wanted = asked.get("range") if asked.get("if-range", etag) == etag else None
    part = span(wanted, kept.num_bytes, kept.what)
    headers["Content-Length"] = str(part.stop - part.start)
    status = 200
    if asked_range(wanted) is not None:  # even if that is the whole file: players probe like that
        status, headers["Content-Range"] = 206, f"bytes {part.start}-{part.stop - 1}/{part.total}"
    if as_head:
        return Response(status_code=status, headers=headers, media_type=kept.media_type)
    body = read(storage, kept.name, part)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=kept.media_type)


def holds(header: str, etag: str, *, weakly: bool = False) -> bool:
    """Return whether If-Match, or `weakly` If-None-Match, names this version; `W/"…"` counts only weakly."""
    names = (name.strip() for name in header.split(","))
    return header.strip() == "*" or etag in (name.removeprefix("W/") if weakly else name for name in names)


def _digest(storage: Storage, name: str) -> str:
    digest = hashlib.sha256()
    with storage.open(name) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read(storage: Storage, name: str, part: Span) -> Iterator[bytes]:
    """Yield the part; if the file ends early, break the answer off, so that nobody takes it for complete."""
    left = part.stop - part.start
    with storage.open(name, ahead=min(left, AHEAD_BYTES)) as file:
        file.seek(part.start)
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise StorageError(f"{name}: ends {left} bytes early")
            left -= len(chunk)
            yield chunk
