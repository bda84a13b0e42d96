"""Errors that callers get if a request cannot be served, in OpenAI's envelope.

ApiError
├── BadRequest          400  a field is wrong: change the request
├── Unauthorized        401  no key, or not a live one
├── Forbidden           403  the key may not do this
├── TooSlow             408  the body did not come in time: send it again
├── NotReady            409  too early or too late for the object's state: look at it first
├── Gone                410  the video was removed
├── TooLarge            413  the body is too long
├── UnsupportedMedia    415  the body is of another type
├── OutOfRange          416  no such bytes
├── PreconditionFailed  412  If-Match names another version
├── Misdirected         421  the Host is not this machine
├── QueueFull           429  wait, then try again
├── JobFailed           502  the video that was waited for failed
├── TooManyConnections  503  this process serves no more of them: wait
├── Overdue             503  nothing was answered in time: something hangs
└── Damaged             502  the stored file differs from the one that was written
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from api import explain
from api.explain import discreet, not_offered, printable
from api.schemas.answers import Error, ErrorBody
from db.errors import Conflict, InUse, NotFound
from shared.logs import first_line
from shared.storage import StorageError

REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "What to change, in OpenAI's error envelope"},
    "5XX": {"model": ErrorBody, "description": "Nothing was changed; try again"},
}
logger = logging.getLogger("api")

STAYS = {"x-should-retry": "false"}  # header of a refusal that will not change: `openai` would retry


class ApiError(Exception):
    """Base of every refusal; `param` names the field, `code` is stable and for programs."""

    code: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.reason = code or self.code
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """A field of the request is wrong."""

    code = "invalid_value"


class Unauthorized(ApiError):
    """The request carries no live key."""

    code = "invalid_api_key"


class Forbidden(ApiError):
    """The key is valid, but not for this."""

    code = "insufficient_scope"


class NotReady(ApiError):
    """The object is in a state that does not allow this."""

    code = "wrong_state"


class TooSlow(ApiError):
    """The body did not arrive in time."""

    code = "body_timeout"


class PreconditionFailed(ApiError):
    """The caller asks about another version of the file."""

    code = "precondition_failed"


class Misdirected(ApiError):
    """The request was meant for another machine."""

    code = "wrong_host"


class Damaged(ApiError):
    """The stored file differs in length or content from what was written."""

    code = "video_damaged"


class JobFailed(ApiError):
    """The worker could not make the video that this request waited for."""

    code = "failed"


class TooManyConnections(ApiError):
    """This process has no room for another connection."""

    code = "too_many_connections"


class Unanswered(ApiError):
    """No worker answered a question in time."""

    code = "no_answer"


class Overdue(ApiError):
    """No answer has begun in time."""

    code = "overdue"


class Gone(ApiError):
    """There was a video; it has been removed."""

    code = "video_gone"


class TooLarge(ApiError):
    """The body is longer than this server reads."""

    code = "body_too_large"


class UnsupportedMedia(ApiError):
    """The body is of a type that this route does not read."""

    code = "unsupported_media_type"


class OutOfRange(ApiError):
    """The file ends before the bytes asked for."""

    code = "range_not_satisfiable"


class QueueFull(ApiError):
    """The caller has as many jobs waiting as its key allows."""

    code = "queue_full"


# The only table from exceptions to HTTP: status and OpenAI's error type.
HTTP: dict[type[Exception], tuple[HTTPStatus, str]] = {
    BadRequest: (HTTPStatus.BAD_REQUEST, "invalid_request_error"),
    Unauthorized: (HTTPStatus.UNAUTHORIZED, "authentication_error"),
    Forbidden: (HTTPStatus.FORBIDDEN, "permission_error"),
    NotFound: (HTTPStatus.NOT_FOUND, "not_found_error"),
    TooSlow: (HTTPStatus.REQUEST_TIMEOUT, "invalid_request_error"),
    NotReady: (HTTPStatus.CONFLICT, "invalid_request_error"),
    InUse: (HTTPStatus.CONFLICT, "invalid_request_error"),
    Gone: (HTTPStatus.GONE, "not_found_error"),
    TooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_request_error"),
    UnsupportedMedia: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid_request_error"),
    OutOfRange: (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "invalid_request_error"),
    PreconditionFailed: (HTTPStatus.PRECONDITION_FAILED, "invalid_request_error"),
    Misdirected: (HTTPStatus.MISDIRECTED_REQUEST, "invalid_request_error"),
    Conflict: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request_error"),
    QueueFull: (HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error"),
    Damaged: (HTTPStatus.BAD_GATEWAY, "server_error"),
    JobFailed: (HTTPStatus.BAD_GATEWAY, "server_error"),
    Unanswered: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    TooManyConnections: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    Overdue: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    DataError: (HTTPStatus.BAD_REQUEST, "invalid_request_error"),
    StorageError: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    OperationalError: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    InterfaceError: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    PoolTimeout: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    Exception: (HTTPStatus.INTERNAL_SERVER_ERROR, "server_error"),
}
UNAVAILABLE = "the database does not answer; nothing was changed, try again in a second"
READ_ONLY = "the database takes no writes at the moment; nothing was changed, try again in a second"
STORAGE_AWAY = "the storage of videos does not answer; try again in a second"
UNSTORABLE = "a value of this request cannot be stored; send another one"
OLD_TABLES = "the tables of the database are not those of this version; the operator runs `chai migrate`"
READ_ONLY_STATES = frozenset({"25006"})  # SQLSTATE of a standby or a server set to read-only
OLD_TABLES_STATES = frozenset({"42P01", "42703"})  # a missing table, a missing column
INTERNAL = "this is a fault of the server; try again, and if it stays tell the operator request id {request_id}"


def install(app: FastAPI) -> None:
    """Make this app answer every exception with the envelope."""
    for kind in HTTP:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(InternalError, _answer)
    app.add_exception_handler(ProgrammingError, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, unserved)


def describe(error: Exception) -> Error:
    """Return what the caller is told about an exception: for an unexpected one only the request id."""
    _, type_ = _row(error)
    if isinstance(error, ApiError):
        return Error(message=discreet(error.message), type=type_, param=error.param, code=error.reason)
    if isinstance(error, Conflict | InUse):
        return Error(message=str(error), type=type_, param=error.param, code=error.code)
    if isinstance(error, StorageError):
        return Error(message=STORAGE_AWAY, type=type_, code="storage_unavailable")
    if isinstance(error, DataError):
        return Error(message=UNSTORABLE, type=type_, code="invalid_value")
    if isinstance(error, DBAPIError | PoolTimeout):
        state = _sql_state(error)
        message = OLD_TABLES if state in OLD_TABLES_STATES else READ_ONLY if state in READ_ONLY_STATES else UNAVAILABLE
        return Error(message=message, type=type_, code="unavailable")
    return Error(message=discreet(str(error)), type=type_, code="not_found")


def internal(request_id: str) -> JSONResponse:
    """Return the answer to a fault of ours, which reveals nothing of the exception."""
    error = Error(message=INTERNAL.format(request_id=request_id), type="server_error", code="internal_error")
    return _envelope(HTTPStatus.INTERNAL_SERVER_ERROR, error)


def answer(error: Exception) -> JSONResponse:
    """Return the answer to an exception that is in the table; reraise one that is a fault of ours."""
    status, _ = _row(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error  # the outermost layer logs it and answers
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        logger.warning("not available", extra={"fields": {"error": first_line(error)}})
        return _envelope(status, describe(error), {"Retry-After": "1", **getattr(error, "headers", {})})
    headers = {"Retry-After": "1"} if isinstance(error, InUse) else getattr(error, "headers", None)
    return _envelope(status, describe(error), headers)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    return answer(error)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problem = explain.first(error.errors())
    return await _answer(request, BadRequest(problem.message, param=problem.param, code=problem.code))


async def unserved(request: Request, error: Exception) -> JSONResponse:
    """Answer requests that the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    method, path, headers = request.method, request.scope["path"], dict(error.headers or {})
    status, message, code = error.status_code, discreet(str(error.detail)), "bad_request"
    is_path = status == HTTPStatus.METHOD_NOT_ALLOWED
    if (is_path or status == HTTPStatus.NOT_FOUND) and (said := not_offered(method, path, is_path=is_path)):
        status, message, code, headers = HTTPStatus.NOT_FOUND, said, "not_offered", {}
    elif status == HTTPStatus.NOT_FOUND:
        message, code = f"there is nothing at {printable(path)}; /docs lists the paths", "not_found"
    elif is_path:
        allowed = ", ".join(request.app.state.surface.methods(path)) or _with_head(
            headers.get("Allow", "another method")
        )
        headers["Allow"] = allowed
        message, code = f"{method} is not allowed at {printable(path)}; use {allowed}", "method_not_allowed"
    return _envelope(status, Error(message=discreet(message), type="invalid_request_error", code=code), headers)


def _with_head(allowed: str) -> str:
    """Return the methods of a page, which is not in the API's document: HEAD is answered wherever GET is."""
    methods = set(allowed.split(", "))
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _sql_state(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "pgcode", None)


def _row(error: Exception) -> tuple[HTTPStatus, str]:
    if _sql_state(error) in READ_ONLY_STATES | OLD_TABLES_STATES:
        return HTTPStatus.SERVICE_UNAVAILABLE, "server_error"
    return next(HTTP[kind] for kind in type(error).__mro__ if kind in HTTP)


def _envelope(status: int, error: Error, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorBody(error=error).model_dump(), status_code=status, headers=dict(headers or {}))
