"""How an attempt can end other than with a video; the classes say what is done about it.

WorkerError
├── Cancelled   the user took the job back: the row says so
├── GiveUp      no attempt can succeed: the job fails, with a code and a way out for the user
└── TryAgain    another attempt may succeed: back to the queue, a limited number of times

`db.errors.LeaseLost` stands beside them: the attempt owns nothing any more and writes nothing.
"""


class WorkerError(Exception):
    """Base of everything this package raises on purpose."""


class Cancelled(WorkerError):
    """The user asked for the job to stop."""


class _Coded(WorkerError):
    """An error that the job's row keeps."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # one word for programs
        self.message = message  # for the user: what happened and what to do


class GiveUp(_Coded):
    """This job cannot run, here or elsewhere."""


class TryAgain(_Coded):
    """This attempt broke for a reason that may pass."""
