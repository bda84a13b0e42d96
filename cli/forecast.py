"""What a list would cost, before it runs: `chai bulk run --dry-run`.

`cli.night` decides what each line would do; this module counts that and computes hours and bytes. Nothing is written.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cli import local, night
from cli.errors import BadInput
from cli.manifest import BadLine, Manifest, Order
from cli.night import Decided, Night, Size
from db.metrics import Spread
from shared.formats import duration, size
from shared.run_windows import RunWindow
from worker.cache.nights import OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """GPU hours and bytes of some lines; None if nothing of their kind was ever measured."""

    low_h: float | None  # if every run is quick
    likely_h: float | None
    high_h: float | None  # if every run is slow and no line finds a donor
    work_h: float | None  # likely, for one worker, including reading and writing
    video_bytes: float | None
    latent_bytes: float | None  # that full lines would add to the cache, before evictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a list would do if it ran now."""

    num_lines: int  # that would run
    num_duplicates: int
    num_reused: int  # made by earlier runs, now or later
    submitted_as: str | None  # the existing run of this very list: nothing would run
    bad: tuple[BadLine, ...]
    num_fast: int
    num_full: int
    num_hits_stored: int  # fast ones with a stored donor
    num_hits_own: int  # fast ones with a donor that the list itself makes
    cost: Cost
    num_workers: int
    starts_at: datetime
    likely_end: datetime | None  # with these workers, only within the window's open hours
    closes_at: datetime | None  # when the window that it would start in closes
    is_cache_known: bool  # whether stored videos were considered, or only the list
    embedder: str  # of this machine
    stored_by: str | None  # another embedder, whose workers would find more in the cache than was found here
    order: Order  # in which the lines would run

    @property
    def fits(self) -> bool | None:
        """Whether it would likely end before the window closes; None without a window or figures."""
        if self.closes_at is None or self.likely_end is None:
            return None
        return self.likely_end <= self.closes_at


def forecast(
    listed: Manifest, window: RunWindow | None, order: Order = Order.PLANNED, *, series: str | None = None
) -> Forecast:
    """Return what a list would do and cost now; the database is used if a service is running or named.

    Lines that earlier runs of `series` have are not made again. Raises `BadInput` for more lines than a run may have.
    """
    _check_length(len(listed.lines))
    planned = night.of(listed, series)
    tally = Tally(planned)
    for decided in planned.decided(order):
        tally.add(decided)
    return tally.forecast(listed, window, order)


def _check_length(num_lines: int) -> None:
    most = local.api_settings().max_batch_jobs
    if num_lines > most:
        raise BadInput(
            f"{num_lines} lines are more than the {most} that a run may have; divide the list, or let the operator "
            "raise CHAI_MAX_BATCH_JOBS"
        )


class Tally:
    """Counts of what the lines of a list would do, as they are decided."""

    def __init__(self, planned: Night) -> None:
        self._night = planned
        self._numbers: defaultdict[Size, Counter[str]] = defaultdict(Counter)

    def add(self, decided: Decided) -> None:
        """Count a line."""
        plan, numbers = decided.plan, self._numbers[decided.size]
        numbers[plan.path] += 1
        if plan.path == "fast" and plan.donors:
            numbers["own" if plan.donors[0].startswith(OWN) else "stored"] += 1

    def forecast(self, listed: Manifest, window: RunWindow | None, order: Order) -> Forecast:
        """Compute the forecast from the counts."""
        parts = [
            _Part(
                num_fast=numbers["fast"],
                num_full=numbers["full"],
                num_hits_stored=numbers["stored"],
                num_hits_own=numbers["own"],
                measured=self._night.measured[size],
            )
            for size, numbers in self._numbers.items()
        ]
        return _summed(listed, self._night, parts, window, order)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Lines of one model and size."""

    num_fast: int
    num_full: int
    num_hits_stored: int
    num_hits_own: int
    measured: Mapping[str, Spread]  # by path


def _summed(
    listed: Manifest, planned: Night, parts: Sequence[_Part], window: RunWindow | None, order: Order
) -> Forecast:
    cost = _cost(parts)
    now = datetime.now(UTC)
    starts = now if window is None or window.is_open(now) else window.next_change(now)
    work = None if cost.work_h is None else timedelta(hours=cost.work_h / planned.num_workers)
    return Forecast(
        num_lines=sum(part.num_fast + part.num_full for part in parts),
        num_duplicates=len(listed.duplicates),
        num_reused=len(planned.earlier.lines),
        submitted_as=planned.earlier.run,
        bad=(*listed.bad, *planned.bad),
        num_fast=sum(part.num_fast for part in parts),
        num_full=sum(part.num_full for part in parts),
        num_hits_stored=sum(part.num_hits_stored for part in parts),
        num_hits_own=sum(part.num_hits_own for part in parts),
        cost=cost,
        num_workers=planned.num_workers,
        starts_at=starts,
        likely_end=None if work is None else end_of(starts, work, window),
        closes_at=window.next_change(starts) if window else None,
        is_cache_known=planned.factory is not None,
        embedder=planned.embedder.name,
        stored_by=planned.stored_by,
        order=order,
    )


def end_of(starts: datetime, work: timedelta, window: RunWindow | None) -> datetime:
    """Return when work that begins now, or when the window opens, is done: it goes on only in open hours."""
    if window is None:
        return starts + work
    while (closes := window.next_change(starts)) - starts < work:
        work -= closes - starts
        starts = window.next_change(closes)
    return starts + work


def _cost(parts: Sequence[_Part]) -> Cost:
    def total(name: str, of: Mapping[str, Sequence[int]]) -> float | None:
        """Sum a figure over the lines of each path; None if an occurring path was never measured."""
        sum_ = 0.0
        for index, part in enumerate(parts):
            for path, numbers in of.items():
                measured = part.measured.get(path) or part.measured.get("full")  # no fast run takes longer
                value = None if measured is None else getattr(measured, name)
                if numbers[index] and value is None:
                    return None
                sum_ += numbers[index] * (value or 0.0)
        return sum_

    planned = {"fast": [part.num_fast for part in parts], "full": [part.num_full for part in parts]}
    unlucky = {
        "fast": [part.num_fast - part.num_hits_stored - part.num_hits_own for part in parts],
        "full": [part.num_full + part.num_hits_stored + part.num_hits_own for part in parts],
    }
    seconds = [total("low_s", planned), total("mean_s", planned), total("high_s", unlucky), total("wall_s", planned)]
    low, likely, high, work = (None if number is None else number / 3600 for number in seconds)
    return Cost(
        low_h=low,
        likely_h=likely,
        high_h=high,
        work_h=work,
        video_bytes=total("video_bytes", planned),
        latent_bytes=total("latent_bytes", {"full": planned["full"]}),
    )


ORDERS = {
    Order.PLANNED: "planned, so that most lines find a donor; `--order file` keeps that of the list",
    Order.FILE: "that of the list",
}


def facts(found: Forecast) -> dict[str, str]:
    """Return a forecast as names and texts for people."""
    cost, zone = found.cost, "%Y-%m-%d %H:%M %Z"
    asked = "the cache and the list itself" if found.is_cache_known else "the list itself; no service is running here"
    crew = "1 worker" if found.num_workers == 1 else f"{found.num_workers} workers"
    earlier = f", {found.num_reused} are videos of earlier runs" if found.num_reused else ""
    told = {
        "lines": f"{found.num_lines} would run{earlier}, {found.num_duplicates} duplicates, "
        f"{len(found.bad)} cannot be used",
        "fast": f"{found.num_fast}: {found.num_hits_stored} by stored videos, {found.num_hits_own} by earlier lines",
        "full": f"{found.num_full}",
        "order": ORDERS[found.order],
        "looked up": asked,
        "GPU time": "unknown: no run of this model and size was measured yet; make one first",
        "videos": _bytes(cost.video_bytes),
        "latents": _bytes(cost.latent_bytes) and f"{_bytes(cost.latent_bytes)}, less what is evicted",
        "starts": f"{found.starts_at.astimezone():{zone}}, {crew}",
    }
    if cost.low_h is not None and cost.likely_h is not None and cost.high_h is not None:
        low, high, likely = (duration(3600 * hours) for hours in (cost.low_h, cost.high_h, cost.likely_h))
        told["GPU time"] = f"{low} to {high}, likely {likely}"
    if found.likely_end:
        told["ends"] = f"{found.likely_end.astimezone():{zone}}"
    if found.closes_at and found.fits is not None:
        closes = f"the window closes {found.closes_at.astimezone():{zone}}"
        told["ends"] += f", before {closes}" if found.fits else f"; {closes} and the rest waits for the next one"
    return {name: text for name, text in told.items() if text}


def _bytes(number: float | None) -> str:
    return "" if number is None else size(number)


def plain(found: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON values; times in ISO 8601, UTC."""
    times = {name: value.isoformat() for name, value in asdict(found).items() if isinstance(value, datetime)}
    return {**asdict(found), **times, "fits": found.fits}


def kept(found: Forecast) -> dict[str, Any]:
    """Return what the service stores of a forecast with the run, to compare with the outcome."""
    cost = found.cost
    return {
        "order": found.order.value,
        "num_fast": found.num_fast,
        "num_full": found.num_full,
        "low_h": cost.low_h,
        "likely_h": cost.likely_h,
        "high_h": cost.high_h,
        "ends_at": found.likely_end and int(found.likely_end.timestamp()),
    }
