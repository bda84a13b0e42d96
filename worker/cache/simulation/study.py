"""Many setups on the same samples of one trace, on every core."""

import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.simulation import bounds
from worker.cache.simulation.lookup import Rules
from worker.cache.simulation.play import Capacity, Phase, Played, Setup, Space, play, sequence
from worker.cache.simulation.prepare import Prepared
from worker.cache.simulation.protocol import Figures, Interval, figures, interval

CLAIRVOYANT = "clairvoyant"  # given in place of a policy: the eviction that knows the future
WORTH_A_PROCESS = 60_000  # decisions: fewer are made in this process
MOST_FOR_CLAIRVOYANT = 4_000  # requests of a sample: every eviction walks through all that follow

Steps = Sequence[tuple[Phase, int]]
Counted = Callable[[int, int], None]  # replays done, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The requests of one replay, and the order in which they are decided and end."""

    indices: Sequence[int]
    steps: Steps

    @classmethod
    def of(cls, indices: Sequence[int]) -> "Sample":
        """Return the sample in which each request ends before the next begins."""
        return cls(indices=indices, steps=list(sequence(indices)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The results of setups, and how fast they were replayed."""

    setups: Sequence[Setup]
    figures: Sequence[Figures]
    num_decisions: int
    seconds: float

    @property
    def decisions_per_minute(self) -> float:
        """Decisions per minute, on all cores that were used."""
        return 60 * self.num_decisions / max(self.seconds, 1e-9)

    def difference(self, setup: int, other: int = 0) -> tuple[float, Interval]:
        """Return by how much the hit rate of a setup exceeds another's on the same samples, and the 95 % interval."""
        pairs = zip(self.figures[setup].rates, self.figures[other].rates, strict=True)
        found = [ours - theirs for ours, theirs in pairs]
        return fmean(found), interval(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds on the hit rate on some samples."""

    reachable: float  # share of prompts that some earlier one could serve: no cache hits more
    clairvoyant: float | None  # reached in this room by an eviction that knows the future; None: too slow


def study(
    prepared: Prepared,
    setups: Sequence[Setup],
    samples: Sequence[Sample],
    *,
    warmup: int,
    num_processes: int | None = None,
    counted: Counted = lambda done, total: None,
) -> Study:
    """Replay each sample under each setup. Raises ValueError for an impossible setup."""
    tasks = list(product(range(len(samples)), range(len(setups))))
    num_decisions = sum(len(sample.indices) for sample in samples) * len(setups)
    processes = min(len(tasks), num_processes or os.cpu_count() or 1) if num_decisions > WORTH_A_PROCESS else 1
    work = _Work(prepared, setups, samples)
    found: dict[tuple[int, int], Played] = {}
    # Keeps the garbage collector off the trace: scanning it would take longer than the replay. Never unfrozen, as that
    # would also unfreeze what the process froze at its start; what is no longer used is freed all the same.
    gc.freeze()
    start = time.perf_counter()
    for task, played in zip(tasks, _replays(work, tasks, processes), strict=True):
        found[task] = played
        counted(len(found), len(tasks))
    seconds = time.perf_counter() - start
    return Study(
        setups=setups,
        figures=[
            figures([found[sample, setup] for sample in range(len(samples))], warmup=warmup)
            for setup in range(len(setups))
        ],
        num_decisions=num_decisions,
        seconds=seconds,
    )


class _Work:
    """What every process shares."""

    def __init__(self, prepared: Prepared, setups: Sequence[Setup], samples: Sequence[Sample]) -> None:
        self.prepared, self.setups, self.samples = prepared, setups, samples
        self.rules: dict[MatchSettings, Rules] = {}
        for settings in {setup.settings for setup in setups}:
            if settings is not None:
                self.rules[settings] = Rules(prepared, settings)
                self.rules[settings].compare_all()

    def run(self, task: tuple[int, int]) -> Played:
        """Replay a sample under a setup."""
        sample, setup = task
        return play(self.prepared, self.samples[sample].steps, self.setups[setup], self.rules)


_work: _Work | None = None  # set before forking, so that the child processes have it


def _replays(work: _Work, tasks: Sequence[tuple[int, int]], processes: int) -> Iterator[Played]:
    global _work
    if processes < 2 or not sys.platform.startswith("linux"):
        yield from map(work.run, tasks)
        return
    _work = work  # forked processes share the memory of this one: nothing is copied
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
            yield from pool.map(_run, tasks)
    finally:
        _work = None


def _run(task: tuple[int, int]) -> Played:
    assert _work is not None, "set before the fork"
    return _work.run(task)


def limits(prepared: Prepared, setups: Sequence[Setup], samples: Sequence[Sample], *, warmup: int) -> list[Bounds]:
    """Return for each setup the bounds under its settings, room and isolation.

    A setup without settings is judged by those recorded with the last request.
    """
    known: dict[tuple[MatchSettings, str, Capacity], Bounds] = {}
    found: list[Bounds] = []
    rules: dict[MatchSettings, Rules] = {}
    serves: dict[tuple[MatchSettings, str], list[bounds.Serves]] = {}
    for setup in setups:
        settings = setup.settings or prepared.requests[-1].settings or MatchSettings()
        of = rules[settings] = rules.get(settings) or Rules(prepared, settings)
        alike = (settings, setup.isolation)
        if alike not in serves:
            serves[alike] = [
                bounds.serves(prepared, sample.indices, of, isolation=setup.isolation) for sample in samples
            ]
        key = (*alike, setup.capacity)
        if key not in known:
            known[key] = _limit(prepared, setup, samples, rules, serves[alike], warmup)
        found.append(known[key])
    return found


def _limit(
    prepared: Prepared,
    setup: Setup,
    samples: Sequence[Sample],
    rules: Mapping[MatchSettings, Rules],
    serves: Sequence[bounds.Serves],
    warmup: int,
) -> Bounds:
    pairs = list(zip(samples, serves, strict=True))
    reachable = [fmean(bool(of.get(index)) for index in sample.indices[warmup:]) for sample, of in pairs]
    short = all(len(sample.indices) <= MOST_FOR_CLAIRVOYANT for sample in samples)
    foreseen = [_foreseen(prepared, setup, sample, rules, of) for sample, of in pairs] if short else []
    return Bounds(
        reachable=fmean(reachable), clairvoyant=figures(foreseen, warmup=warmup).hit_rate if foreseen else None
    )


def _foreseen(
    prepared: Prepared, setup: Setup, sample: Sample, rules: Mapping[MatchSettings, Rules], serves: bounds.Serves
) -> Played:
    def orders(policy: str, seed: int, space: Space, names: Mapping[str, int]) -> bounds.Clairvoyant:
        return bounds.Clairvoyant(sample.indices, names, serves)

    knowing = replace(setup, policy=CLAIRVOYANT, admission="all")
    return play(prepared, sample.steps, knowing, rules, orders=orders)
