"""What callers send: OpenAI's requests, with additions that an old client leaves out."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from api.schemas.fields import (
    Idle,
    Metadata,
    Nothing,
    Number,
    Off,
    One,
    Seconds,
    Side,
    Steps,
    Text,
    Whole,
    chosen,
    filled,
)
from shared.run_windows import RunWindow

MAX_PROMPT = 4000  # characters
MAX_SEED = 2**32 - 1
LATEST = 253_402_300_799  # Unix seconds: the last one of the year 9999
MAX_LINES = 1000  # of one POST of batch items


NO_OP = "changes nothing"  # marks a field: two requests that differ in such ones only are the same


class CreateVideo(BaseModel):
    """A request for one video. What is left out, or null, is the model's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[Text, AfterValidator(filled), Field(max_length=MAX_PROMPT)]
    model: Annotated[Text, Field(max_length=200)] | None = None
    size: Annotated[str, Field(max_length=20)] | None = None  # WIDTHxHEIGHT
    seconds: Seconds | None = None
    seed: Annotated[Annotated[Whole, Field(ge=0, le=MAX_SEED)] | None, BeforeValidator(chosen)] = (
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
    n: Annotated[One | None, NO_OP] = None
    num_outputs_per_prompt: Annotated[One | None, NO_OP] = None
    user: Annotated[Annotated[Text, Field(max_length=512)] | None, NO_OP] = None  # read and forgotten
    # a seed means the same on every device
    generator_device: Annotated[Annotated[Text, Field(max_length=100)] | None, NO_OP] = None
    enable_teacache: Annotated[Off | None, NO_OP] = None
    enable_frame_interpolation: Annotated[Off | None, NO_OP] = None
    extra_params: Annotated[Nothing | None, NO_OP] = None
    lora: Annotated[Nothing | None, NO_OP] = None

    # settings of what is switched off, as clients send them that write out every field
    enable_upscaling: Annotated[Off | None, NO_OP] = None
    generate_sound: Annotated[Off | None, NO_OP] = None
    frame_interpolation_exp: Annotated[Idle | None, NO_OP] = None
    frame_interpolation_scale: Annotated[Idle | None, NO_OP] = None
    upscaling_scale: Annotated[Idle | None, NO_OP] = None


NO_OPS = frozenset(name for name, field in CreateVideo.model_fields.items() if NO_OP in field.metadata)


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
