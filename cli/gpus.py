"""The NVIDIA GPUs that programs started here may use, found without torch."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
# A worker with one of these chooses among all GPUs itself.
_CHOSEN = ("CHAI_DEVICE", "CHAI_ENGINE_SECOND_DEVICE")


def cards() -> list[str]:
    """Return the device files of this machine's GPUs: nvidia0, nvidia1."""
    found = (path.name for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name))
    return sorted(found, key=lambda name: int(name.removeprefix("nvidia")))


def visible(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return each GPU as CUDA_VISIBLE_DEVICES names it: those that it allows, all of the machine if it is not set."""
    if VISIBLE not in environ:
        return [str(number) for number in range(len(cards()))]
    names = [name.strip() for name in environ[VISIBLE].split(",")]
    end = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))  # CUDA stops there too
    return names[:end]


def of_worker(number: int, num_workers: int, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variable that gives one of several workers, numbered from 1, a GPU of its own, in turn.

    Nothing where there is no choice, and where the settings of all workers name a GPU.
    """
    gpus = visible(environ)
    if num_workers == 1 or len(gpus) < 2 or any(":" in environ.get(name, "") for name in _CHOSEN):
        return {}
    return {VISIBLE: gpus[(number - 1) % len(gpus)]}
