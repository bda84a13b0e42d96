"""Another try, later and later, of what passes."""

from collections.abc import Callable

import pytest

from worker.jobs import outages
from worker.jobs.outages import retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(outages.time, "sleep", slept.append)
    return slept


def failing(*errors: Exception) -> Callable[[], str]:
    """What raises these errors one after another, then returns."""
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return act


def test_what_passes_is_tried_again_later_and_later_up_to_five_seconds(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    act = failing(*(OSError("away") for _ in range(8)))

    assert retry(act, (OSError,), until=lambda: False, what="disk away") == "done"

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert caplog.messages[1] == "disk away, next try in 0.2 s: away"


def test_what_does_not_pass_and_what_fails_too_long_is_raised(pauses: list[float]) -> None:
    with pytest.raises(ValueError, match="broken"):
        retry(failing(ValueError("broken")), (OSError,), until=lambda: False, what="disk away")
    with pytest.raises(OSError, match="second"):
        retry(failing(OSError("first"), OSError("second")), (OSError,), until=lambda: len(pauses) == 1, what="disk")

    assert pauses == [0.1]
