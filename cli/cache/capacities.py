"""Capacities of a cache as text: a share, a number of entries, or of bytes."""

import math
import re
from typing import TYPE_CHECKING

from shared.numerals import plain

if TYPE_CHECKING:
    from worker.cache.simulation.play import Capacity

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def read_capacity(text: str) -> "Capacity":
    """Return a capacity: 10%, 110 entries, 110, 500MiB. Raises ValueError."""
    from worker.cache.simulation.play import Capacity

    value = text.strip().lower()
    if value == "recorded":
        return Capacity()
    if value.endswith("%"):
        share = float(plain(value[:-1])) / 100
        found = Capacity(share=share)
        is_good = 0 < share <= 1
    elif match := re.fullmatch(r"([0-9]+)\s*(entry|entries)?", value):
        found, is_good = Capacity(num_entries=int(match[1])), int(match[1]) > 0
    else:
        num_bytes = read_bytes(value)
        found, is_good = Capacity(num_bytes=num_bytes), num_bytes > 0
    if not is_good:
        raise ValueError("room for nothing or for more than all")
    return found


def shown_capacity(capacity: "Capacity") -> str:
    """Return a capacity as it is written."""
    if capacity == type(capacity)():
        return "recorded"
    if capacity.share is not None:
        return f"{100 * capacity.share:g}%"
    return f"{capacity.num_bytes} bytes" if capacity.num_entries is None else f"{capacity.num_entries} entries"


def read_bytes(text: str) -> int:
    """Return a number of bytes: 1.3MB, 500 MiB, 1000B. Raises ValueError."""
    match = re.fullmatch(r"([0-9.]+)\s*([kmg]i?)?b", text.strip().lower())
    if match is None:
        raise ValueError("no number of bytes")
    number = float(match[1])
    if not math.isfinite(number):
        raise ValueError("more bytes than there are")
    return round(number * UNITS[match[2] or ""])
