"""Pauses between tries, longer and longer."""


def pause_s(num_failures: int, *, first_s: float, longest_s: float) -> float:
    """Return the pause after so many failures in a row, at least one: the first, doubled with each, up to the longest.

    A number of failures has no bound: what fails may fail for years.
    """
    return min(longest_s, first_s * 2.0 ** min(num_failures - 1, 64))
