"""What the child of a worker tells its parent: jobs that it claimed ahead of their messages.

The parent takes such a message off its list at once and keeps it for the child, whose next task it becomes. So no other
worker is woken for nothing, and every attempt is told of by a task of its own. A word that is lost costs no more than
that: the message leads to nothing, as a doubled one does.
"""

import os
from typing import Any

from db.jobs import Claim
from shared.ids import task_id


class Announcements:
    """A pipe. Made before the child is forked; the child tells, the parent follows."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def tell(self, claim: Claim) -> None:
        """Say that the job of a claim is begun."""
        try:
            os.write(self._write, f"{task_id(claim.job.id, claim.attempt)}\n".encode())
        except BlockingIOError:  # a parent that hears nothing for a thousand jobs
            return

    def follow(self, consumer: Any) -> None:
        """Let the parent's loop hear of them, over this connection to the broker. Any: Celery has no types."""
        if consumer.hub is not None and hasattr(
            consumer.task_consumer.channel, "take"
        ):  # other brokers know no such thing
            consumer.hub.add_reader(self._read, self._take, consumer)

    def _take(self, consumer: Any) -> None:
        for told in os.read(self._read, 1 << 16).decode().split():
            consumer.task_consumer.channel.take(told)
