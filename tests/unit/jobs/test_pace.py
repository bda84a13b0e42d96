"""What a donor saved is measured by this process's own pace, or not said at all."""

import pytest

from worker.jobs.pace import Denoised, Pace, Paces, evaluations, of_rows, seconds_saved

KIND = ("small", 32, 32, 16)


def test_a_pace_is_known_from_runs_with_a_donor_and_without_and_the_first_run_is_left_out() -> None:
    pace = Pace()

    assert pace.note(KIND, Denoised(evaluations=30, seconds=300.0), reads_donor=False)  # compiles, allocates
    assert not pace.note(KIND, Denoised(evaluations=8, seconds=1.2), reads_donor=True)
    assert pace.of(KIND) is None

    pace.note(KIND, Denoised(evaluations=30, seconds=3.0), reads_donor=False)
    pace.note(KIND, Denoised(evaluations=10, seconds=1.0), reads_donor=False)
    assert pace.of(KIND) == Paces(plain=pytest.approx(0.1), reading=pytest.approx(0.15))
    assert pace.of(("other", 32, 32, 16)) is None


def test_rows_of_the_namespace_say_what_this_process_does_not_know_yet() -> None:
    run, known = Denoised(evaluations=10, seconds=9.0), {"in_full": 30, "beside_s": 0.2}

    assert of_rows(run, full_seconds=3.2, fast_seconds=1.7, **known) == Paces(
        plain=pytest.approx(0.1), reading=pytest.approx(0.15)
    )
    assert of_rows(run, full_seconds=None, fast_seconds=1.7, **known) is None
    assert of_rows(run, full_seconds=0.1, fast_seconds=1.7, **known) is None  # the text took longer than a full run


def test_steps_without_guidance_cost_a_half() -> None:
    assert evaluations([1.0, 7.0, 7.0]) == 2.5
    assert evaluations([1.0, 7.0, 7.0], first=1) == 2.0


@pytest.mark.parametrize(
    ("own", "reading", "full_seconds", "saved"),
    [
        (0.1, None, None, None),  # nothing was measured
        (0.1, 0.1, None, 1.7),  # 20 evaluations of 0.1 s, less look-up and fetch
        (0.1, 0.1, 3.2, 1.7),
        (0.1, 0.1, 1.2, 1.2),  # never more than a full run costs
        (0.15, 0.15, 3.2, 1.2),  # 1.5 s in place of 3: reading the donor made ten evaluations slower
        (0.3, 0.15, 3.2, 1.2),  # the machine is busy: others' paces claim no more
        (0.075, 0.15, 3.2, 0.45),  # it was busy when the others ran: .75 s in place of 1.5
        (0.4, 0.4, 3.2, -1.3),  # reading the donor took longer than its steps would have run
    ],
)
def test_seconds_saved(own: float, reading: float | None, full_seconds: float | None, saved: float | None) -> None:
    paces = None if reading is None else Paces(plain=0.1, reading=reading)
    run = Denoised(evaluations=10, seconds=10 * own)

    found = seconds_saved(run, paces, in_full=30, overhead_s=0.3, full_seconds=full_seconds)

    assert found == (None if saved is None else pytest.approx(saved))
