"""Turn pydantic's errors into sentences that name the field, the value and the remedy."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from shared.json_members import TWICE

SHOWN_CHARS = 60  # of a wrong value
NAME_CHARS = 100  # of a field's name that is quoted
_KEY = re.compile(r"sk-chai-[0-9A-Za-z]+-\S+")
_FILE = re.compile(r"(?<![\w:/.])/(?:[^\s/:'\"]+/)+([^\s/:'\"]*)")
_OFFERED = "this service makes videos: POST /v1/videos submits one, and /docs lists what else there is"
_PLACES = ("body", "query", "path", "header")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "dict": "an object",
    "list": "a list",
    "model": "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a request."""

    message: str
    param: str | None
    code: str


def first(errors: Sequence[Any], known: Sequence[str] = ()) -> Problem:
    """Explain the first error; `known` are the fields of the request, to suggest one for a misspelt name."""
    error = errors[0]
    place, *rest = error["loc"] or ("body",)
    field = rest if place in _PLACES and (rest or place == "body") else [place, *rest]
    if place == "query":
        field = field[:1]  # in a repeatable field, the index follows the name
    is_key = len(field) > 2 and field[-1] == "[key]"  # in an object: its field, the key, this mark
    param = printable(".".join(map(str, field[:-2] if is_key else field))) if field else None
    name = f"a key of {param}" if is_key else "the body" if param is None else param or "''"
    return Problem(message=_sentence(error, name, known), param=param, code=_code(error["type"]))


def shown(value: object) -> str:
    """Return a value for a message: printable and shortened; null, true and false as in JSON."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def printable(text: str) -> str:
    """Return a caller's text so that it can be sent back in any encoding: escaped where needed, and shortened."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in plain)
    return plain if len(plain) <= NAME_CHARS else f"{plain[:NAME_CHARS]}…"


def custom_id(line: object) -> str | None:
    """Return the name of an invalid line, if any, shortened and without characters that cannot be stored or encoded."""
    name = line.get("custom_id") if isinstance(line, dict) else None
    return name.encode("utf-8", "replace").decode().replace("\0", "?")[:200] if isinstance(name, str) else None


def discreet(text: str) -> str:
    """Return a message without API keys."""
    return _KEY.sub("sk-chai-…", text)


def without_folders(text: str) -> str:
    """Return a message in which paths of the server are reduced to file names, since folders are private."""
    return _FILE.sub(r"\1", text)


def _code(type_: str) -> str:
    return {"missing": "missing_field", "extra_forbidden": "unknown_field"}.get(type_, "invalid_value")


def _sentence(error: Mapping[str, Any], field: str, known: Sequence[str]) -> str:
    if error.get("input") is TWICE:
        return f"{field} is given twice; send it once"
    type_, value, context = error["type"], shown(error.get("input")), error.get("ctx", {})
    match type_:
        case "missing":
            return f"{field} is missing; add it"
        case "extra_forbidden":
            return f"{field} is not a field of this request; {hint(field, known)}"
        case "literal_error" | "enum":
            return f"{field} {value} is not known; use {context['expected']}"
        case "greater_than_equal":
            return f"{field} {value} is too small; use {context['ge']} or more"
        case "greater_than":
            return f"{field} {value} is too small; use more than {context['gt']}"
        case "less_than_equal":
            return f"{field} {value} is too large; use {context['le']} or less"
        case "string_too_short" | "too_short":
            return f"{field} is empty; write something"
        case "string_too_long" | "too_long":
            return f"{field} has {_length(error['input'], context)}; use at most {context['max_length']}"
        case "refused":
            return f"{field} {error['msg']}"
    kind = _KINDS.get(type_.split("_")[0], "valid here")
    return f"{field} {value} is not {kind}; send {kind}"


def _length(value: object, context: Mapping[str, object]) -> str:
    """Return the length of the value received, or of its reading: a number may represent a longer text."""
    length = len(value) if isinstance(value, str | list | dict) else context.get("actual_length", "too many")
    return f"{length} {'members' if isinstance(value, list | dict) else 'characters'}"


def hint(field: str, known: Sequence[str]) -> str:
    """Suggest what a misspelt field may have meant."""
    close = get_close_matches(field, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}" if known else "remove it"


def not_offered(method: str, path: str, *, is_path: bool) -> str | None:
    """Return the message for a call of OpenAI's API that this service lacks; None for any other path.

    `is_path`: the path exists, with another method.
    """
    is_ours = is_path or path.startswith(
        ("/v1/videos/", "/v1/bulk-runs", "/v1/batches", "/v1/files", "/v1/webhooks", "/v1/cache", "/v1/models")
    )
    if path.startswith("/v1/") and (not is_ours or _LACKING.fullmatch(path)):
        return f"{method} {printable(path)} is not offered here; {_OFFERED}"
    return None


_LACKING = re.compile(r"/v1/videos/(?:(?:edits|extensions|characters)(?:/.*)?|[^/]+/(?:remix|edit|extend))", re.DOTALL)
