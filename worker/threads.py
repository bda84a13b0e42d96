"""How the threads of one operation wait for each other; decided before torch is loaded, which reads it once."""

import os

_TURNS = "1000"  # of a loop that looks whether the others are done, some microseconds; then a thread sleeps


def give_way() -> None:
    """Let threads that wait give their core away soon, unless OMP_WAIT_POLICY or GOMP_SPINCOUNT say otherwise.

    By themselves they hold it for milliseconds: where Postgres, the API or anybody else wants it too, the thread that
    they wait for cannot run, and a step takes many times as long (docs/performance-results.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _TURNS)
