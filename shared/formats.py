"""Figures for people, alike on the page and in the terminal."""

import math


def duration(seconds: float | None) -> str:
    """Write seconds: two digits after the point below ten, the two largest units from a minute on; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    large, small = (f"{minutes} min", f"{rest} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60} min")
    return large if small.startswith("0 ") else f"{large} {small}"


def size(num_bytes: float) -> str:
    """Write a number of bytes, two digits after the point below ten."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, max(0, int(math.log2(max(1, num_bytes))) // 10))
    number = num_bytes / 1024**power
    return f"{number:.0f} {units[power]}" if power == 0 or number >= 10 else f"{number:.2f} {units[power]}"
