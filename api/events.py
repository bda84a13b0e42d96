"""Streams of changes (server-sent events): the database is queried a few times a second for all listeners together.

An event carries the whole video in its present state, so that a duplicate does no harm. Its id is a horizon of
`db.changes`: a listener that reconnects with it as Last-Event-ID gets the changes that it missed.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from api import videos
from db import changes, keys, metrics
from db.keys import Caller
from db.models import Job
from db.session import transaction
from db.states import FINAL, JobStatus
from shared import json_lines
from shared.ids import video_id
from shared.logs import Once

logger = logging.getLogger("api.events")
LOOK_S = 0.3
KEYS_S = 2.0  # between two checks whether the listeners' keys are still live
HEARTBEAT_S = 15.0  # proxies close connections that are silent for a minute
LONGEST_S = 3600.0  # then a listener must reconnect, and its key is checked again
MOST_AT_ONCE = 1000  # more changes than this become one event, "reload"
MOST_UNREAD = 2000  # a listener that does not read is disconnected, and can reconnect for what it missed
HEARTBEAT = ": still here\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, serialised once for all its listeners."""

    tenant: str
    video: UUID | None  # None: of no single one
    text: str
    is_last: bool = False  # of this video


@dataclass(slots=True, kw_only=True, eq=False)
class _Listener:
    tenant: str
    video: UUID | None  # None: all of the tenant's
    key: str | None  # its API key
    unread: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)

    def hear(self, event: Event) -> None:
        if event.tenant == self.tenant and (self.video in (None, event.video) or event.video is None):
            self.unread.put_nowait(event if self.unread.qsize() < MOST_UNREAD else None)


class Events:
    """The listeners of this process."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self._looks = Once(logger)
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._low = 0
        self._told: set[tuple[UUID, int]] = set()  # changes at or after `_low` already sent

    async def listen(
        self, caller: Caller, *, after: int | None = None, video: UUID | None = None
    ) -> AsyncIterator[str]:
        """Yield changes of a tenant's videos, or of one until it ends, beginning with those already missed.

        Ends soon after the caller's key is revoked or expires.

        `after` is the id of the last event received; without it, a single video's present state comes first, while for
        all videos only new changes come. If `after` lies in the future, since the database was restored, the listener
        is told to reload.
        """
        tenant, until = caller.tenant, time.monotonic() + LONGEST_S
        listener = _Listener(tenant=tenant, video=video, key=caller.key)
        self._listeners.add(listener)
        try:
            now = await run_in_threadpool(self._horizon)
            start = now if after is None else min(after, now)
            self._watch_from(start)
            yield _lines("ready", start, {"object": "events"}, retry_ms=1000)
            if after is not None and after > now:  # an id of another database: what was missed is unknown
                yield _reload(tenant, now).text
            before = await run_in_threadpool(self._before, tenant, start, video)
            for past in before:
                yield past.text
            if video and any(past.is_last for past in before):
                return
            while time.monotonic() < until:
                try:
                    event = await asyncio.wait_for(listener.unread.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield HEARTBEAT
                    continue
                if event is None:
                    return
                yield event.text
                if video and event.is_last:
                    return
        finally:
            self._listeners.discard(listener)

    def release(self) -> None:
        """End all streams, since this process ends."""
        for listener in self._listeners:
            listener.unread.put_nowait(None)

    def _watch_from(self, low: int) -> None:
        if self._task is None or self._task.done():
            self._low, self._told = low, set()
            self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        looked = time.monotonic()
        while self._listeners:
            try:
                asked = self._tenants()
                events, horizon = await run_in_threadpool(self._look, sorted(asked))
                for event in events:  # first, since they are not read again
                    for listener in self._listeners:
                        listener.hear(event)
                if self._tenants() <= asked:  # else a listener joined meanwhile whose tenant was not read
                    self._move_on(horizon)
                if time.monotonic() - looked > KEYS_S:
                    await self._send_away()
                    looked = time.monotonic()
            except Exception as error:  # the database may be away for a while; changes are sent later
                self._looks.failed("not looked", error)
                await asyncio.sleep(1.0)
                continue
            self._looks.worked("looks again")
            await asyncio.sleep(LOOK_S)

    async def _send_away(self) -> None:
        """End the streams whose keys have ended."""
        asked = {listener.key for listener in self._listeners if listener.key is not None}
        ended = asked - await run_in_threadpool(self._live, asked) if asked else set()
        for listener in self._listeners:
            if listener.key in ended:
                listener.unread.put_nowait(None)

    def _live(self, prefixes: set[str]) -> set[str]:
        with transaction(self._factory) as session:
            return keys.live(session, prefixes)

    def _tenants(self) -> set[str]:
        return {listener.tenant for listener in self._listeners}

    def _move_on(self, horizon: int) -> None:
        self._low, self._told = horizon, {(id_, changed) for id_, changed in self._told if changed >= horizon}

    def _look(self, tenants: Sequence[str]) -> tuple[list[Event], int]:
        """Return what is new, and where to continue reading."""
        with transaction(self._factory) as session:
            found = changes.since(session, self._low, tenants, limit=MOST_AT_ONCE)
            new = [row for row in found.rows if (row.id, row.changed) not in self._told]
            events = _told(session, new, self._low, found.horizon)
        if found.is_cut:
            events = [_reload(tenant, found.horizon) for tenant in tenants]
        self._told = {(row.id, row.changed) for row in found.rows}
        return events, found.horizon

    def _before(self, tenant: str, after: int, video: UUID | None) -> list[Event]:
        """Return the events that a connecting or reconnecting listener has missed."""
        with transaction(self._factory) as session:
            if video is not None:
                row = session.get(Job, video)
                found = changes.Changes(rows=[row] if row else [], horizon=after, is_cut=False)
            else:
                found = changes.since(session, after, [tenant], limit=MOST_AT_ONCE)
            if found.is_cut:
                return [_reload(tenant, found.horizon)]
            return _told(session, found.rows, after, found.horizon)

    def _horizon(self) -> int:
        with transaction(self._factory) as session:
            return changes.horizon(session)


def _told(session: Session, rows: Sequence[Job], low: int, high: int) -> list[Event]:
    """Return one event per row. Only the last has the new horizon as id: a listener cut off before gets all again."""
    figures = metrics.of_jobs(session, [row for row in rows if row.status == JobStatus.COMPLETED])
    events = []
    for number, row in enumerate(rows, 1):
        id_ = high if number == len(rows) else low
        if row.deleted_at is not None:
            text = _lines("video.deleted", id_, {"id": video_id(row.id), "object": "video.deleted", "deleted": True})
        else:
            text = _lines("video", id_, videos.show(row, metric=figures.get(row.id)).model_dump_json())
        is_last = row.status in FINAL or row.deleted_at is not None
        events.append(Event(tenant=row.tenant, video=row.id, text=text, is_last=is_last))
    return events


def _reload(tenant: str, id_: int) -> Event:
    why = "more changed than is told one by one; read the lists again"
    return Event(tenant=tenant, video=None, text=_lines("reload", id_, {"object": "reload", "message": why}))


def _lines(name: str, id_: int, data: object, *, retry_ms: int | None = None) -> str:
    retry = "" if retry_ms is None else f"retry: {retry_ms}\n"
    written = json_lines.whole(data) if isinstance(data, str) else json_lines.line(data)
    return f"{retry}id: {id_}\nevent: {name}\ndata: {written}\n\n"
