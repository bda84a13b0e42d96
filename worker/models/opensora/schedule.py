"""The timesteps of a sampling run and the guidance of each of its steps, as plain values.

Rectified flow goes from noise (t = 1000) to data (t = 0). With n steps, tau_i runs from 1 towards 0, and Open-Sora 1.2
shifts it by the size of the video:

    r = shift * sqrt(height * width / 512^2) * sqrt(F),   t_i = 1000 * r * tau_i / (1 + (r - 1) * tau_i)

with F = 1 for an image and floor(num_frames / 17) * 5 otherwise. F is 0 from 2 to 16 frames, where the formula is 0/0:
such counts need a model whose time shift is `"none"` or a number.

A schedule may also name tau_i and the guidance of every step itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import inf
from typing import Any, Literal

import torch

from worker.models.video_model import RequestError

NUM_TIMESTEPS = 1000
BASE_AREA = 512 * 512
FRAMES_PER_CHUNK = 17  # pixel frames that the VAE encodes together
LATENTS_PER_CHUNK = 5

Spacing = Literal["uniform", "quadratic", "linear_quadratic"]
TimeShift = Literal["opensora", "none"] | float

# Position tau in 1..0 at the fraction s = i/n of the run. The two others spend more steps at high noise.
SPACINGS: dict[str, Callable[[float], float]] = {
    "uniform": lambda s: 1.0 - s,
    "quadratic": lambda s: 1.0 - s * s,
    # first half of the steps over the first quarter, then ever larger ones (the scheme of Movie Gen, 2410.13720)
    "linear_quadratic": lambda s: 1.0 - s / 2 if s < 0.5 else 1.0 - s / 2 - (s - 0.5) ** 2 * 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How one run steps from noise to data, and how strongly each step is guided."""

    num_steps: int = 30
    guidance_scale: float = 7.0
    skipped_steps: int = 0  # the first n steps are left out: the noise enters the step after them as it is
    unguided_steps: int = 0  # the first n steps use the prompt alone and cost half
    guidance_interval: tuple[float, float] | None = None  # guide only where low <= tau <= high; tau is 1 at noise
    shift: float = 1.0  # extra factor on r; above 1 spends more steps at high noise
    spacing: Spacing = "uniform"
    time_shift: TimeShift = "opensora"  # r by size and length as Open-Sora, none (r = shift), or r = this number
    is_discrete: bool = False  # round tau to whole timesteps before the shift
    levels: Sequence[float] | None = None  # tau of each step, 1 at noise, instead of a spacing; shifted afterwards
    guidance_scales: Sequence[float] | None = None  # of each step, instead of guidance_scale and its exceptions

    @classmethod
    def of(cls, num_steps: int, guidance_scale: float, options: Mapping[str, Any]) -> "Schedule":
        """Return the schedule of a plan's options; raise ValueError for an unknown option or one of the wrong kind."""
        known = [field.name for field in fields(cls) if field.name not in ("num_steps", "guidance_scale")]
        for name in options:
            if name not in known:
                raise ValueError(f"{name!r} is not an option of a schedule; there are {', '.join(known)}")
        return cls(num_steps=num_steps, guidance_scale=guidance_scale, **options)

    def __post_init__(self) -> None:
        for name, (kind, is_right) in _KINDS.items():
            if not is_right(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r} is not {kind}")
        self._check_values()
        self._check_steps()

    def _check_values(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps {self.num_steps} is below 1; use 1 or more (30 is the full mode)")
        if not 0 <= self.skipped_steps < self.num_steps:
            raise ValueError(f"skipped_steps {self.skipped_steps} is not in 0..{self.num_steps - 1}; one step must run")
        if not _is_positive(self.shift):
            raise ValueError(f"shift {self.shift} is not above 0; 1.0 leaves the time shift as it is")
        if self.spacing not in SPACINGS:
            raise ValueError(f"spacing {self.spacing!r} is unknown; use one of {', '.join(SPACINGS)}")
        if not (self.time_shift in ("opensora", "none") or _is_positive(self.time_shift)):
            raise ValueError(f"time_shift {self.time_shift!r} is unknown; use 'opensora', 'none' or a number above 0")
        if self.unguided_steps < 0:
            raise ValueError(f"unguided_steps {self.unguided_steps} is below 0; use 0 to guide every step")

    def _check_steps(self) -> None:
        """Check the values given for each step."""
        for name in ("levels", "guidance_scales"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_steps:
                raise ValueError(f"{name} has {len(values)} numbers for {self.num_steps} steps; give one a step")
        if self.levels is not None and not _falls(self.levels):
            raise ValueError(
                f"levels {list(self.levels)} do not fall; each lies below the one before, in 1 .. 0 (0 not)"
            )
        if not all(scale >= 1 for scale in self.guidance_scales or ()):
            raise ValueError(
                f"guidance_scales {list(self.guidance_scales or ())}: 1 is the prompt alone, none is below"
            )

    def timesteps(self, height: int, width: int, num_frames: int, dtype: torch.dtype = torch.float32) -> list[float]:
        """Return the timestep (0..1000) that the network gets at each step; the last step ends at 0.

        `dtype` is the run's: the size is rounded to it first, as the released program does.

        Raises:
            ValueError: 2 to 16 frames under the time shift of Open-Sora.
        """
        taus = torch.tensor([self._rounded(i) for i in range(self.num_steps)], dtype=torch.float32) / NUM_TIMESTEPS
        if self.time_shift == "none" and self.shift == 1:
            return [float(t) for t in taus * NUM_TIMESTEPS]
        ratio = self._ratio(height, width, num_frames, dtype)
        shifted = ratio * taus / (1 + (ratio - 1) * taus) * NUM_TIMESTEPS
        return [float(t) for t in shifted]

    def guidance(self, step_index: int) -> float:
        """Return the guidance scale of a step (0-based); 1.0 means that only the prompt's half runs."""
        if self.guidance_scales is not None:
            return self.guidance_scales[step_index]
        if step_index < self.unguided_steps:
            return 1.0
        if self.guidance_interval is not None:
            low, high = self.guidance_interval
            if not low <= self._tau(step_index) <= high:
                return 1.0
        return self.guidance_scale

    def _tau(self, step_index: int) -> float:
        if self.levels is not None:
            return self.levels[step_index]
        return SPACINGS[self.spacing](step_index / self.num_steps)

    def _rounded(self, step_index: int) -> float:
        timestep = self._tau(step_index) * NUM_TIMESTEPS
        return float(round(timestep)) if self.is_discrete else timestep

    def _ratio(self, height: int, width: int, num_frames: int, dtype: torch.dtype) -> torch.Tensor:
        if self.time_shift == "none":
            return torch.tensor(self.shift)
        if self.time_shift != "opensora":
            return torch.tensor(self.time_shift * self.shift)
        check_num_frames(num_frames)
        area = torch.tensor(height, dtype=dtype) * torch.tensor(width, dtype=dtype)
        chunks = num_frames // FRAMES_PER_CHUNK
        length = torch.tensor(1 if num_frames == 1 else chunks * LATENTS_PER_CHUNK, dtype=dtype)
        return (area / BASE_AREA).sqrt() * length.sqrt() * self.shift


def check_num_frames(num_frames: int) -> None:
    """Raise `RequestError` for a frame count that Open-Sora's time shift has no value for."""
    if num_frames < 1:
        raise RequestError(f"num_frames {num_frames} is below 1; use 1 for an image or 17 and more for a video")
    if 1 < num_frames < FRAMES_PER_CHUNK:
        raise RequestError(
            f"num_frames {num_frames} is between 2 and 16, where Open-Sora's time shift is 0/0; "
            "use 1 (an image) or 17 and more, or a model with time_shift 'none'"
        )


def _falls(levels: Sequence[float]) -> bool:
    return levels[0] <= 1 and all(later < earlier for earlier, later in pairwise([*levels, 0.0]))


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < inf


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_number, value))


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # of options whose values are compared or counted
    **dict.fromkeys(("num_steps", "skipped_steps", "unguided_steps"), ("a whole number", _is_whole)),
    "guidance_scale": ("a number", _is_number),
    "guidance_interval": (
        "two numbers, the lower one first, or null",
        lambda value: value is None or (_are_numbers(value) and len(value) == 2 and value[0] <= value[1]),
    ),
    "spacing": ("a word", lambda value: isinstance(value, str)),
    "is_discrete": ("true or false", lambda value: isinstance(value, bool)),
    **dict.fromkeys(
        ("levels", "guidance_scales"),
        ("a list of numbers, or null", lambda value: value is None or _are_numbers(value)),
    ),
}
