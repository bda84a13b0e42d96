"""The worker's settings, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import DirectoryPath, Field, field_validator

from shared.settings import Settings
from worker.cache.eviction import POLICIES
from worker.quality.command import Scorer

_MAX_BIGINT = 2**63 - 1  # the largest value of a database column


class WorkerSettings(Settings):
    """Settings of one worker process and its child; a bad value stops the process and names the variable."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    torch_threads: int | None = Field(default=None, ge=1)  # of torch on the CPU; none: torch decides
    engine_mode: Literal["auto", "off", "compile", "graphs"] = "auto"  # auto: compile on a GPU
    engine_dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on a GPU
    engine_text: Literal["keep", "exact", "offload", "int8"] = "keep"  # T5; docs/operation.md
    engine_second_device: str | None = None  # such as cuda:1: computes half of each guided step
    text_cache_dir: Path | None = None  # encoded prompts, kept on this machine's disk
    text_cache_bytes: int = Field(default=2 << 30, ge=0)
    preload: bool = True  # load the default model when the child starts, not with its first job
    progress_s: float = Field(default=0.5, gt=0)  # shortest pause between two progress writes
    storage_patience_s: float = Field(default=60.0, ge=0)  # how long a finished video waits for storage to come back
    time_limit_s: int = Field(default=4 * 3600, ge=1)  # a task that hangs for this long is killed with its child

    max_faults: int = Field(default=8, ge=1)  # machine faults after which a job fails
    max_faulty_jobs: int = Field(default=3, ge=1)  # different jobs that this machine breaks in a row; then it pauses
    clock_skew_s: float = Field(default=120.0, gt=0)  # from the database's clock; beyond it, a worker takes no jobs

    embedder: str = "use"  # or minilm, or a sentence-transformers or CLIP text model that is on this machine
    cache_bytes: int = Field(default=1 << 30, ge=0, le=_MAX_BIGINT)  # budget of a new namespace
    cache_total_bytes: int | None = Field(default=None, ge=0, le=_MAX_BIGINT)  # of all namespaces; none: no limit
    cache_policy: str = "gdsf"  # never worse than the paper's lru on any trace: docs/policies.md
    cache_admission: Literal["all", "second_sighting"] = "all"
    cache_scope: Literal["tenant", "group", "shared"] = "tenant"  # who may share latents; see docs/cache.md

    monitor_share: float = Field(default=0.0, ge=0, le=1)  # of jobs with a donor, repeated in full; 0: no monitor
    monitor_min_checks: int = Field(default=20, ge=2)  # since a threshold's last move, before it moves again
    monitor_tolerance: float | None = Field(default=None, ge=0)  # mean loss that donors may cost; none: the judge's own
    monitor_clip: DirectoryPath | None = None  # a CLIP model: judges what no other judge can read
    monitor_judge: str | None = None  # 'COMMAND {video} {prompt}' that prints a number: asked before CLIP

    read_cache_dir: Path | None = None  # copies of donors on this machine's disk, for storage that is far away
    read_cache_bytes: int = Field(default=4 << 30, ge=0)

    @field_validator("monitor_judge")
    @classmethod
    def _names_the_file(cls, command: str | None) -> str | None:
        if command is not None:
            Scorer.parse(command)
        return command

    @field_validator("cache_policy")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in POLICIES:
            raise ValueError(f"{name!r} is not an eviction policy; there are {', '.join(POLICIES)}")
        return name
