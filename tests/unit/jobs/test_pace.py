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


def test_savings_are_reckoned_with_the_pace_that_claims_less() -> None:
    pace, quick = Pace(), Denoised(evaluations=10, seconds=0.5)
    assert pace.claimed(KIND, quick) is None

    pace.note(KIND, Denoised(evaluations=30, seconds=3.0))
    pace.note(KIND, Denoised(evaluations=30, seconds=3.0))
    assert pace.claimed(KIND, quick) == pytest.approx(0.05)
    assert pace.claimed(KIND, Denoised(evaluations=10, seconds=5.0)) == pytest.approx(0.1)


def test_steps_without_guidance_cost_a_half() -> None:
    assert evaluations([1.0, 7.0, 7.0]) == 2.5
    assert evaluations([1.0, 7.0, 7.0], first=1) == 2.0


@pytest.mark.parametrize(
    ("pace", "full_seconds", "saved"),
    [
        (None, 3.0, None),  # nothing was measured
        (0.1, None, 1.7),  # 20 evaluations of 0.1 s, less look-up and fetch
        (0.1, 3.0, 1.7),
        (0.1, 1.2, 1.2),  # never more than a full run costs
        (0.001, 3.0, -0.28),  # reading the donor took longer than its steps would have run
    ],
)
def test_seconds_saved(pace: float | None, full_seconds: float | None, saved: float | None) -> None:
    found = seconds_saved(pace, left_out=20, overhead_s=0.3, full_seconds=full_seconds)

    assert found == (None if saved is None else pytest.approx(saved))
