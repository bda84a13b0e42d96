"""What a pipe sees."""

import pytest

from cli import output


def test_a_table_in_a_pipe_is_aligned_and_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("id", "prompt"), [("1", "x" * 200), ("22", "short")])

    assert capsys.readouterr().out.splitlines() == ["id  prompt", "1   " + "x" * 200, "22  short"]


def test_progress_in_a_pipe_is_a_line_now_and_then_and_always_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Meter(3) as meter:
        for number in range(1, 4):
            meter.show(number, f"{number} of 3")
        meter.line("a line that stays")

    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["1 of 3", "3 of 3", "a line that stays"]
    assert captured.out == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.034, "0.03 s"), (12.3, "12 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")],
)
def test_durations_are_for_people(value: float | None, text: str) -> None:
    assert output.seconds(value) == text


def test_a_long_prompt_is_shortened_to_one_line() -> None:
    assert output.shortened("a\nlong  prompt", 8) == "a long …"
