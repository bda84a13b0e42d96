"""How to run a module of this program as a separate process."""

import sys


def child_command(module: str) -> list[str]:
    """Return the first words of the command.

    By default, Python would first look into the current folder, which may well have an `api`, a `db` or a `redis.py` of
    its own.
    """
    return [sys.executable, "-P", "-m", module]
