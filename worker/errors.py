"""How an attempt can end other than with a video; the classes say whose fault it is and so what is done about it.

WorkerError
├── Cancelled   the user took the job back: the row says so
├── Stopped     the window of its run closed, or its worker is stopped or takes no jobs: back to the queue
├── GiveUp      of the job: no attempt can succeed; it fails, with a code and a way out for the user
└── Unfit       of this machine: back to the queue for another one, and nothing is held against the job

`db.errors.LeaseLost` stands beside them: the attempt owns nothing any more and writes nothing. What is none of these is
sorted by `worker.jobs.faults`.
"""


class WorkerError(Exception):
    """Base of everything this package raises on purpose."""


class Cancelled(WorkerError):
    """The user asked for the job to stop."""


class Stopped(WorkerError):
    """The job is not to run on here, for nothing that is held against it."""


class _Coded(WorkerError):
    """An error with a name for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # one word for programs
        self.message = message  # what happened and what to do


class GiveUp(_Coded):
    """This job cannot run, here or elsewhere; the message is for its user."""


class Unfit(_Coded):
    """This machine cannot run jobs, or not this one; the message is for its operator and may name files."""


def no_threads(error: RuntimeError) -> Unfit:
    """Return what to say where no thread can be started."""
    return Unfit("threads", f"{error}: end other programs, or raise the limit (ulimit -u, a container's pids_limit)")
