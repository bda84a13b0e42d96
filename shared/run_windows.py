"""When a bulk run may run: between two times of day in a time zone, every day."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


class AtEnd(StrEnum):
    """What happens to running lines when the window closes."""

    FINISH = "finish"  # they finish
    STOP = "stop"  # they stop between two steps, and begin again when it opens


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWindow:
    """A daily window, by the clocks of a time zone.

    In nights when clocks change it is an hour longer or shorter. A time skipped by the change counts as an hour later,
    a repeated one as its first occurrence.
    """

    start: str  # HH:MM, or HH:MM:SS
    end: str  # of the next day if it is before the start
    tz: str  # Europe/Berlin
    at_end: AtEnd = AtEnd.FINISH

    def __post_init__(self) -> None:
        """Raise ValueError, with the remedy, if this is not a window."""
        if _time("start", self.start) == _time("end", self.end):
            raise ValueError(f"a window from {self.start} to {self.end} has no end; leave it out to run at any time")
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"tz {self.tz[:60]!r} is no time zone; write it like Europe/Berlin or UTC") from None

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "RunWindow":
        """Read what `values` of the database holds."""
        return cls(
            start=values["start"], end=values["end"], tz=values["tz"], at_end=AtEnd(values.get("at_end", "finish"))
        )

    def is_open(self, now: datetime) -> bool:
        """Whether lines may start now."""
        return any(start <= now < end for start, end in self._spans(now))

    def next_change(self, now: datetime) -> datetime:
        """Return when it opens, or closes if it is open."""
        spans = list(self._spans(now))
        return next((end for start, end in spans if start <= now < end), None) or next(
            start for start, _ in spans if start > now
        )

    def closed(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Iterate over the periods between two times in which lines may not start."""
        while since < until:
            change = min(self.next_change(since), until)
            if not self.is_open(since):
                yield since, change
            since = change

    def _spans(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Iterate over the windows from yesterday's on, in UTC; one that a change of clocks leaves empty is skipped."""
        start, end, zone = _time("start", self.start), _time("end", self.end), ZoneInfo(self.tz)
        today = now.astimezone(zone).date()
        for number in range(-1, 4):
            day = today + timedelta(days=number)
            last = day if start < end else day + timedelta(days=1)
            span = _instant(day, start, zone), _instant(last, end, zone)
            if span[0] < span[1]:
                yield span


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _time(name: str, text: str) -> time:
    match = CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} {text[:20]!r} is not a time of day; write it like 22:00")
    return time(int(match[1]), int(match[2]), int(match[3] or 0))
