"""What becomes of a command that is told to end: Ctrl-C, SIGTERM, or SIGHUP of a terminal that is closed.

A shell's exit status of each is 128 and the signal's number. Parts of the service have handlers of their own.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
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

    with handled(heeded(*_TOLD_TO_END), end):
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

    with handled(heeded(signal.SIGINT, *_TOLD_TO_END), note):
        yield lambda: bool(told)
    if told:
        raise typer.Exit(128 + told[0])


def heeded(*signals: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return the signals that are not ignored, as `nohup` has SIGHUP."""
    return tuple(number for number in signals if signal.getsignal(number) is not signal.SIG_IGN)


@contextmanager
def handled(signals: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Handle signals in the block; afterwards they are handled as before."""
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
