"""`chai calibrate`: measures on this machine which plan of a model should answer which kind of hit.

Schedules come first, from the cheapest up, until one keeps the quality; dearer ones are not needed. The chosen schedule
then makes the donors, because with calibrated plans it is what runs on a miss: reuse is measured with the donors that
it will have in service. A plan that clearly loses too much is given up after the first prompts.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

from worker.cache.decisions.planning import Case
from worker.jobs import pace, video
from worker.models.video_model import Sampling, VideoModel
from worker.quality import candidates, plan_table
from worker.quality.calibration_processes import Processes
from worker.quality.calibration_runs import Asked, Runs, Work
from worker.quality.candidates import Candidate
from worker.quality.evidence import Bound, Choice, Measured, choose, is_earned
from worker.quality.judges import Judge
from worker.quality.plan_table import HIT_CASES, Calibration
from worker.quality.videos import Video

VETO = "flicker"  # decides beside judges that rank: no plan may gain its score by flickering


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the operator demands of a plan."""

    tolerances: Mapping[str, float] = field(default_factory=dict)  # judge → tolerance in place of its own
    num_errors: float = 2.0
    min_prompts: int = 30
    max_bad: float = 0.1

    def bound(self, known: Sequence[Judge], reading: Sequence[str]) -> Bound:
        """Return the bound set by the judges that could read every clip.

        If some of them rank, they decide, and flicker may object. Else a plan has to stay near full mode's video.
        """
        able = [(one, self.tolerances.get(one.name, one.tolerance)) for one in known if one.name in reading]
        ranking = {one.name: allowed for one, allowed in able if one.ranks and allowed is not None}
        measuring = {one.name: allowed for one, allowed in able if not one.ranks and allowed is not None}
        if ranking:
            measuring = {name: allowed for name, allowed in measuring.items() if name == VETO}
        return Bound(
            ranking=ranking,
            measuring=measuring,
            num_errors=self.num_errors,
            min_prompts=self.min_prompts,
            max_bad=self.max_bad,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a model takes on this machine, measured."""

    seconds_per_evaluation: float
    seconds_per_clip: float  # encoding and decoding
    seconds_per_verdict: float  # of all judges together


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An upper bound on the work that is left."""

    clips: int
    evaluations: float
    seconds: float  # of device time
    judging_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A plan on the prompts of one kind, and what became of it."""

    case: str  # all, or the kind of hit
    plan: Measured
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished calibration."""

    calibration: Calibration
    lines: tuple[Line, ...]
    shown: tuple[Candidate, ...]  # plans worth viewing beside full mode
    refused: Mapping[str, str]  # way of reuse → why the model cannot do it
    not_needed: tuple[str, ...]  # schedules that cost more than one that keeps


def measure_pace(asked: Asked, model: VideoModel, judges: Sequence[Judge]) -> Pace:
    """Make a clip in two steps, time the second (the first may compile), and have the judges judge it.

    A judge that cannot work raises here, and not hours later.
    """
    params = asked.params(0)
    sampling, times = Sampling(num_steps=2, guidance_scale=asked.card.guidance_scale), []
    began = time.perf_counter()
    encoding = model.encode(params)
    model.finish()
    encoded = time.perf_counter()
    for step in model.sample(encoding, params, sampling, seed=0):
        model.finish()
        times.append(time.perf_counter())
        latents = step.latents
    frames = model.decode(latents, params)
    model.finish()
    decoded = time.perf_counter()
    clip = Video(video.encode(frames, fps=params.fps))
    for one in judges:
        one.judge(params.prompt, clip, clip)
    return Pace(
        seconds_per_evaluation=(times[1] - times[0]) / pace.evaluations(model.guidance(sampling)[1:]),
        seconds_per_clip=encoded - began + decoded - times[1],
        seconds_per_verdict=time.perf_counter() - decoded,
    )


def estimate(runs: Runs, known: Pace) -> Estimate:
    """Return an upper bound on the work left: which schedule will make the donors is not known yet."""
    first = [one for one in (runs.full, *runs.plain) for i in runs.numbers if not runs.is_made(one, i)]
    later = max((_with_donors(runs, base) for base in (runs.full, *runs.plain)), key=lambda plans: _cost(runs, plans))
    evaluations = _cost(runs, first) + _cost(runs, later)
    clips = len(first) + len(later)
    seconds = evaluations * known.seconds_per_evaluation + clips * known.seconds_per_clip
    judging_s = clips * known.seconds_per_verdict
    return Estimate(clips=clips, evaluations=evaluations, seconds=seconds, judging_s=judging_s)


def total(runs: Runs) -> float:
    """Return the most evaluations that the whole calibration can take, which `Runs.done` counts up to."""
    first = [one for one in (runs.full, *runs.plain) for _ in runs.numbers]
    return _cost(runs, first) + max(_cost(runs, _with_donors(runs, base)) for base in (runs.full, *runs.plain))


def calibrate(runs: Runs, demand: Demand, processes: Processes | None = None) -> Result:
    """Make and judge the clips that are missing, in this process or several, and decide."""
    processes = processes or Processes(runs)
    _run_schedules(runs, demand, processes)
    bound = demand.bound(runs.judges, runs.reading())
    without_hit = _choose(runs, list(runs.numbers), [], bound)
    base = next(one for one in (runs.full, *runs.plain) if one.name == without_hit.chosen.name)
    reusing = runs.reusing(base) if runs.hits() else []
    if reusing:
        processes.run([Work(plan=base, number=number, is_lending=True)] for number in runs.numbers)
    _run(runs, demand, processes, reusing)
    bound = demand.bound(runs.judges, runs.reading())
    return _decided(runs, bound, base, reusing)


def _run_schedules(runs: Runs, demand: Demand, processes: Processes) -> None:
    """Run schedules from the cheapest up until one keeps; all of equal cost, so that the best of them is chosen."""
    by_cost = groupby(sorted(runs.plain, key=runs.cost), key=runs.cost)
    left = [list(equal) for _, equal in by_cost] or [[]]
    while left:
        equal = left.pop(0)
        _run(runs, demand, processes, [runs.full, *equal])
        bound = demand.bound(runs.judges, runs.reading())
        if any(bound.keeps(runs.measured(one, runs.numbers)) for one in equal):
            break
    for one in chain(*left):
        runs.give_up(one, after=0)


def _run(runs: Runs, demand: Demand, processes: Processes, plans: Sequence[Candidate]) -> None:
    """Run plans on the prompts that they are for, each until it is hopeless.

    Plans are looked at after certain prompts. In between, all processes work; at a look they wait, so that none runs a
    plan that is given up there.
    """
    kinds = {one.name: runs.kinds(one) for one in plans}
    wanted = {name: frozenset(chain(*numbers)) for name, numbers in kinds.items()}
    looks = {name: _looks(demand, numbers) for name, numbers in kinds.items()}
    ends = sorted({runs.numbers[-1]}.union(*looks.values()))
    for first, last in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        going_on = [one for one in plans if not runs.is_given_up(one)]
        processes.run(
            [Work(plan=one, number=number) for one in going_on if number in wanted[one.name]]
            for number in range(first, last + 1)
        )
        for one in going_on:
            if last in looks[one.name] and _is_hopeless(runs, demand, kinds[one.name], one, last):
                runs.give_up(one, after=last + 1)


def _looks(demand: Demand, kinds: Sequence[Sequence[int]]) -> set[int]:
    """Return the prompts after which a plan is looked at; few looks give few false alarms.

    A look follows the first `min_prompts` prompts of a kind, and each doubling of their number.
    """
    first = demand.min_prompts
    return {kind[first * 2**i - 1] for kind in kinds for i in range(len(kind).bit_length()) if first * 2**i < len(kind)}


def _is_hopeless(runs: Runs, demand: Demand, kinds: Sequence[Sequence[int]], one: Candidate, number: int) -> bool:
    """Whether a plan clearly loses too much on every kind of prompt that it is for, over the prompts up to this one."""
    run = [[earlier for earlier in kind if earlier <= number] for kind in kinds if len(kind) >= demand.min_prompts]
    bound = demand.bound(runs.judges, runs.reading())
    return all(bound.is_hopeless(runs.measured(one, made)) for made in run)


def _decided(runs: Runs, bound: Bound, base: Candidate, reusing: Sequence[Candidate]) -> Result:
    without_hit = _choose(runs, list(runs.numbers), [], bound)
    hits = {
        case: _choose(runs, numbers, [one for one in reusing if case in one.cases], bound)
        for case in HIT_CASES
        if (numbers := runs.hits(case))
    }
    missing = tuple(_missing(runs, bound))
    choices: Mapping[Case, Choice] = {}
    if bound.deciding and len(runs.numbers) >= bound.min_prompts:
        plain = [runs.measured(one, runs.numbers) for one in runs.tried]
        choices = plan_table.decide(hits, without_hit, plain, fast_steps=runs.asked.card.fast_steps)
    taken = {choice.chosen.name for choice in (without_hit, *hits.values())}
    near = [one for one in (base, *runs.tried[:1], *reusing) if one.name in taken] or [*runs.tried[-1:], *reusing[:2]]
    return Result(
        calibration=Calibration(
            choices=choices, num_prompts=len(runs.numbers), seed=runs.asked.seed, bound=bound, missing=missing
        ),
        lines=tuple(_lines(runs, bound, hits, without_hit, reusing)),
        shown=tuple(one for one in (*near, *reusing[:2]) if one.name != runs.full.name),
        refused=candidates.refused(runs.model, runs.candidates(base)),
        not_needed=tuple(one.name for one in runs.plain if one not in runs.tried),
    )


def _choose(runs: Runs, numbers: Sequence[int], reusing: Sequence[Candidate], bound: Bound) -> Choice:
    full, *plain = (runs.measured(one, numbers) for one in (runs.full, *runs.tried))
    return choose(full, plain, [runs.measured(one, numbers) for one in reusing], bound)


def _missing(runs: Runs, bound: Bound) -> Iterator[str]:
    """Yield sentences on what evidence a table, or a donor in it, lacks."""
    count = len(runs.numbers)
    if count < bound.min_prompts:
        yield f"{count} prompts, {bound.min_prompts} are needed: give a longer list"
    unread = [one.name for one in runs.judges if one.name not in runs.reading()]
    for name in unread:
        yield f"{name} cannot read every prompt or clip and is left out"
    if not bound.ranking:
        yield (
            "no judge at hand says which of two videos is the better one, so no donor can be taken: "
            "name --clip FOLDER or --judge 'COMMAND {video} {prompt}'"
        )
    for one in runs.judges:
        if one.ranks and one.name not in unread and one.name not in bound.ranking:
            yield f"{one.name}: how much may be lost is not said; give --tolerance {one.name}=VALUE"
    for case in HIT_CASES:
        if 0 < (hits := len(runs.hits(case))) < bound.min_prompts:
            yield f"{hits} prompts have a hit of kind {case.value}, {bound.min_prompts} are needed to judge a donor by"


def _lines(
    runs: Runs, bound: Bound, hits: Mapping[Case, Choice], without_hit: Choice, reusing: Sequence[Candidate]
) -> Iterator[Line]:
    plain = [runs.measured(one, runs.numbers) for one in runs.tried]
    yield Line(case="all", plan=without_hit.full, verdict=_verdict(without_hit.full, without_hit, [], bound))
    for one in sorted(plain, key=lambda one: -one.evaluations):
        yield Line(case="all", plan=one, verdict=_verdict(one, without_hit, [], bound))
    for case, choice in hits.items():
        numbers = runs.hits(case)
        rivals = [runs.measured(one, numbers) for one in runs.tried]
        for candidate in (one for one in reusing if case in one.cases):
            one = runs.measured(candidate, numbers)
            yield Line(case=case.value, plan=one, verdict=_verdict(one, choice, rivals, bound))


def _verdict(one: Measured, choice: Choice, rivals: Sequence[Measured], bound: Bound) -> str:
    if one.name == choice.chosen.name:
        return "chosen"
    if one is choice.full:
        return ""
    if reason := bound.why_not(one):
        return reason
    if one.recipe.reuse and not is_earned(one, rivals, bound):
        return "keeps; no better than a schedule of its cost" if bound.ranking else "keeps; no judge ranks"
    return "keeps, at more evaluations"


def _with_donors(runs: Runs, base: Candidate) -> list[Candidate]:
    lending = [] if base.name == runs.full.name else [base for _ in runs.numbers]
    return [*lending, *(one for one in runs.reusing(base) for _ in runs.hits(*one.cases))]


def _cost(runs: Runs, plans: Sequence[Candidate]) -> float:
    return sum(map(runs.cost, plans))
