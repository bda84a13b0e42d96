"""Statuses of jobs, runs, batches and cache entries, and the only legal transitions between them."""

from enum import StrEnum

from db.errors import IllegalTransition


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"  # accepted, waiting for a worker
    IN_PROGRESS = "in_progress"  # one worker holds its lease
    COMPLETED = "completed"  # its output is published
    FAILED = "failed"  # given up; error_code and error_message say why
    CANCELLED = "cancelled"  # the user took it back


class Queue(StrEnum):
    """The two Celery queues; a model that only some workers have gets two of its own, see `queue_of_model`."""

    INTERACTIVE = "interactive"  # somebody waits
    BULK = "bulk"  # runs when nobody does


def queue_of_model(queue: str, model: str) -> str:
    """Name the Celery queue of a model that only some workers have."""
    return f"{queue}.{model}"


class BatchStatus(StrEnum):
    """Where a bulk run is in its life."""

    OPEN = "open"  # lines may still be added
    IN_PROGRESS = "in_progress"  # sealed, jobs run, in their window if there is one
    PAUSED = "paused"  # sealed; running jobs finish and none start
    COMPLETED = "completed"  # every job has ended
    CANCELLED = "cancelled"  # the user took it back


class FileBatchStatus(StrEnum):
    """Where a batch of a file is in its life, in OpenAI's words."""

    VALIDATING = "validating"  # the file is being read; lines already read may run
    IN_PROGRESS = "in_progress"  # all is read, videos are being made
    FINALIZING = "finalizing"  # all videos have ended, the files of results are written
    COMPLETED = "completed"  # the files are there
    FAILED = "failed"  # the file cannot be used
    CANCELLING = "cancelling"  # the user took it back, running videos have not stopped yet
    CANCELLED = "cancelled"  # the files hold what was done before
    EXPIRED = "expired"  # the same, after 24 hours


class EntryStatus(StrEnum):
    """Where a cache entry is in its life."""

    WRITING = "writing"  # bytes reserved, file not yet published
    RESIDENT = "resident"  # complete file on storage, may serve hits
    EVICTING = "evicting"  # serves nothing any more, file still there
    QUARANTINED = "quarantined"  # broken file, kept out of every look-up until swept
    GONE = "gone"  # file removed; the row stays for the record


class CheckStatus(StrEnum):
    """Where a check of the monitor is in its life."""

    WAITING = "waiting"  # its message is on its way; lost after a day without a worker
    RUNNING = "running"  # a worker makes the other video; lost an hour after that worker's death
    DONE = "done"  # judged
    LOST = "lost"  # not judged, without harm


JOB_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    # who moves it on: the relay, which hands it over, and a worker's claim; the user; the attempt cap
    JobStatus.QUEUED: frozenset({JobStatus.IN_PROGRESS, JobStatus.CANCELLED, JobStatus.FAILED}),
    # who moves it on: the worker; when that dies, the reconciler
    JobStatus.IN_PROGRESS: frozenset(
        {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED},
    ),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}

BATCH_TRANSITIONS: dict[BatchStatus, frozenset[BatchStatus]] = {
    # who moves it on: its owner, who seals or cancels it
    BatchStatus.OPEN: frozenset({BatchStatus.IN_PROGRESS, BatchStatus.CANCELLED}),
    # who moves it on: the relay, once every job has ended; its owner
    BatchStatus.IN_PROGRESS: frozenset({BatchStatus.PAUSED, BatchStatus.COMPLETED, BatchStatus.CANCELLED}),
    # who moves it on: its owner; the relay, when all that was left ran when it was paused
    BatchStatus.PAUSED: frozenset({BatchStatus.IN_PROGRESS, BatchStatus.COMPLETED, BatchStatus.CANCELLED}),
    # the owner, who wants lines tried again that came to nothing
    BatchStatus.COMPLETED: frozenset({BatchStatus.IN_PROGRESS}),
    BatchStatus.CANCELLED: frozenset({BatchStatus.IN_PROGRESS}),
}

FILE_BATCH_TRANSITIONS: dict[FileBatchStatus, frozenset[FileBatchStatus]] = {
    # who moves it on: the relay; its owner, who cancels it
    FileBatchStatus.VALIDATING: frozenset(
        {
            FileBatchStatus.IN_PROGRESS,
            FileBatchStatus.FAILED,
            FileBatchStatus.CANCELLING,
            FileBatchStatus.FINALIZING,
        }
    ),
    FileBatchStatus.IN_PROGRESS: frozenset({FileBatchStatus.FINALIZING, FileBatchStatus.CANCELLING}),
    # who moves it on: the relay
    FileBatchStatus.FINALIZING: frozenset(
        {FileBatchStatus.COMPLETED, FileBatchStatus.CANCELLED, FileBatchStatus.EXPIRED}
    ),
    FileBatchStatus.CANCELLING: frozenset({FileBatchStatus.CANCELLED}),
    FileBatchStatus.COMPLETED: frozenset(),
    FileBatchStatus.FAILED: frozenset(),
    FileBatchStatus.CANCELLED: frozenset(),
    FileBatchStatus.EXPIRED: frozenset(),
}

ENTRY_TRANSITIONS: dict[EntryStatus, frozenset[EntryStatus]] = {
    # who moves it on: the writing worker; when that dies, the sweeper
    EntryStatus.WRITING: frozenset({EntryStatus.RESIDENT, EntryStatus.EVICTING}),
    EntryStatus.RESIDENT: frozenset({EntryStatus.EVICTING, EntryStatus.QUARANTINED}),
    # who moves it on: the evicting worker; when that dies, the sweeper
    EntryStatus.EVICTING: frozenset({EntryStatus.GONE}),
    EntryStatus.QUARANTINED: frozenset({EntryStatus.EVICTING}),
    EntryStatus.GONE: frozenset(),
}

FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
ENDED_BATCHES = frozenset({BatchStatus.COMPLETED, BatchStatus.CANCELLED})  # not for good: a retry opens them again


def check_job(old: JobStatus, new: JobStatus) -> None:
    """Raise `IllegalTransition` unless a job may go from `old` to `new`."""
    if new not in JOB_TRANSITIONS[old]:
        raise IllegalTransition(f"a job cannot go from {old} to {new}")


def check_batch(old: BatchStatus, new: BatchStatus) -> None:
    """Raise `IllegalTransition` unless a bulk run may go from `old` to `new`."""
    if new not in BATCH_TRANSITIONS[old]:
        raise IllegalTransition(f"a bulk run cannot go from {old} to {new}")


def check_file_batch(old: FileBatchStatus, new: FileBatchStatus) -> None:
    """Raise `IllegalTransition` unless a batch of a file may go from `old` to `new`."""
    if new not in FILE_BATCH_TRANSITIONS[old]:
        raise IllegalTransition(f"a batch cannot go from {old} to {new}")


def check_entry(old: EntryStatus, new: EntryStatus) -> None:
    """Raise `IllegalTransition` unless a cache entry may go from `old` to `new`."""
    if new not in ENTRY_TRANSITIONS[old]:
        raise IllegalTransition(f"a cache entry cannot go from {old} to {new}")
