"""Methods and query fields of every path, from the OpenAPI document."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from api.errors import BadRequest
from api.explain import hint, printable, shown

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_LIST = re.compile(rb"(?<![^&])(\w+)(?:\[\]|%5B%5D)(?==)", re.IGNORECASE)  # a[]=1
_FOREIGN = re.compile("[\udc80-\udcff]")  # `surrogateescape` decodes bytes that are not UTF-8 as these


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One path of the document."""

    pattern: re.Pattern[str]
    query_fields: Mapping[str, Mapping[str, bool]]  # by method: each field, and whether it may be repeated


def plain(query: bytes) -> bytes:
    """Rewrite lists in a query from the form of `openai`, a[]=1&a[]=2, to the usual one: a=1&a=2."""
    return _LIST.sub(rb"\1", query)


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
        """Raise BadRequest for a query as for a body: unknown fields, repeated fields, bytes that are not UTF-8."""
        if not query:
            return
        known, given = self._query_fields(method, path), set[str]()
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"):
            if "\0" in value:  # it is never stored, and no database accepts it
                shown_name = printable(name)
                raise BadRequest(f"{shown_name} {shown(value)} holds U+0000; remove it", param=shown_name)
            if known is None:  # a page, which ignores unknown fields
                continue
            if name not in known:
                name = printable(name) or "''"
                message = f"{name} is not a query field of this request; {hint(name, sorted(known))}"
                raise BadRequest(message, param=name, code="unknown_field")
            if name in given and not known[name]:
                raise BadRequest(f"{name} is given twice; send it once", param=name)
            if _FOREIGN.search(value):
                raise BadRequest(f"{name} {shown(value)} is not UTF-8; send UTF-8", param=name)
            given.add(name)

    def _query_fields(self, method: str, path: str) -> Mapping[str, bool] | None:
        for place in self._places:
            if method in place.query_fields and place.pattern.fullmatch(path):
                return place.query_fields[method]
        return None


def _place(path: str, operations: Mapping[str, Any]) -> Place:
    pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", path))
    fields = {
        method.upper(): {p["name"]: _is_list(p) for p in operation.get("parameters", ()) if p["in"] == "query"}
        for method, operation in operations.items()
        if method in _METHODS
    }
    return Place(pattern=re.compile(pattern), query_fields=fields)


def _is_list(parameter: Mapping[str, Any]) -> bool:
    schema = parameter.get("schema", {})
    return any(kind.get("type") == "array" for kind in (schema, *schema.get("anyOf", ())))
