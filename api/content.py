"""Bytes of a finished video: whole, or the range that a player asks for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from fastapi.responses import Response, StreamingResponse

from api.errors import Gone, OutOfRange
from shared.storage import FileMissing, Storage

CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes from `start` up to, not including, `stop` of a file of `total`."""

    start: int
    stop: int
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.stop - self.start == self.total


def span(header: str | None, total: int) -> Span:
    """Read a Range header; what is none, or asks for several ranges, means the whole file. Raises OutOfRange."""
    whole = Span(start=0, stop=total, total=total)
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if not first:
        start, stop = max(0, total - int(last)), total
    else:
        start, stop = int(first), min(int(last) + 1 if last else total, total)
    if first and last and int(last) < int(first):
        return whole  # RFC 9110: an invalid range is ignored
    if start >= stop:
        raise OutOfRange(
            f"Range {header!r} lies behind the end; the video has {total} bytes, ask for bytes=0-{total - 1}",
            param="Range",
            headers={"Content-Range": f"bytes */{total}"},
        )
    return Span(start=start, stop=stop, total=total)


def answer(storage: Storage, output: Mapping[str, object], asked: Mapping[str, str], *, as_head: bool) -> Response:
    """Return the video, or a part of it, as the request's headers ask; raise Gone and OutOfRange."""
    name, etag = str(output["name"]), f'"{str(output.get("sha256") or output["name"])[:32]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    if etag in asked.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    wanted = asked.get("range") if asked.get("if-range", etag) == etag else None
    part = span(wanted, _size(storage, name))
    headers["Content-Length"] = str(part.stop - part.start)
    if not part.is_whole:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.total}"
    status = 200 if part.is_whole else 206
    if as_head:
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    chunks = _read(storage.open(name), part)
    return StreamingResponse(chunks, status_code=status, headers=headers, media_type="video/mp4")


def _size(storage: Storage, name: str) -> int:
    try:
        return storage.size(name)
    except FileMissing as error:
        raise Gone("the video's file is no longer there; submit the prompt again") from error


def _read(file: IO[bytes], part: Span) -> Iterator[bytes]:
    with file:
        file.seek(part.start)
        left = part.stop - part.start
        while left and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
