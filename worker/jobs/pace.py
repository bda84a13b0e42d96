"""How fast this process denoises, and so what a donor saved: measured here, never estimated from other machines."""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

_REMEMBERED = 16  # runs of one kind; the machine's load of an hour ago says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoised:
    """The denoising of one run."""

    evaluations: float  # of the model with guidance; a step without guidance counts as half
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """Seconds per evaluation, both measured at one time on one machine."""

    plain: float
    reading: float  # with a donor: slower, since it is attended to


@dataclass(slots=True)
class Pace:
    """How long evaluations take in this process, by model and size.

    The first run of a kind is left out: it pays for compilation, kernels and memory, and no later run does.
    """

    _plain: dict[Hashable, deque[Denoised]] = field(default_factory=dict)
    _reading: dict[Hashable, deque[Denoised]] = field(default_factory=dict)
    _begun: set[Hashable] = field(default_factory=set)  # kinds with at least one finished run

    def note(self, kind: Hashable, run: Denoised, *, reads_donor: bool) -> bool:
        """Record a finished run; return whether it was the first of its kind, which is not counted."""
        is_first = kind not in self._begun
        self._begun.add(kind)
        if not is_first:
            runs = self._reading if reads_donor else self._plain
            runs.setdefault(kind, deque(maxlen=_REMEMBERED)).append(run)
        return is_first

    def of(self, kind: Hashable) -> Paces | None:
        """Return the means of the remembered runs; None until there is one without a donor and one with."""
        plain, reading = _mean(self._plain.get(kind, ())), _mean(self._reading.get(kind, ()))
        return None if plain is None or reading is None else Paces(plain=plain, reading=reading)


def _mean(runs: Iterable[Denoised]) -> float | None:
    known = tuple(runs)  # another job may end meanwhile
    evaluations = sum(run.evaluations for run in known)
    return sum(run.seconds for run in known) / evaluations if evaluations else None


def of_rows(
    run: Denoised, *, in_full: float, beside_s: float, full_seconds: float | None, fast_seconds: float
) -> Paces | None:
    """Return paces from the measured means of a namespace; None if no full run was measured.

    `beside_s` are the seconds of text encoding and decoding that the means include.
    """
    if full_seconds is None or min(full_seconds, fast_seconds) <= beside_s:
        return None
    return Paces(plain=(full_seconds - beside_s) / in_full, reading=(fast_seconds - beside_s) / run.evaluations)


def evaluations(guidance: Sequence[float], first: int = 0) -> float:
    """Return the cost in evaluations of the steps from `first` (0-based) on; unguided ones count as half."""
    return sum(0.5 if scale == 1.0 else 1.0 for scale in guidance[first:])


def seconds_saved(
    run: Denoised, paces: Paces | None, *, in_full: float, overhead_s: float, full_seconds: float | None = None
) -> float | None:
    """Return the GPU seconds that a donor saved.

        plain pace x (evaluations in full - reading / plain pace x those of the run) - look-up and fetch

    A machine's load changes from run to run, and other runs that were slow because it was busy save this one nothing:
    so the plain pace is derived from the run's own where that gives less. None while no pace is known. The result is
    negative if reading the donor took longer than the steps that it saved.

    Args:
        run: the denoising with a donor.
        paces: measured, with a donor and without.
        in_full: evaluations of full mode.
        overhead_s: seconds that only a run with a cache spends.
        full_seconds: measured mean of full runs of the namespace, if known: the upper limit of the result.
    """
    if paces is None:
        return None
    slowdown = paces.reading / paces.plain
    plain = min(paces.plain, run.seconds / run.evaluations / slowdown)
    saved = plain * (in_full - slowdown * run.evaluations) - overhead_s
    return saved if full_seconds is None else min(saved, full_seconds)
