"""A way of reuse: options that validate themselves and, once donors are bound, a hook of the sampling loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from worker.models.video_model import PlainHook
from worker.reuse.donor import Donor


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(PlainHook):
    """One way of reuse. Subclasses are frozen dataclasses whose other fields are the options of a plan."""

    donors: tuple[Donor, ...] = ()  # best first; set by `bind`

    @property
    def requires(self) -> frozenset[str]:
        """What a donor must have stored beside its clean latent, in the terms of a namespace's `keep`."""
        return frozenset()

    def bind(self, donors: Sequence[Donor], timesteps: Sequence[float]) -> Self:
        """Return this way with its donors, for a run of these timesteps (0..1000).

        Raises:
            ValueError: there is no donor.
            KeyError: a donor lacks what this way reads; the message says what, and the remedy.
        """
        del timesteps
        if not donors:
            raise ValueError("a way of reuse needs a donor; without one pass no hook, which is the plain model")
        return replace(self, donors=tuple(donors))


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless an option is within 0..1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} {value} is outside 0..1; 0 does nothing, 1 is the full effect")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError unless an option is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} {value!r} is unknown; use one of {', '.join(choices)}")


def nearest_step(timesteps: Sequence[float], level: float) -> int:
    """Return the step (0-based) whose noise level is nearest to `level` (0..1000)."""
    return min(range(len(timesteps)), key=lambda i: abs(timesteps[i] - level))
