"""Invalid messages: an entry of a queue that cannot be read goes to a list of dead letters and ends no worker.

Kombu takes an entry off its list and then decodes it; an error on the way ends the worker, and an entry that was
already recorded as being worked on comes back and ends the next one. Such an entry may come from a program of another
version, or from anybody with the broker's password.
"""

import json
import logging
from queue import Empty
from typing import Any

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

DEAD_LETTERS = "dead-letters"  # a Redis list; LRANGE shows its entries
MAX_DEAD_LETTERS = 1000  # beyond that, the oldest are dropped


# Whatever else a server answers than what was asked for: it is out of room, a replica, busy with a script, without a
# disk, or somebody has a key of another kind where a queue should be.
REFUSES = redis.exceptions.ResponseError

logger = logging.getLogger(__name__)


class _Client(redis.Redis):
    """A client that remembers the last entry that it took."""

    taken: tuple[bytes, bytes] | None = None

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name == "BRPOP":
            self.taken = reply
        return reply


class QoS(kombu_redis.QoS):
    """The messages that this worker has taken and not acknowledged."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, even if the server cannot be reached: otherwise the worker would never take another.

        Celery ignores a connection lost at that moment, and no new one need follow, since redis-py repairs the old. An
        entry that the server keeps comes back after the visibility timeout, as a message about a job that has ended.
        """
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            logger.warning("the broker took no word of a message that is done with: %s", error)
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]


class Channel(kombu_redis.Channel):
    """A channel that puts unreadable entries aside instead of raising errors."""

    QoS = QoS

    def _get_client(self) -> type[redis.Redis]:
        return _Client

    def _brpop_read(self, **options: Any) -> Any:  # Any: kombu is typed in part
        self.client.taken = None
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (Empty, *self.connection_errors):
            raise
        except Exception as error:
            if self.client.taken is None:
                raise
            queue, entry = self.client.taken
            self._bury(queue, entry, error)
            return True

    def take(self, task_id: str) -> bool:
        """Take a task's message off its list, whichever that is, as if it came next; return whether it was there."""
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for entry in client.lrange(queue, 0, -1):
                    if f'"{task_id}"'.encode() in entry and client.lrem(queue, 1, entry):
                        self.connection._deliver(json.loads(entry), queue)
                        return True
        return False

    def _bury(self, queue: bytes, entry: bytes, error: Exception) -> None:
        """Put an entry aside, and delete the record that it is being worked on."""
        logger.error("an entry of queue %s cannot be read and goes to %s: %r", queue.decode(), DEAD_LETTERS, error)
        with self.conn_or_acquire() as client:
            client.lpush(DEAD_LETTERS, entry)
            client.ltrim(DEAD_LETTERS, 0, MAX_DEAD_LETTERS - 1)
        try:
            tag = json.loads(entry)["properties"]["delivery_tag"]
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(tag, str):
            self.qos.ack(tag)


class Transport(kombu_redis.Transport):
    """Kombu's Redis transport with that channel; it treats error replies of the server as a lost connection.

    Celery would end the worker on most such errors, although a new connection later is enough.
    """

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, REFUSES)
