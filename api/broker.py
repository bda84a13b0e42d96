"""The broker as the relay sees it: ids go in, lengths come out. Nobody waits for results here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError, OperationalError

from db.states import Queue

TASK = "chai.generate"
NO_SUCH_QUEUE = "404"
_TRANSPORT = {
    "socket_timeout": 2.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "max_retries": 0,  # whoever asks decides when to ask again
    "priority_steps": list(range(10)),  # the same as the workers'
}


class BrokerAway(Exception):
    """The broker took nothing and said nothing; what was asked may be asked again."""


class Broker:
    """One connection to the broker, opened when first needed and made anew after an error."""

    def __init__(self, url: str) -> None:
        self._app = Celery("chai", broker=url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            broker_transport_options=_TRANSPORT,
        )
        self._connection: Connection | None = None
        self._producer: Any = None  # Any: kombu has no types

    def publish(self, job_id: UUID, queue: str, priority: int) -> None:
        """Hand a job's id to the workers; raise `BrokerAway`."""
        with self._errors():
            self._app.send_task(
                TASK,
                args=[str(job_id)],
                queue=queue,
                priority=Queue(queue).broker_priority(priority),
                producer=self._open_producer(),
                ignore_result=True,
                retry=False,
            )

    def length(self, queue: Queue) -> int:
        """Return how many messages wait in a queue, of every priority; raise `BrokerAway`."""
        with self._errors() as connection:
            try:
                declared = connection.default_channel.queue_declare(queue, passive=True)  # type: ignore[no-untyped-call]
            except ChannelError as error:
                if str(error.reply_code) == NO_SUCH_QUEUE:  # Redis keeps no empty lists
                    return 0
                raise
            return int(declared.message_count)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()  # type: ignore[no-untyped-call]  # kombu is typed in part

    def _open_producer(self) -> Any:
        if self._producer is None:
            self._producer = self._app.amqp.Producer(self._connection)
        return self._producer

    @contextmanager
    def _errors(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        away = (OperationalError, OSError, *self._connection.connection_errors, *self._connection.channel_errors)
        try:
            yield self._connection
        except away as error:
            self.close()
            raise BrokerAway(f"{type(error).__name__}: {error}") from error
