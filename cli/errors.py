"""Errors that end a command: `chai` prints the message on one line and exits with the error's code.

The classes are those of `chai_client.errors`, since most errors come from the service.
"""

from chai_client.errors import BadInput, Refused, Unreachable, discreet
from chai_client.errors import ChaiError as CommandError

__all__ = ["BadInput", "CommandError", "Refused", "Unreachable", "discreet"]
