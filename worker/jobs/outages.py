"""Retries with growing pauses while the database or another service is away."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.backoff import pause_s
from shared.logs import first_line

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A restart, a cut line, a full disk, a read-only standby, a spent pool: worth another try.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


def retry_database(act: Callable[[], T], *, until: Callable[[], bool]) -> T:
    """Return what `act` returns; while the database is away and `until()` is false, try again, else raise its error."""
    return retry(act, DATABASE_AWAY, until=until, what="database away")


def retry(act: Callable[[], T], passing: tuple[type[Exception], ...], *, until: Callable[[], bool], what: str) -> T:
    """Return what `act` returns, trying again after `passing` errors while `until()` is false; `what` is for the log.

    Raises the last of these errors, and any other error of `act` and `until` at once.
    """
    num_failures = 0
    while True:
        try:
            return act()
        except passing as error:
            if until():
                raise
            num_failures += 1
            again_s = pause_s(num_failures, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
            logger.warning("%s, next try in %.1f s: %s", what, again_s, first_line(error))
        time.sleep(again_s)
