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
    """Seconds an evaluation takes in this process, by model and size.

    The first run of a kind pays for compilation, kernels and memory that no later run pays for: it is left out.
    """

    _runs: dict[Hashable, deque[Denoised]] = field(default_factory=dict)

    def note(self, kind: Hashable, run: Denoised) -> None:
        """Take a finished run into account."""
        if kind in self._runs:
            self._runs[kind].append(run)
        else:
            self._runs[kind] = deque(maxlen=_REMEMBERED)  # the first

    def seconds_per_evaluation(self, kind: Hashable) -> float | None:
        """Return the mean of the remembered runs; None before the second run of a kind."""
        known = tuple(self._runs.get(kind, ()))  # another job may end meanwhile
        evaluations = sum(run.evaluations for run in known)
        return sum(run.seconds for run in known) / evaluations if evaluations else None

    def claimed(self, kind: Hashable, run: Denoised) -> float | None:
        """Return the pace that savings of a run are reckoned with: its own or the process's, whichever claims less.

        A machine's load changes from run to run; what other runs took while it was busy saves this one nothing.
        """
        known = self.seconds_per_evaluation(kind)
        return None if known is None else min(known, run.seconds / run.evaluations)


def evaluations(guidance: Sequence[float], first: int = 0) -> float:
    """Return what the steps from `first` (0-based) on cost in evaluations; unguided ones count a half."""
    return sum(0.5 if scale == 1.0 else 1.0 for scale in guidance[first:])


def seconds_saved(
    pace: float | None, *, left_out: float, overhead_s: float, full_seconds: float | None = None
) -> float | None:
    """Return the GPU seconds that a donor saved.

        pace x evaluations left out - seconds of look-up, fetch and recording, at most what a full run costs

    None while the pace is unknown. It may be negative: a donor that took longer to read than its steps would have run.

    Args:
        pace: this process's measured seconds an evaluation.
        left_out: evaluations of full mode less those of this run.
        overhead_s: seconds that only a run with a cache spends.
        full_seconds: measured mean of full runs of the namespace, where known.
    """
    if pace is None:
        return None
    saved = pace * left_out - overhead_s
    return saved if full_seconds is None else min(saved, full_seconds)
