"""Traces of prompts for replays: any list of prompts, with the times, users, video sizes and bytes it happens to have.

A replay of half a trace says little, so a line that cannot be read ends the reading.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chai_client.encoding import shown
from cli import output, prompt_lists
from cli.errors import BadInput
from cli.prompt_lists import Values

if TYPE_CHECKING:
    from worker.cache.simulation.prepare import Request

TIMES, USERS, SIZES, BYTES = ("time", "timestamp", "at"), ("user", "tenant"), ("size",), ("bytes", "num_bytes")
COLUMNS = f"prompt, and optionally {TIMES[0]}, {USERS[0]}, {SIZES[0]} (of the video) and {BYTES[0]} (of its latents)"


def read(source: Path) -> "tuple[list[Request], bool]":
    """Return the requests of a trace in their order in time, and whether it has times.

    Raises `BadInput` when the file or one of its lines cannot be read.
    """
    from worker.cache.simulation.prepare import Request

    listed = prompt_lists.read_any_columns(source)
    rows = [(number, prompt_lists.readable(listed.name, number, values)) for number, values in listed.rows]
    if not rows:
        raise BadInput(f"{listed.name} holds no prompts; a trace has one a line, or the columns {COLUMNS}")
    found = [_request(listed.name, number, values) for number, values in rows]
    times = [at for _, at in found]
    if None in times and any(at is not None for at in times):
        number = rows[times.index(None)][0]
        raise BadInput(
            f"{listed.name}, line {number}: no {TIMES[0]}, which other lines have; fill it in or drop the column"
        )
    order = sorted(range(len(found)), key=lambda index: times[index] or 0.0)
    if order != list(range(len(found))):
        output.note(f"{listed.name} is not in the order of its times: it is replayed in their order")
    requests = [Request(at=float(place), **found[index][0]) for place, index in enumerate(order)]
    return requests, times[0] is not None


def _request(name: str, number: int, values: Values) -> tuple[dict[str, Any], float | None]:
    def refuse(what: str) -> BadInput:
        return BadInput(f"{name}, line {number}: {what}")

    prompt = values.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise refuse(f"prompt is {shown(prompt)}; a trace has the columns {COLUMNS}")
    fields: dict[str, Any] = {"prompt": prompt.strip()}
    if (user := _first(values, USERS)) is not None:
        fields["tenant"] = str(user)
    if (size := _first(values, SIZES)) is not None:
        fields["size"] = str(size)
    if (num_bytes := _first(values, BYTES)) is not None:
        fields["num_bytes"] = _number(num_bytes, 1)
        if fields["num_bytes"] is None:
            raise refuse(f"{BYTES[0]} is {shown(num_bytes)}; it must be a whole number above 0")
        fields["num_bytes"] = round(fields["num_bytes"])
    given = _first(values, TIMES)
    at = None if given is None else _time(given)
    if given is not None and at is None:
        raise refuse(f"{TIMES[0]} is {shown(given)}; write seconds, or 2026-11-01T08:00:00")
    return fields, at


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:  # Any: a cell
    found = (values[name] for name in names if values.get(name) not in (None, ""))
    return next(found, None)


def _time(value: Any) -> float | None:  # Any: a cell
    if isinstance(value, datetime):
        return value.timestamp()
    number = _number(value, -math.inf)
    if number is not None:
        return number
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def _number(value: Any, least: float) -> float | None:  # Any: a cell
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= least else None
