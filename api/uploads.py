"""Receiving a file: straight into storage as it arrives, limited in size, with at most a megabyte in memory."""

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn
from urllib.parse import unquote_to_bytes
from uuid import UUID, uuid4

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import bodies, explain
from api.deps import Calling
from api.errors import BadRequest, TooLarge, TooSlow, UnsupportedMedia
from api.schemas.requests import UploadFields
from api.settings import ApiSettings
from api.submission import Key, key_of
from db import files
from db.keys import Caller
from shared.storage import Storage, StorageError, file_name

LONGEST_S = 3600.0  # longest upload; each piece may take as long as a whole body
_BUFFER_BYTES = 256 * 1024
_MAX_FIELD_BYTES = 1024
_MAX_FILENAME = 200  # characters
_AS_IT_IS = (b"7bit", b"8bit", b"binary")
_EXTENDED = re.compile(rb"""filename\*\s*=\s*"?([\w-]*)'[^']*'([^\s;"]*)""", re.IGNORECASE)  # RFC 5987


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file in storage that no row names yet."""

    id: UUID
    name: str
    filename: str
    num_bytes: int
    num_lines: int  # non-empty ones
    fields: UploadFields
    sha256: str  # hex
    key: str | None  # Idempotency-Key

    @property
    def request_hash(self) -> str:
        """A hash that is equal for equal uploads."""
        asked = [self.sha256, self.filename, self.fields.model_dump()]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class _Form:
    """The form as received so far: text fields, and one file that is passed on to `sink`."""

    sink: IO[bytes]
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    filename: str | None = None
    num_bytes: int = 0
    num_lines: int = 0
    digest: Any = field(default_factory=hashlib.sha256)  # Any: hashlib names no type
    _head: dict[bytes, bytes] = field(default_factory=dict)
    _header: list[bytes] = field(default_factory=lambda: [b"", b""])
    _value: bytearray | None = None  # of a text field; None while the file arrives
    _is_blank: bool = True  # whether the current line is blank
    is_whole: bool = False

    def begin(self) -> None:
        self._head = {}

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def header_end(self) -> None:
        self._head[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._head.get(b"content-disposition", b""))
        name = bodies.name_in_head(options.get(b"name", b""))
        filename = _file_name(self._head.get(b"content-disposition", b""), options)
        shown = explain.printable(name.decode("utf-8", "backslashreplace"))
        if filename is None:
            if len(self.fields) == bodies.MAX_FORM_FIELDS:
                raise BadRequest(f"the form has more than {bodies.MAX_FORM_FIELDS} fields; send less")
            self._value = bytearray()
            self.fields.append((name, b""))
            return
        if name != b"file":
            raise BadRequest(f"{shown} is a file, and file is the only one that is read here", param=shown)
        if self.filename is not None:
            raise BadRequest("file is given twice; send it once", param="file")
        if (packed := self._head.get(b"content-transfer-encoding", b"binary").strip().lower()) not in _AS_IT_IS:
            how = explain.shown(packed.decode("latin-1"))
            message = (
                f"file comes in Content-Transfer-Encoding {how}, which is not read here; send its bytes as they are"
            )
            raise BadRequest(message, param="file")
        self._value = None
        self.filename = _named(filename)

    def data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._value is not None:
            self._value += piece
            if len(self._value) > _MAX_FIELD_BYTES:
                name = explain.printable(self.fields[-1][0].decode("utf-8", "backslashreplace"))
                raise BadRequest(f"{name} has more than {_MAX_FIELD_BYTES} bytes; send less", param=name)
            return
        self.num_bytes += self.sink.write(piece)
        self.digest.update(piece)
        self._count(piece)

    def end(self) -> None:
        if self._value is not None:
            self.fields[-1] = (self.fields[-1][0], bytes(self._value))

    def finish(self) -> None:
        self.is_whole = True

    def _count(self, piece: bytes) -> None:
        *ended, last = piece.split(b"\n")
        for line in ended:
            self.num_lines += bool(line.strip()) or not self._is_blank
            self._is_blank = True
        self._is_blank = self._is_blank and not last.strip()

    @property
    def num_all_lines(self) -> int:
        """The number of non-empty lines; the last one may lack its line end."""
        return self.num_lines + (not self._is_blank)

    def parser(self, boundary: bytes) -> MultipartParser:
        """Return the parser that reads a body into this form."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self.begin,
                "on_header_field": self.header_field,
                "on_header_value": self.header_value,
                "on_header_end": self.header_end,
                "on_headers_finished": self.headers_finished,
                "on_part_data": self.data,
                "on_part_end": self.end,
                "on_end": self.finish,
            },
        )


async def receive(request: Request, call: Calling, idempotency_key: Key = None) -> Upload:
    """Store the file of a form. Raises BadRequest, TooLarge, TooSlow and UnsupportedMedia, and then leaves nothing."""
    key = key_of(idempotency_key)
    storage, settings, id_ = call.service.storage, call.service.settings, uuid4()
    boundary = _boundary(request)
    stack = ExitStack()
    form = _Form(sink=await run_in_threadpool(stack.enter_context, storage.writing(file_name(id_))))
    try:
        await _feed(request, form, boundary, settings)
        fields = _fields(form)
    except BaseException:
        stack.__exit__(*sys.exc_info())
        raise
    await run_in_threadpool(stack.close)
    return Upload(
        id=id_,
        name=file_name(id_),
        filename=form.filename or "file",
        num_bytes=form.num_bytes,
        num_lines=form.num_all_lines,
        fields=fields,
        sha256=form.digest.hexdigest(),
        key=key,
    )


@contextmanager
def kept(upload: Upload, storage: Storage) -> Iterator[None]:
    """Remove the bytes if the block, which writes their row, fails; not if its commit was unanswered."""
    try:
        yield
    except DBAPIError:
        raise  # the row may exist; if not, the bytes are an orphan and will be swept
    except BaseException:
        drop(upload, storage)
        raise


def drop(upload: Upload, storage: Storage) -> None:
    """Remove the bytes of an upload that gets no row."""
    with suppress(StorageError):  # otherwise they are an orphan and will be swept
        storage.remove(upload.name)


def check_total(session: Session, caller: Caller, upload: Upload, settings: ApiSettings) -> None:
    """Raise TooLarge if a tenant's files, locked against other additions, would exceed their limit."""
    number = files.num_bytes(session, caller.tenant)
    if number + upload.num_bytes > settings.max_files_bytes:
        message = f"your files have {number} bytes and may have {settings.max_files_bytes}; delete some first"
        raise TooLarge(message, code="files_full")


def _boundary(request: Request) -> bytes:
    bodies.check_unpacked(request)
    header = request.headers.get("content-type", "")
    type_, _ = parse_options_header(header)
    if type_.lower() != bodies.MULTIPART.encode():
        message = f"Content-Type {explain.shown(type_.decode('latin-1'))} is not read here; send {bodies.MULTIPART}"
        raise UnsupportedMedia(message)
    return bodies.boundary(header)


async def _feed(request: Request, form: _Form, boundary: bytes, settings: ApiSettings) -> None:
    most = settings.max_file_bytes + 64 * 1024  # and the form around the file
    try:
        parser, number, buffer = form.parser(boundary), 0, bytearray()
        async for chunk in _chunks(request, settings.body_timeout_s):
            number += len(chunk)
            buffer += chunk
            if number > most:
                _refuse_length(settings.max_file_bytes)
            if len(buffer) >= _BUFFER_BYTES:
                await run_in_threadpool(parser.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(parser.write, bytes(buffer))
        parser.finalize()
    except (FormParserError, ValueError, AssertionError) as error:
        raise bodies.broken_form(error) from None
    if form.num_bytes > settings.max_file_bytes:
        _refuse_length(settings.max_file_bytes)
    if not form.is_whole:
        raise BadRequest(bodies.CUT_FORM, code="bad_request")


def _refuse_length(most: int) -> NoReturn:
    raise TooLarge(f"the file has more than {most} bytes; send several")


async def _chunks(request: Request, timeout_s: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    try:
        async with asyncio.timeout(LONGEST_S):
            while True:
                try:
                    yield await asyncio.wait_for(anext(stream), timeout_s)
                except StopAsyncIteration:
                    return
    except TimeoutError:
        message = f"nothing of the file came for {timeout_s:g} s; send it again"
        raise TooSlow(message, headers={"Connection": "close"}) from None


def _file_name(disposition: bytes, options: Mapping[bytes, bytes]) -> bytes | None:
    """Return a file's name, None for a text field. A name in the extended form overrides the plain one beside it."""
    found = _EXTENDED.search(disposition)
    if found is None:
        return bodies.name_in_head(options[b"filename"]) if b"filename" in options else None
    try:
        return unquote_to_bytes(found[2]).decode(found[1].decode()).encode()
    except (LookupError, UnicodeError):
        return options.get(b"filename", unquote_to_bytes(found[2]))


def _named(raw: bytes) -> str:
    """Return a file's own name, only its end if it is long; raise `BadRequest` if it is not text, as in every field."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"file's name is not UTF-8 at byte {error.start}; send UTF-8"
        raise BadRequest(message, param="file") from None
    if "\0" in name:
        raise BadRequest(f"file's name {explain.shown(name)} holds U+0000; remove it", param="file")
    return name[-_MAX_FILENAME:]


def _fields(form: _Form) -> UploadFields:
    if any(name == b"file" for name, _ in form.fields):
        message = "file is a text field here, not a file; send it with a filename, as curl's -F file=@NAME does"
        raise BadRequest(message, param="file")
    fields = bodies.check_form(UploadFields, form.fields)
    if not (form.filename or form.num_bytes):  # none, or what a browser sends if none was chosen
        raise BadRequest("file is missing; add it", param="file", code="missing_field")
    return fields
