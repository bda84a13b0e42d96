"""Figures for people."""

import pytest

from shared.formats import duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.034, "0.03 s"),
        (12.3, "12 s"),
        (59.7, "1 min"),  # not 60 s
        (119, "1 min 59 s"),
        (600, "10 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.50 KiB"), (20 * 2**20, "20 MiB"), (2**50, "1024 TiB")],
)
def test_a_size_has_the_unit_that_fits(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text
