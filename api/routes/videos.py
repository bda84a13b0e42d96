"""/v1/videos: submit, look, list, cancel, delete, download."""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import bodies, content, explain, header_fields, ids, submission, sweeps, videos, waiting
from api.deps import Call, Calling, Operating
from api.errors import REFUSALS, STAYS, BadRequest, Gone, JobFailed, NotReady, PreconditionFailed
from api.schemas.answers import DeletedVideo, Video, VideoList
from api.schemas.fields import Whole
from api.schemas.requests import LATEST, CreateVideo
from api.submission import Key
from db import batches, job_lists, jobs, metrics, previews, reused_lines, vetoes
from db.errors import IllegalTransition
from db.keys import Caller
from db.models import Job
from db.states import FINAL, JobStatus
from shared.ids import video_id as shown_id

router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=REFUSALS)

VideoId = Annotated[str, "as the service gave it"]
Prefer = Annotated[str | None, Header(description="wait=N: hold the answer for up to N seconds, 60 at most")]
CancelAfter = Annotated[
    str | None, Header(alias="Cancel-After", description="30s, 10m, 2h: cancelled then", max_length=20)
]
IfMatch = Annotated[str | None, Header(description="refused with 412 when the video's ETag is another by now")]
Moment = Annotated[Whole | None, Query(ge=0, le=LATEST, description="Unix seconds")]
_SCHEMA = CreateVideo.model_json_schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {type_: {"schema": _SCHEMA} for type_ in (bodies.JSON, bodies.FORMS[0])},
    },
}

_MP4 = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
_SYNC: dict[int | str, dict[str, Any]] = {
    200: {"description": "The MP4", "content": _MP4},
    202: {"description": "Not done yet: the video as it is", "model": Video},
}


@router.post("", openapi_extra=_BODY)
async def create(
    asked: Annotated[CreateVideo, Depends(bodies.dependency(CreateVideo, forms=True))],
    call: Calling,
    response: Response,
    idempotency_key: Key = None,
    cancel_after: CancelAfter = None,
    prefer: Prefer = None,
) -> Video:
    """Accept a prompt. It is stored before the answer goes out; the same Idempotency-Key gives the same video.

    `Prefer: wait=N` holds the answer until it has ended, N seconds at most; `Cancel-After: 30m` gives it that long.
    """
    job, is_new = await run_in_threadpool(_submit, asked, call, idempotency_key, cancel_after)
    if not is_new:
        response.headers.update(header_fields.REPLAYED)
    return await _look_when_ended(job.id, call, response, prefer)


@router.post("/sync", openapi_extra=_BODY, response_class=Response, responses=_SYNC)
async def create_and_wait(
    asked: Annotated[CreateVideo, Depends(bodies.dependency(CreateVideo, forms=True))],
    call: Calling,
    response: Response,
    idempotency_key: Key = None,
    cancel_after: CancelAfter = None,
) -> Any:  # Any: the MP4, or the video object
    """Accept a prompt and answer with the MP4; when that takes too long, with 202 and the video as it is."""
    job, is_new = await run_in_threadpool(_submit, asked, call, idempotency_key, cancel_after)
    replayed = {} if is_new else header_fields.REPLAYED
    await call.service.waiting.ended(job.id, call.service.settings.sync_timeout_s)
    job, video = await run_in_threadpool(_look, job.id, call)
    if job.status in FINAL:
        answer = await content.in_turn(call.service.reads, _finished, job, call)
        if video.inference_time_s is not None:
            answer.headers["X-Inference-Time-S"] = str(video.inference_time_s)
        answer.headers.update(replayed)
        return answer
    _pace(response, job, call.service.settings.poll_after_ms)
    headers = {**response.headers, **replayed, "Location": f"/v1/videos/{video.id}"}
    return JSONResponse(video.model_dump(), status_code=202, headers=headers)


def _submit(asked: CreateVideo, call: Call, key: str | None, cancel_after: str | None) -> tuple[Job, bool]:
    with call.begin() as (session, caller):
        return submission.take(session, call, caller, asked, submission.key_of(key), cancel_after=cancel_after)


def _finished(job: Job, call: Call) -> Response:
    """Return the video of a job that has ended; raise what came instead of it."""
    id_ = shown_id(job.id)
    if job.status == JobStatus.FAILED:
        shown = videos.show(job).error
        assert shown is not None
        raise JobFailed(f"video {id_} failed: {shown.message}", code=shown.code, headers={"X-Video-Id": id_})
    answer = _content(id_, {}, call, as_head=False)  # a POST asks for no part, and names no version
    answer.headers["X-Video-Id"] = id_
    return answer


async def _look_when_ended(id_: UUID, call: Call, response: Response, prefer: str | None) -> Video:
    """Return the video as it is, once it has ended or for as long as the caller prefers to wait."""
    if seconds := waiting.preferred_s(prefer):
        response.headers["Preference-Applied"] = f"wait={seconds}"
        await call.service.waiting.ended(id_, seconds)
    job, video = await run_in_threadpool(_look, id_, call)
    _pace(response, job, call.service.settings.poll_after_ms)
    return video


def _look(id_: UUID, call: Call) -> tuple[Job, Video]:
    with call.look() as (session, caller):
        job = jobs.get(session, caller.tenant, id_)
        return job, _seen(session, call, job)


def _seen(session: Session, call: Call, job: Job) -> Video:
    """Return a video with all that its ETag is made of."""
    is_done = job.status == JobStatus.COMPLETED
    metric = metrics.of_attempt(session, job.id, job.attempt) if is_done else None
    return videos.show(job, estimate=call.service.estimates.of(session, job), metric=metric)


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Whole, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    status: Annotated[list[JobStatus] | None, Query()] = None,
    batch_id: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    path: Annotated[Literal["fast", "full"] | None, Query(description="what the attempt did")] = None,
    mode: Annotated[Literal["auto", "fast", "full"] | None, Query(description="what was asked for")] = None,
    model: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    prompt: Annotated[
        str | None, Query(min_length=1, max_length=200, description="words of the prompt, as they stand")
    ] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    metadata: Annotated[list[str] | None, Query(description="KEY=VALUE; may be repeated", max_length=16)] = None,
) -> VideoList:
    """List videos, the newest first; `after` is the last id of the page before. Several filters narrow it down."""
    with call.begin() as (session, caller):
        batch = None if batch_id is None else run_id(session, caller, batch_id)
        with ids.cursor("video", after) as cursor:
            rows = job_lists.page(
                session,
                caller.tenant,
                limit=limit + 1,
                after=cursor,
                newest_first=order == "desc",
                status=status or (),
                batch_id=batch,
                path=path,
                mode=mode,
                model=model,
                words=prompt,
                since=_time(created_after),
                before=_time(created_before),
                metadata=dict(map(_pair, metadata or ())),
            )
        figures = metrics.of_jobs(session, rows)
        lines = reused_lines.of_jobs(session, batch, rows) if batch else {}
    return videos.page(rows, limit, figures, lines)


def run_id(session: Session, caller: Caller, text: str) -> UUID:
    """Return the id of a run of the caller's, as the caller writes it; raise NotFound."""
    with ids.known("bulk run", text) as id_:
        return batches.get(session, caller.tenant, id_).id


@router.get("/{video_id}", response_model=Video, responses={304: {"description": "Nothing changed since the ETag"}})
async def retrieve(
    video_id: VideoId,
    call: Calling,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Prefer = None,
) -> Response:
    """Look at a video; the headers say when to look again. `Prefer: wait=N` holds the answer until it has ended."""
    with ids.known("video", video_id) as id_:
        video = await _look_when_ended(id_, call, response, prefer)
    etag = _etag(video)
    _check_version(if_match, etag)
    headers = {**response.headers, "ETag": etag}
    if content.holds(if_none_match or "", etag, weakly=True):
        return Response(status_code=304, headers=headers)
    return Response(video.model_dump_json(), headers=headers, media_type="application/json")


def _etag(video: Video) -> str:
    said = video.model_dump_json(exclude={"eta_seconds", "workers"})  # guesses that change by the second
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


def _check_version(if_match: str | None, etag: str) -> None:
    """Raise PreconditionFailed when a caller means another version of a video."""
    if if_match is not None and not content.holds(if_match, etag):
        message = f"If-Match does not name {etag}; look at the video again, or leave it out"
        raise PreconditionFailed(message, param="If-Match")


def _check_unchanged(session: Session, call: Call, id_: UUID, if_match: str | None) -> None:
    """Raise PreconditionFailed when a video has changed since the caller looked at it; nobody else changes it then."""
    if if_match is not None:
        job = jobs.get(session, call.caller.tenant, id_, lock=True)
        _check_version(if_match, _etag(_seen(session, call, job)))


@router.post("/{video_id}/cancel")
def cancel(video_id: VideoId, call: Calling, if_match: IfMatch = None) -> Video:
    """Cancel a video: at once while it waits, at the next step while it runs. Doing so again changes nothing."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        _check_unchanged(session, call, id_, if_match)
        return videos.show(jobs.request_cancel(session, caller.tenant, id_))


@router.post("/{video_id}/wrong-match")
def mark_wrong(video_id: VideoId, call: Operating) -> Video:
    """Say that a video was made of stored ones that do not fit: the pairs are matched no more; for operators.

    Doing so again changes nothing. Of the same words with another stored video nothing is said.
    """
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        job = jobs.get(session, caller.tenant, id_)
        try:
            vetoes.mark(session, job)
        except IllegalTransition as error:
            raise NotReady(f"video {video_id}: {error}", code="no_match", headers=STAYS) from None
        return videos.show(job)


@router.delete("/{video_id}/wrong-match")
def mark_right(video_id: VideoId, call: Operating) -> Video:
    """Take that back."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        job = jobs.get(session, caller.tenant, id_)
        vetoes.unmark(session, job)
        return videos.show(job)


@router.delete("/{video_id}")
def delete(video_id: VideoId, call: Calling, if_match: IfMatch = None) -> DeletedVideo:
    """Cancel a video and remove it with its file."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        _check_unchanged(session, call, id_, if_match)
        jobs.remove(session, caller.tenant, id_)
    return DeletedVideo(id=shown_id(id_))


_FILE = {type_: {"schema": {"type": "string", "format": "binary"}} for type_ in ("video/mp4", "image/jpeg")}
_BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": _FILE},
    206: {"description": "A range", "content": _FILE},
    304: {"description": "Nothing changed since the ETag"},
}
Variant = Annotated[
    Literal["video", "thumbnail", "spritesheet"],
    Query(description="the MP4, a JPEG of its first frame, or one of frames spread over its time"),
]


@router.get("/{video_id}/content", response_class=Response, responses=_BINARY)
async def download(video_id: VideoId, request: Request, call: Calling, variant: Variant = "video") -> Response:
    """Download the MP4 or a picture of it, whole or by Range."""
    return await content.in_turn(call.service.reads, _content, video_id, request.headers, call, variant, as_head=False)


@router.head("/{video_id}/content", response_class=Response, responses=_BINARY)
async def look_at_content(video_id: VideoId, request: Request, call: Calling, variant: Variant = "video") -> Response:
    """Say how long the file is."""
    return await content.in_turn(call.service.reads, _content, video_id, request.headers, call, variant, as_head=True)


_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    204: {"description": "None now: it does not run, or has only begun"},
}
AnyStep = Annotated[Whole | None, Query(description="of whatever number: makes a URL that no cache knows")]


@router.get("/{video_id}/preview", response_class=Response, responses=_PICTURE)
def preview(video_id: VideoId, call: Calling, step: AnyStep = None) -> Response:
    """Look at what a running video is becoming: a small, rough JPEG, new every second or so."""
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        picture = previews.of(session, jobs.get(session, caller.tenant, id_))
    headers = {"Cache-Control": "no-store"}
    if picture is None:
        return Response(status_code=204, headers=headers)
    return Response(picture, media_type="image/jpeg", headers=headers)


def _content(
    video_id: str, asked: Mapping[str, str], call: Calling, variant: str = "video", *, as_head: bool
) -> Response:
    id_, output = _output(video_id, call)
    name, sheet = shown_id(id_), {}
    if variant != "video":
        sheet = output = _picture(video_id, output, variant)
    with sweeps.gone_from_ours_only(call.service.storage, call.service.sessions):
        answer = content.answer(
            call.service.storage,
            call.service.checked,
            output,
            asked,
            file_name=f"{name}.mp4" if variant == "video" else f"{name}.{variant}.jpg",
            as_head=as_head,
            what=variant,
        )
    layout = {
        f"X-Sheet-{part.capitalize()}": str(sheet[part]) for part in ("columns", "rows", "tiles") if part in sheet
    }
    answer.headers.update(layout)
    return answer


def _picture(video_id: str, output: dict[str, Any], variant: str) -> dict[str, Any]:
    """Return the file of a picture; raise Gone for a video that was made before these were kept."""
    picture: dict[str, Any] | None = output.get("pictures", {}).get(variant)
    if picture is None:
        raise Gone(f"video {video_id} has no {variant}; variant=video is there", code="no_picture")
    return picture


def _time(moment: int | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        message = f"metadata {explain.shown(text)} is not KEY=VALUE; write it like metadata=scene=12"
        raise BadRequest(message, param="metadata")
    return key, value


def _pace(response: Response, job: Job, poll_after_ms: int) -> None:
    if job.status not in FINAL:
        response.headers["openai-poll-after-ms"] = str(poll_after_ms)
        response.headers["Retry-After"] = str(math.ceil(poll_after_ms / 1000))


def _output(video_id: str, call: Calling) -> tuple[UUID, dict[str, Any]]:
    with call.begin() as (session, caller), ids.known("video", video_id) as id_:
        job = jobs.get(session, caller.tenant, id_)
    if job.output is None:
        raise NotReady(_why_none(job, video_id), code="video_not_ready", headers=STAYS)
    if job.expires_at is not None and job.expires_at <= datetime.now(UTC):
        raise Gone(f"video {video_id} expired at {job.expires_at:%Y-%m-%d %H:%M} UTC; submit the prompt again")
    return job.id, job.output


def _why_none(job: Job, video_id: str) -> str:
    if job.status in FINAL:
        return f"video {video_id} {_ENDED[JobStatus(job.status)]}, so it has no content; submit the prompt again"
    return f"video {video_id} is {job.status}, {job.progress} per cent done; wait until its status is completed"


_ENDED = {JobStatus.FAILED: "failed", JobStatus.CANCELLED: "was cancelled"}
