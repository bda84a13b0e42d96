"""`chai lab reuse`: what a donor with its own noise is worth, on pairs of prompts that share a known part.

A donor is a full run. For each donor there are prompts that share a part of it in other words. Each is run by plain
plans, by plans that take the donor's layout, by the same with an unrelated donor and with only the donor's noise, and
by plans that compute only what differs. Every clip becomes one line of a file; an interrupted study resumes from it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lab.experiments.study_prompts import Pair, Prompts
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.jobs import pace
from worker.models.video_model import PlainHook, Sampling, StepHook, VideoModel
from worker.reuse import registry
from worker.reuse.active_tokens import ActiveTokens
from worker.reuse.donor import Donor
from worker.reuse.recorder import Recorder, kept_steps

Frames = NDArray[np.uint8]
Judge = Callable[[str, Frames, Frames], Mapping[str, float]]  # prompt, clip, full mode's clip → figures by name
FULL = "full"
LATEST_ENTRY = 900.0  # timestep


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """One way to make a clip of a pair."""

    name: str
    num_steps: int
    schedule: Mapping[str, Any] = field(default_factory=dict)
    reuse: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    donor: str = "none"  # found, unrelated; noise: only the found one's noise
    skipped: int = 0  # steps left out by plans that do not enter a trajectory there

    @property
    def is_plain(self) -> bool:
        """Whether it uses nothing of a donor."""
        return self.donor == "none"


def controlled(plan: StudyPlan) -> list[StudyPlan]:
    """Return a plan with the found donor, with an unrelated one, and with only the found one's noise."""
    noise = replace(plan, name=f"{plan.name}, noise alone", reuse=None, options={}, donor="noise")
    if "own_trajectory" in (plan.reuse or ""):
        noise = replace(noise, skipped=plan.options.get("skipped_steps", 0))
    return [
        replace(plan, donor="found"),
        replace(plan, name=f"{plan.name}, unrelated donor", donor="unrelated"),
        noise,
    ]


def _said(levels: Sequence[float]) -> str:
    return "-".join(f"{level:g}" for level in levels)


def few_step_plans() -> list[StudyPlan]:
    """For the small models: unguided plans of half an evaluation to four, and eight guided steps."""

    def unguided(*levels: float) -> dict[str, Any]:
        return {"levels": list(levels), "unguided_steps": len(levels)}

    quadratic = {"spacing": "quadratic", "unguided_steps": 8}
    seven = quadratic | {"skipped_steps": 1}
    sets = ((1.0,), (0.92,), (0.95, 0.65), (0.97, 0.78, 0.4375), (0.9375, 0.75, 0.4375))
    found = [StudyPlan(name=f"plain {_said(each)}", num_steps=len(each), schedule=unguided(*each)) for each in sets]
    found += [StudyPlan(name=f"plain {n} quadratic", num_steps=n, schedule=quadratic) for n in (4, 5)]
    found += [StudyPlan(name="plain 7 of 8 quadratic", num_steps=8, schedule=seven)]
    for each in (sets[1], sets[2], sets[4]):
        plan = StudyPlan(
            name=f"enter {_said(each)}", num_steps=len(each), schedule=unguided(*each), reuse="own_trajectory"
        )
        found += controlled(plan)
    for refresh in (3, 99):
        plan = StudyPlan(
            name=f"sparse, refresh {refresh}",
            num_steps=8,
            schedule=seven,
            reuse="active_tokens",
            options={"refresh": refresh, "noise": "donor"},
        )
        found += controlled(plan)[: 3 if refresh == 3 else 1]
    both = {"skipped_steps": 2, "own_trajectory": {"skipped_steps": 2}, "active_tokens": {"refresh": 3}}
    plan = StudyPlan(name="enter and sparse", num_steps=8, schedule=quadratic, reuse="own_trajectory+active_tokens")
    found += controlled(replace(plan, options=both))
    for spacing in ("uniform", "quadratic"):
        eight = StudyPlan(name=f"8 {spacing}, guided", num_steps=8, schedule={"spacing": spacing})
        attending = replace(eight, name=f"Cache Attention, 8 {spacing}", reuse="cache_attention")
        # It begins with its own noise, so a control with its donor's noise would show nothing.
        found += [eight, *controlled(replace(attending, options={"steps": [2, 3, 4]}))[:2]]
    return found


def guided_plans() -> list[StudyPlan]:
    """For `rich`, which needs guidance and more than a few steps.

    Its donors are entered at .96, .91 and .84, or only what differs from them is computed, at the steps of its own
    table.
    """
    quadratic = {"spacing": "quadratic"}
    noisiest = quadratic | {"guidance_interval": [0.6, 1.0]}
    found = [StudyPlan(name=f"plain {n}, noisiest guided", num_steps=n, schedule=noisiest) for n in (15, 10, 6)]
    found.append(StudyPlan(name="plain 10, unguided", num_steps=10, schedule=quadratic | {"unguided_steps": 10}))
    entering = StudyPlan(name="", num_steps=10, schedule=noisiest, reuse="own_trajectory")
    for entry in (2, 3, 4):
        named = replace(entering, name=f"enter 10 after {entry}, noisiest guided", options={"skipped_steps": entry})
        found += controlled(named)
    sparse = {"refresh": 3, "noise": "donor"}
    plan = StudyPlan(name="sparse 15, noisiest guided", num_steps=15, schedule=noisiest, reuse="active_tokens")
    return found + controlled(replace(plan, options=sparse))


def many_step_plans(model: VideoModel) -> list[StudyPlan]:
    """For any other model: its own number of steps and fewer, and donors' trajectories entered at high levels."""
    card, params = model.card, request(model.card, "")
    counts = sorted({card.full_steps, card.full_steps // 2, card.fast_steps} - {0}, reverse=True)
    found = [StudyPlan(name=f"plain {n}", num_steps=n) for n in counts if n < card.full_steps]
    for n in counts:
        levels = model.timesteps(params, Sampling(num_steps=n, guidance_scale=card.guidance_scale))
        entry = max((i for i, level in enumerate(levels) if level >= LATEST_ENTRY), default=0) or 1
        if entry < n:
            options = {"skipped_steps": entry}
            name = f"enter {n} after {entry}"
            found += controlled(StudyPlan(name=name, num_steps=n, reuse="own_trajectory", options=options))
    if card.family == "opensora":
        sparse = {"refresh": 3, "noise": "donor"}
        plan = StudyPlan(name=f"sparse {counts[-1]}", num_steps=counts[-1], reuse="active_tokens", options=sparse)
        found += controlled(plan)
    return found


def request(card: ModelCard, prompt: str) -> GenerationParams:
    """Return a request of the card's own size."""
    return GenerationParams.of_card(card, prompt)


class _LeaveOut(PlainHook):
    """Begins at a later step with the initial noise unchanged."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def start(self, latents: Tensor, timesteps: Sequence[float], first: int) -> tuple[int, Tensor]:
        del timesteps
        return max(first, self._steps), latents


class _Difference(PlainHook):
    """Records the share of tokens that differ from a donor's in the first step, and changes nothing."""

    def __init__(self, donor: Donor) -> None:
        self._tokens = ActiveTokens().bind([donor], [])
        self.share: float | None = None

    def velocity(self, velocity: Tensor, latents: Tensor, index: int, timestep: float) -> Tensor:
        del index
        if self.share is None:
            self.share = self._tokens.differing_share(velocity, latents, timestep)
        return velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One clip, judged; a line of the file."""

    pair: int
    kind: str
    donor: int
    is_layout: bool  # by the service's look-up
    plan: str
    evaluations: float  # of the model with guidance; an unguided step counts half, a sparse one its share
    seconds: float  # processor time on the CPU, by the clock elsewhere
    figures: Mapping[str, float]


@dataclass
class Study:
    """A model, its prompts and plans, and the folder of results."""

    model: VideoModel
    prompts: Prompts
    plans: Sequence[StudyPlan]
    judge: Judge
    folder: Path
    seed: int = 0
    tell: Callable[[int, str], object] = lambda done, text: None
    _donors: dict[int, tuple[Donor, Frames]] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The file of lines."""
        return self.folder / "clips.jsonl"

    @property
    def total(self) -> int:
        """How many clips there will be."""
        return len(self.prompts.pairs) * (1 + len(self.plans))

    def run(self, *, minutes: float = float("inf")) -> bool:
        """Make the missing clips until the time is over; return whether all are made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        end, made = perf_counter() + 60 * minutes, {(one.pair, one.plan) for one in read(self.file)}
        for number, pair in enumerate(self.prompts.pairs):
            missing = [plan for plan in self.plans if (number, plan.name) not in made]
            if not missing and (number, FULL) in made:
                continue
            if perf_counter() > end:
                return False
            self.tell(len(made), f"pair {number + 1} of {len(self.prompts.pairs)}, {pair.kind}")
            lines = list(self._pair(number, pair, missing))
            with self.file.open("a") as out:
                out.writelines(json.dumps(asdict(line)) + "\n" for line in lines)
            made |= {(line.pair, line.plan) for line in lines}
        return True

    def clips(self, number: int, names: Sequence[str]) -> dict[str, Frames]:
        """Make the clips of one pair again for viewing: the donor's, full mode's and those of plans."""
        pair = self.prompts.pairs[number]
        by_name = {plan.name: plan for plan in self.plans}
        found = {"donor": self._donor(pair.donor)[1], FULL: self._full(number, pair)[0]}
        return found | {name: self._clip(number, pair, by_name[name])[0] for name in names}

    def _pair(self, number: int, pair: Pair, plans: Sequence[StudyPlan]) -> Iterator[Made]:
        known = {"pair": number, "kind": pair.kind, "donor": pair.donor, "is_layout": pair.is_layout}
        about = partial(Made, **known)  # type: ignore[arg-type]  # its first four
        full, cost, seconds = self._full(number, pair)
        figures = self.judge(pair.prompt, full, full)
        yield about(plan=FULL, evaluations=cost, seconds=seconds, figures=figures)
        for plan in plans:
            clip, cost, seconds, more = self._clip(number, pair, plan)
            figures = {**self.judge(pair.prompt, clip, full), **more}
            yield about(plan=plan.name, evaluations=cost, seconds=seconds, figures=figures)

    def _full(self, number: int, pair: Pair) -> tuple[Frames, float, float]:
        sampling = Sampling(num_steps=self.card.full_steps, guidance_scale=self.card.guidance_scale)
        return self._sample(self._params(pair.prompt), sampling, self._own_seed(number), [])

    def _clip(self, number: int, pair: Pair, plan: StudyPlan) -> tuple[Frames, float, float, dict[str, float]]:
        params, sampling = self._params(pair.prompt), self._sampling(plan)
        seed, hooks = self._own_seed(number), list[StepHook]()
        lender = pair.unrelated if plan.donor == "unrelated" else pair.donor
        if plan.donor == "noise" or plan.options.get("noise") == "donor":
            seed = self._donor_seed(lender)
        if plan.reuse is not None:
            levels = self.model.timesteps(params, sampling)
            hooks += registry.bind(plan.reuse, plan.options, [self._donor(lender)[0]], levels)
        elif plan.skipped:
            hooks.append(_LeaveOut(plan.skipped))
        sparse = next((hook for hook in hooks if isinstance(hook, ActiveTokens)), None)
        watch = _Difference(self._donor(pair.donor)[0]) if plan.donor == "noise" else None
        hooks += [watch] if watch else []
        clip, cost, seconds = self._sample(params, sampling, seed, hooks, shares=sparse)
        more = {} if watch is None or watch.share is None else {"differing": watch.share}
        if sparse is not None:
            more["active"] = float(np.mean(sparse.shares))
        return clip, cost, seconds, more

    def _sample(
        self,
        params: GenerationParams,
        sampling: Sampling,
        seed: int,
        hooks: Sequence[StepHook],
        *,
        shares: ActiveTokens | None = None,
    ) -> tuple[Frames, float, float]:
        model, guidance = self.model, self.model.guidance(sampling)
        encoding = model.encode(params)
        model.finish()
        began, costs = self._now(), list[float]()
        for step in model.sample(encoding, params, sampling, seed=seed, hooks=hooks):
            costs.append(pace.evaluations(guidance[step.index : step.index + 1]))
            latents = step.latents
        model.finish()
        seconds = self._now() - began
        weights = shares.shares if shares is not None else [1.0] * len(costs)
        cost = sum(cost * weight for cost, weight in zip(costs, weights, strict=True))
        return model.decode(latents, params), cost, seconds

    def _donor(self, number: int) -> tuple[Donor, Frames]:
        """Return a donor with all latents that some plan reads, and its clip."""
        if number not in self._donors:
            params = self._params(self.prompts.donors[number])
            sampling = Sampling(num_steps=self.card.full_steps, guidance_scale=self.card.guidance_scale)
            recorder = Recorder(self._kept_steps, levels=self._entries, seed=self._donor_seed(number))
            clip, *_ = self._sample(params, sampling, self._donor_seed(number), [recorder])
            self._donors[number] = recorder.donor(), clip
        return self._donors[number]

    @cached_property
    def _entries(self) -> frozenset[float]:
        params = self._params(self.prompts.donors[0])
        named = [plan for plan in self.plans if plan.reuse]
        found = (
            registry.entry(plan.reuse or "", plan.options, self.model.timesteps(params, self._sampling(plan)))
            for plan in named
        )
        return frozenset(level for level in found if level is not None)

    @cached_property
    def _kept_steps(self) -> tuple[int, ...]:
        params = self._params(self.prompts.donors[0])
        reading = next((plan for plan in self.plans if plan.reuse == "cache_attention"), None)
        if reading is None:
            return ()
        full = Sampling(num_steps=self.card.full_steps, guidance_scale=self.card.guidance_scale)
        levels = (self.model.timesteps(params, sampling) for sampling in (full, self._sampling(reading)))
        return kept_steps(["nearest"], *levels)

    @property
    def card(self) -> ModelCard:
        """What requests may ask of the model."""
        return self.model.card

    def _params(self, prompt: str) -> GenerationParams:
        return request(self.card, prompt)

    def _sampling(self, plan: StudyPlan) -> Sampling:
        options = dict(plan.schedule)
        return Sampling(num_steps=plan.num_steps, guidance_scale=self.card.guidance_scale, options=options)

    def _own_seed(self, number: int) -> int:
        return 1_000_000 * (self.seed + 1) + number

    def _donor_seed(self, number: int) -> int:
        return 1_000_000 * (self.seed + 1) + 500_000 + number

    def _now(self) -> float:
        return process_time() if str(self.model.device) == "cpu" else perf_counter()


def read(file: Path) -> list[Made]:
    """Return the lines of a study so far, without one that a kill cut short, so that it is made again."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append(Made(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            continue
    return found
