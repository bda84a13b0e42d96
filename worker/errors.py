"""How an attempt can end other than with a video; the classes say whose fault it is, and so what is done about it.

WorkerError
├── Cancelled   the user took the job back: the row says so
├── Stopped     the window of its run closed, or its worker is stopped or takes no jobs: back to the queue
├── GiveUp      of the job: no attempt can succeed; it fails, with a code and a way out for the user
└── Unfit       of this machine: back to the queue for another one, and nothing is held against the job

`db.errors.LeaseLost` is separate: the attempt no longer owns its job and writes nothing. `worker.jobs.faults` sorts all
other errors.
"""


class WorkerError(Exception):
    """Base of everything this package raises on purpose."""


class Cancelled(WorkerError):
    """The user asked for the job to stop."""


class Stopped(WorkerError):
    """The job must not continue here, for a reason that does not count against it."""


class _Coded(WorkerError):
    """An error with a code for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # one word for programs
        self.message = message  # what happened and what to do


class GiveUp(_Coded):
    """This job cannot run, here or elsewhere; the message is for its user."""


class Unfit(_Coded):
    """This machine cannot run jobs, or not this one; the message is for its operator and may name files."""


def no_threads(error: RuntimeError) -> Unfit:
    """Return the error for a machine that cannot start a thread."""
    return Unfit("threads", f"{error}: end other programs, or raise the limit (ulimit -u, a container's pids_limit)")
