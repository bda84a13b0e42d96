"""A key's limits on new videos. A replay is not a new video: callers have checked for one before."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from api.errors import STAYS, QueueFull
from db import file_batches, job_lists, keys, metrics
from db.keys import Caller

FRESH_S = 10.0  # shortest interval between two sums of a tenant's GPU seconds


@dataclass(slots=True)
class Limits:
    """The limits of keys; keeps for a while how much tenants have used."""

    clock: Callable[[], float] = time.monotonic
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)  # tenant → GPU seconds, and when summed up

    def check(self, session: Session, caller: Caller, num_more: int = 1, *, is_bulk: bool = False) -> None:
        """Raise QueueFull if a limit leaves no room for so many new videos; zero always fits."""
        if not num_more:
            return
        if caller.max_queued is not None:
            keys.lock_tenant(session, caller.tenant)
            num_unread = file_batches.num_unread(session, caller.tenant)  # unread lines are not jobs yet
            _check_room(caller.max_queued, job_lists.num_queued(session, caller.tenant) + num_unread, num_more)
        if caller.max_gpu_seconds == 0:
            raise _never("this key allows no GPU seconds; ask the operator for some", code="quota_exceeded")
        if caller.max_gpu_seconds is not None:
            self._check_spent(session, caller, caller.max_gpu_seconds)
        if caller.key and caller.max_per_minute is not None and not is_bulk:
            _take(session, caller.key, caller.max_per_minute)

    def _check_spent(self, session: Session, caller: Caller, most: float) -> None:
        seconds, at = self._spent.get(caller.tenant, (0.0, -math.inf))
        if self.clock() - at > FRESH_S:
            seconds = metrics.gpu_seconds(session, caller.tenant)
            self._spent[caller.tenant] = (seconds, self.clock())
        if seconds >= most:
            message = f"{seconds:.0f} GPU seconds were used within a day and this key allows {most:g}; try again later"
            wait_s = max(1, math.ceil(metrics.free_in_s(session, caller.tenant, most)) + math.ceil(FRESH_S))
            raise QueueFull(message, code="quota_exceeded", headers={"Retry-After": str(wait_s)})


def _never(message: str, *, code: str) -> QueueFull:
    """Return the refusal of a request that would not be possible later either."""
    return QueueFull(message, code=code, headers=STAYS)


def _take(session: Session, key: str, per_minute: int) -> None:
    if per_minute == 0:
        raise _never("this key allows no new videos; ask the operator for some", code="rate_limit_exceeded")
    if wait_s := math.ceil(keys.take(session, key, per_minute)):
        message = f"this key allows {per_minute} new videos a minute; try again in {wait_s} s"
        raise QueueFull(message, code="rate_limit_exceeded", headers={"Retry-After": str(wait_s)})


def _check_room(most: int, num_queued: int, num_more: int) -> None:
    """Raise QueueFull if a key's limit leaves no room for more jobs."""
    if num_more > most:
        message = f"this key lets {most} videos wait, not {num_more}; send fewer at once, or ask the operator"
        raise _never(message, code="queue_full")
    if num_queued + num_more > most:
        raise QueueFull(
            f"{num_queued} videos wait and this key allows {most}; try again when some have run",
            headers={"Retry-After": "5"},
        )
