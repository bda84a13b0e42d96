"""What a fast video lost against the full one, as each judge sees it."""

import numpy as np
import pytest

from lab.toy_world.captions import sample_captions
from lab.toy_world.judge import Checker
from lab.toy_world.rich import captions as rich_captions
from lab.toy_world.rich import drawing as rich_drawing
from lab.toy_world.rich import world as rich_world
from lab.toy_world.world import draw_layout, render
from worker.quality.clip import ClipScorer, _pixels
from worker.quality.command import JudgeError
from worker.quality.judges import Clip, Distance, Judged, judge, judges
from worker.quality.monitor import tolerance_of
from worker.quality.videos import Video
from worker.settings import WorkerSettings

DARK, BRIGHT = (Video.of(np.full((8, 32, 32, 3), shade, np.uint8)) for shade in (0, 255))
SHORT = Video.of(DARK.frames[:4])


def drawn(caption, seed=0):
    return Video.of(render(caption.spec, draw_layout(caption.spec, np.random.default_rng(seed))))


def test_the_checker_counts_what_is_shown_of_what_was_asked():
    asked, other = (next(iter(sample_captions(seed, 1))) for seed in (1, 2))

    right = Checker().judge(asked.text, drawn(asked), drawn(asked, seed=1))
    wrong = Checker().judge(asked.text, drawn(other), drawn(asked))

    assert (right.fast_score, right.full_score, right.loss) == (1.0, 1.0, 0.0)
    assert wrong.full_score == 1.0
    assert wrong.loss == 1.0 - wrong.fast_score > 0


def test_a_donor_that_helped_is_a_loss_below_zero():
    asked, other = (next(iter(sample_captions(seed, 1))) for seed in (1, 2))

    assert Checker().judge(asked.text, drawn(asked), drawn(other)).loss < 0


def test_the_checker_knows_the_rich_world_by_the_shape_of_its_clips():
    caption = next(iter(rich_captions.sample_captions(1, 1)))
    layout = rich_world.draw_layout(caption.spec, np.random.default_rng(0))
    drawing, blank = rich_drawing.render(caption.spec, layout), Video.of(np.zeros((16, 96, 96, 3), np.uint8))

    found = Checker().judge(caption.text, blank, Video.of(drawing))

    assert found.full_score == 1.0
    assert found.loss > 0.5
    assert Checker().judge(caption.text, DARK, DARK) is None


def test_the_checker_reads_only_its_own_world():
    assert Checker().judge("a red fox runs", DARK, DARK) is None
    assert Checker().judge(next(iter(sample_captions(1, 1))).text, SHORT, SHORT) is None


@pytest.mark.parametrize(("fast", "full", "loss"), [(DARK, DARK, 0.0), (DARK, BRIGHT, 1.0), (BRIGHT, DARK, 1.0)])
def test_the_distance_is_between_nought_and_one(fast, full, loss):
    found = Distance().judge("anything", fast, full)

    assert (found.loss, found.fast_score) == (loss, None)


def test_videos_of_two_sizes_have_no_distance():
    assert Distance().judge("anything", DARK, SHORT) is None
    assert judge([Distance()], "anything", DARK, SHORT) is None


def test_clip_compares_how_well_each_video_fits_the_prompt(clip_folder):
    found = Clip(folder=clip_folder).judge("a red fox", DARK, BRIGHT)

    scorer = ClipScorer.load(clip_folder)
    assert found.fast_score == pytest.approx(scorer.score("a red fox", DARK.frames))
    assert found.full_score == pytest.approx(scorer.score("a red fox", BRIGHT.frames))
    assert found.loss == pytest.approx(found.full_score - found.fast_score)
    assert found.fast_score != found.full_score


def test_clip_reads_long_prompts_and_any_shape_of_video(clip_folder):
    wide = np.zeros((51, 24, 42, 3), np.uint8)

    assert 0 <= ClipScorer.load(clip_folder).score("a red fox " * 100, wide) <= 2.5
    assert _pixels(wide, 32).shape == (8, 3, 32, 32)


def test_the_most_telling_judge_that_can_read_the_videos_is_asked(clip_folder):
    settings = WorkerSettings.model_validate({"DATABASE_URL": "postgresql://x/y", "monitor_clip": clip_folder})
    caption = next(iter(sample_captions(1, 1)))
    known = judges(settings)

    assert [one.name for one in known] == ["checker", "clip", "distance"]
    assert judge(known, caption.text, drawn(caption), drawn(caption))[0].name == "checker"
    assert judge(known, "a red fox", DARK, BRIGHT)[0].name == "clip"
    assert [one.name for one in judges(settings.model_copy(update={"monitor_clip": None}))] == ["checker", "distance"]


def test_a_program_of_the_operators_is_asked_before_clip(clip_folder):
    given = {"DATABASE_URL": "postgresql://x/y", "monitor_clip": clip_folder, "monitor_judge": "score.py {video}"}
    settings = WorkerSettings.model_validate(given)

    assert [one.name for one in judges(settings)] == ["checker", "command", "clip", "distance"]
    with pytest.raises(ValueError, match="does not say where the file goes"):
        WorkerSettings.model_validate(given | {"monitor_judge": "score.py"})


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_judge_that_finds_no_number_is_told_so(loss) -> None:
    """No comparison with it counts against a plan, and its mean has no error."""
    with pytest.raises(JudgeError, match=f"judge mine found a loss of {loss}; it has to find a number, or None"):
        Judged(judge="mine", loss=loss)


COMMAND = {"monitor_judge": "score {video} {prompt}"}


@pytest.mark.parametrize(
    ("named", "judge_name", "tolerance"),
    [
        ({}, "distance", 0.5),
        ({}, "checker", 0.5),
        ({"monitor_clip": True}, "clip", 0.5),
        ({"monitor_clip": True}, "distance", None),
        (COMMAND, "command", 0.5),
        (COMMAND, "distance", None),
        ({**COMMAND, "monitor_clip": True}, "clip", 0.025),
    ],
)
def test_a_tolerance_is_meant_for_one_judge_and_its_units(tmp_path, named, judge_name, tolerance):
    folder = {"monitor_clip": tmp_path} if "monitor_clip" in named else {}
    settings = WorkerSettings(DATABASE_URL="postgresql://nobody", monitor_tolerance=0.5, **{**named, **folder})
    (one,) = [one for one in judges(settings) if one.name == judge_name]

    assert tolerance_of(one, settings) == tolerance
