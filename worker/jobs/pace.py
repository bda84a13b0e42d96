"""How fast this process denoises, and what a donor saved by that: measured, never estimated from other machines."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

_REMEMBERED = 16  # runs of one kind; the machine's load of an hour ago says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoised:
    """The denoising of one run."""

    evaluations: float  # of the model with guidance; a step without guidance counts a half
    seconds: float


@dataclass(slots=True)
class Pace:
    """Seconds an evaluation takes in this process where no donor is read, by model and size.

    The first run of a kind pays for compilation, kernels and memory that no later run pays for: it is left out.
    """

    _plain: dict[Hashable, deque[Denoised]] = field(default_factory=dict)
    _warm: set[Hashable] = field(default_factory=set)  # kinds of which a run has ended

    def note(self, kind: Hashable, run: Denoised, *, is_plain: bool = True) -> bool:
        """Take a finished run into account; return whether it was the first of its kind, which says nothing."""
        is_first = kind not in self._warm
        self._warm.add(kind)
        if is_plain and not is_first:
            self._plain.setdefault(kind, deque(maxlen=_REMEMBERED)).append(run)
        return is_first

    def seconds_per_evaluation(self, kind: Hashable) -> float | None:
        """Return the mean of the remembered runs without a donor; None before the second run of a kind."""
        known = tuple(self._plain.get(kind, ()))  # another job may end meanwhile
        evaluations = sum(run.evaluations for run in known)
        return sum(run.seconds for run in known) / evaluations if evaluations else None


def evaluations(guidance: Sequence[float], first: int = 0) -> float:
    """Return what the steps from `first` (0-based) on cost in evaluations; unguided ones count a half."""
    return sum(0.5 if scale == 1.0 else 1.0 for scale in guidance[first:])


def seconds_saved(
    run: Denoised,
    pace: float | None,
    *,
    in_full: float,
    overhead_s: float,
    gpu_seconds: float,
    full_seconds: float | None = None,
) -> float | None:
    """Return the GPU seconds that a donor saved.

        evaluations in full x the lesser of both paces - seconds of denoising, of look-up and fetch

    A machine's load changes from run to run: what others took while it was busy saves this one nothing, hence the
    lesser pace. Before this process has one of runs without a donor, the run and what it saved take no longer together
    than a full run of the namespace: an evaluation that reads a donor is slower, and says too much alone. None where
    neither is known. It may be negative: a donor that took longer to read than its steps would have run.

    Args:
        run: the denoising with a donor.
        pace: this process's measured seconds an evaluation without one.
        in_full: evaluations of full mode.
        overhead_s: seconds that only a run with a cache spends.
        gpu_seconds: of the run, text encoding and decoding included.
        full_seconds: measured mean GPU seconds of full runs of the namespace, where known: at most that is saved.
    """
    own = run.seconds / run.evaluations
    if pace is not None:
        saved = min(pace, own) * in_full - run.seconds
        return (saved if full_seconds is None else min(saved, full_seconds)) - overhead_s
    if full_seconds is None:
        return None
    return min(own * in_full - run.seconds, full_seconds - gpu_seconds) - overhead_s
