"""Imports of a process that begins: thousands of classes and functions, none of them garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused(*, for_good: bool = False) -> Iterator[None]:
    """Import in the block without looking for garbage, over and over, among what was imported before.

    It takes a sixth to a third of the time of the imports. With `for_good` nothing that is there at the end is ever
    looked through again, here and in what this process forks; only for a process that has loaded nothing yet.
    """
    was_looking = gc.isenabled()
    gc.disable()
    try:
        yield
        if for_good:
            gc.freeze()
    finally:
        if was_looking:
            gc.enable()
