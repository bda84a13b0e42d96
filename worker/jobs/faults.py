"""Whose fault it is that an attempt broke; sorted once, here.

    of the job            told to the user, who alone can change it: a size that does not fit, a request nobody can run
    of this machine       a folder that is full, weights that are missing, a lost GPU: another machine runs the job
    of the surroundings   what all machines share is away: database, storage
    of nobody yet         an error that says nothing of either

An error's class is a hint, not a proof: a broken installation raises ValueError as well as a wrong request does, and a
machine without memory runs out of it at any size. Where the class leaves a doubt the machine tries itself: one that
fails at a clip of its own is at fault, one that makes it is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import ProgrammingError

from shared.storage import StorageError, TemporaryFolderError
from worker.errors import GiveUp, Unfit
from worker.jobs.retry import DATABASE_AWAY
from worker.models import faults as device_faults
from worker.models.base import RequestError


class Blame(StrEnum):
    """Whose fault it is, and so what becomes of the job."""

    JOB = "job"  # it fails
    MACHINE = "machine"  # back to the queue, nothing is held against it; this worker is left out for a while
    SURROUNDINGS = "surroundings"  # the same, and the worker waits until they are back
    NOBODY = "nobody"  # back to the queue a limited number of times


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an attempt broke."""

    blame: Blame
    code: str  # one word for programs
    message: str  # for the user, should the job fail of it: no hosts, no files
    is_doubtful: bool = False  # a trial of the machine may show that it is to blame

    @property
    def is_free(self) -> bool:
        """Whether the attempt is not held against the job."""
        return self.blame in (Blame.MACHINE, Blame.SURROUNDINGS)


def judge(error: Exception, trial: Callable[[], Unfit | None]) -> Fault:
    """Say whose fault an error is; `trial` says what is wrong with this machine, and is asked only in doubt.

    A job that does not fit beside what other processes keep in the device's memory may fit elsewhere, or later.
    """
    fault = sort(error)
    if fault.is_doubtful and (wrong := trial()) is not None:
        return _of_machine(wrong.code)
    if device_faults.is_out_of_memory(error) and device_faults.is_crowded():
        message = "the video did not fit beside what else the workers' memory holds; try again later, or a smaller size"
        return Fault(blame=Blame.MACHINE, code=fault.code, message=message)
    return fault


def sort(error: Exception) -> Fault:
    """Say whose fault an error is by its class."""
    if isinstance(error, GiveUp):
        return Fault(blame=Blame.JOB, code=error.code, message=error.message)
    if isinstance(error, Unfit):
        return _of_machine(error.code)
    if isinstance(error, RequestError):
        return Fault(blame=Blame.JOB, code="invalid_request", message=f"the model cannot run this request: {error}")
    if device_faults.is_out_of_memory(error):
        message = "the video does not fit the worker's memory; ask for a smaller size or fewer seconds"
        return Fault(blame=Blame.JOB, code="out_of_memory", message=message, is_doubtful=True)
    if isinstance(error, (*DATABASE_AWAY, ProgrammingError)):  # or its tables are those of another version
        return _of_surroundings("database_unavailable", "the database was away during the run; try again later")
    if isinstance(error, StorageError) and not isinstance(error, TemporaryFolderError):
        return _of_surroundings("storage_unavailable", "the video was made but could not be stored; try again later")
    if device_faults.is_broken(error) or isinstance(error, (OSError, ImportError, StorageError)):
        return _of_machine("machine_fault")
    return _of_nobody(error)


def _of_machine(code: str) -> Fault:
    message = "the machines that tried this video could not run it; try again later, or ask the operator for their logs"
    return Fault(blame=Blame.MACHINE, code=code, message=message)


def _of_surroundings(code: str, message: str) -> Fault:
    return Fault(blame=Blame.SURROUNDINGS, code=code, message=message)


def _of_nobody(error: Exception) -> Fault:
    if isinstance(error, ValueError):
        code, message = "invalid_request", f"the model cannot run this request: {error}"
    elif isinstance(error, FloatingPointError):
        code, message = (
            "not_finite",
            "the model ran out of the range of its numbers; ask for less guidance, or its operator",
        )
    else:
        code, message = "internal_error", f"the worker failed ({type(error).__name__}); ask the operator for its log"
    return Fault(blame=Blame.NOBODY, code=code, message=message, is_doubtful=True)
