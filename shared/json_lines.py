"""JSON that is on one line for every reader.

JSON allows Unicode's other line ends (U+0085, U+2028, U+2029) unescaped in texts, but Python's `str.splitlines`,
`httpx.Response.iter_lines` and readers in other languages split there: half a line is not JSON.
"""

import json
import re

_ENDS = re.compile("[\x85\u2028\u2029]")  # JSON escapes all others anyway


def line(value: object) -> str:
    """Return a value as JSON on one line, without a line end."""
    return whole(json.dumps(value, ensure_ascii=False))


def whole(text: str) -> str:
    """Return equivalent JSON with every line end escaped."""
    return _ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
