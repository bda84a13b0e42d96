"""A function with a callback, turned into a generator: it runs in a thread of its own, only while a value is awaited.

A pipeline of diffusers is one call that reports its steps through a callback. A job iterates over steps, and may stop
between any two of them. The two take turns: exactly one of them runs at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Left(BaseException):
    """Raised in the callback when no more values are wanted. Not an `Exception`, so that no handler swallows it."""


class _Over:
    """The function has ended: it returned or raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Turns(Generic[T]):
    def __init__(self, run: Callable[[Callable[[T], None]], object]) -> None:
        self._run = run
        self._handed: SimpleQueue[T | _Over] = SimpleQueue()
        self._asked: SimpleQueue[bool] = SimpleQueue()  # False: leave
        self._thread = threading.Thread(target=self._work, name="sampling", daemon=True)

    def items(self) -> Generator[T]:
        self._thread.start()
        try:
            while True:
                self._asked.put(True)
                item = self._handed.get()
                if isinstance(item, _Over):
                    if item.error is not None:
                        raise item.error
                    return
                yield item
        finally:
            self._asked.put(False)
            self._thread.join()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            self._wait()
            self._run(self._hand)
        except Left:
            pass
        except BaseException as raised:  # handled by the other side, whatever it is
            error = raised
        self._run = _forget  # the objects that it holds must not outlive the run
        self._handed.put(_Over(error))

    def _hand(self, item: T) -> None:
        self._handed.put(item)
        self._wait()

    def _wait(self) -> None:
        if not self._asked.get():
            raise Left


def _forget(_: object) -> None:
    """Placeholder for a function that has run."""


def iterate(run: Callable[[Callable[[T], None]], object]) -> Generator[T]:
    """Yield each value that `run` hands to its argument.

    `run` goes on when the next value is asked for. Closing the generator raises `Left` inside `run` where it waits;
    errors of `run` are raised by the generator. In every case the thread has ended when the generator has.
    """
    return _Turns(run).items()
