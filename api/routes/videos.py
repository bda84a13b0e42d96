"""/v1/videos: submit, look, list, cancel, delete, download."""

import hashlib
import math
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sqlalchemy.orm import Session

from api import bodies, content, ids, job_factory, videos
from api.deps import Calling
from api.errors import BadRequest, Gone, NotReady, QueueFull
from api.schemas import CreateVideo, DeletedVideo, ErrorBody, Video, VideoList
from db import jobs, metrics
from db.keys import Caller
from db.models import Job
from db.states import FINAL, JobStatus

REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "What to change, in OpenAI's error envelope"},
    "5XX": {"model": ErrorBody, "description": "Nothing was changed; try again"},
}
router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=REFUSALS)

VideoId = Annotated[str, "as the service gave it"]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
_SCHEMA = CreateVideo.model_json_schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {type_: {"schema": _SCHEMA} for type_ in (bodies.JSON, bodies.FORMS[0])},
    },
}


async def _requested(request: Request, call: Calling) -> CreateVideo:
    service = call.service  # the key was checked before anything is read
    return await bodies.read(request, service, CreateVideo, max_bytes=service.settings.max_body_bytes, forms=True)


@router.post("", openapi_extra=_BODY)
def create(
    asked: Annotated[CreateVideo, Depends(_requested)], call: Calling, response: Response, idempotency_key: Key = None
) -> Video:
    """Accept a prompt. It is stored before the answer goes out; the same Idempotency-Key gives the same video."""
    settings, cards = call.service.settings, call.service.cards
    with call.begin() as (session, caller):
        job = job_factory.job(asked, cards, tenant=caller.tenant, default_model=settings.default_model)
        job.idempotency_key, job.group = _key(idempotency_key), caller.group
        job, is_new = _accept(session, caller, job)
        video = videos.show(job, position=jobs.position(session, job))
    if not is_new:
        response.headers["Idempotent-Replayed"] = "true"
    _pace(response, job, call.service.settings.poll_after_ms)
    return video


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    status: Annotated[list[JobStatus] | None, Query()] = None,
    batch_id: Annotated[str | None, Query(max_length=100)] = None,
) -> VideoList:
    """List videos, the newest first; `after` is the last id of the page before."""
    batch = ids.parse("batch", batch_id) if batch_id else None
    with call.begin() as (session, caller), _cursor(after) as cursor:
        rows = jobs.page(
            session,
            caller.tenant,
            limit=limit + 1,
            after=cursor,
            newest_first=order == "desc",
            status=status or (),
            batch_id=batch,
        )
        figures = metrics.of_jobs(session, rows)
    return videos.page(rows, limit, figures)


@router.get("/{video_id}", responses={304: {"description": "Nothing changed since the ETag"}})
def retrieve(
    video_id: VideoId, call: Calling, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> Video:
    """Look at a video; the headers say when to look again."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        job = jobs.get(session, caller.tenant, id_)
        is_done = job.status == JobStatus.COMPLETED
        metric = metrics.of_attempt(session, job.id, job.attempt) if is_done else None
        video = videos.show(job, position=jobs.position(session, job), metric=metric)
    etag = f'"{hashlib.sha256(video.model_dump_json().encode()).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    _pace(response, job, call.service.settings.poll_after_ms)
    if content.holds(if_none_match or "", etag):
        return Response(status_code=304, headers=dict(response.headers))  # type: ignore[return-value]
    return video


@router.post("/{video_id}/cancel")
def cancel(video_id: VideoId, call: Calling) -> Video:
    """Cancel a video: at once while it waits, at the next step while it runs. Doing so again changes nothing."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        return videos.show(jobs.request_cancel(session, caller.tenant, id_))


@router.delete("/{video_id}")
def delete(video_id: VideoId, call: Calling) -> DeletedVideo:
    """Cancel a video and remove it with its file."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        jobs.remove(session, caller.tenant, id_)
    return DeletedVideo(id=ids.video_id(id_))


_BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "A range", "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Nothing changed since the ETag"},
}
Variant = Annotated[Literal["video"], Query(description="only the MP4 is kept")]


@router.get("/{video_id}/content", response_class=Response, responses=_BINARY)
def download(video_id: VideoId, request: Request, call: Calling, variant: Variant = "video") -> Response:
    """Download the MP4, whole or by Range."""
    return _content(video_id, request, call, as_head=False)


@router.head("/{video_id}/content", response_class=Response, responses=_BINARY)
def look_at_content(video_id: VideoId, request: Request, call: Calling, variant: Variant = "video") -> Response:
    """Say how long the MP4 is."""
    return _content(video_id, request, call, as_head=True)


def _content(video_id: str, request: Request, call: Calling, *, as_head: bool) -> Response:
    id_, output = _output(video_id, call)
    service, name = call.service, f"{ids.video_id(id_)}.mp4"
    return content.answer(service.storage, service.checked, output, request.headers, file_name=name, as_head=as_head)


def _accept(session: Session, caller: Caller, job: Job) -> tuple[Job, bool]:
    """Return the job and whether it is new; a replay takes no room, so no limit refuses it."""
    if known := jobs.replayed(session, job):
        return known, False
    check_room(caller, jobs.num_queued(session, caller.tenant) if caller.max_queued is not None else 0)
    return jobs.accept(session, job)


def check_room(caller: Caller, num_queued: int, num_more: int = 1) -> None:
    """Raise QueueFull when a key's limit leaves no room for more jobs."""
    if caller.max_queued is not None and num_queued + num_more > caller.max_queued:
        raise QueueFull(
            f"{num_queued} videos wait and this key allows {caller.max_queued}; try again when some have run",
            headers={"Retry-After": "5"},
        )


def _key(text: str | None) -> str | None:
    if text is not None and not (text.isascii() and text.isprintable()):
        message = "Idempotency-Key holds characters other than printable ASCII; use a UUID"
        raise BadRequest(message, param="Idempotency-Key")
    return text


def _pace(response: Response, job: Job, poll_after_ms: int) -> None:
    if job.status not in FINAL:
        response.headers["openai-poll-after-ms"] = str(poll_after_ms)
        response.headers["Retry-After"] = str(math.ceil(poll_after_ms / 1000))


def _output(video_id: str, call: Calling) -> tuple[UUID, dict[str, Any]]:
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        job = jobs.get(session, caller.tenant, id_)
    if job.output is None:
        raise NotReady(_why_none(job, video_id), code="video_not_ready", headers={"x-should-retry": "false"})
    if job.expires_at is not None and job.expires_at <= datetime.now(UTC):
        raise Gone(f"video {video_id} expired at {job.expires_at:%Y-%m-%d %H:%M} UTC; submit the prompt again")
    return job.id, job.output


def _why_none(job: Job, video_id: str) -> str:
    if job.status in FINAL:
        return f"video {video_id} {_ENDED[JobStatus(job.status)]}, so it has no content; submit the prompt again"
    return f"video {video_id} is {job.status}, {job.progress} per cent done; wait until its status is completed"


_ENDED = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "was cancelled"}


def _cursor(after: str | None) -> AbstractContextManager[UUID | None]:
    return ids.known("video", after) if after else nullcontext()
