"""Members of JSON objects, of which none may be given twice: `json` alone keeps the last and says nothing."""

from typing import Any


class Twice:
    """Stands for the value of a member that was given more than once. No field takes it, so its own one is refused."""


TWICE = Twice()


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON
    """Return an object of these members, `TWICE` for a name that comes again; the `object_pairs_hook` of `json`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = TWICE
            seen.add(name)
    return found


def given_twice(value: object) -> str | None:
    """Return a member at any depth that was given twice, as `metadata.shelf`; None when there is none."""
    rest: list[tuple[str, object]] = [("", value)]  # not by recursion: what came may be as deep as JSON can be read
    while rest:
        path, value = rest.pop()
        if value is TWICE:
            return path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        rest += [(f"{path}.{name}" if path else str(name), item) for name, item in items]
    return None
