"""What the page writes of a video."""

from dataclasses import replace

from api.web import words
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
