"""What a namespace may ask of a full run on top of its latents: where each entity is, and how far fast steps err."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from worker.models.opensora.caption import append_scores, prepare_caption
from worker.models.opensora.sampler import Caption, Conditioning, Step, Velocity
from worker.models.opensora.schedule import Schedule
from worker.reuse.recorder import Recorder, entity_masks, step_residuals
from worker.reuse.registry import kept_steps
from worker.reuse.ways import Donor

MASKS, RESIDUALS = "masks", "residuals"


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRun:
    """A full run that is over, and what it was given."""

    pipeline: Any  # ChaiPipeline, whose parts diffusers leaves untyped
    prompt: str
    caption: Caption
    conditioning: Conditioning
    noise: Tensor  # (1, C, T, H, W)
    steps: Sequence[Step]  # all of them for residuals, else the last will do


@dataclass(slots=True, kw_only=True)
class Recording:
    """Watches a full run and says what it leaves behind."""

    pipeline: Any  # ChaiPipeline
    prompt: str
    caption: Caption
    conditioning: Conditioning
    noise: Tensor  # (1, C, T, H, W)
    seed: int
    full: Schedule
    fast: Schedule  # of the runs that will use the donor
    keep: Sequence[str]  # see `methods.kept_steps` and `extras`
    entities: Mapping[str, str]  # text → head noun
    _recorder: Recorder = field(init=False)
    _steps: list[Step] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        full, fast = (self.conditioning.timesteps(self.pipeline.transformer, s) for s in (self.full, self.fast))
        self._recorder = Recorder(kept_steps(self.keep, full, fast), seed=self.seed)

    def add(self, step: Step) -> None:
        """Take note of a finished step."""
        self._recorder.add(step)
        if RESIDUALS not in self.keep:
            self._steps.clear()  # only residuals need the way; the last step is enough for the rest
        self._steps.append(step)

    def donor(self) -> Donor:
        """Return the run as a donor, after its last step."""
        run = FullRun(
            pipeline=self.pipeline,
            prompt=self.prompt,
            caption=self.caption,
            conditioning=self.conditioning,
            noise=self.noise,
            steps=self._steps,
        )
        return self._recorder.donor(extras(run, self.keep, self.entities, self.fast))


def extras(run: FullRun, keep: Sequence[str], entities: Mapping[str, str], fast: Schedule) -> dict[str, Tensor]:
    """Return the named tensors that `keep` asks for.

    Args:
        run: the finished run.
        keep: may hold `masks` (one more forward) and `residuals` (one forward a step of `fast`).
        entities: text → head noun of each entity of the prompt; fewer than two found in the caption give no masks.
        fast: the schedule whose step errors are wanted.
    """
    found: dict[str, Tensor] = {}
    if MASKS in keep:
        found |= _masks(run, entities)
    if RESIDUALS in keep:
        found |= _residuals(run, fast)
    return found


def token_positions(tokenizer: Any, text: str, phrase: str, head: str) -> tuple[int, ...]:
    """Return where a phrase's tokens are in a tokenised text; its head noun alone when the whole is not to be found.

    The phrase is as `worker.cache` keeps it, its last noun in the singular; the text may say it in the plural.
    """
    for words in (phrase.split(), [head]):
        pattern = r"\b" + r"\W+".join(map(re.escape, words)) + r"\w{0,3}\b"
        if place := re.search(pattern, text.lower()):
            offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
            start, stop = place.span()
            return tuple(i for i, (a, b) in enumerate(offsets) if a < b and start < b and a < stop)
    return ()


def _masks(run: FullRun, entities: Mapping[str, str]) -> dict[str, Tensor]:
    text = prepare_caption(append_scores(run.prompt, aesthetic=run.pipeline.config.aesthetic_score))
    num_tokens = int(run.caption.mask.sum()) if run.caption.mask is not None else run.caption.embeds.shape[2]
    tokenizer = run.pipeline.tokenizer
    places = {
        name: tuple(i for i in token_positions(tokenizer, text, name, head) if i < num_tokens)
        for name, head in entities.items()
    }
    known = {name: place for name, place in places.items() if place}
    if len(known) < 2:
        return {}
    clean = run.steps[-1].latents
    transformer = run.pipeline.transformer
    return entity_masks(transformer, run.caption, run.conditioning, clean, run.noise.float(), known)


def _residuals(run: FullRun, fast: Schedule) -> dict[str, Tensor]:
    transformer = run.pipeline.transformer
    predict = Velocity(transformer, run.caption, run.conditioning)
    trajectory = [(run.steps[0].timestep, run.noise.float())]
    trajectory += [(step.next_timestep, step.latents) for step in run.steps]
    timesteps = run.conditioning.timesteps(transformer, fast)
    return step_residuals(predict, trajectory, fast, timesteps)
