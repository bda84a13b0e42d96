"""Whether a worker's parent goes on asking the broker for messages: one that does not is none, however long it lives.

It asks every second or so, also while its child runs a job or compiles, which is another process. A loop that hangs
asks no more, nor does one that was told over the broker to take from no queue.
"""

import time
from collections.abc import Callable
from typing import Any

import redis

LATE_S = 15.0  # such a worker is handed no jobs; a broker that does not answer holds the loop for a part of that
ANSWERS_S = 2.0  # a broker that is there
LOST_S = 60.0  # it gives no signs of life any more, so that whoever looks after it starts it anew


class Asking:
    """When the parent asked last; written by its loop, read by a thread."""

    def __init__(self, redis_url: str) -> None:
        self._broker = redis.Redis.from_url(redis_url, socket_timeout=ANSWERS_S, socket_connect_timeout=ANSWERS_S)
        self._asked_at = time.monotonic()
        self._consumer: Any = None  # Any: Celery has no types
        self._connection: Any = None  # to the broker, over which the loop goes round

    def follow(self, consumer: Any, may_take: Callable[[], bool]) -> None:
        """Hear of each question over this connection to the broker; one is sent only while `may_take` says so."""
        self._asked_at = time.monotonic()
        self._consumer, self._connection = consumer, consumer.connection
        qos = consumer.task_consumer.channel.qos  # a new one with each connection
        can_consume = qos.can_consume

        def ask() -> bool:
            self._asked_at = time.monotonic()
            return may_take() and bool(can_consume())

        qos.can_consume = ask

    def silent_s(self) -> float:
        """Return for how long the broker was not asked though it answers.

        While it is away the loop looks for it, or waits for a word of it within: nothing is wrong with the loop then.
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
