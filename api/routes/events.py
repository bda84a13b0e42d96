"""/v1/events: what happens to videos, as it happens (server-sent events)."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api import ids
from api.deps import Call, Calling
from api.errors import REFUSALS
from db import jobs

STREAM = "text/event-stream"
_STREAM: dict[int | str, dict[str, Any]] = {  # Any: a piece of OpenAPI
    200: {
        "description": "Events `video`, `video.deleted`, `reload`",
        "content": {STREAM: {"schema": {"type": "string"}}},
    }
}
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_HORIZON = re.compile(r"\d{1,18}", re.ASCII)

router = APIRouter(prefix="/v1", tags=["events"], responses=REFUSALS | _STREAM)
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="of the last event that was heard")]


@router.get("/events", response_class=StreamingResponse)
async def follow(call: Calling, last_event_id: LastEventId = None) -> Response:
    """Follow all videos: an event with the whole video whenever one changes, from now on or after Last-Event-ID."""
    return _stream(call.service.events.listen(call.caller, after=_horizon(last_event_id)))


@router.head("/events", response_class=Response, responses=_STREAM)
async def look_at_events(call: Calling) -> Response:
    """Say that there is a stream, without following it."""
    return Response(media_type=STREAM, headers=_HEADERS)


@router.get("/videos/{video_id}/events", response_class=StreamingResponse)
async def follow_one(video_id: str, call: Calling, last_event_id: LastEventId = None) -> Response:
    """Follow one video: as it is, then whenever it changes, until it has ended."""
    id_ = await run_in_threadpool(_check, call, video_id)
    return _stream(call.service.events.listen(call.caller, after=_horizon(last_event_id), video=id_))


@router.head("/videos/{video_id}/events", response_class=Response, responses=_STREAM)
async def look_at_events_of_one(video_id: str, call: Calling) -> Response:
    """Say whether there is a stream, without following it."""
    await run_in_threadpool(_check, call, video_id)
    return Response(media_type=STREAM, headers=_HEADERS)


def _check(call: Call, video_id: str) -> UUID:
    """Return the job, that of its retry where there was one."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        return jobs.get(session, caller.tenant, id_).id


def _horizon(header: str | None) -> int | None:
    """Read Last-Event-ID; what this service never sent means nothing."""
    return int(header) if header and _HORIZON.fullmatch(header) else None


def _stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type=STREAM, headers=_HEADERS)
