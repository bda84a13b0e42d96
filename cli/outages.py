"""Waiting for a service that is away."""

import time
from collections.abc import Callable
from typing import TypeVar

from cli.client import OUTAGE_S
from cli.errors import Refused, Unreachable

T = TypeVar("T")


def through_outages(act: Callable[[], T], tell: Callable[[str], None]) -> T:
    """Do something repeatable; while the service is away, wait and say so once."""
    deadline: float | None = None
    while True:
        try:
            return act()
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and not (error.is_passing and error.status >= 500):
                raise
            if deadline is None:
                deadline = time.monotonic() + OUTAGE_S
                tell(f"{error}; waiting up to {OUTAGE_S:g} s for it")
            if time.monotonic() > deadline:
                raise Unreachable(str(error)) from error
