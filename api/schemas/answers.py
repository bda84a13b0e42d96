"""What the service answers: OpenAI's objects, with additions that an old client may ignore."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from api.schemas.requests import Forecast, Window

Shown = TypeVar("Shown")


class Page(BaseModel, Generic[Shown]):
    """One page of a list, with what the next one begins behind."""

    object: Literal["list"] = "list"
    data: list[Shown]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoError(BaseModel):
    """Why a video failed."""

    code: str
    message: str


class Usage(BaseModel):
    """What a finished video took, in seconds and bytes."""

    queue_wait_s: float  # from acceptance to the start of the last attempt
    run_s: float  # of the last attempt
    gpu_seconds: float | None  # encode, denoise and decode
    seconds_saved: float | None  # against measured full runs
    stage_s: dict[str, Any]  # seconds by stage
    bytes: int | None  # of the MP4


class Video(BaseModel):
    """One job: OpenAI's fields first, then ours."""

    id: str
    object: Literal["video"] = "video"
    model: str
    prompt: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    progress: int  # per cent
    created_at: int  # Unix seconds, as the two below
    completed_at: int | None
    expires_at: int | None
    seconds: str
    size: str
    error: VideoError | None
    remixed_from_video_id: str | None = None
    inference_time_s: float | None  # once completed; this and the next two as other services name them
    stage_durations: dict[str, Any] | None  # seconds by stage
    peak_memory_mb: float | None  # of the device

    negative_prompt: str | None
    mode: Literal["auto", "fast", "full"]
    path: Literal["fast", "full"] | None  # what the attempt does, once decided
    attempt: int  # how often a worker has taken it
    step: int | None
    num_steps: int | None
    num_inference_steps: int | None  # as asked for
    guidance_scale: float | None
    seed: int | None  # that was used, once completed; before, as asked for
    fps: int
    num_frames: int
    queue_position: int | None  # jobs before this one; only while queued, and not in lists
    eta_seconds: float | None  # until its end, by what others took lately; not in lists
    workers: int | None  # alive now, if known; not in lists
    waiting_reason: str | None  # why it would wait even if it were the next, and what to do; not in lists
    cancel_requested: bool
    batch_id: str | None
    custom_id: str | None
    line: str | None  # where it stands in the list of the bulk run
    cache: dict[str, Any] | None  # why this path, and what it saved
    metadata: dict[str, Any]
    usage: Usage | None  # once completed


class VideoList(Page[Video]):
    """One page of videos."""


class DeletedVideo(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class FoundEntity(BaseModel):
    """What a prompt names."""

    text: str
    kind: str  # object, scene, prompt: the whole of it
    attributes: list[str]


class FoundMatch(BaseModel):
    """A stored entity that would stand in for one of the prompt."""

    entity: str
    kind: str
    similarity: float
    donor_entity: str | None  # of the caller's own videos; null for another's
    donor: str | None  # the video that it is of


class CacheTry(BaseModel):
    """What would happen to a request; the same as `chai cache try` says."""

    object: Literal["cache.try"] = "cache.try"
    prompt: str
    entities: list[FoundEntity]
    excluded: list[str]
    style: list[str]
    unread: list[str]  # words that the model's text encoder does not get
    whole_prompt: bool  # it was not taken apart
    fallback_reason: str | None  # why not
    language: str | None
    matched: list[FoundMatch]
    path: Literal["fast", "full"]
    hit: str
    steps: int
    steps_saved: int
    nearest: float | None  # highest similarity seen
    reason: str
    explanation: str
    seconds: float | None  # mean of attempts like it, without waiting; null before the first
    full_seconds: float | None  # the same of full ones


class Model(BaseModel):
    """A model and its limits."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "chai"
    title: str
    sizes: list[str]  # the default first
    fps: int
    seconds: str  # the default
    num_frames: list[int]  # the default first
    min_frames: int | None  # every count from here to max_frames is legal too
    max_frames: int | None
    full_steps: int
    fast_steps: int
    max_steps: int
    guidance_scale: float
    examples: list[str]  # prompts that show what it can


class ModelList(BaseModel):
    """All models of this server."""

    object: Literal["list"] = "list"
    data: list[Model]


class Counts(BaseModel):
    """The jobs of a batch by status."""

    total: int
    queued: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class BulkRun(BaseModel):
    """One bulk run."""

    id: str
    object: Literal["bulk_run"] = "bulk_run"
    endpoint: Literal["/v1/videos"] = "/v1/videos"
    name: str
    manifest_key: str
    status: Literal["open", "in_progress", "paused", "completed", "cancelled"]
    window: Window | None  # when its lines may start
    is_held: bool  # paused, or outside its window: what runs ends, and nothing starts
    window_changes_at: int | None  # when the window opens, or closes if it is open; once the run ended, null
    series: str | None
    request_counts: Counts
    num_reused: int  # lines whose video is an earlier run's; they count in request_counts
    num_bad_lines: int
    forecast: Forecast | None  # what its sender expected
    created_at: int
    sealed_at: int | None
    completed_at: int | None


class DeletedBulkRun(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["bulk_run.deleted"] = "bulk_run.deleted"
    deleted: Literal[True] = True


class BulkRunList(Page[BulkRun]):
    """One page of bulk runs."""


class LastDelivery(BaseModel):
    """How an address was last told something."""

    event: str
    state: Literal["sending", "delivered", "failed"]  # of this attempt
    attempt: int
    tried_at: int  # Unix seconds
    status: int | None  # of the answer
    error: str | None  # why it came to nothing
    next_attempt_at: int | None


class Webhook(BaseModel):
    """An address that is told what happens."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    created_at: int
    last_delivery: LastDelivery | None


class WebhookList(BaseModel):
    """All addresses of a tenant."""

    object: Literal["list"] = "list"
    data: list[Webhook]
    has_more: Literal[False] = False


class DeletedWebhook(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["webhook.deleted"] = "webhook.deleted"
    deleted: Literal[True] = True


class SigningSecret(BaseModel):
    """What signs all that a tenant is told."""

    object: Literal["webhook.secret"] = "webhook.secret"
    secret: str


class FileObject(BaseModel):
    """A file, as OpenAI's files are."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"
    num_lines: int  # that are not empty


class FileList(Page[FileObject]):
    """One page of files."""


class DeletedFile(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchError(BaseModel):
    """Why a batch failed."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(BaseModel):
    """Why a batch failed, as a list."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class BatchCounts(BaseModel):
    """The lines of a batch by what became of them; in the end completed and failed are all."""

    total: int
    completed: int
    failed: int  # refused and cancelled ones too


class Batch(BaseModel):
    """A batch of a file's lines, as OpenAI's batches are; /v1/bulk-runs shows it under the same id."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: Literal["/v1/videos"] = "/v1/videos"
    completion_window: Literal["24h"] = "24h"
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    errors: BatchErrors | None
    status: Literal[
        "validating", "in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled", "expired"
    ]
    request_counts: BatchCounts
    metadata: dict[str, Any]
    created_at: int  # Unix seconds, as all below
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None


class BatchList(Page[Batch]):
    """One page of batches."""


class Error(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's error envelope."""

    error: Error


class Item(BaseModel):
    """What became of one line."""

    index: int  # place in the request, from 0
    custom_id: str | None
    status: Literal["accepted", "known", "reused", "refused"]
    id: str | None  # of the video; none when refused
    error: Error | None


class ItemList(BaseModel):
    """What became of every line."""

    object: Literal["list"] = "list"
    data: list[Item]
    accepted: int
    known: int
    reused: int  # have the video of an earlier run of the series
    refused: int


class Health(BaseModel):
    """Whether a part works, and if not, what is wrong."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
    notes: list[str] = []  # what some jobs wait for though the service works
