"""Whether a worker's parent still asks the broker for messages: a worker whose parent does not is useless though alive.

The parent asks about every second, even while its child (another process) runs a job or compiles. A loop that hangs
stops asking, as does one that was told over the broker to consume from no queue.
"""

import time
from collections.abc import Callable
from typing import Any

import redis

LATE_S = 15.0  # from then on it is handed no jobs; a broker that does not answer blocks the loop for part of that time
ANSWERS_S = 2.0  # within which a broker that is up answers
LOST_S = 60.0  # from then on it writes no heartbeats, so that its supervisor restarts it


class Asking:
    """When the parent last asked; written by its loop, read by a thread."""

    def __init__(self, redis_url: str) -> None:
        self._broker = redis.Redis.from_url(redis_url, socket_timeout=ANSWERS_S, socket_connect_timeout=ANSWERS_S)
        self._asked_at = time.monotonic()
        self._consumer: Any = None  # Any: Celery has no types
        self._connection: Any = None  # to the broker, used by the loop

    def follow(self, consumer: Any, may_take: Callable[[], bool]) -> None:
        """Note each request over this connection to the broker; they are sent only while `may_take()` is true."""
        self._asked_at = time.monotonic()
        self._consumer, self._connection = consumer, consumer.connection
        qos = consumer.task_consumer.channel.qos  # a new one with each connection
        can_consume = qos.can_consume

        def ask() -> bool:
            self._asked_at = time.monotonic()
            return may_take() and bool(can_consume())

        qos.can_consume = ask

    def silent_s(self) -> float:
        """Return for how many seconds the broker was not asked although it answers.

        While it is away, the loop tries to reconnect or waits for its answer: that is no fault of the loop.
        """
        if self._consumer is None or self._consumer.connection is not self._connection:
            return 0.0
        silent_s = time.monotonic() - self._asked_at
        if silent_s >= LATE_S and not self._is_there():
            self._asked_at = time.monotonic()
            return 0.0
        return silent_s

    def _is_there(self) -> bool:
        try:
            return bool(self._broker.ping())
        except (redis.RedisError, OSError):
            return False
