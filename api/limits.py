"""What a key allows of new videos. A replay is no new video: whoever asks here has looked for one before."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from api.errors import QueueFull
from db import jobs, metrics
from db.keys import Caller

MINUTE_S = 60.0
FRESH_S = 10.0  # GPU seconds of a tenant are summed up this often at most


@dataclass(slots=True, kw_only=True)
class _Bucket:
    """Videos that a key may submit now; refills evenly, to a minute's worth."""

    left: float
    at: float  # on the monotonic clock


@dataclass(slots=True)
class Limits:
    """What each key has used of its limits in this process."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)  # by tenant
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)  # tenant → GPU seconds, and when summed up
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, session: Session, caller: Caller, num_more: int = 1, *, is_bulk: bool = False) -> None:
        """Raise QueueFull when a limit leaves no room for so many new videos."""
        check_room(caller, jobs.num_queued(session, caller.tenant) if caller.max_queued is not None else 0, num_more)
        if caller.max_gpu_seconds is not None:
            self._check_spent(session, caller, caller.max_gpu_seconds)
        if caller.max_per_minute is not None and not is_bulk:
            self._take(caller.tenant, caller.max_per_minute)

    def _check_spent(self, session: Session, caller: Caller, most: float) -> None:
        seconds, at = self._spent.get(caller.tenant, (0.0, -math.inf))
        if self.clock() - at > FRESH_S:
            seconds = metrics.gpu_seconds(session, caller.tenant)
            self._spent[caller.tenant] = (seconds, self.clock())
        if seconds >= most:
            message = f"{seconds:.0f} GPU seconds were used within a day and this key allows {most:g}; try again later"
            wait_s = max(1, math.ceil(metrics.free_in_s(session, caller.tenant, most)) + math.ceil(FRESH_S))
            raise QueueFull(message, code="quota_exceeded", headers={"Retry-After": str(wait_s)})

    def _take(self, name: str, per_minute: int) -> None:
        with self._lock:
            now = self.clock()
            bucket = self._buckets.setdefault(name, _Bucket(left=per_minute, at=now))
            refilled = bucket.left + (now - bucket.at) * per_minute / MINUTE_S
            bucket.left, bucket.at = min(float(per_minute), refilled), now
            if bucket.left >= 1:
                bucket.left -= 1
                return
            wait_s = math.ceil((1 - bucket.left) * MINUTE_S / per_minute) if per_minute else 60
        message = f"this key allows {per_minute} new videos a minute; try again in {wait_s} s"
        raise QueueFull(message, code="rate_limit_exceeded", headers={"Retry-After": str(wait_s)})


def check_room(caller: Caller, num_queued: int, num_more: int = 1) -> None:
    """Raise QueueFull when a key's limit leaves no room for more jobs."""
    if caller.max_queued is not None and num_queued + num_more > caller.max_queued:
        raise QueueFull(
            f"{num_queued} videos wait and this key allows {caller.max_queued}; try again when some have run",
            headers={"Retry-After": "5"},
        )
