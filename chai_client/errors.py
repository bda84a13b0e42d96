"""What a call can end with.

ChaiError         1   something went wrong through no fault of the caller
├── Unreachable   1   nobody answers at the service's URL
├── Refused     1/2   the service refused; 2 if the request must change
├── Unfinished    1   the video or batch had not ended in time
└── BadInput      2   an argument or a file cannot be used as it is

The numbers are the exit codes of commands.
"""

import re

_PASSWORD = re.compile(r"(?<=//)([^/@:\s]*):\S*@")  # in a URL, even if it contains characters that should be escaped
_FIRST_PASSWORD = re.compile(r"\A([\w+.-]+:/+[^/@:\s]*):.*@", re.DOTALL)  # in a text that is a URL, even with blanks


def discreet(text: str) -> str:
    """Return a text without the passwords of the URLs in it."""
    return _PASSWORD.sub(r"\1:***@", _FIRST_PASSWORD.sub(r"\1:***@", text))


class ChaiError(Exception):
    """The message names what failed and the remedy."""

    exit_code = 1


class Unreachable(ChaiError):
    """No answer from the service."""


class Unfinished(ChaiError):
    """It is still running; wait again."""


class BadInput(ChaiError):
    """The caller must change something."""

    exit_code = 2


class Refused(ChaiError):
    """The service answered with its error envelope."""

    def __init__(
        self, message: str, *, status: int, code: str | None = None, param: str | None = None, is_passing: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # stable, for programs
        self.param = param  # the field at fault
        self.is_passing = is_passing  # the same call may work later
        self.exit_code = 2 if 400 <= status < 500 and status not in (401, 403, 429) else 1

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle all fields: a process pool breaks on an error that it cannot rebuild from `args`."""
        return type(self).__new__, (type(self), *self.args), self.__dict__
