"""How well a pipeline follows captions, by the analytic checker of its world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.toy_world.checker import check
from lab.toy_world.world import Clip
from lab.toy_world.worlds import Caption, Verdict
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.schedule import Schedule

Check = Callable[[Clip, Any], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Means over clips."""

    num_clips: int
    attributes: dict[str, float]  # share of clips that show the attribute as asked, by name
    manifold_distance: float
    prompt_distance: float

    @property
    def mean(self) -> float:
        """Mean over attributes."""
        return sum(self.attributes.values()) / len(self.attributes)


def sample(pipeline: ChaiPipeline, prompts: Sequence[str], schedule: Schedule, *, seed: int = 0) -> list[Clip]:
    """One clip for each prompt, all in one batch; prompt number i starts from the noise of seed + i."""
    seeds = [seed + i for i in range(len(prompts))]
    *_, last = pipeline.steps(prompts, schedule, seed=seeds)
    config: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    return [pipeline.decode(latents, config.num_frames) for latents in last.latents]


def judge(clips: Sequence[Clip], captions: Sequence[Caption], check: Check = check) -> list[Verdict]:
    """The checker's verdict on each clip; the checker is that of the small world unless another is given."""
    return [check(clip, caption.spec) for clip, caption in zip(clips, captions, strict=True)]


def accuracy(verdicts: Sequence[Verdict]) -> Accuracy:
    """The means of verdicts."""
    return Accuracy(
        num_clips=len(verdicts),
        attributes={
            name: float(np.mean([verdict.attributes[name] for verdict in verdicts])) for name in verdicts[0].attributes
        },
        manifold_distance=float(np.mean([verdict.manifold_distance for verdict in verdicts])),
        prompt_distance=float(np.mean([verdict.prompt_distance for verdict in verdicts])),
    )


def measure(
    pipeline: ChaiPipeline,
    captions: Sequence[Caption],
    schedule: Schedule,
    *,
    seed: int = 0,
    batch_size: int = 16,
    check: Check = check,
) -> Accuracy:
    """Sample a clip for every caption and judge it."""
    verdicts: list[Verdict] = []
    for start in range(0, len(captions), batch_size):
        part = captions[start : start + batch_size]
        clips = sample(pipeline, [caption.text for caption in part], schedule, seed=seed + start)
        verdicts += judge(clips, part, check)
    return accuracy(verdicts)
