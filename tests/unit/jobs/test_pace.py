"""What a donor saved is measured by this process's own pace, or not said at all."""

import pytest

from worker.jobs.pace import Denoised, Pace, evaluations, seconds_saved

KIND = ("small", 32, 32, 16)


def test_the_first_run_of_a_kind_is_left_out() -> None:
    pace = Pace()

    pace.note(KIND, Denoised(evaluations=30, seconds=300.0))  # compiles, allocates
    assert pace.seconds_per_evaluation(KIND) is None

    pace.note(KIND, Denoised(evaluations=30, seconds=3.0))
    pace.note(KIND, Denoised(evaluations=10, seconds=1.0))
    assert pace.seconds_per_evaluation(KIND) == pytest.approx(0.1)
    assert pace.seconds_per_evaluation(("other", 32, 32, 16)) is None


def test_a_pace_is_that_of_runs_without_a_donor() -> None:
    pace = Pace()

    assert pace.note(KIND, Denoised(evaluations=8, seconds=300.0), is_plain=False)
    assert not pace.note(KIND, Denoised(evaluations=8, seconds=1.6), is_plain=False)  # it reads a donor: slower
    assert pace.seconds_per_evaluation(KIND) is None

    pace.note(KIND, Denoised(evaluations=30, seconds=3.0))
    assert pace.seconds_per_evaluation(KIND) == pytest.approx(0.1)


def test_steps_without_guidance_cost_a_half() -> None:
    assert evaluations([1.0, 7.0, 7.0]) == 2.5
    assert evaluations([1.0, 7.0, 7.0], first=1) == 2.0


@pytest.mark.parametrize(
    ("own", "pace", "full_seconds", "saved"),
    [
        (0.1, None, None, None),  # nothing was measured
        (0.1, 0.1, None, 1.7),  # 20 evaluations of 0.1 s, less look-up and fetch
        (0.1, 0.1, 3.2, 1.7),
        (0.1, 0.1, 1.2, 0.9),  # never more than a full run costs
        (0.15, 0.1, 3.2, 1.2),  # a full run would have taken 3 s: reading the donor made 10 evaluations slower
        (0.05, 0.1, 3.2, 0.7),  # the machine is less busy now: a full run would take 1.5 s
        (0.1, 0.001, 3.2, -1.27),  # the run took longer than a full one would have
        (0.15, None, 3.2, 1.2),  # it and what it saved are a full run: .2 s of text and frames in both
        (0.05, None, 3.2, 0.7),
    ],
)
def test_seconds_saved(own: float, pace: float | None, full_seconds: float | None, saved: float | None) -> None:
    run = Denoised(evaluations=10, seconds=10 * own)

    found = seconds_saved(
        run, pace, in_full=30, overhead_s=0.3, gpu_seconds=run.seconds + 0.2, full_seconds=full_seconds
    )

    assert found == (None if saved is None else pytest.approx(saved))
