"""The runs of a calibration: every prompt of a list under every candidate plan, made as jobs are and judged.

Every run takes the path of a job: the runner's own verbs over a `VideoModel` and a `LatentCache`. Each prompt may
borrow from any other of the list. What is already there is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any
from uuid import UUID

from db.jobs import Claim
from db.models import Job
from db.namespaces import fingerprint
from shared.generation import GenerationParams, Mode
from shared.model_cards import ModelCard
from worker.cache import planner
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit
from worker.cache.decisions.planning import Case, Recipe
from worker.cache.namespaces import SpaceSettings, identity, initial_settings
from worker.jobs import pace
from worker.jobs.context import JobContext
from worker.jobs.metrics import Figures
from worker.jobs.preview import Previews
from worker.jobs.runner import borrow, compress, decode, denoise, encode
from worker.models.embedder import Embedder
from worker.models.video_model import Sampling, VideoModel
from worker.prompts.types import Extraction
from worker.quality import candidates
from worker.quality.calibration_cache import CalibrationCache
from worker.quality.calibration_record import Made, Record
from worker.quality.candidates import Candidate
from worker.quality.evidence import Measured
from worker.quality.index import Found, Index
from worker.quality.judges import Judge
from worker.quality.plan_table import HIT_CASES
from worker.quality.videos import Video
from worker.reuse import registry as ways
from worker.reuse.donor import latent_name, level_name
from worker.reuse.recorder import Recorder, kept_steps

Tell = Callable[[float, str], object]  # evaluations done, and what is being done

_NOBODY = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is calibrated, and on what."""

    card: ModelCard
    prompts: tuple[str, ...]
    seed: int = 1  # of the noise; prompt number i (0-based) starts from seed + i
    size: tuple[int, int] | None = None  # width and height; None: the card's
    num_frames: int | None = None
    counts: tuple[int, ...] = ()  # numbers of steps to try, in place of the card's share

    def params(self, number: int) -> GenerationParams:
        """Return the request of a prompt."""
        prompt, seed = self.prompts[number], self.seed + number
        return GenerationParams.of_card(self.card, prompt, size=self.size, num_frames=self.num_frames, seed=seed)

    def key(self, model: VideoModel, embedder: str) -> str:
        """Return the key under which the service stores plans of this model and size."""
        params = self.params(0)
        size = {name: getattr(params, name) for name in ("width", "height", "num_frames", "fps")}
        return fingerprint(identity(self.card, model.fingerprint, embedder, **size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A clip by a plan with the verdicts on it or, if lending, the latents of its run for others to borrow."""

    plan: Candidate
    number: int  # of the prompt
    is_lending: bool = False


class _NoLease:
    """In place of a job's lease: one that cannot be lost."""

    is_expired = False

    def check(self, **progress: Any) -> None:
        """Do nothing."""


@dataclass(slots=True, kw_only=True)
class Runs:
    """A model, its prompts, and the record of what was made and judged."""

    asked: Asked
    model: VideoModel
    embedder: Embedder
    record: Record
    judges: Sequence[Judge]
    tell: Tell = lambda done, text: None
    done: float = 0.0  # evaluations, by this process or an earlier one
    fresh: float = 0.0  # of these, those made since the start
    found: tuple[Found, ...] = ()  # what each prompt finds among the others; looked up unless given
    matching: MatchSettings = field(init=False)
    plain: tuple[Candidate, ...] = field(init=False)  # schedules to try, without duplicates
    _given_up: dict[str, int] = field(default_factory=dict)  # plan → number of prompts after which it was given up
    _counted: set[tuple[str, int, bool]] = field(default_factory=set)  # plan, prompt, is_lending: counted in `done`
    _latest_full: tuple[int, Video] | None = None  # number of the prompt; the video keeps its scores
    _latest_encoding: tuple[int, object] | None = None

    def __post_init__(self) -> None:
        schedules: dict[object, Candidate] = {}
        for one in candidates.plain(self.asked.card, self.asked.counts):
            schedules.setdefault(self._steps(one), one)  # one may name the spacing that the model has anyway
        self.plain = tuple(schedules.values())
        own = SpaceSettings.model_validate(initial_settings(self.asked.card))  # those of a new namespace
        self.matching = own.matching(self.embedder.name)
        if not self.found:
            self.found = self._look_up(planner.extractor(own.extractor))

    def _look_up(self, extract: Callable[..., Extraction]) -> tuple[Found, ...]:
        index = Index(self.embedder, settings=self.matching, read=partial(extract, reads=self.model.reads))
        for prompt in self.asked.prompts:
            index.add(prompt)
        return tuple(index.find(prompt, but=i) for i, prompt in enumerate(self.asked.prompts))

    @property
    def key(self) -> str:
        """The key under which the service stores plans, and that latents are stamped with."""
        return self.asked.key(self.model, self.embedder.name)

    @property
    def numbers(self) -> range:
        """The numbers of the prompts."""
        return range(len(self.asked.prompts))

    @property
    def full(self) -> Candidate:
        """Full mode."""
        return candidates.full(self.asked.card)

    def is_given_up(self, plan: Candidate) -> bool:
        """Whether a plan is not run on any more prompts."""
        return plan.name in self._given_up

    def give_up(self, plan: Candidate, *, after: int) -> None:
        """Run a plan on no more than the first `after` prompts."""
        self._given_up[plan.name] = after
        self.done += self.cost(plan) * sum(number >= after for number in {i for kind in self.kinds(plan) for i in kind})
        self.tell(self.done, f"{plan.name}: given up after {after} prompts" if after else f"{plan.name}: not needed")

    @property
    def tried(self) -> list[Candidate]:
        """The schedules that were run at all."""
        return [one for one in self.plain if self._given_up.get(one.name) != 0]

    def kinds(self, plan: Candidate) -> list[list[int]]:
        """Return the prompts that a plan is for: all or, with a donor, those of each kind of hit that it may answer."""
        return [self.hits(case) for case in plan.cases] if plan.recipe.reuse else [list(self.numbers)]

    def candidates(self, base: Candidate) -> list[Candidate]:
        """Return the plans with a donor that cost less than `base`, the plan of a miss."""
        card = self.asked.card
        return [
            *candidates.reusing(card, base, self.asked.counts),
            *candidates.entering(card, base, self._levels(base), self.asked.counts),
        ]

    def reusing(self, base: Candidate) -> list[Candidate]:
        """Return the plans with a donor that are tried: those that the model does not refuse."""
        found = self.candidates(base)
        refused = candidates.refused(self.model, found)
        return [one for one in found if one.recipe.reuse not in refused]

    def hits(self, *kinds: Case) -> list[int]:
        """Return the prompts that have a hit of these kinds; of any kind when none is named."""
        wanted = frozenset(kinds or HIT_CASES)
        return [i for i in self.numbers if not wanted.isdisjoint(_cases(self.found[i].hit))]

    def cost(self, candidate: Candidate) -> float:
        """Return the evaluations of a run."""
        recipe = candidate.recipe
        return pace.evaluations(self.model.guidance(self._sampling(recipe)), recipe.num_skipped_steps)

    def do(self, work: Work) -> None:
        """Do in this process what is not done yet: make a clip and judge it, or run a plan for its latents."""
        if not self.has_run(work):
            if work.is_lending:
                self._run(work.plan, work.number, is_lending=True)
            else:
                self._make(work.plan, work.number)
        if waiting := self._waiting(work):
            self._judge(work.plan, work.number, waiting)

    def is_done(self, work: Work) -> bool:
        """Whether nothing is left to do."""
        return self.has_run(work) and not self._waiting(work)

    def has_run(self, work: Work) -> bool:
        """Whether the model has done its part; the latents of full runs were kept with their clips."""
        if work.is_lending:
            return self._cache(work.plan, work.number).file(work.number).exists()
        return self.is_made(work.plan, work.number)

    def begin(self, work: Work) -> None:
        """Report what is being done."""
        doing = f"donors by {work.plan.name}" if work.is_lending else work.plan.name
        self.tell(self.done, f"{doing}: prompt {work.number + 1} of {len(self.numbers)}")

    def count(self, work: Work, *, fresh: bool) -> None:
        """Count finished work; `fresh` if the model has just run for it."""
        cost = self.cost(work.plan)
        self.fresh += cost * fresh
        key = (work.plan.name, work.number, work.is_lending)
        is_counted_as_clip = work.is_lending and work.plan.name == self.full.name
        if key not in self._counted and not is_counted_as_clip:
            self._counted.add(key)
            self.done += cost

    def is_made(self, candidate: Candidate, number: int) -> bool:
        """Whether a clip is there."""
        name = candidate.name
        return (name, number) in self.record.made and self.record.video(name, number).exists()

    def measured(self, candidate: Candidate, numbers: Sequence[int]) -> Measured:
        """Return what the judges found for a plan on these prompts; full mode loses nothing against itself.

        For a plan that was given up, only those of the prompts that it was run on count.
        """
        numbers = [number for number in numbers if number < self._given_up.get(candidate.name, len(self.numbers))]
        made = [self.record.made[candidate.name, number] for number in numbers]
        losses = {judge: tuple(self._loss(candidate, number, judge) for number in numbers) for judge in self.reading()}
        return Measured(
            name=candidate.name,
            recipe=candidate.recipe,
            evaluations=fmean(one.evaluations for one in made) if made else self.cost(candidate),
            seconds=fmean(one.seconds for one in made) if made else 0.0,
            losses=losses,
            scores={judge: score for judge in losses if (score := self._score(candidate, numbers, judge)) is not None},
        )

    def reading(self) -> list[str]:
        """Return the judges that could read every clip."""
        unread = {judge for (_, _, judge), found in self.record.judged.items() if found is None}
        return [one.name for one in self.judges if one.name not in unread]

    def _make(self, candidate: Candidate, number: int) -> None:
        job, donor, latents = self._run(candidate, number, is_lending=candidate.name == self.full.name)
        _, film = decode(job, self.model, latents)
        mp4 = compress(job, film)
        made = Made(
            plan=candidate.name,
            prompt=number,
            evaluations=job.figures.model_evaluations,
            seconds=round(sum(job.figures.stage_s[stage] for stage in ("denoise", "decode")), 4),
            hit=self.found[number].hit.kind.value,
            donor=donor,
        )
        self.record.add(made, mp4)

    def _run(self, candidate: Candidate, number: int, *, is_lending: bool) -> tuple[JobContext, int | None, object]:
        """Run a prompt as a job is run; return its context, the number of its donor, and the latents."""
        job, cache = self._job(number), self._cache(candidate, number)
        plan = cache.plan(job.claim, job.params, self.asked.card, self.model.fingerprint)
        ready = borrow(job, self.model, cache, plan)
        if candidate.recipe.reuse and not ready.hooks:
            raise RuntimeError(f"{candidate.name}, prompt {number + 1}: {ready.plan.receipt()['explanation']}")
        levels = {level for one in self.reusing(candidate) if (level := self._entry(one))} if is_lending else ()
        recorder = Recorder(self._kept_steps(candidate), levels=levels, seed=ready.seed) if is_lending else None
        if recorder is not None:
            ready = replace(ready, hooks=(*ready.hooks, recorder))
        latents, _ = denoise(job, self.model, ready, self._encoding(job, number), Previews())
        if recorder is not None:
            cache.put(job.claim, plan, recorder.donor(), full_seconds=job.figures.gpu_seconds)
        return job, plan.donors[0].int if plan.donors else None, latents

    def _encoding(self, job: JobContext, number: int) -> object:
        """Return the model's encoding of a prompt, which is the same for all plans."""
        if self._latest_encoding is None or self._latest_encoding[0] != number:
            self._latest_encoding = number, encode(job, self.model)
        return self._latest_encoding[1]

    def _cache(self, candidate: Candidate, number: int) -> CalibrationCache:
        return CalibrationCache(
            found=self.found[number],
            settings=self.matching,
            folder=self.record.donors(candidate.lender or candidate.name),
            fingerprint=self.key,
            table=dict.fromkeys(set(Case) - ({Case.LAYOUT} - set(candidate.cases)), (candidate.recipe,)),
            number=number,
            lends=self._lent(candidate) if candidate.lender else (),
        )

    def _kept_steps(self, base: Candidate) -> set[int]:
        """Return the steps of a run by `base` whose latents some way of reuse may need."""
        names = frozenset[str]().union(*(self._lent(one) for one in self.reusing(base)))
        return {step for step in range(1, base.recipe.num_steps + 1) if latent_name(step) in names}

    def _lent(self, candidate: Candidate) -> frozenset[str]:
        """Return the latents that the service would keep of a lender's run if this were the only way of reuse."""
        lender = next(one for one in (self.full, *self.plain) if one.name == candidate.lender)
        needs = ways.requires(candidate.recipe.reuse or "", candidate.recipe.reuse_options)
        read = ways.read_steps(candidate.recipe.reuse or "", candidate.recipe.reuse_options)
        steps = kept_steps(needs, self._levels(lender), self._levels(candidate), read=read)
        entry = self._entry(candidate)
        return frozenset(map(latent_name, steps)) | ({level_name(entry)} if entry else set())

    def _entry(self, candidate: Candidate) -> float | None:
        """Return the timestep at which a way of reuse enters its donor's own trajectory."""
        return ways.entry(candidate.recipe.reuse or "", candidate.recipe.reuse_options, self._levels(candidate))

    def _levels(self, candidate: Candidate) -> list[float]:
        return self.model.timesteps(self.asked.params(0), self._sampling(candidate.recipe))

    def _steps(self, candidate: Candidate) -> tuple[object, ...]:
        """Return what a schedule amounts to on this model: its noise levels, with the guidance at each."""
        guidance = self.model.guidance(self._sampling(candidate.recipe))
        return (candidate.recipe.num_skipped_steps, *zip(self._levels(candidate), guidance, strict=True))

    def _sampling(self, recipe: Recipe) -> Sampling:
        guidance = self.asked.card.guidance_scale
        return Sampling(num_steps=recipe.num_steps, guidance_scale=guidance, options=recipe.schedule)

    def _job(self, number: int) -> JobContext:
        params = self.asked.params(number)
        values = {name: getattr(params, name) for name in ("prompt", "model", "width", "height", "num_frames", "fps")}
        job = Job(id=UUID(int=number), tenant=_NOBODY, mode=Mode.AUTO.value, seed=params.seed, **values)
        claim = Claim(job=job, fence=0, attempt=1, owner=_NOBODY, queue_wait_s=0.0)
        assert params.seed is not None, "set by `Asked`"
        return JobContext(
            claim=claim, params=params, seed=params.seed, lease=_NoLease(), figures=Figures(), is_rerun=True
        )

    def _waiting(self, work: Work) -> list[Judge]:
        """Return the judges that have yet to judge a clip; none for full mode, the standard of comparison."""
        if work.is_lending or work.plan.name == self.full.name:
            return []
        return [one for one in self.judges if (work.plan.name, work.number, one.name) not in self.record.judged]

    def _judge(self, candidate: Candidate, number: int, judges: Sequence[Judge]) -> None:
        fast, full = Video(self.record.video(candidate.name, number).read_bytes()), self._full_video(number)
        for one in judges:
            self.record.judge(candidate.name, number, one.name, one.judge(self.asked.prompts[number], fast, full))

    def _full_video(self, number: int) -> Video:
        if self._latest_full is None or self._latest_full[0] != number:
            self._latest_full = number, Video(self.record.video(self.full.name, number).read_bytes())
        return self._latest_full[1]

    def _loss(self, candidate: Candidate, number: int, judge: str) -> float:
        if candidate.name == self.full.name:
            return 0.0
        found = self.record.judged[candidate.name, number, judge]
        assert found is not None, "of a judge that reads every clip"
        return found.loss

    def _score(self, candidate: Candidate, numbers: Sequence[int], judge: str) -> float | None:
        """Return the mean score that a judge gives the clips themselves; None if it gives none."""
        found = [self.record.judged.get((candidate.name, number, judge)) for number in numbers]
        scores = [one.fast_score for one in found if one is not None and one.fast_score is not None]
        return fmean(scores) if scores else None


def _cases(hit: Hit) -> tuple[Case, ...]:
    """Return the cases that a hit belongs to: its kind and, if it shares the layout, that."""
    return (Case(hit.kind.value), *((Case.LAYOUT,) if hit.shares_layout else ()))
