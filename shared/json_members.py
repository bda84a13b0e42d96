"""Detection of members given twice in JSON objects, of which `json` silently keeps the last."""

from typing import Any


class Twice:
    """The value of a member that was given more than once. No field accepts it, so the member's own refuses it."""


TWICE = Twice()


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON
    """Return an object of these members, with `TWICE` for repeated names; the `object_pairs_hook` of `json`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = TWICE
            seen.add(name)
    return found


def given_twice(value: object) -> str | None:
    """Return a member, at any depth, that was given twice, such as `metadata.shelf`; None if there is none."""
    rest: list[tuple[str, object]] = [("", value)]  # without recursion: the value may be as deep as JSON can be parsed
    while rest:
        path, value = rest.pop()
        if value is TWICE:
            return path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        rest += [(f"{path}.{name}" if path else str(name), item) for name, item in items]
    return None
