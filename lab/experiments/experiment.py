"""Running variants on prompts and judging every clip: questions in, outcomes out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from time import process_time
from typing import Any

import numpy as np

from lab.baselines.adacache import AdaCache
from lab.experiments.library import (
    BATCH,
    FullRun,
    Progress,
    full_runs,
    noise_run,
    recorded,
    whole_prompts,
)
from lab.experiments.variants import Source, Variant
from lab.toy_world.captions import Shared
from lab.toy_world.world import Clip
from lab.toy_world.worlds import Caption, World, known_world
from shared.generation import Mode
from worker.cache.decisions.planning import NIRVANA, NIRVANA_MATCH, Recipe, decide
from worker.cache.decisions.types import HitKind
from worker.models.embedder import Embedder
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.sampler import Network
from worker.models.opensora.schedule import Schedule
from worker.models.video_model import StepHook
from worker.quality.index import Found, Index
from worker.quality.nearness import distance
from worker.reuse import registry
from worker.reuse.donor import Donor

CODEBOOKS: dict[str, Callable[[], AdaCache]] = {"fast": AdaCache.fast, "slow": AdaCache.slow}
_KINDS = (HitKind.SCENE, HitKind.OBJECT, HitKind.BOTH, HitKind.NONE)
_TRIES = 200  # most prompts drawn for the wanted kind of hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt, its initial noise, and what the cache knows about it."""

    number: int
    caption: Caption
    seed: int
    found: Found
    whole: Found  # the same with whole prompts
    donor: int | None  # number of the stored run that the look-up chose
    random_donor: int  # number of another one

    @property
    def case(self) -> HitKind:
        """What the look-up says is shared."""
        return self.found.hit.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One clip, judged."""

    question: int
    attributes: dict[str, bool]
    shown: Any  # things and a scene, as far as the world's checker finds them
    prompt_distance: float  # to the nearest clip that fits the prompt, 0..1
    manifold_distance: float  # to the nearest clip that the world can draw, 0..1
    distance_to_full: float  # to full mode's clip from the same noise, root mean square, 0..1
    evaluations: float  # of the model with guidance; a step without guidance is half
    seconds: float  # processor time of sampling and decoding
    clip: Clip

    @property
    def accuracy(self) -> float:
        """Share of the attributes that the clip shows as asked."""
        return sum(self.attributes.values()) / len(self.attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A pipeline with the figures of its card."""

    pipeline: ChaiPipeline
    full_steps: int
    fast_steps: int
    guidance_scale: float

    @property
    def world(self) -> World:
        """The procedural world that it draws; raises ValueError if it draws none."""
        return known_world(self.pipeline.clip_shape)

    @property
    def full_schedule(self) -> Schedule:
        """The schedule of full mode."""
        return self.pipeline.schedule(self.full_steps, self.guidance_scale)

    def schedule(self, variant: Variant, recipe: Recipe) -> Schedule:
        """The schedule of a recipe."""
        own = self.guidance_scale if variant.guidance_scale is None else variant.guidance_scale
        return self.pipeline.schedule(recipe.num_steps, own, **recipe.schedule)


@dataclass(slots=True)
class Experiment:
    """Questions with their full runs, and the stored runs that may serve as donors."""

    model: Model
    stored: list[FullRun]
    questions: list[Question]
    full: dict[tuple[int, int], FullRun]  # by question and seed of the noise
    _donors: dict[tuple[object, ...], Donor] = field(default_factory=dict)

    def cases(self) -> dict[HitKind, list[Question]]:
        """The questions by what the look-up says is shared."""
        ordered = sorted(self.questions, key=lambda question: question.case.value)
        return {case: list(group) for case, group in groupby(ordered, key=lambda question: question.case)}

    def run(self, variant: Variant, questions: Sequence[Question] | None = None) -> list[Outcome]:
        """Run a variant on its questions (all, or those with a donor when it needs one), in order."""
        asked = self.questions if questions is None else questions
        if variant.source in (Source.FOUND, Source.NOISE, Source.RANDOM):
            return [self._with_donor(variant, question) for question in asked if question.donor is not None]
        if variant.source is Source.WHOLE_PROMPT:
            return [self._as_nirvana(variant, question) for question in asked]
        if variant.codebook is not None:  # it decides by the mean of a batch, so each prompt runs alone
            return [outcome for question in asked for outcome in self._plain(variant, [question])]
        batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        return [outcome for batch in batches for outcome in self._plain(variant, batch)]

    def full_outcomes(self) -> list[Outcome]:
        """Full mode's own clips, judged."""
        return [
            self._judged(question, run.clip, run.clip, float(self.model.full_steps), run.seconds)
            for question in self.questions
            for run in [self.full[question.number, question.seed]]
        ]

    def _plain(self, variant: Variant, asked: Sequence[Question]) -> list[Outcome]:
        schedule = self.model.schedule(variant, variant.recipe)
        network = None
        if variant.codebook is not None:
            network = CODEBOOKS[variant.codebook]().start(self.model.pipeline.transformer, schedule.num_steps)
        sample = _sample(self.model.pipeline, asked, [question.seed for question in asked], schedule, network=network)
        return [
            self._judge(question, clip, question.seed, sample)
            for question, clip in zip(asked, sample.clips, strict=True)
        ]

    def _with_donor(self, variant: Variant, question: Question) -> Outcome:
        number = question.donor if variant.source is not Source.RANDOM else question.random_donor
        assert number is not None
        return self._reusing(variant, variant.recipe, question, number)

    def _as_nirvana(self, variant: Variant, question: Question) -> Outcome:
        plan = decide(Mode.AUTO, question.whole.extraction, question.whole.neighbours, NIRVANA, NIRVANA_MATCH)
        if plan.recipe.reuse is None:
            full = self.full[question.number, question.seed]
            return self._judged(question, full.clip, full.clip, float(self.model.full_steps), full.seconds)
        number = int(plan.donors[0])
        return self._reusing(variant, plan.recipe, question, number)

    def _reusing(self, variant: Variant, recipe: Recipe, question: Question, number: int) -> Outcome:
        assert recipe.reuse is not None
        schedule = self.model.schedule(variant, recipe)
        num_frames, height, width, _ = self.model.pipeline.clip_shape
        timesteps = schedule.timesteps(height, width, num_frames)
        donor = self._donor(number, recipe, timesteps, is_noise=variant.source is Source.NOISE)
        hooks = registry.bind(recipe.reuse, recipe.reuse_options, [donor], timesteps)
        seed = self.stored[number].seed if recipe.reuse_options.get("noise") == "donor" else question.seed
        sample = _sample(self.model.pipeline, [question], [seed], schedule, hooks=hooks)
        return self._judge(question, sample.clips[0], seed, sample)

    def _judge(self, question: Question, clip: Clip, seed: int, sample: "_Sample") -> Outcome:
        if (question.number, seed) not in self.full:
            runs = full_runs(self.model.pipeline, [question.caption], [seed], self.model.full_schedule)
            self.full[question.number, seed] = runs[0]
        full = self.full[question.number, seed].clip
        return self._judged(question, clip, full, sample.evaluations, sample.seconds)

    def _judged(self, question: Question, clip: Clip, full: Clip, evaluations: float, seconds: float) -> Outcome:
        verdict = self.model.world.check(clip, question.caption.spec)
        return Outcome(
            question=question.number,
            attributes=verdict.attributes,
            shown=verdict.shown,
            prompt_distance=verdict.prompt_distance,
            manifold_distance=verdict.manifold_distance,
            distance_to_full=distance(clip, full),
            evaluations=evaluations,
            seconds=seconds,
            clip=clip,
        )

    def _donor(self, number: int, recipe: Recipe, timesteps: Sequence[float], *, is_noise: bool) -> Donor:
        """What the service would keep of a stored run for runs of this recipe."""
        assert recipe.reuse is not None
        keep = tuple(sorted(registry.requires(recipe.reuse, recipe.reuse_options)))
        key = (number, is_noise, keep, tuple(timesteps))
        if key not in self._donors:
            run = noise_run(self.stored[number], number) if is_noise else self.stored[number]
            self._donors[key] = recorded(run, keep, timesteps)
        return self._donors[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Clips of one batch and the cost of each."""

    clips: list[Clip]
    evaluations: float
    seconds: float


def _sample(
    pipeline: ChaiPipeline,
    asked: Sequence[Question],
    seeds: Sequence[int],
    schedule: Schedule,
    *,
    hooks: Sequence[StepHook] = (),
    network: Network | None = None,
) -> _Sample:
    config: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    began = process_time()
    with _counted_rows(pipeline) as rows:
        steps = pipeline.steps(
            [question.caption.text for question in asked], schedule, seed=seeds, hooks=hooks, network=network
        )
        *_, last = steps
    clips = [pipeline.decode(latents, config.num_frames) for latents in last.latents]
    seconds = (process_time() - began) / len(asked)
    return _Sample(clips=clips, evaluations=sum(rows) / (2 * len(asked)), seconds=seconds)


@contextmanager
def _counted_rows(pipeline: ChaiPipeline) -> Iterator[list[int]]:
    """Count the rows of every call that runs the blocks, which AdaCache's calls with a remembered change do not."""
    rows: list[int] = []

    def note(_module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options.get("change") is None:
            rows.append(len(args[0]))

    hook = pipeline.transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        hook.remove()


def prepare(
    model: Model,
    embedder: Embedder,
    *,
    num_stored: int,
    num_prompts: int,
    seed: int,
    progress: Progress | None = None,
) -> Experiment:
    """Fill a library with full runs and draw fresh prompts, the same number for each kind of hit.

    Prompts are drawn that share the scene, the thing, both or nothing with one of the stored runs, in other words,
    until the look-up reports that kind of hit; the look-up chooses which run is the donor. The same seed gives the same
    experiment.
    """
    captions = model.world.captions(seed, num_stored)
    stored = full_runs(model.pipeline, captions, [seed + i for i in range(num_stored)], model.full_schedule, progress)
    entities, wholes = Index(embedder), whole_prompts(embedder, NIRVANA_MATCH)
    for caption in captions:
        entities.add(caption.text)
        wholes.add(caption.text)
    rng = np.random.default_rng([seed, 1])
    questions = [
        _ask(number, model.world, captions, entities, wholes, seed=seed + num_stored + number, rng=rng)
        for number in range(num_prompts)
    ]
    runs = full_runs(
        model.pipeline,
        [question.caption for question in questions],
        [question.seed for question in questions],
        model.full_schedule,
        progress,
    )
    full = {(question.number, question.seed): run for question, run in zip(questions, runs, strict=True)}
    return Experiment(model=model, stored=stored, questions=questions, full=full)


def _ask(
    number: int,
    world: World,
    captions: Sequence[Caption],
    entities: Index,
    wholes: Index,
    *,
    seed: int,
    rng: np.random.Generator,
) -> Question:
    wanted = _KINDS[number % len(_KINDS)]
    for _ in range(_TRIES):
        lender = captions[int(rng.integers(len(captions)))]
        caption = world.say(world.redraw(lender.spec, Shared(wanted.value), rng), rng)
        found = entities.find(caption.text)
        if found.hit.kind is wanted:
            break
    donor = int(found.hit.donors[0]) if found.hit.donors else None
    others = [i for i in range(len(captions)) if i != donor]
    unlike = [i for i in others if world.shared(caption.spec, captions[i].spec) is Shared.NONE]
    return Question(
        number=number,
        caption=caption,
        seed=seed,
        found=found,
        whole=wholes.find(caption.text),
        donor=donor,
        random_donor=int(rng.choice(unlike or others)),
    )
