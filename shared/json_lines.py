"""JSON that stands on one line, whoever reads it.

JSON lets the ends of lines that Unicode has besides (U+0085, U+2028, U+2029) stand in a text as they are, and Python's
`str.splitlines`, `httpx.Response.iter_lines` and readers of other languages cut a text there: half a line is no JSON.
"""

import json
import re

_ENDS = re.compile("[\x85\u2028\u2029]")  # JSON escapes all others by itself


def line(value: object) -> str:
    """Return a value as JSON on one line, without an end of its own."""
    return whole(json.dumps(value, ensure_ascii=False))


def whole(text: str) -> str:
    """Return JSON with every end of a line in it escaped; it says the same."""
    return _ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
