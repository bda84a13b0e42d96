"""Output for people: bars and tables on a terminal, plain lines in a pipe. Results go to stdout, notes to stderr.

Prompts, names and errors come from others: characters that would control the terminal or reverse the line are escaped.
"""

import errno
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.errors import BadInput

WHOLE = frozenset({"id", "prefix"})  # columns for copying: never cut or wrapped
LEAST_WIDTH = 12  # characters of any other column
PLAIN_EVERY_S = 10.0  # pause between two progress lines in a pipe
# Control characters but the tab and the end of a line, ends of lines of other kinds, and what sets the direction of the
# letters behind it. What joins letters (U+200D) or hints at a direction (U+200E, U+200F) belongs to scripts and emoji.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a text safe for a terminal, escaped as in JSON."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """Print a result as text."""
    print(plain(text), flush=True)


def print_json(value: object) -> None:
    """Print one JSON document on one line; in ASCII if the terminal or pipe is not UTF-8."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(plain(json.dumps(value, ensure_ascii=not is_utf8)))


def print_what_fits() -> None:
    """Escape characters that stdout or stderr cannot show, instead of failing.

    A stream that the caller has closed (`>&-`) swallows its output. A width of 0 columns counts as unknown.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("COLUMNS", "").strip("0") == "":
        os.environ.pop("COLUMNS", None)  # a terminal without a size reports 0 columns: help would be empty


def print_facts(facts: Mapping[str, str], *, file: TextIO | None = None) -> None:
    """Print names and values, one per line."""
    width = max((len(name) for name in facts), default=0) + 2
    for name, value in facts.items():
        print(f"{name:<{width}}{plain(value)}", file=file or sys.stdout)


def raw_stdout() -> BinaryIO:
    """Return stdout for the bytes of a file; a terminal is refused with `BadInput`."""
    if sys.stdout.isatty():
        raise BadInput("a video is no text for a terminal: name a file, or send - into a pipe or a file")
    sys.stdout.flush()
    return sys.stdout.buffer


def note(text: str) -> None:
    """Print a note beside the result."""
    print(plain(text), file=sys.stderr, flush=True)


def unless_gone(tell: Callable[[str], None], text: str) -> None:
    """Print something by `note` or `print`, and go on if it cannot be written.

    A stream whose reader is gone (`| head -1`, a closed terminal) is ignored from then on.
    """
    try:
        tell(text)
        sys.stdout.flush()
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            for stream in (sys.stdout, sys.stderr):
                _let_go(stream)


def _let_go(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def confirm(question: str, *, yes: bool, otherwise: str, default: bool = True) -> None:
    """Ask before something irreversible or slow; the answer no ends the command.

    Raises `BadInput`, saying what to do instead, if nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"nobody is here to be asked; {otherwise}")
    typer.confirm(question, default=default, abort=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines and wrapped cells on a terminal, aligned and never wrapped in a pipe.

    Ids are for copying: they are complete at every width, and a terminal too narrow for a row shows it on several
    lines.
    """
    rows = [[plain(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_on_terminal(columns, rows)
        return
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def _print_on_terminal(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table, width = Table(box=SIMPLE), 1
    for name, cells in zip(columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True):
        longest = max(len(cell) for cell in (name, *cells))
        least = longest if name in WHOLE else min(longest, LEAST_WIDTH)
        table.add_column(name, no_wrap=name in WHOLE, min_width=least, overflow="fold")
        width += least + 3  # and the space around it
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    console.width = max(console.width, width)
    console.print(table)


class Meter:
    """Progress of one operation on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._console = Console(stderr=True)
        self._last = ("", -PLAIN_EVERY_S)  # text and time of the last plain line
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=total)

    def show(self, done: float, text: str) -> None:
        """Set how much of the total is done, and the present activity."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=plain(text))
            return
        before, at = self._last
        if text != before and (done >= self._total or time.monotonic() - at >= PLAIN_EVERY_S):
            self._last = (text, time.monotonic())
            note(text)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.console.print(plain(text), markup=False, highlight=False)
        else:
            note(text)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def shortened(text: str, width: int) -> str:
    """Return `text` in one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
