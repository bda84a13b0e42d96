"""Reading bodies, JSON or forms, with limits on bytes, time and members, into a checked request or a helpful refusal.

Long ones are parsed in a thread, so that other requests are served meanwhile.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from api import explain
from api.deps import Calling, Service
from api.errors import BadRequest, TooLarge, TooSlow, UnsupportedMedia
from shared.json_members import given_twice, members

JSON = "application/json"
MULTIPART, URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
FORMS = (MULTIPART, URLENCODED)
LONG_BYTES = 16 * 1024  # longer ones are parsed in a thread
MAX_CONTAINERS = 250_000  # objects and lists in one body: even a small body can take a lot of memory
MAX_FORM_FIELDS = 100
CUT_FORM = "the form ends in the middle; send it again"
_EXACT = 2**53  # up to here, every integer is exact as a float
MOST_DIGITS = 4300  # of an integer that Python reads
_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii"})
_PAIR = re.compile(r"(metadata|expires_after)\[((?:(?!\]\[).)*)\]", re.DOTALL)  # a[b][c] would not be a text
_ESCAPED = re.compile(rb"%(22|[01][0-9A-F])")
_OBJECTS = frozenset({"metadata", "expires_after", "extra_params", "lora"})  # in a form: JSON, or one field per member
_KEEPS_EMPTY = frozenset({"prompt"})  # "is empty" says more than "is missing"

M = TypeVar("M", bound=BaseModel)


def described(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:  # Any: a piece of OpenAPI
    """Return the description of a JSON body."""
    content = {JSON: {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


def dependency(
    model: type[M], *, forms: bool = False, optional: bool = False, in_bulk: bool = False
) -> Callable[..., Awaitable[M]]:
    """Return the dependency that gives an endpoint its checked body; the key is checked before anything is read."""

    async def body(request: Request, call: Calling) -> M:
        settings = call.service.settings
        most = settings.max_batch_body_bytes if in_bulk else settings.max_body_bytes
        return await read(request, call.service, model, max_bytes=most, forms=forms, optional=optional)

    return body


async def read(
    request: Request, service: Service, model: type[M], *, max_bytes: int, forms: bool = False, optional: bool = False
) -> M:
    """Return the body as a `model`. Raises BadRequest, TooLarge, TooSlow and UnsupportedMedia."""
    check_unpacked(request)
    header = request.headers.get("content-type", "")
    type_, options = parse_options_header(header)
    parse = _parser(type_.decode("latin-1").lower(), header, options.get(b"charset", b"utf-8"), model, forms=forms)
    if parse is None and not optional:
        _refuse_type(type_, forms=forms)
    async with service.large_bodies if max_bytes > service.settings.max_body_bytes else nullcontext():
        body = await _taken(request, max_bytes, service.settings.body_timeout_s)
        if optional and not body:
            return check(model, {})
        if parse is None:
            if type_ or not optional:
                _refuse_type(type_, forms=forms)
            parse = _json_parser(model)
        return await run_in_threadpool(parse, body) if len(body) > LONG_BYTES else parse(body)


def check_unpacked(request: Request) -> None:
    """Raise `UnsupportedMedia` for a compressed body."""
    packed = request.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity"):
        raise UnsupportedMedia(f"Content-Encoding {explain.shown(packed)} is not read here; send the body as it is")


def check(model: type[M], values: object) -> M:
    """Return parsed JSON as a `model`; types must match exactly, and null is dropped. Raises BadRequest."""
    if not isinstance(values, dict):
        raise BadRequest(f"the body {explain.shown(values)} is not a JSON object; send {{…}}", code="invalid_json")
    try:
        return model.model_validate(_given(values), strict=True)
    except ValidationError as error:
        _refuse(error, model)


def parse_json(body: bytes) -> object:
    """Parse strict JSON: UTF-8, limited in nesting and number of objects. Raises BadRequest.

    A member that is given twice becomes `TWICE`, and NaN or Infinity a float. Their own fields refuse these, so that
    the other lines of the request are not affected.
    """
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise BadRequest(f"the body has more than {MAX_CONTAINERS} objects and lists; send less", code="invalid_json")
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8")  # the byte order mark of some editors
        return _loaded(text)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}; send UTF-8"
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        message = "the body is nested too deeply; flatten it"
    raise BadRequest(message, code="invalid_json")


def _loaded(text: str) -> object:
    load = partial(json.loads, parse_float=_number, object_pairs_hook=members)
    try:
        return load(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than Python reads: shorten the number, so that its own field refuses it by name
        return load(text, parse_int=lambda digits: int(digits[:MOST_DIGITS]))


def _number(text: str) -> int | float:
    """Read 5.0 as an integer: JSON has one kind of number, and some languages write integers like this."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _given(values: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Drop null fields: a client that sends null means the same as one that leaves the field out."""
    return {_readable(name): _without_nulls(value) for name, value in values.items() if value is not None}


def _without_nulls(value: Any) -> Any:  # Any: JSON
    """Drop nulls from a field that is an object, as from the request; no field has nested objects."""
    return {name: of for name, of in value.items() if of is not None} if isinstance(value, dict) else value


def _readable(name: str) -> str:
    """Return a field's name, with what no encoding can hold escaped: it is then unknown like any misspelt name."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _parser(type_: str, header: str, charset: bytes, model: type[M], *, forms: bool) -> Callable[[bytes], M] | None:
    """Return the parser of bodies of this type; None for a type that is not read."""
    if type_ != JSON and not (forms and type_ in FORMS):
        return None
    if charset.strip(b"\"' ").lower() not in _CHARSETS:
        raise UnsupportedMedia(f"charset {explain.shown(charset.decode('latin-1'))} is not read here; send UTF-8")
    if type_ == JSON:
        return _json_parser(model)
    fields = _multipart if type_ == MULTIPART else _urlencoded
    return lambda body: check_form(model, fields(body, header))


def _json_parser(model: type[M]) -> Callable[[bytes], M]:
    return lambda body: check(model, parse_json(body))


def _refuse_type(type_: bytes, *, forms: bool) -> NoReturn:
    accepted = " or ".join((JSON, *FORMS[:1]) if forms else (JSON,))
    message = f"Content-Type {explain.shown(type_.decode('latin-1'))} is not read here; send {accepted}"
    raise UnsupportedMedia(message)


async def _taken(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Read the body; stop as soon as it is too slow or too long, whether by its announced or its real length."""
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit() and len(announced) < 19 and int(announced) <= max_bytes):
        _refuse_length(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    _refuse_length(max_bytes)
    except TimeoutError:
        message = f"the body did not arrive within {timeout_s:g} s; send it again, in smaller pieces on a slow line"
        raise TooSlow(message, headers={"Connection": "close"}) from None
    return bytes(body)


def _refuse_length(max_bytes: int) -> NoReturn:
    raise TooLarge(f"the body has more than {max_bytes} bytes; send less, or several requests")


def check_form(model: type[M], fields: Iterable[tuple[bytes, bytes]]) -> M:
    """Return the fields of a form as a `model`. Raises BadRequest."""
    return check_texts(model, _values((_text(name, b"a name of the form"), name, value) for name, value in fields))


def check_texts(model: type[M], values: Mapping[str, Any]) -> M:  # Any: texts, and metadata as a dict of them
    """Return the values of a form as a `model`. Raises BadRequest."""
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        _refuse(error, model)


def _values(fields: Iterable[tuple[str, bytes, bytes]]) -> dict[str, Any]:  # Any: texts, and metadata as a dict of them
    """Return the values of a form. An empty field counts as not filled in."""
    values: dict[str, Any] = {}
    pairs: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for name, raw_name, raw in fields:
        value = _text(raw, raw_name)
        if name in seen:
            _refuse_twice(name)
        seen.add(name)
        if pair := _PAIR.fullmatch(name):
            if not pair[2]:  # the way in which many clients write a list
                message = f"{name} {explain.shown(value)} is a member of a list; send {pair[1]}[KEY]=VALUE"
                raise BadRequest(message, param=pair[1])
            pairs.setdefault(pair[1], {})[pair[2]] = value
        elif name in _OBJECTS and value:
            if (found := _object(name, value)) is not None:
                values[name] = found
        elif value or name in _KEEPS_EMPTY:
            values[name] = value
    for name, own in pairs.items():
        if twice := next((key for key in own if key in values.get(name, {})), None):
            _refuse_twice(f"{name}.{twice}")
        values[name] = {**values.get(name, {}), **own}
    return values


def _refuse_twice(name: str) -> NoReturn:
    shown = explain.printable(name)
    raise BadRequest(f"{shown} is given twice; send it once", param=shown)


def _object(name: str, value: str) -> dict[str, Any] | None:  # Any: JSON
    """Read a field that holds JSON; null is dropped."""
    try:
        pairs = parse_json(value.encode())
    except BadRequest as error:
        raise BadRequest(error.message.replace("the body", name, 1), param=name, code=error.reason) from None
    if pairs is None:
        return None
    if not isinstance(pairs, dict):
        raise BadRequest(f"{name} {explain.shown(pairs)} is not an object; send an object", param=name)
    if (twice := given_twice(pairs)) is not None:
        _refuse_twice(f"{name}.{twice}")
    if name != "metadata":
        return {key: text if isinstance(text, str) else json.dumps(text) for key, text in _given(pairs).items()}
    for key, text in _given(pairs).items():
        if not isinstance(text, str):
            field = f"metadata.{explain.printable(key)}"
            raise BadRequest(f"{field} {explain.shown(text)} is not text; send text", param=field)
    return _given(pairs)


def _text(raw: bytes, name: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = explain.printable(name.decode("utf-8", "backslashreplace"))
        raise BadRequest(f"{shown} is not UTF-8 at byte {error.start}; send UTF-8", param=shown) from None


def _multipart(body: bytes, header: str) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    ends: list[bool] = []

    def on_field(field: Field) -> None:
        found.append((name_in_head(field.field_name or b""), field.value or b""))
        _check_number(found)

    def on_file(file: File) -> None:
        if not (file.file_name or file.size):  # a browser sends this if no file was chosen
            file.close()
            return
        name = explain.printable((file.field_name or b"").decode("utf-8", "backslashreplace"))
        file.close()
        raise BadRequest(f"{name} is a file, and no file is read here; send text fields only", param=name)

    mark = boundary(header)
    try:
        parser = FormParser(MULTIPART, on_field, on_file, lambda: ends.append(True), boundary=mark)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError, AssertionError) as error:
        raise broken_form(error) from None
    if body and not ends:  # the last field may be cut off
        raise BadRequest(CUT_FORM, code="bad_request")
    return found


def name_in_head(raw: bytes) -> bytes:
    """Return a name of a multipart form as its sender meant it: browsers, httpx and `openai` write a quote as %22.

    They escape line ends likewise, and httpx every control character, but not the percent sign.
    """
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), raw)


def broken_form(error: Exception) -> BadRequest:
    """Return the message for a body in which no parts are found."""
    why = explain.printable(str(error))
    return BadRequest(
        f"the body is not {MULTIPART} as its Content-Type says ({why}); check the boundary", code="bad_request"
    )


def boundary(header: str) -> bytes:
    """Return the boundary between a form's fields, from its Content-Type; raise `BadRequest`."""
    found = parse_options_header(header)[1].get(b"boundary")
    if not found:
        raise BadRequest("Content-Type has no boundary; let the HTTP client write it", code="bad_request")
    return found


def _urlencoded(body: bytes, header: str) -> list[tuple[bytes, bytes]]:
    if body.lstrip().startswith(b"{"):
        message = "the body looks like JSON, but its Content-Type names a form; send Content-Type: application/json"
        raise BadRequest(message, code="invalid_json")
    found = []
    for piece in body.split(b"&", MAX_FORM_FIELDS + 1):
        if piece:
            name, _, value = piece.replace(b"+", b" ").partition(b"=")
            found.append((unquote_to_bytes(name), unquote_to_bytes(value)))
            _check_number(found)
    return found


def _check_number(found: list[tuple[bytes, bytes]]) -> None:
    if len(found) > MAX_FORM_FIELDS:
        raise BadRequest(f"the form has more than {MAX_FORM_FIELDS} fields; send less", code="bad_request")


def _refuse(error: ValidationError, model: type[BaseModel]) -> NoReturn:
    problem = explain.first(error.errors(include_url=False), known=tuple(model.model_fields))
    raise BadRequest(problem.message, param=problem.param, code=problem.code) from None
