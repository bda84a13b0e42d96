"""Header fields of requests, by HTTP's rules on repeated fields and fields without meaning for a method.

And the header fields of every answer.
"""

import re
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import Scope

from api.errors import BadRequest

# Fields of one value: of two, whichever is read, a caller or a proxy meant the other. Those that are lists may come in
# several lines (RFC 9110, 5.3).
_ONE_VALUE = {
    name.lower().encode(): name
    for name in (
        "Authorization",
        "Cancel-After",
        "Content-Type",
        "Host",
        "Idempotency-Key",
        "If-Range",
        "Last-Event-ID",
        "Origin",
        "Range",
    )
}
_REQUEST_ID = "x-request-id"
REPLAYED = {"Idempotent-Replayed": "true"}  # of the answer to a request that was sent before with its key
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%@+-]+)+")
_OF_GET = frozenset({b"range", b"if-range"})  # ignored with every other method (RFC 9110, 14.2)


def read(scope: Scope) -> Scope:
    """Return a request with one line per field, and without those that its method ignores.

    Raises BadRequest if a field that may have one value has two.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name not in found:
            found[name] = value
        elif name not in _ONE_VALUE:
            found[name] += (b"; " if name == b"cookie" else b", ") + value
        elif found[name] != value:
            shown = _ONE_VALUE[name]
            raise BadRequest(f"{shown} is given twice, with two values; send it once", param=shown)
    if scope["method"] != "GET":
        found = {name: value for name, value in found.items() if name not in _OF_GET}
    return {**scope, "headers": list(found.items())}


def request_id(scope: Scope | None = None) -> str:
    """Return the request id given by the caller, or a new one."""
    given = "" if scope is None else Headers(scope=scope).get(_REQUEST_ID, "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex


def prefix(scope: Scope) -> str:
    """Return the path prefix of this service behind a proxy, as that reports it; the proxy's own requests lack it."""
    given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
    return given if _PREFIX.fullmatch(given) else ""


def of_every_answer(request_id: str) -> dict[str, str]:
    """Return the headers of every answer: the request's id, and protection from sniffing and other sites' pages."""
    return {
        _REQUEST_ID: request_id,
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
