"""When a bulk run's window is open, by a clock of the test's own."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared.run_windows import RunWindow

NIGHT = RunWindow(start="22:00", end="06:00", tz="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def open_minutes(window: RunWindow, since: str, hours: int) -> list[str]:
    """The minutes, in UTC, at which the window opens and closes, one after the other."""
    first = at(since)
    minutes = [first + timedelta(minutes=number) for number in range(hours * 60)]
    changes = [m for before, m in pairwise(minutes) if window.is_open(before) != window.is_open(m)]
    return [f"{change:%d %H:%M}" for change in changes]


@pytest.mark.parametrize(
    ("window", "since", "changes"),
    [
        # an ordinary winter night: 22:00 in Berlin is 21:00 UTC
        (NIGHT, "2026-01-10T12:00", ["10 21:00", "11 05:00"]),
        # the clocks go forward: the night is an hour short
        (NIGHT, "2026-03-28T12:00", ["28 21:00", "29 04:00"]),
        # and back: an hour long
        (NIGHT, "2026-10-24T12:00", ["24 20:00", "25 05:00"]),
        # 02:30 does not exist that night and counts as 03:30
        (RunWindow(start="02:30", end="06:00", tz="Europe/Berlin"), "2026-03-28T12:00", ["29 01:30", "29 04:00"]),
        # 02:30 comes twice, and the first one ends the window
        (RunWindow(start="22:00", end="02:30", tz="Europe/Berlin"), "2026-10-24T12:00", ["24 20:00", "25 00:30"]),
        # the change of clocks leaves nothing of it: that night it stays closed
        (RunWindow(start="02:30", end="03:15", tz="Europe/Berlin"), "2026-03-28T12:00", []),
        # within one day
        (RunWindow(start="09:00", end="17:30", tz="UTC"), "2026-01-10T00:00", ["10 09:00", "10 17:30"]),
    ],
)
def test_a_window_opens_and_closes_by_the_clocks_of_its_zone(window: RunWindow, since: str, changes: list[str]) -> None:
    assert open_minutes(window, since, 24) == changes


@pytest.mark.parametrize("since", ["2026-01-10T12:34", "2026-03-28T12:00", "2026-03-29T00:45", "2026-10-24T23:59"])
@pytest.mark.parametrize("start", ["22:00", "02:30", "00:00"])
def test_the_next_change_is_when_the_rule_changes(since: str, start: str) -> None:
    window, now = RunWindow(start=start, end="06:00", tz="Europe/Berlin"), at(since)

    change = window.next_change(now)

    assert window.is_open(change) != window.is_open(now)
    assert window.is_open(change - timedelta(seconds=1)) == window.is_open(now)
    assert timedelta() < change - now < timedelta(days=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("25:00", "06:00", "UTC"), "start '25:00' is not a time of day; write it like 22:00"),
        (("22:00", "6", "UTC"), "end '6' is not a time of day; write it like 22:00"),
        (("22:00", "06:00", "Berlin"), "tz 'Berlin' is no time zone; write it like Europe/Berlin or UTC"),
        (("22:00", "06:00", "../etc"), "tz '../etc' is no time zone; write it like Europe/Berlin or UTC"),
        (("22:00", "22:00:00", "UTC"), "a window from 22:00 to 22:00:00 has no end; leave it out to run at any time"),
    ],
)
def test_what_is_no_window_says_how_to_write_one(values: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ValueError) as wrong:
        RunWindow(start=values[0], end=values[1], tz=values[2])

    assert str(wrong.value) == message
