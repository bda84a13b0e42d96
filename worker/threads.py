"""How the threads of one operation wait for each other; set before torch is loaded, which reads it once."""

import os

_TURNS = "1000"  # of a loop that checks whether the others are done, some microseconds; then a thread sleeps


def give_way() -> None:
    """Make waiting threads yield their core soon, unless OMP_WAIT_POLICY or GOMP_SPINCOUNT is set.

    By default they hold it for milliseconds: if Postgres, the API or another program wants it too, the thread that they
    wait for cannot run, and a step takes many times as long (docs/performance-results.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _TURNS)
