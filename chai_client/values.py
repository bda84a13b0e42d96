"""The service's answers: its own JSON objects, typed, so that new fields pass through untouched."""

from typing import Any, Literal, TypedDict

Json = dict[str, Any]  # Any: whatever the API answers
FINAL = frozenset({"completed", "failed", "cancelled"})  # of a video
FINAL_OF_BATCHES = frozenset({"completed", "failed", "cancelled", "expired"})
Variant = Literal["video", "thumbnail", "spritesheet"]
Mode = Literal["auto", "fast", "full"]


class Fields(TypedDict, total=False):
    """The fields of a request besides its prompt; those left out get the model's default."""

    model: str
    size: str  # WIDTHxHEIGHT
    seconds: str | float
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    fps: int
    num_frames: int
    mode: Mode
    metadata: dict[str, str]
    webhook_url: str


class Filters(TypedDict, total=False):
    """Filters of a list of videos."""

    status: str | list[str]
    batch_id: str
    path: Literal["fast", "full"]
    mode: Mode
    model: str
    prompt: str  # words, taken literally
    created_after: int  # Unix seconds
    created_before: int
    metadata: str | list[str]  # KEY=VALUE
    order: Literal["asc", "desc"]


class Problem(TypedDict):
    """Why something failed."""

    code: str
    message: str


class Video(TypedDict):
    """The state of a video; docs/api.md has all fields."""

    id: str
    object: Literal["video"]
    model: str
    prompt: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    seconds: str
    size: str
    error: Problem | None
    mode: Mode
    path: Literal["fast", "full"] | None
    attempt: int
    seed: int | None
    fps: int
    num_frames: int
    queue_position: int | None
    eta_seconds: float | None
    workers: int | None
    waiting_reason: str | None
    batch_id: str | None
    custom_id: str | None
    cache: Json | None
    metadata: Json
    usage: Json | None


class File(TypedDict):
    """A file of requests, or of results."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["batch", "batch_output"]
    num_lines: int


class Counts(TypedDict):
    """The numbers of a batch's lines by result."""

    total: int
    completed: int
    failed: int


class Batch(TypedDict):
    """A batch of a file's lines."""

    id: str
    object: Literal["batch"]
    status: Literal[
        "validating", "in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled", "expired"
    ]
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    errors: Json | None
    request_counts: Counts
    metadata: Json
    created_at: int
    completed_at: int | None
