"""What the page writes of a video."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from api.web import words
from db.batches import Ended
from db.models import Batch
from shared.model_cards import ModelCard


def test_a_stage_too_short_to_be_written_is_no_part_of_the_bar() -> None:
    shown = words.stages({"denoise": 3.0, "load": 0.004, "decode": 1.0})

    assert [(stage["name"], stage["seconds"]) for stage in shown] == [("denoise", "3.00 s"), ("decode", "1.00 s")]
    assert [(float(stage["start"]), float(stage["width"])) for stage in shown] == [(0, 75), (75, 25)]


def test_a_video_without_measured_stages_has_no_bar() -> None:
    assert words.stages({}) == []
    assert words.stages({"denoise": 0.0}) == []


def test_the_prompts_to_try_are_of_the_world_that_the_model_knows() -> None:
    card = ModelCard(name="", title="", source="", sizes=(), fps=8, frames=(8,), examples=("a", "b", "c", "d"))

    assert words.examples(card) == ("a", "b", "c")
    assert len(words.examples(replace(card, examples=()))) == 3


def test_the_picture_of_a_run_spans_its_time_with_hits_the_closed_window_and_the_expected_end() -> None:
    began = datetime(2026, 11, 26, 16, tzinfo=UTC)
    window = {"start": "22:00", "end": "06:00", "tz": "UTC"}
    run = Batch(created_at=began, finished_at=None, run_window=window)
    since, until = words.span(run, began + timedelta(hours=24), began + timedelta(hours=8))
    made = [("completed", "fast", 3), ("failed", None, 1)]
    ended = [Ended(part=36, status=status, path=path, number=number) for status, path, number in made]

    course = words.course(run, ended, since, until, began + timedelta(hours=12))

    assert (since, until) == (began, began + timedelta(hours=24))
    assert course["closed"] == [("0.00", "25.00"), ("58.33", "41.67")]
    assert course["bars"] == [("fast", "30.00", "25.00", "75.00"), ("failed", "30.00", "0.00", "25.00")]
    assert course["expected"] == "50.00"


def test_an_end_that_is_expected_in_a_thousand_years_costs_nothing() -> None:
    began = datetime(2026, 11, 26, 16, tzinfo=UTC)
    run = Batch(created_at=began, finished_at=None, run_window={"start": "22:00", "end": "06:00", "tz": "UTC"})
    far = datetime(3026, 1, 1, tzinfo=UTC)

    since, until = words.span(run, far, began + timedelta(days=400))

    assert until == began + timedelta(days=400)
    assert words.course(run, [], since, until, far)["closed"] == []
