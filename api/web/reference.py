"""The OpenAPI document as tables for people."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]  # Any: OpenAPI
_METHODS = ("get", "post", "put", "patch", "delete")


def tags(document: Json) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the operations of a document by tag, without HEAD, which exists wherever GET does."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if operation := operations.get(method):
                tag = (operation.get("tags") or ["more"])[0]
                found.setdefault(tag, []).append(_operation(method.upper(), path, operation))
    return list(found.items())


def _operation(method: str, path: str, operation: Json) -> dict[str, Any]:
    return {
        "method": method,
        "path": path,
        "says": operation.get("description") or operation.get("summary", ""),
        "fields": [*_parameters(operation), *_body(operation)],
        "answers": sorted(operation.get("responses", {})),
    }


def _parameters(operation: Json) -> Iterator[dict[str, Any]]:
    for parameter in operation.get("parameters", ()):
        yield {
            "name": parameter["name"],
            "place": parameter["in"],
            "required": parameter.get("required", False),
            "type": _type(parameter.get("schema", {})),
            "says": parameter.get("description", ""),
        }


def _body(operation: Json) -> Iterator[dict[str, Any]]:
    contents = operation.get("requestBody", {}).get("content", {})
    schema: Json = next((content["schema"] for content in contents.values()), {})
    for name, field in schema.get("properties", {}).items():
        says = field.get("description", "")
        if examples := field.get("examples"):
            says = f"{says} such as {', '.join(map(str, examples))}".strip()
        is_required = name in schema.get("required", ())
        yield {"name": name, "place": "body", "required": is_required, "type": _type(field), "says": says}


def _type(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if options := schema.get("anyOf"):
        return " | ".join(_type(option) for option in options if option.get("type") != "null")
    return str(schema.get("type") or schema.get("$ref", "").rpartition("/")[2])
