"""Figures that are kept for about a second, so that many callers cause one query."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

FRESH_S = 1.0
SHARE = 20  # a slow figure is kept for this many times as long as it takes to compute

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """A figure, computed again by one thread at a time when it is no longer fresh."""

    find: Callable[[Session], T]
    value: T | None = None
    until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_fresh(self) -> bool:
        """Whether `get` would return without a query."""
        return bool(self.value) and time.monotonic() < self.until

    def get(self, session: Session) -> T:
        """Return the figure, computed again if it is old or empty."""
        with self.lock:
            if not self.value or time.monotonic() >= self.until:  # an empty one may soon change
                began = time.monotonic()
                self.value = self.find(session)
                took = time.monotonic() - began
                self.until = time.monotonic() + max(FRESH_S, SHARE * took)
            return self.value
