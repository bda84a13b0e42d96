"""Timesteps against the recorded ones, and the guidance of each step."""

from math import inf

import pytest
import torch

from worker.models.opensora.schedule import Schedule


def recorded_rows(golden):
    return [row for row in golden.json("rflow/timesteps")["rows"] if row["num_frames"] != 16]


def test_timesteps_equal_the_recorded_ones_to_the_last_bit(golden):
    for row in recorded_rows(golden):
        schedule = Schedule(
            num_steps=row["steps"],
            time_shift="opensora" if row["use_timestep_transform"] else "none",
            is_discrete=row.get("use_discrete_timesteps", False),
        )

        timesteps = schedule.timesteps(
            row["height"], row["width"], row["num_frames"], getattr(torch, row["conditioning_dtype"])
        )

        assert timesteps == row["timesteps"], row


def test_bfloat16_sizes_move_the_timesteps():
    schedule = Schedule(num_steps=8)

    assert schedule.timesteps(240, 426, 51, torch.bfloat16) != schedule.timesteps(240, 426, 51, torch.float32)


@pytest.mark.parametrize("num_frames", range(2, 17))
def test_two_to_sixteen_frames_are_refused(num_frames):
    with pytest.raises(ValueError) as error:
        Schedule().timesteps(240, 426, num_frames)

    assert str(error.value) == (
        f"num_frames {num_frames} is between 2 and 16, where Open-Sora's time shift is 0/0; "
        "use 1 (an image) or 17 and more, or a model with time_shift 'none'"
    )


@pytest.mark.parametrize("time_shift", ["none", 1.0])
def test_a_plain_time_shift_allows_any_frame_count(time_shift):
    schedule = Schedule(num_steps=4, time_shift=time_shift)

    assert schedule.timesteps(64, 64, 8) == [1000, 750, 500, 250]


def test_shift_bends_a_plain_schedule_like_a_time_shift_of_that_ratio():
    shifted = Schedule(num_steps=7, time_shift="none", shift=2.5)

    assert shifted.timesteps(64, 64, 8) == Schedule(num_steps=7, time_shift=2.5).timesteps(64, 64, 8)
    assert shifted.timesteps(64, 64, 8)[4] == pytest.approx(1000 * 2.5 * (3 / 7) / (1 + 1.5 * (3 / 7)))


@pytest.mark.parametrize("spacing", ["uniform", "quadratic", "linear_quadratic"])
def test_every_spacing_falls_from_noise_towards_data(spacing):
    timesteps = Schedule(num_steps=9, spacing=spacing).timesteps(240, 426, 51)

    assert timesteps[0] == 1000
    assert timesteps == sorted(timesteps, reverse=True)
    assert 0 < timesteps[-1] < 500


def test_first_steps_can_run_without_guidance():
    schedule = Schedule(num_steps=4, guidance_scale=7.0, unguided_steps=2)

    assert [schedule.guidance(i) for i in range(4)] == [1.0, 1.0, 7.0, 7.0]


def test_guidance_can_be_limited_to_an_interval_of_the_run():
    schedule = Schedule(num_steps=4, guidance_interval=(0.4, 0.8))

    assert [schedule.guidance(i) for i in range(4)] == [1.0, 7.0, 7.0, 1.0]  # tau = 1, .75, .5, .25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps 0 is below 1; use 1 or more (30 is the full mode)"),
        ({"shift": float("nan")}, "shift nan is not above 0; 1.0 leaves the time shift as it is"),
        ({"time_shift": inf}, "time_shift inf is unknown; use 'opensora', 'none' or a number above 0"),
        ({"shift": 0.0}, "shift 0.0 is not above 0; 1.0 leaves the time shift as it is"),
        ({"spacing": "log"}, "spacing 'log' is unknown; use one of uniform, quadratic, linear_quadratic"),
        ({"time_shift": "big"}, "time_shift 'big' is unknown; use 'opensora', 'none' or a number above 0"),
        ({"unguided_steps": -1}, "unguided_steps -1 is below 0; use 0 to guide every step"),
    ],
)
def test_options_that_make_no_schedule_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        Schedule(**options)

    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skipped_steps": "1"}, "skipped_steps '1' is not a whole number"),
        ({"unguided_steps": True}, "unguided_steps True is not a whole number"),
        ({"unguided_steps": None}, "unguided_steps None is not a whole number"),
        ({"spacing": ["uniform"]}, "spacing ['uniform'] is not a word"),
        ({"is_discrete": "no"}, "is_discrete 'no' is not true or false"),
        ({"levels": 0.5}, "levels 0.5 is not a list of numbers, or null"),
        ({"levels": []}, "levels has 0 numbers for 2 steps; give one a step"),
        ({"guidance_scales": [1, "7"]}, "guidance_scales [1, '7'] is not a list of numbers, or null"),
        ({"guidance_interval": [0.5]}, "guidance_interval [0.5] is not two numbers, the lower one first, or null"),
        ({"guidance_interval": [0.9, 0.1]}, "guidance_interval [0.9, 0.1] is not two numbers, the lower one first, or"),
        ({"num_steps": 3}, "'num_steps' is not an option of a schedule; there are skipped_steps, unguided_steps, "),
        ({"spaces": "uniform"}, "'spaces' is not an option of a schedule; there are skipped_steps, unguided_steps, "),
    ],
)
def test_an_option_of_a_plan_that_is_none_or_of_another_kind_is_named(options, message):
    with pytest.raises(ValueError) as error:
        Schedule.of(2, 7.0, options)

    assert str(error.value).startswith(message)


def test_no_frames_are_refused():
    with pytest.raises(ValueError) as error:
        Schedule().timesteps(240, 426, 0)

    assert str(error.value) == "num_frames 0 is below 1; use 1 for an image or 17 and more for a video"


@pytest.mark.parametrize("skipped_steps", [-1, 4, 5])
def test_a_schedule_has_to_leave_a_step(skipped_steps):
    with pytest.raises(ValueError) as error:
        Schedule(num_steps=4, skipped_steps=skipped_steps)

    assert str(error.value) == f"skipped_steps {skipped_steps} is not in 0..3; one step must run"


def test_a_schedule_may_name_the_level_and_the_guidance_of_every_step():
    schedule = Schedule(num_steps=3, time_shift="none", levels=[1.0, 0.7, 0.25], guidance_scales=[1, 3.5, 1])

    assert schedule.timesteps(64, 64, 8) == pytest.approx([1000, 700, 250])
    assert [schedule.guidance(step) for step in range(3)] == [1, 3.5, 1]


def test_named_levels_are_what_the_formula_gives_written_out():
    computed, named = Schedule(num_steps=5), Schedule(num_steps=5, levels=[1.0, 0.8, 0.6, 0.4, 0.2])

    assert named.timesteps(240, 426, 51) == pytest.approx(computed.timesteps(240, 426, 51))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": [1.0]}, "levels has 1 numbers for 2 steps"),
        ({"guidance_scales": [1, 1, 1]}, "guidance_scales has 3 numbers for 2 steps"),
        ({"levels": [0.5, 0.5]}, "do not fall"),
        ({"levels": [1.1, 0.5]}, "do not fall"),
        ({"levels": [1.0, 0.0]}, "do not fall"),
        ({"guidance_scales": [0.5, 1]}, "none is below"),
        ({"guidance_scales": [float("nan"), 1]}, "none is below"),
    ],
)
def test_levels_and_scales_that_make_no_schedule_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Schedule(num_steps=2, **options)
