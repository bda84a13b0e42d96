"""What a person sees: bars and tables on a terminal, plain lines in a pipe. Results go to stdout, notes to stderr."""

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_EVERY_S = 10.0  # pause between two progress lines in a pipe


def print_json(value: object) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(value, ensure_ascii=False))


def note(text: str) -> None:
    """Say something beside the result."""
    print(text, file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines and wrapped cells on a terminal, aligned and never wrapped in a pipe."""
    if sys.stdout.isatty():
        table = Table(*columns, box=SIMPLE)
        for row in rows:
            table.add_row(*row)
        Console().print(table, markup=False)
        return
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


class Meter:
    """Progress of one undertaking on stderr: a bar on a terminal, else a line now and then."""

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
        """Set how much of the total is done and what is going on."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
            return
        before, at = self._last
        if text != before and (done >= self._total or time.monotonic() - at >= PLAIN_EVERY_S):
            self._last = (text, time.monotonic())
            note(text)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
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


def seconds(value: Any) -> str:
    """Return a duration for people; an empty string for none."""
    if value is None:
        return ""
    value = float(value)
    if value < 120:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def shortened(text: str, width: int) -> str:
    """Return `text` in one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
