"""What a call can end with.

ChaiError         1   something went wrong that is not the caller's doing
├── Unreachable   1   nobody answers at the service's URL
├── Refused     1/2   the service said no; 2 when the request has to change
├── Unfinished    1   what was waited for had not ended in time
└── BadInput      2   an argument or a file cannot be used as it is

The figures are what a command leaves with.
"""

import re

_PASSWORD = re.compile(r"(?<=//)([^/@:\s]*):\S*@")  # of a URL, also where it holds what should be escaped
_FIRST_PASSWORD = re.compile(r"\A([\w+.-]+:/+[^/@:\s]*):.*@", re.DOTALL)  # of a text that is a URL, with blanks in it


def discreet(text: str) -> str:
    """Return a text without the passwords of the URLs in it."""
    return _PASSWORD.sub(r"\1:***@", _FIRST_PASSWORD.sub(r"\1:***@", text))


class ChaiError(Exception):
    """The message names what failed and the way out."""

    exit_code = 1


class Unreachable(ChaiError):
    """No answer from the service."""


class Unfinished(ChaiError):
    """It goes on; wait again."""


class BadInput(ChaiError):
    """The caller has to change something."""

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
        self.is_passing = is_passing  # the same call may work in a while
        self.exit_code = 2 if 400 <= status < 500 and status not in (401, 403, 429) else 1

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what it holds: a pool of processes breaks on an error that it cannot make again from `args`."""
        return type(self).__new__, (type(self), *self.args), self.__dict__
