"""Requests that wait for the end of a video: one query for all of them, a few times a second."""

import asyncio
import logging
import re
from contextlib import suppress
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from db import job_lists
from db.session import transaction
from shared.logs import Once

logger = logging.getLogger("api.waiting")
LOOK_S = 0.2
LONGEST_S = 60  # of Prefer: wait
_PREFERRED = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4000})\"?(?:$|[,;\s])", re.IGNORECASE | re.ASCII)


def preferred_s(header: str | None) -> int:
    """Return how long `Prefer: wait=N` asks to wait, at most a minute; 0 for anything else (RFC 7240: ignored)."""
    match = _PREFERRED.search(header or "")
    return min(int(match[1]), LONGEST_S) if match else 0


class Waiting:
    """The waiting requests of this process, by job."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self._looks = Once(logger)
        self._waiters: dict[UUID, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ended(self, id_: UUID, timeout_s: float) -> None:
        """Return when the job has ended or was deleted, or at the latest after the timeout."""
        event = asyncio.Event()
        self._waiters.setdefault(id_, set()).add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), timeout_s)
        finally:
            events = self._waiters.get(id_, set())
            events.discard(event)
            if not events:
                self._waiters.pop(id_, None)

    def release(self) -> None:
        """End all waits, since this process ends."""
        for events in self._waiters.values():
            for event in events:
                event.set()

    async def _watch(self) -> None:
        while self._waiters:
            try:
                asked = list(self._waiters)
                running = await run_in_threadpool(self._running, asked)
            except Exception as error:  # the database may be away for a while; waiting goes on
                self._looks.failed("not looked", error)
                await asyncio.sleep(1.0)
                continue
            self._looks.worked("looks again")
            for id_ in set(asked) - running:
                for event in self._waiters.get(id_, ()):
                    event.set()
            await asyncio.sleep(LOOK_S)

    def _running(self, ids: list[UUID]) -> set[UUID]:
        with transaction(self._factory) as session:
            return job_lists.running(session, ids)
