"""What may be asked where: methods and query fields of every path, as the OpenAPI document has them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from api.errors import BadRequest
from api.explain import hint, printable

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One path of the document."""

    pattern: re.Pattern[str]
    query_fields: Mapping[str, frozenset[str]]  # by method


class Surface:
    """The paths of the service. `document` is its OpenAPI."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        paths = sorted(document["paths"].items(), key=lambda item: "{" in item[0])  # literal ones win, as in the router
        self._places = [_place(path, operations) for path, operations in paths]

    def has(self, method: str, path: str) -> bool:
        """Return whether a method is offered at a path."""
        return self._query_fields(method, path) is not None

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path; HEAD wherever GET is."""
        found = {name for place in self._places if place.pattern.fullmatch(path) for name in place.query_fields}
        return sorted(found | ({"HEAD"} if "GET" in found else set()))

    def check_query(self, method: str, path: str, query: bytes) -> None:
        """Raise BadRequest for a query field that the operation does not know, as for one of a body."""
        if not query or (known := self._query_fields(method, path)) is None:
            return
        for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name not in known:
                name = printable(name)
                message = f"{name} is not a query field of this request; {hint(name, sorted(known))}"
                raise BadRequest(message, param=name, code="unknown_field")

    def _query_fields(self, method: str, path: str) -> frozenset[str] | None:
        for place in self._places:
            if method in place.query_fields and place.pattern.fullmatch(path):
                return place.query_fields[method]
        return None


def _place(path: str, operations: Mapping[str, Any]) -> Place:
    pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", path))
    fields = {
        method.upper(): frozenset(p["name"] for p in operation.get("parameters", ()) if p["in"] == "query")
        for method, operation in operations.items()
        if method in _METHODS
    }
    return Place(pattern=re.compile(pattern), query_fields=fields)
