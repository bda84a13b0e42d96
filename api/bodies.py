"""Reading bodies: bounded, JSON or a form, into a checked request or a `BadRequest` that says what to change."""

import json
import re
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.types import Message, Receive

from api import explain
from api.errors import BadRequest, TooLarge, UnsupportedMedia

JSON = "application/json"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_PAIR = re.compile(r"metadata\[(.*)\]", re.DOTALL)

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, model: type[M], *, max_bytes: int, forms: bool = False, optional: bool = False) -> M:
    """Return the body as a `model`. Raises BadRequest, TooLarge and UnsupportedMedia."""
    bounded = Request(request.scope, _bounded(request, max_bytes))
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if type_ == JSON or (not type_ and optional):
        body = await bounded.body()
        return check(model, parse_json(body) if body or not optional else {})
    if forms and type_ in FORMS:
        async with bounded.form(max_files=1, max_fields=100, max_part_size=max_bytes) as form:
            return _check_form(model, form)
    accepted = " or ".join((JSON, *FORMS[:1]) if forms else (JSON,))
    raise UnsupportedMedia(f"Content-Type {explain.shown(type_)} is not read here; send {accepted}")


def check(model: type[M], values: object) -> M:
    """Return parsed JSON as a `model`; numbers must be numbers and texts texts. Raises BadRequest."""
    if not isinstance(values, dict):
        raise BadRequest(f"the body {explain.shown(values)} is not a JSON object; send {{…}}", code="invalid_json")
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        _refuse(error, model)


def parse_json(body: bytes) -> object:
    """Parse strict JSON: UTF-8, no NaN, no bottomless nesting. Raises BadRequest."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}; send UTF-8"
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        message = "the body is nested too deeply; flatten it"
    except ValueError:  # Python reads no longer ones
        message = "the body holds a number of more than 4300 digits; send a shorter one"
    raise BadRequest(message, code="invalid_json")


def _no_constant(name: str) -> NoReturn:
    message = f"the body is not JSON: {name} is not a number there; send a finite one or leave the field out"
    raise BadRequest(message, code="invalid_json")


def _check_form(model: type[M], form: FormData) -> M:
    try:
        return model.model_validate_strings(_values(form))
    except ValidationError as error:
        _refuse(error, model)


def _values(form: FormData) -> dict[str, Any]:  # Any: texts, and metadata as a dict of them
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if not isinstance(value, str):
            raise BadRequest(f"{name} is a file, and no file is read here; send text fields only", param=name)
        if pair := _PAIR.fullmatch(name):
            values.setdefault("metadata", {})[pair[1]] = value
        elif name == "metadata":
            values[name] = parse_json(value.encode("utf-8", "surrogatepass"))
        else:
            values[name] = value
    return values


def _refuse(error: ValidationError, model: type[BaseModel]) -> NoReturn:
    problem = explain.first(error.errors(include_url=False), known=tuple(model.model_fields))
    raise BadRequest(problem.message, param=problem.param, code=problem.code) from None


def _bounded(request: Request, max_bytes: int) -> Receive:
    """Return a `receive` that stops reading as soon as the body is too long, announced or not."""
    announced = request.headers.get("content-length", "")
    total = int(announced) if announced.isdigit() else 0
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if max(total, taken) > max_bytes:
            raise TooLarge(f"the body has more than {max_bytes} bytes; send less, or several requests")
        return message

    return receive
