"""What one attempt measures about itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared import tracing

_ENGINE_STAGES = ("encode", "denoise", "decode")
_WAITING = "turn"  # for the device while another job had it


def _nothing(now: float) -> float:
    """Return the seconds of a stage that other jobs used: none."""
    return 0.0


@dataclass(slots=True, kw_only=True)
class Figures:
    """The figures of one attempt, filled while it runs; the names are those of `db.models.JobMetric`."""

    stage_s: dict[str, float] = field(default_factory=dict)
    path: str | None = None
    reason: str | None = None
    namespace_id: UUID | None = None
    entry_id: UUID | None = None  # the donor
    num_steps: int | None = None  # of the plan
    model_evaluations: float = 0.0  # so far; a step without guidance counts as half
    seconds_saved: float | None = None
    bytes_read: int = 0  # of donors
    bytes_written: int = 0  # of the entry that the run stored
    peak_memory: int | None = None  # bytes
    versions: dict[str, str] = field(default_factory=dict)  # and the settings that the engine runs with

    @contextmanager
    def stage(self, name: str, *, lent_s: Callable[[float], float] = _nothing) -> Iterator[None]:
        """Add the seconds of the block to a stage, even if the block raises.

        `lent_s` is a clock of the device's work for another job. What it counts during the block is booked as waiting,
        since the other job books it as its own.
        """
        start = time.perf_counter()
        lent_before = lent_s(start)
        try:
            with tracing.stage(name):
                yield
        finally:
            end = time.perf_counter()
            lent = lent_s(end) - lent_before
            self._add(name, end - start - lent)
            if lent:
                self._add(_WAITING, lent)

    def _add(self, name: str, seconds: float) -> None:
        self.stage_s[name] = self.stage_s.get(name, 0.0) + seconds

    @property
    def gpu_seconds(self) -> float:
        """Seconds that the model spent on this job alone: text encoding, denoising and decoding."""
        return sum(self.stage_s.get(name, 0.0) for name in _ENGINE_STAGES)

    def columns(self) -> dict[str, Any]:
        """Return the values of a metrics row."""
        rounded = {name: round(seconds, 6) for name, seconds in self.stage_s.items()}
        names = (
            *("path", "reason", "namespace_id", "entry_id", "num_steps", "model_evaluations", "seconds_saved"),
            *("bytes_read", "bytes_written", "peak_memory", "versions"),
        )
        return {name: getattr(self, name) for name in names} | {"stage_s": rounded, "gpu_seconds": self.gpu_seconds}
