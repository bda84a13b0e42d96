"""The values that a job's run takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from db.jobs import Claim
from shared.generation import GenerationParams
from shared.storage import StoredFile, picture_name, video_name
from worker.cache.latent_cache import CachePlan, Kept, LatentCache
from worker.jobs.lease import AnyLease
from worker.jobs.metrics import Figures
from worker.jobs.pace import Pace
from worker.jobs.pipeline import Turn
from worker.jobs.preview import Previews
from worker.models.video_model import Sampling, StepHook, VideoModel


class VideoStore(Protocol):
    """Where finished videos go."""

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write a file so that nobody ever sees a part of it; raise `StorageError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What jobs share."""

    model: Callable[[str], VideoModel]  # by name, loaded if necessary; raises `Unfit`
    cache: LatentCache
    storage: VideoStore
    publish: Callable[[JobContext, RunResult], None]  # makes the video the job's output
    storage_patience_s: float = 60.0  # how long a finished video waits for storage to come back
    pace: Pace = field(default_factory=Pace)
    previews: Previews = field(default_factory=Previews)


class ExpectEnd(Protocol):
    """Called after each step with the time that the remaining steps will take."""

    def __call__(self, left_s: float, *, lends: bool) -> None:
        """Receive the estimate; `lends` says that the run may enter the cache."""


def _nobody_waits(left_s: float, *, lends: bool) -> None:
    """Let no other job begin beside this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One try at a job."""

    claim: Claim
    params: GenerationParams
    seed: int  # of the noise, unless the run uses a donor's
    lease: AnyLease
    turn: Turn = field(default_factory=Turn)  # its time with the device
    expect_end: ExpectEnd = _nobody_waits
    figures: Figures = field(default_factory=Figures)  # filled while the attempt runs
    is_rerun: bool = False  # a rerun of the quality monitor: stores nothing

    @property
    def job_id(self) -> UUID:
        """The job of this attempt."""
        return self.claim.job.id

    @property
    def video_name(self) -> str:
        """The name of the video file, unique to this attempt."""
        return video_name(self.claim.job.id, self.claim.fence)

    @property
    def picture_names(self) -> Mapping[str, str]:
        """The names of the picture files that this attempt writes beside the video, by kind."""
        id_, fence = self.claim.job.id, self.claim.fence
        return {kind: picture_name(id_, fence, kind) for kind in ("thumbnail", "spritesheet")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A plan with its donors loaded, ready to be sampled."""

    plan: CachePlan
    sampling: Sampling
    seed: int
    hooks: tuple[StepHook, ...] = ()  # ways of reuse, with their donors


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run, not yet published."""

    plan: CachePlan
    file: StoredFile
    frames: tuple[int, int, int]  # number, height and width, as the file has them
    pictures: Mapping[str, Mapping[str, Any]]  # by kind: name, bytes, sha256, and how a sheet is laid out
    seed: int
    kept: Kept | None
    seconds_saved: float | None  # measured; None unless a donor shortened the run

    def output(self, params: GenerationParams) -> Mapping[str, Any]:
        """Return what the job's row records of the video."""
        num_frames, height, width = self.frames
        return {
            "name": self.file.name,
            "bytes": self.file.num_bytes,
            "sha256": self.file.sha256,
            "pictures": dict(self.pictures),
            "seed": self.seed,
            "width": width,
            "height": height,
            "num_frames": num_frames,
            "fps": params.fps,
        }
