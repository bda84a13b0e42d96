"""What a device's errors mean. Does not import torch: if one of its errors was raised, torch is already loaded."""

import gc
import platform
import re
import sys
import traceback
from typing import Any

_NO_MEMORY = re.compile(  # from what has no error class for it: the CPU's allocator, CUDA's driver and libraries
    r"can't allocate memory|not enough memory|(CUDA|HIP)\b.*: out of memory|_STATUS_ALLOC_FAILED"
)
_GIVEN_UP = re.compile(r"(CUDA|HIP)( driver)? error")
DEVICE_BROKEN = 70  # exit status of a child whose device broke; the pool starts a new child
CROWDED = 0.25  # share of a device's memory; a process takes one or two per cent besides what it reserves


class DeviceLost(RuntimeError):
    """A device of this process, or a process that works on one for it, no longer answers."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the job did not fit."""
    torch: Any = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def is_crowded() -> bool:
    """Say whether other processes hold a quarter of the memory of a GPU that this one uses, or more."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return False
    for device in range(torch.cuda.device_count()):
        own = torch.cuda.memory_reserved(device)
        if own == 0:
            continue  # asking would take memory on it
        free, whole = torch.cuda.mem_get_info(device)
        if whole - free - own >= CROWDED * whole:
            return True
    return False


def is_broken(error: BaseException) -> bool:
    """Say whether the device can do nothing more in this process."""
    if isinstance(error, DeviceLost):
        return True
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and bool(_GIVEN_UP.search(str(error)))


TOO_LARGE = (  # what to say of a model, and what its owner can do
    "does not fit this device's memory; set offload (model, then group), vae_tiling, quantization (float8) or "
    "smaller sizes in its card"
)


def told(error: BaseException) -> str:
    """Return a message about what broke, for commands that measure or try something on this device."""
    if is_out_of_memory(error):
        return "it does not fit this device's memory"
    return f"it broke: {type(error).__name__}: {error}"


def forget(error: BaseException) -> None:
    """Clear the local variables in the frames of an error, and of those that caused it.

    An error, while it is handled, keeps the local variables of the functions that it ended: the tensors of a run, half
    a model. The next attempt would have no room beside them. Functions that are still running keep their variables.
    """
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        left += [before for before in (one.__cause__, one.__context__) if before is not None]


def free_memory() -> None:
    """Free the memory that a failed run left behind."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def versions() -> dict[str, str]:
    """Return the versions that figures depend on."""
    found = {"python": platform.python_version()}
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.__version__
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found
