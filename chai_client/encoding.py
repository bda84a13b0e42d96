"""JSON for HTTP: finite numbers, valid characters, limited nesting."""

import json
from collections.abc import Mapping

LONGEST_SHOWN = 60  # characters of a value in a message


def encoded(value: object) -> bytes:
    """Return `value` as JSON in UTF-8; raise ValueError, TypeError or RecursionError if it cannot be sent."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def num_bytes(fields: Mapping[str, object]) -> int:
    """Return the approximate encoded size of the fields; raise ValueError naming a field that cannot be sent."""
    total = 0
    for name, value in fields.items():
        try:
            total += len(name) + len(encoded(value)) + 4
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}"
            raise ValueError(f"{name} holds {half}: half of a surrogate pair, or a byte that is not UTF-8") from None
        except (ValueError, TypeError, RecursionError):
            raise ValueError(f"{name} {shown(value)} is nothing that JSON can carry; leave it out") from None
    return total


def shown(value: object) -> str:
    """Return a value for a message, printable and shortened."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # an int of more than 4300 digits
        return "of thousands of digits"


def shortened(text: str) -> str:
    """Shorten a text for a message."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
