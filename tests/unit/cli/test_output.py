"""What a pipe sees."""

import io
import json
import os

import pytest
from rich.console import Console

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


def test_a_long_prompt_is_shortened_to_one_line() -> None:
    assert output.shortened("a\nlong  prompt", 8) == "a long …"


OTHERS = "red\x1b[2J\x9b2J \u202egpj.exe\u2066 \u2028 end"  # clears the screen, turns the rest around, ends the line
HARMLESS = "\N{MAN}\u200d\N{WOMAN} \u05d0\u200f \t\u3000\u00a0"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_words_of_others_do_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    monkeypatch.setattr(output, "Console", lambda **given: Console(**given, width=200, force_terminal=is_terminal))

    output.print_table(("id", "prompt"), [("1", OTHERS)])
    output.print_facts({"prompt": OTHERS})
    output.print_json({"prompt": OTHERS})
    output.note(OTHERS)
    output.say(OTHERS)
    with output.Meter(1) as meter:
        meter.show(1, OTHERS)
        meter.line(OTHERS)

    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert shown.count(r"red\u001b[2J\u009b2J \u202egpj.exe\u2066 \u2028 end") >= 7
    assert not {"\x9b", "\u202e", "\u2066", "\u2028"} & set(shown)
    assert "\x1b[2J" not in shown


def test_what_scripts_and_emoji_need_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(HARMLESS)
    output.note("a\nb")

    assert capsys.readouterr() == (f"{HARMLESS}\n", "a\nb\n")


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"prompt": OTHERS + HARMLESS})

    assert json.loads(capsys.readouterr().out) == {"prompt": OTHERS + HARMLESS}


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_ids_are_whole_in_every_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    id_ = "video_" + "0123456789abcdef" * 2
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(output, "Console", lambda: Console(width=width))

    output.print_table(("id", "status", "progress", "prompt"), [(id_, "completed", "100 %", "a [red] circle " * 9)])

    shown = capsys.readouterr().out
    assert id_ in shown
    assert "[red]" in shown


def test_json_is_ascii_where_the_pipe_is_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1", write_through=True))

    output.print_json({"prompt": "🌋 \ud800"})

    assert json.loads(raw.getvalue()) == {"prompt": "🌋 \ud800"}


@pytest.mark.parametrize(("columns", "left"), [("0", None), ("", None), ("100", "100")])
def test_a_terminal_without_a_size_has_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, columns: str, left: str | None
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    output.print_what_fits()

    assert os.environ.get("COLUMNS") == left
