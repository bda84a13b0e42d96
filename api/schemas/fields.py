"""Fields of requests: how each is read, and what is refused with which words."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

_ALLOWED_CONTROLS = "\t\n\r"
_REFUSED_KINDS = {"Cc": "control character", "Cs": "half of a surrogate pair"}  # by Unicode category


def _clean(text: str) -> str:
    for place, character in enumerate(text):
        kind = _REFUSED_KINDS.get(unicodedata.category(character))
        if kind and character not in _ALLOWED_CONTROLS:
            values = {"kind": kind, "name": f"U+{ord(character):04X}", "place": place}
            raise PydanticCustomError("refused", "holds the {kind} {name} at position {place}; remove it", values)
    return text


# characters in a category of letters or symbols that are invisible nevertheless
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")


def _can_be_seen(character: str) -> bool:
    category, number = unicodedata.category(character), ord(character)
    if category == "Cn":  # newer than this Python's tables, perhaps an emoji; but not if Unicode makes it invisible
        is_never = number & 0xFFFE == 0xFFFE or 0xFDD0 <= number <= 0xFDEF
        return not (is_never or number == 0x2065 or 0xFFF0 <= number <= 0xFFF8 or 0xE0000 <= number <= 0xE0FFF)
    return category[0] in "LNPS" and character not in _BLANK_LETTERS


def filled(text: str) -> str:
    """Refuse a text without a visible character."""
    if not any(map(_can_be_seen, text)):
        raise PydanticCustomError("refused", "is empty; say in a sentence what the video shows")
    return text


def _as_text(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**15 else f"1e{value.bit_length() * 3 // 10}"  # too long in any case
    return repr(value) if isinstance(value, float) else value


def _canonical(seconds: str) -> str:
    """Write equal durations alike, so that equivalent requests are equal; leave anything but numbers unchanged."""
    return f"{float(seconds):g}" if _DECIMAL.fullmatch(seconds) else seconds


def chosen(seed: object) -> object:
    """Read -1 as other services do: as the server's choice."""
    return None if seed in ("-1", "-1.0") or (seed == -1 and not isinstance(seed, bool)) else seed


def _whole(value: object) -> object:
    """Refuse numbers that only Python reads, such as 1_0, as not being numbers."""
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("int_parsing", "no number")
    return value


def _decimal(value: object) -> object:
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("float_parsing", "no number")
    return value


def _one(number: int) -> int:
    if number != 1:
        raise PydanticCustomError(
            "refused", "{number} is not 1; a request makes one video, send several", {"number": str(number)[:20]}
        )
    return number


def _off(value: bool) -> bool:
    if value:
        raise PydanticCustomError("refused", "is not offered here; leave it out")
    return value


def _nothing(value: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    if value:
        raise PydanticCustomError("refused", "is not offered here; leave it out")
    return value


Text = Annotated[str, AfterValidator(_clean)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_decimal), Field(allow_inf_nan=False)]
_DECIMAL = re.compile(r"\s*\+?(?:\d{1,9}(?:\.\d*)?|\.\d+)(?:e[+-]?\d)?\s*", re.ASCII | re.IGNORECASE)
Seconds = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_canonical),
    Field(max_length=20),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 20}, {"type": "number"}], "examples": ["4"]}),
]
Metadata = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], Annotated[Text, Field(max_length=512)]],
    Field(max_length=16),
]
Steps = Annotated[Whole, Field(ge=1, le=1000)]
Side = Annotated[Whole, Field(ge=1, le=100_000)]
One = Annotated[Whole, AfterValidator(_one), WithJsonSchema({"type": "integer", "const": 1})]
Nothing = Annotated[dict[str, Any], AfterValidator(_nothing), WithJsonSchema({"type": "object", "maxProperties": 0})]
Idle = Annotated[Number, Field(ge=0.0, le=100.0)]  # configures a feature that is off: accepted and ignored
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
