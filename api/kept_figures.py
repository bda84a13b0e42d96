"""Figures that are remembered for a second or so, so that many callers make one question to the database."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

FRESH_S = 1.0
SHARE = 20  # a figure that takes long to find is kept for this many times as long

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """A figure, found again when it is no longer fresh, by one thread at a time."""

    find: Callable[[Session], T]
    value: T | None = None
    until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_fresh(self) -> bool:
        """Whether `get` would ask nobody."""
        return bool(self.value) and time.monotonic() < self.until

    def get(self, session: Session) -> T:
        """Return the figure, found anew when it is old or empty."""
        with self.lock:
            if not self.value or time.monotonic() >= self.until:  # what is still empty may not be for long
                began = time.monotonic()
                self.value = self.find(session)
                took = time.monotonic() - began
                self.until = time.monotonic() + max(FRESH_S, SHARE * took)
            return self.value
