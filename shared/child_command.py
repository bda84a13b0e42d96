"""How a module of this program is run as a process of its own."""

import sys


def child_command(module: str) -> list[str]:
    """Return the words that begin the command.

    Python would look first into the folder that the caller happens to stand in; one with an `api`, a `db` or a
    `redis.py` of its own is nothing unusual.
    """
    return [sys.executable, "-P", "-m", module]
