"""What goes over the wire: OpenAI's video object and requests, with additions that an old client may ignore."""

import re
import unicodedata
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.run_windows import RunWindow

MAX_PROMPT = 4000  # characters
MAX_SEED = 2**32 - 1
LATEST = 253_402_300_799  # Unix seconds: the last one of the year 9999
MAX_LINES = 1000  # of one POST of batch items
_ALLOWED_CONTROLS = "\t\n\r"
_REFUSED_KINDS = {"Cc": "control character", "Cs": "half of a surrogate pair"}  # by Unicode category


def _clean(text: str) -> str:
    for place, character in enumerate(text):
        kind = _REFUSED_KINDS.get(unicodedata.category(character))
        if kind and character not in _ALLOWED_CONTROLS:
            values = {"kind": kind, "name": f"U+{ord(character):04X}", "place": place}
            raise PydanticCustomError("refused", "holds the {kind} {name} at position {place}; remove it", values)
    return text


# characters that have a letter's or symbol's category and yet nothing to see
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")


def _can_be_seen(character: str) -> bool:
    category, number = unicodedata.category(character), ord(character)
    if category == "Cn":  # newer than this Python's tables, a new emoji perhaps; not what Unicode keeps invisible
        is_never = number & 0xFFFE == 0xFFFE or 0xFDD0 <= number <= 0xFDEF
        return not (is_never or number == 0x2065 or 0xFFF0 <= number <= 0xFFF8 or 0xE0000 <= number <= 0xE0FFF)
    return category[0] in "LNPS" and character not in _BLANK_LETTERS


def _filled(text: str) -> str:
    if not any(map(_can_be_seen, text)):
        raise PydanticCustomError("refused", "is empty; say in a sentence what the video shows")
    return text


def _as_text(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**15 else f"1e{value.bit_length() * 3 // 10}"  # too long in any case
    return repr(value) if isinstance(value, float) else value


def _canonical(seconds: str) -> str:
    """Write equal durations alike, so that requests which say the same are equal; leave what is no number."""
    return f"{float(seconds):g}" if _DECIMAL.fullmatch(seconds) else seconds


def _chosen(seed: object) -> object:
    """Read -1 as other services do: the server chooses."""
    return None if seed in ("-1", "-1.0") or (seed == -1 and not isinstance(seed, bool)) else seed


def _whole(value: object) -> object:
    """Refuse what Python alone reads as a number, 1_0, with the words for what is none."""
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("int_parsing", "no number")
    return value


def _decimal(value: object) -> object:
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("float_parsing", "no number")
    return value


def _one(number: int) -> int:
    if number != 1:
        raise PydanticCustomError(
            "refused", "{number} is not 1; a request makes one video, send several", {"number": str(number)[:20]}
        )
    return number


def _off(value: bool) -> bool:
    if value:
        raise PydanticCustomError("refused", "is not offered here; leave it out")
    return value


def _nothing(value: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    if value:
        raise PydanticCustomError("refused", "is not offered here; leave it out")
    return value


Text = Annotated[str, AfterValidator(_clean)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_decimal), Field(allow_inf_nan=False)]
_DECIMAL = re.compile(r"\s*\+?(?:\d{1,9}(?:\.\d*)?|\.\d+)(?:e[+-]?\d)?\s*", re.ASCII | re.IGNORECASE)
Seconds = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_canonical),
    Field(max_length=20),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 20}, {"type": "number"}], "examples": ["4"]}),
]
Metadata = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], Annotated[Text, Field(max_length=512)]],
    Field(max_length=16),
]
Steps = Annotated[Whole, Field(ge=1, le=1000)]
Side = Annotated[Whole, Field(ge=1, le=100_000)]
One = Annotated[Whole, AfterValidator(_one), WithJsonSchema({"type": "integer", "const": 1})]
Nothing = Annotated[dict[str, Any], AfterValidator(_nothing), WithJsonSchema({"type": "object", "maxProperties": 0})]
Idle = Annotated[Number, Field(ge=0.0, le=100.0)]  # sets up what is switched off: read and forgotten
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]


class CreateVideo(BaseModel):
    """A request for one video. What is left out, or null, is the model's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[Text, AfterValidator(_filled), Field(max_length=MAX_PROMPT)]
    model: Annotated[Text, Field(max_length=200)] | None = None
    size: Annotated[str, Field(max_length=20)] | None = None  # WIDTHxHEIGHT
    seconds: Seconds | None = None
    seed: Annotated[Annotated[Whole, Field(ge=0, le=MAX_SEED)] | None, BeforeValidator(_chosen)] = (
        None  # or the server's
    )
    negative_prompt: Annotated[Text, Field(max_length=MAX_PROMPT)] | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Annotated[Number, Field(ge=1.0, le=20.0)] | None = None
    fps: Annotated[Whole, Field(ge=1, le=60)] | None = None
    mode: Literal["auto", "fast", "full"] = "auto"
    metadata: Metadata = Field(default_factory=dict)
    webhook_url: Annotated[Text, Field(max_length=2000)] | None = None  # told when it ends

    # the same in other services' words
    width: Side | None = None  # with height: the size
    height: Side | None = None
    num_frames: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None  # in the place of seconds

    # what other services' clients send, and what happens here anyway
    n: One | None = None
    num_outputs_per_prompt: One | None = None
    user: Annotated[Text, Field(max_length=512)] | None = None  # read and forgotten
    generator_device: Annotated[Text, Field(max_length=100)] | None = None  # a seed means the same on every device
    enable_teacache: Off | None = None
    enable_frame_interpolation: Off | None = None
    extra_params: Nothing | None = None
    lora: Nothing | None = None

    # settings of what is switched off, as clients send them that write out every field
    enable_upscaling: Off | None = None
    generate_sound: Off | None = None
    frame_interpolation_exp: Idle | None = None
    frame_interpolation_scale: Idle | None = None
    upscaling_scale: Idle | None = None


# fields that change nothing: two requests that differ in these only are the same
NO_OPS = frozenset(
    {
        "n",
        "num_outputs_per_prompt",
        "user",
        "generator_device",
        "enable_teacache",
        "enable_frame_interpolation",
        "extra_params",
        "lora",
        "enable_upscaling",
        "generate_sound",
        "frame_interpolation_exp",
        "frame_interpolation_scale",
        "upscaling_scale",
    }
)


class BatchLine(CreateVideo):
    """One line of a bulk run."""

    custom_id: Annotated[Text, Field(min_length=1, max_length=200)]  # unique in the batch
    line: Annotated[Text, Field(min_length=1, max_length=300)] | None = None  # where it stands in its list, to be shown


def _window(window: "Window") -> "Window":
    try:
        RunWindow(start=window.start, end=window.end, tz=window.tz)
    except ValueError as error:
        raise PydanticCustomError("refused", "{reason}", {"reason": str(error).removeprefix("a window ")}) from None
    return window


class Window(BaseModel):
    """Between which times of day lines of a bulk run may start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Annotated[str, Field(max_length=8, examples=["22:00"])]
    end: Annotated[str, Field(max_length=8, examples=["06:00"])]  # the next day's when it is before the start
    tz: Annotated[str, Field(max_length=60, examples=["Europe/Berlin"])] = "UTC"
    # running lines end, or stop between two steps and begin again when it opens
    at_end: Literal["finish", "stop"] = "finish"


CheckedWindow = Annotated[Window, AfterValidator(_window)]


class SetWindow(BaseModel):
    """When lines of a bulk run may start from now on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: CheckedWindow | None = None  # left out: at any time


class RetryBatch(BaseModel):
    """Which lines of a bulk run are made again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    only: Literal["failed", "cancelled"] | None = None  # both when null


class OpenBatch(BaseModel):
    """A request to begin a bulk run, or to find the one that this manifest began."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_key: Annotated[Text, Field(min_length=1, max_length=200)]  # the same key finds the same batch
    name: Annotated[Text, Field(max_length=200)] = ""
    # Runs of one series make a line once: what an earlier one made, or will make, is not made again.
    series: Annotated[Text, Field(min_length=1, max_length=250)] | None = None
    window: CheckedWindow | None = None  # when its lines may start; at any time when null
    # How many will come, where that is known: more than a run may have are refused before the first.
    num_lines: Annotated[Whole, Field(ge=1)] | None = None


WebhookEvent = Literal[
    "video.completed",
    "video.failed",
    "video.cancelled",
    "batch.completed",
    "batch.failed",
    "batch.cancelled",
    "batch.expired",
]


class CreateWebhook(BaseModel):
    """An address that is to be told what happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[Text, Field(min_length=1, max_length=2000)]
    events: Annotated[list[WebhookEvent], Field(min_length=1, max_length=20)] = Field(
        default_factory=lambda: list(get_args(WebhookEvent))
    )


class ExpiresAfter(BaseModel):
    """How long a file is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anchor: Literal["created_at"]
    seconds: Annotated[Whole, Field(ge=3600, le=2_592_000)]  # an hour to 30 days


class UploadFields(BaseModel):
    """What a form says beside its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose: Literal["batch"]
    expires_after: ExpiresAfter | None = None  # 30 days when left out


class CreateBatch(BaseModel):
    """A request to make the videos of a file's lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_file_id: Annotated[Text, Field(min_length=1, max_length=100)]
    endpoint: Literal["/v1/videos"]
    completion_window: Literal["24h"]
    metadata: Metadata = Field(default_factory=dict)
    output_expires_after: ExpiresAfter | None = None


class FileLine(BaseModel):
    """One line of a file, as OpenAI's batches have them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    custom_id: Annotated[Text, Field(min_length=1, max_length=200)]  # unique in the file
    method: Literal["POST"]
    url: Literal["/v1/videos"]
    body: dict[str, Any]  # Any: checked as the body of POST /v1/videos


class AddItems(BaseModel):
    """Lines for a batch; each is judged on its own, so they are plain objects here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Any: a line is checked as a BatchLine when its turn comes, and a bad one must not spoil the others
    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_LINES)] = Field(
        json_schema_extra={"items": {"type": "object"}},
        description="Objects like the body of POST /v1/videos, each with a custom_id.",
    )


Hours = Annotated[Number, Field(ge=0.0, le=1e9)]


class Forecast(BaseModel):
    """What the sender of a bulk run expects of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: Literal["planned", "file"]  # planned: lines were added so that most of them find a donor
    num_fast: Annotated[int, Field(ge=0, le=1_000_000)]
    num_full: Annotated[int, Field(ge=0, le=1_000_000)]
    low_h: Hours | None = None  # of a GPU
    likely_h: Hours | None = None
    high_h: Hours | None = None
    ends_at: Annotated[int, Field(ge=0, le=LATEST)] | None = None

    @classmethod
    def kept(cls, values: dict[str, Any] | None) -> Self | None:  # Any: JSON
        """Return what a run keeps; None too for what was taken in before there were bounds, and no page can show."""
        try:
            return None if values is None else cls(**values)
        except ValidationError:
            return None


class SealBatch(BaseModel):
    """The end of a bulk run's lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_bad_lines: Annotated[int, Field(ge=0, le=1_000_000)] = 0  # lines that the sender left out
    forecast: Forecast | None = None


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


class VideoList(BaseModel):
    """One page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


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


class BulkRunList(BaseModel):
    """One page of bulk runs."""

    object: Literal["list"] = "list"
    data: list[BulkRun]
    first_id: str | None
    last_id: str | None
    has_more: bool


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


class FileList(BaseModel):
    """One page of files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


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


class BatchList(BaseModel):
    """One page of batches."""

    object: Literal["list"] = "list"
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool


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
