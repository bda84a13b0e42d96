"""What a caller is told when a request cannot be served, in OpenAI's envelope.

ApiError
├── BadRequest          400  a field is wrong: change the request
├── Unauthorized        401  no key, or not a live one
├── Forbidden           403  the key may not do this
├── NotReady            409  too early, or too late, for this state: look at the object first
├── Gone                410  the video was removed
├── TooLarge            413  the body is too long
├── UnsupportedMedia    415  the body is of another type
├── OutOfRange          416  no such bytes
└── QueueFull           429  wait, then try again
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from api import explain
from api.schemas import Error, ErrorBody
from db.errors import Conflict, NotFound

logger = logging.getLogger("api")


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
    """The key is good, but not for this."""

    code = "insufficient_scope"


class NotReady(ApiError):
    """The object is in a state that does not allow this."""

    code = "wrong_state"


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


# The one table from exception to HTTP: status and OpenAI's error type.
HTTP: dict[type[Exception], tuple[HTTPStatus, str]] = {
    BadRequest: (HTTPStatus.BAD_REQUEST, "invalid_request_error"),
    Unauthorized: (HTTPStatus.UNAUTHORIZED, "authentication_error"),
    Forbidden: (HTTPStatus.FORBIDDEN, "permission_error"),
    NotFound: (HTTPStatus.NOT_FOUND, "not_found_error"),
    NotReady: (HTTPStatus.CONFLICT, "invalid_request_error"),
    Gone: (HTTPStatus.GONE, "not_found_error"),
    TooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_request_error"),
    UnsupportedMedia: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid_request_error"),
    OutOfRange: (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "invalid_request_error"),
    Conflict: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request_error"),
    QueueFull: (HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error"),
    OperationalError: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    InterfaceError: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    PoolTimeout: (HTTPStatus.SERVICE_UNAVAILABLE, "server_error"),
    Exception: (HTTPStatus.INTERNAL_SERVER_ERROR, "server_error"),
}
UNAVAILABLE = "the database does not answer; nothing was changed, try again in a second"
INTERNAL = "this is a fault of the server; try again, and if it stays tell the operator request id {request_id}"


def install(app: FastAPI) -> None:
    """Answer every exception of this app with the envelope."""
    for kind in HTTP:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)


def describe(error: Exception) -> Error:
    """Return what the caller is told about an exception; of an unexpected one, nothing but its request id."""
    _, type_ = _row(error)
    if isinstance(error, ApiError):
        return Error(message=error.message, type=type_, param=error.param, code=error.reason)
    if isinstance(error, Conflict):
        return Error(message=str(error), type=type_, param="Idempotency-Key", code="idempotency_key_reused")
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        return Error(message=UNAVAILABLE, type=type_, code="unavailable")
    return Error(message=str(error), type=type_, code="not_found")


def internal(request_id: str) -> JSONResponse:
    """Return the answer to a fault of ours: nothing of the exception gets out."""
    error = Error(message=INTERNAL.format(request_id=request_id), type="server_error", code="internal_error")
    return _envelope(HTTPStatus.INTERNAL_SERVER_ERROR, error)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    status, _ = _row(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error  # the outermost layer logs it and answers
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        logger.warning("database away", extra={"fields": {"error": str(error).splitlines()[0]}})
        return _envelope(status, describe(error), {"Retry-After": "1"})
    return _envelope(status, describe(error), getattr(error, "headers", None))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problem = explain.first(error.errors())
    return await _answer(request, BadRequest(problem.message, param=problem.param, code=problem.code))


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses by itself: unknown paths and methods, broken forms."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        message, code = f"there is nothing at {request.url.path}; /docs lists the paths", "not_found"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        message, code = f"{request.method} is not allowed at {request.url.path}; use {allowed}", "method_not_allowed"
    else:
        message, code = str(error.detail), "bad_request"
    return _envelope(error.status_code, Error(message=message, type="invalid_request_error", code=code), error.headers)


def _row(error: Exception) -> tuple[HTTPStatus, str]:
    return next(HTTP[kind] for kind in type(error).__mro__ if kind in HTTP)


def _envelope(status: int, error: Error, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorBody(error=error).model_dump(), status_code=status, headers=dict(headers or {}))
