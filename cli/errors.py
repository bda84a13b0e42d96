"""What a command can end with: `chai` prints the message on one line and leaves with the exit code.

The classes are those of `chai_client.errors`, since most of it comes from the service.
"""

from chai_client.errors import BadInput, Refused, Unreachable, discreet
from chai_client.errors import ChaiError as CommandError

__all__ = ["BadInput", "CommandError", "Refused", "Unreachable", "discreet"]
