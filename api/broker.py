"""The broker as the relay sees it: ids go in, queue lengths come out. Nobody waits for results here.

A message is one attempt at one job, and shows that to Celery's tools: the task's id is the video's id and the number of
the attempt; the arguments, as Flower shows them, are the video's id, its prompt and its mode. Workers receive the id
alone. Queues are plain Redis lists, `interactive` and `bulk`: the order is decided beforehand, in Postgres. A model
that only some workers have has lists of its own, see `api.lanes`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError, OperationalError

from db.outbox import Waiting
from shared import environment
from shared.ids import TASK, task_id, video_id
from shared.settings import broker_use_ssl

NO_SUCH_QUEUE = "404"
_TRANSPORT = {
    "socket_timeout": 2.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "max_retries": 0,  # the caller decides when to try again
    "priority_steps": [0],  # as in the workers: one list per queue, under its own name
}
LONGEST_PROMPT = 200  # characters of a prompt that Flower shows


class BrokerAway(Exception):
    """The broker did not answer; the call may be repeated."""


class Broker:
    """One connection to the broker, opened when first needed and again after an error."""

    def __init__(self, url: str) -> None:
        environment.forget(environment.CELERY)
        self._app = Celery("chai", broker=url, set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_send_sent_event=True,  # lets Flower show waiting tasks
            broker_use_ssl=broker_use_ssl(url),
            broker_transport_options=_TRANSPORT,
        )
        self._connection: Connection | None = None
        self._producer: Any = None  # Any: kombu has no types

    def publish(self, job: Waiting, queue: str) -> None:
        """Hand a job's id to the workers, at the front if a worker has had it before; raise `BrokerAway`."""
        shown = f"({video_id(job.id)!r}, {_shortened(job.prompt)!r})"
        self._send(queue, job.id, task_id(job.id, job.attempt), shown, f"{{'mode': {job.mode!r}}}")
        if job.is_returned:
            self._to_front(queue)

    def publish_check(self, job_id: UUID, queue: str) -> None:
        """Hand a check of a job that has ended to the workers; raise `BrokerAway`."""
        self._send(queue, job_id, f"{video_id(job_id)}-check", f"({video_id(job_id)!r}, 'check')", "{}")

    def _send(self, queue: str, job_id: UUID, task_id: str, args: str, kwargs: str) -> None:
        with self._errors():
            self._app.send_task(
                TASK,
                args=[str(job_id)],
                task_id=task_id,
                argsrepr=args,
                kwargsrepr=kwargs,
                queue=queue,
                producer=self._open_producer(),
                ignore_result=True,
                retry=False,
            )

    def _to_front(self, queue: str) -> None:
        """Move the last message to the end from which workers take.

        Celery cannot do this. Whatever happens to the list in between, a message only moves within it and none is lost.
        With brokers other than Redis it stays at the end of the window, which is short anyway.
        """
        with self._errors() as connection:
            client = getattr(connection.default_channel, "client", None)
            if client is not None:
                client.lmove(queue, queue, "LEFT", "RIGHT")

    def holding(self, queue: str, task_ids: Collection[str]) -> set[str]:
        """Return those of these tasks whose messages wait in a queue; raise `BrokerAway`.

        Reads the whole queue, which is a short window. With brokers other than Redis it returns none.
        """
        with self._errors() as connection:
            client = getattr(connection.default_channel, "client", None)
            entries = [] if client is None else client.lrange(queue, 0, -1)
        return {task_id for task_id in task_ids if any(f'"{task_id}"'.encode() in entry for entry in entries)}

    def length(self, queue: str) -> int:
        """Return how many messages wait in a queue; raise `BrokerAway`."""
        with self._errors() as connection:
            try:
                declared = connection.default_channel.queue_declare(queue, passive=True)  # type: ignore[no-untyped-call]
            except ChannelError as error:
                if str(error.reply_code) == NO_SUCH_QUEUE:  # Redis has no empty lists
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


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= LONGEST_PROMPT else f"{prompt[: LONGEST_PROMPT - 1]}…"
