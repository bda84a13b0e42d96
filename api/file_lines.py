"""Lines of a file of requests, read one by one with bounded memory, from any position on."""

import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import IO, Any

from api import bodies, explain
from api.errors import BadRequest
from api.schemas.requests import FileLine

MAX_LINE_BYTES = 256 * 1024  # of one request; with every field at its limit, a request is far shorter
_BUFFER_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLine:
    """One raw line of the file."""

    number: int  # from 1
    content: bytes | None  # without its end; None: too long to be read
    end: int  # offset at which the next one begins


def read(stream: IO[bytes], *, offset: int = 0, number: int = 0) -> Generator[RawLine]:
    """Yield the lines after `offset`, before which there are `number`; empty ones are counted but left out.

    Closes the stream at the end, or when the generator is closed.
    """
    stream.seek(offset)
    with io.BufferedReader(stream, _BUFFER_BYTES) as buffered:  # type: ignore[type-var]  # whatever fsspec opens
        while piece := buffered.readline(MAX_LINE_BYTES):
            number, offset, is_whole = number + 1, offset + len(piece), True
            while not piece.endswith(b"\n") and (rest := buffered.readline(MAX_LINE_BYTES)):
                offset, piece, is_whole = offset + len(rest), rest, False
            content = (piece.removeprefix(_BOM) if number == 1 else piece).strip()
            if content or not is_whole:
                yield RawLine(number=number, content=content if is_whole else None, end=offset)


def request(line: RawLine) -> dict[str, Any]:  # Any: JSON
    """Return a line's request as a line of a bulk run; raise `BadRequest`."""
    if line.content is None:
        raise BadRequest(f"the line has more than {MAX_LINE_BYTES} bytes; send less", code="line_too_long")
    asked = bodies.check(FileLine, bodies.parse_json(line.content))
    for name in ("custom_id", "line"):
        if name in asked.body:
            message = f"body.{name} is not a field of this request; custom_id stands beside body"
            raise BadRequest(message, param=f"body.{name}", code="unknown_field")
    return {**asked.body, "custom_id": asked.custom_id, "line": str(line.number)}


def custom_id(line: RawLine) -> str | None:
    """Return the name of an invalid line, if it can be read."""
    try:
        value = bodies.parse_json(line.content or b"")
    except BadRequest:
        return None
    return explain.custom_id(value)
