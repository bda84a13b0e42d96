"""Growing pauses between attempts."""


def pause_s(num_failures: int, *, first_s: float, longest_s: float) -> float:
    """Return the pause after this many failures in a row, at least one: doubled with each, up to the longest.

    The number of failures is unbounded: something may fail for years.
    """
    return min(longest_s, first_s * 2.0 ** min(num_failures - 1, 64))
