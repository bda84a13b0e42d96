"""The accelerator: which one to use, waiting for it, and how much memory it took."""

import resource
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import TypeVar

import torch

T = TypeVar("T")


def choose(name: str = "auto") -> torch.device:
    """Return the named device; `auto` is the first available of CUDA, Apple's GPU and the CPU.

    Raises ValueError for one that this machine does not have.
    """
    if name != "auto":
        return _named(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is unknown; give auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        build = f"torch {torch.__version__} sees {torch.cuda.device_count()} of them"
        raise ValueError(f"device {name!r} is not here: {build}; see `chai doctor`, or give auto")
    return device


def finish(device: torch.device) -> None:
    """Wait until the device has finished its work, so that a clock read afterwards is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def paced(items: Iterable[T], device: torch.device) -> Generator[T]:
    """Yield items, letting the host run at most one ahead of the device.

    Kernels are launched far faster than they run: unpaced, a loop of steps ends on the host before its first step ends
    on the device, so progress is reported too early and a job is cancelled too late. One step ahead keeps the device
    busy.
    """
    if device.type != "cuda":
        yield from items
        return
    before: torch.cuda.Event | None = None
    for item in items:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        if before is not None:
            before.synchronize()
        before = event
        yield item


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes free on a GPU, with those that this process reserves and does not use; None elsewhere."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use: on the GPU since the reset; without a GPU, by this process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # the unit of the kernel's figure
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class OnDevice(ABC):
    """The methods of a model that only its device has to answer."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device that latents live on."""

    def finish(self) -> None:
        """Wait for the device."""
        finish(self.device)

    def reset_peak_memory(self) -> None:
        """Begin a new measurement of `peak_memory`."""
        reset_peak_memory(self.device)

    def peak_memory(self) -> int:
        """Return the most bytes in use since the reset."""
        return peak_memory(self.device)
