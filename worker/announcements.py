"""Messages from a worker's child to its parent: which jobs it claimed ahead of their messages.

The parent takes such a job's message off its list at once and keeps it for the child, as its next task. So no other
worker is woken for nothing, and every attempt has a task of its own. If an announcement is lost, the message leads to
nothing, as a duplicate does.
"""

import os
from typing import Any

from db.jobs import Claim
from shared.ids import task_id


class Announcements:
    """A pipe from child to parent, made before the child is forked."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def tell(self, claim: Claim) -> None:
        """Announce that the job of a claim is begun."""
        try:
            os.write(self._write, f"{task_id(claim.job.id, claim.attempt)}\n".encode())
        except BlockingIOError:  # the parent has not read for a thousand jobs
            return

    def follow(self, consumer: Any) -> None:
        """Receive announcements in the parent's loop, over this connection to the broker. Any: Celery has no types."""
        if consumer.hub is not None and hasattr(
            consumer.task_consumer.channel, "take"
        ):  # other brokers have no such lists
            consumer.hub.add_reader(self._read, self._take, consumer)

    def _take(self, consumer: Any) -> None:
        for told in os.read(self._read, 1 << 16).decode().split():
            consumer.task_consumer.channel.take(told)
