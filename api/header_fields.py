"""Header fields as HTTP means them where they come more than once, or with a method that they say nothing to."""

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
_OF_GET = frozenset({b"range", b"if-range"})  # to be ignored with every other method (RFC 9110, 14.2)


def read(scope: Scope) -> Scope:
    """Return a request with one line a field, and without those that its method ignores.

    Raises BadRequest where a field of one value has two.
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
