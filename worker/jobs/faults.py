"""Whose fault it is that an attempt broke; decided in this one place.

    the job               reported to the user, who alone can change it: a size that does not fit
    this machine          a full disk, missing weights, a lost GPU: another machine runs the job
    the surroundings      something that all machines share is away: database, storage
    nobody yet            an error that says nothing about any of these

An error's class is a hint, not a proof: a broken installation raises ValueError as well as a wrong request does, and a
machine without memory runs out of it at any size. If the class leaves a doubt, the machine tests itself: it is at fault
if it fails at a clip of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import ProgrammingError

from shared.storage import StorageError, TemporaryFolderError
from worker.errors import GiveUp, Unfit
from worker.jobs.outages import DATABASE_AWAY
from worker.models import device_faults
from worker.models.video_model import RequestError


class Blame(StrEnum):
    """Whose fault it is, and hence what happens to the job."""

    JOB = "job"  # it fails
    MACHINE = "machine"  # back to the queue without counting as lost; this worker may not take it for a while
    SURROUNDINGS = "surroundings"  # the same, and the worker waits until they return
    NOBODY = "nobody"  # back to the queue a limited number of times


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an attempt broke."""

    blame: Blame
    code: str  # for programs
    message: str  # for the user, if the job fails because of it: names no hosts or files
    is_doubtful: bool = False  # a trial may show that the machine is to blame

    @property
    def is_free(self) -> bool:
        """Whether the attempt is not held against the job."""
        return self.blame in (Blame.MACHINE, Blame.SURROUNDINGS)


def judge(error: Exception, trial: Callable[[], Unfit | None]) -> Fault:
    """Say whose fault an error is; `trial` tests this machine, and is called only in doubt.

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
    """Say by its class whose fault an error is."""
    if isinstance(error, GiveUp):
        return Fault(blame=Blame.JOB, code=error.code, message=error.message)
    if isinstance(error, Unfit):
        return _of_machine(error.code)
    if isinstance(error, RequestError):
        return Fault(blame=Blame.JOB, code="invalid_request", message=f"the model cannot run this request: {error}")
    if device_faults.is_out_of_memory(error):
        message = "the video does not fit the worker's memory; ask for a smaller size or fewer seconds"
        return Fault(blame=Blame.JOB, code="out_of_memory", message=message, is_doubtful=True)
    if isinstance(error, (*DATABASE_AWAY, ProgrammingError)):  # or its tables belong to another version
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
