"""Pauses between tries."""

import pytest

from shared.backoff import pause_s


@pytest.mark.parametrize(
    ("num_failures", "expected"),
    [(1, 0.5), (2, 1.0), (6, 16.0), (7, 30.0), (8, 30.0), (100_000, 30.0)],  # the last: two months at the longest
)
def test_a_pause_doubles_with_each_failure_up_to_the_longest(num_failures: int, expected: float) -> None:
    assert pause_s(num_failures, first_s=0.5, longest_s=30.0) == expected
