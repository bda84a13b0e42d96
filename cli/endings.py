"""What becomes of a command that is told to end: Ctrl-C, SIGTERM, or SIGHUP of a terminal that is closed.

A shell's exit status of each is 128 and the signal's number. Parts of the service have handlers of their own.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

Handler = Callable[[int, FrameType | None], object]
_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def in_order() -> Iterator[None]:
    """Leave the block by SystemExit on SIGTERM and SIGHUP, as Ctrl-C leaves it by KeyboardInterrupt.

    By itself a process ends there and then: what it started goes on, what it laid aside stays.
    """

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    with _handled(_TOLD_TO_END, end):
        yield


@contextmanager
def at_a_good_moment() -> Iterator[Callable[[], bool]]:
    """Give the block a question: was it told to end? It looks when it likes; told twice, it is ended at once.

    Leaves with the signal's exit status where it was told.
    """
    told: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if told:
            sys.exit(128 + number)
        told.append(number)

    with _handled((signal.SIGINT, *_TOLD_TO_END), note):
        yield lambda: bool(told)
    if told:
        raise typer.Exit(128 + told[0])


@contextmanager
def _handled(signals: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Handle signals for a while; one that is ignored (`nohup`) stays so."""
    before = {number: signal.getsignal(number) for number in signals}
    handled = [number for number, was in before.items() if was is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, handler)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
