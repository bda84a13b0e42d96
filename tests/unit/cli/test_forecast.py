"""What a list would do and cost, told before it runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli import forecast, manifest, night
from cli.errors import BadInput
from cli.forecast import _cost, _Part, end_of
from db.metrics import Spread
from shared.run_windows import RunWindow

NIGHT = RunWindow(start="22:00", end="06:00", tz="UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("starts", "hours", "window", "end"),
    [
        ("2026-01-10T23:00", 3, None, "2026-01-11T02:00"),
        ("2026-01-10T23:00", 3, NIGHT, "2026-01-11T02:00"),
        ("2026-01-10T23:00", 7, NIGHT, "2026-01-11T06:00"),  # to the last minute
        ("2026-01-10T23:00", 9, NIGHT, "2026-01-12T00:00"),  # 7 hours tonight, 2 tomorrow
        ("2026-01-10T22:00", 17, NIGHT, "2026-01-12T23:00"),  # two whole nights and an hour
    ],
)
def test_work_goes_on_in_open_hours_alone(starts: str, hours: int, window: RunWindow | None, end: str) -> None:
    assert end_of(at(starts), timedelta(hours=hours), window) == at(end)


def part(paths: dict[str, float], *, fast: int, full: int, stored: int = 0, own: int = 0) -> _Part:
    """Lines of one kind, and the mean seconds of each path."""
    measured = {
        path: Spread(low_s=s / 2, mean_s=s, high_s=s * 2, wall_s=s + 1, video_bytes=1000.0, latent_bytes=500.0)
        for path, s in paths.items()
    }
    return _Part(num_fast=fast, num_full=full, num_hits_stored=stored, num_hits_own=own, measured=measured)


def test_hours_are_those_of_measured_runs_and_the_highest_of_a_night_without_hits() -> None:
    cost = _cost([part({"fast": 36.0, "full": 360.0}, fast=100, full=10, stored=60, own=40)])

    assert cost.low_h == pytest.approx((100 * 18 + 10 * 180) / 3600)
    assert cost.likely_h == pytest.approx(2.0)
    assert cost.high_h == pytest.approx(110 * 720 / 3600)  # every line in full, each a slow one
    assert cost.work_h == pytest.approx((100 * 37 + 10 * 361) / 3600)
    assert (cost.video_bytes, cost.latent_bytes) == (110_000, 5_000)  # fast runs leave no latents


def test_a_full_run_stands_in_for_a_fast_one_that_was_never_measured() -> None:
    assert _cost([part({"full": 360.0}, fast=5, full=5)]).likely_h == pytest.approx(1.0)


def test_what_was_never_measured_is_not_guessed() -> None:
    cost = _cost([part({"fast": 36.0}, fast=1, full=1)])

    assert (cost.low_h, cost.likely_h, cost.high_h, cost.latent_bytes) == (None, None, None, None)


def test_a_list_that_is_too_long_for_a_run_is_refused_before_it_is_reckoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAI_MAX_BATCH_JOBS", "2")
    monkeypatch.delattr(night, "of")
    (tmp_path / "list.txt").write_text("a red circle\na blue square\na green cross\n")

    with pytest.raises(BadInput) as refused:
        forecast.forecast(manifest.read(tmp_path / "list.txt", {}), None)

    assert str(refused.value) == (
        "3 lines are more than the 2 that a run may have; divide the list, or let the operator raise "
        "CHAI_MAX_BATCH_JOBS"
    )


def test_a_list_is_its_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service: the second line that shows a thing may use the first one's video."""
    monkeypatch.setattr(night, "database", lambda: None)
    file = tmp_path / "list.csv"
    rows = ["a large red circle drifts right,auto", "a large red circle drifts left,auto", "a red circle,full"]
    file.write_text("\n".join(["prompt,mode", *rows, "a blue square,warp", "a large red circle drifts right,auto"]))

    found = forecast.forecast(manifest.read(file, {}), NIGHT, manifest.Order.FILE)
    planned = forecast.forecast(manifest.read(file, {}), NIGHT)

    assert (found.num_lines, found.num_fast, found.num_full) == (3, 1, 2)
    assert (found.num_hits_stored, found.num_hits_own, found.num_duplicates) == (0, 1, 1)
    assert (planned.num_fast, planned.num_full) == (2, 1)  # the full line lends to both when it runs first
    assert [(line.number, line.reason) for line in found.bad] == [
        (5, "mode 'warp' is not known; use 'auto', 'fast' or 'full'")
    ]
    assert (found.cost.likely_h, found.fits, found.is_cache_known) == (None, None, False)
    assert (
        forecast.facts(found)["GPU time"] == "unknown: no run of this model and size was measured yet; make one first"
    )
