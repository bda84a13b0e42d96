"""What a worker needs to know, read once from the environment."""

from pydantic import Field

from db.settings import Settings


class WorkerSettings(Settings):
    """Settings of one worker process and its child; a bad value stops the process and names the variable."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    num_threads: int | None = Field(default=None, ge=1)  # of torch on the CPU; none: torch decides
    preload: bool = True  # load the default model when the child starts, not with its first job
    progress_s: float = Field(default=0.5, gt=0)  # shortest pause between two progress writes
    storage_patience_s: float = Field(default=60.0, ge=0)  # how long a finished video waits for storage to come back
    time_limit_s: int = Field(default=4 * 3600, ge=1)  # a task that hangs for this long is killed with its child
