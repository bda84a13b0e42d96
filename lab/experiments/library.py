"""Full runs that serve as donors, and the look-up that finds them: the cache of an evaluation, in memory.

The decisions are the service's own (extraction, similarity, conflicts, choice of donor); only the search is a matrix
product (`worker/quality/index.py`) instead of a query.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import process_time
from typing import Any

import torch
from torch import Tensor

from lab.toy_world.world import Clip
from lab.toy_world.worlds import Caption
from worker.cache.decisions.match_settings import MatchSettings
from worker.models.embedder import Embedder
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.schedule import Schedule
from worker.models.video_model import Step
from worker.prompts.entities import whole_prompt
from worker.quality.index import Index
from worker.reuse.donor import Donor
from worker.reuse.recorder import Recorder, kept_steps

BATCH = 16  # clips sampled together; more gains nothing on a CPU

Trajectory = Sequence[tuple[float, Tensor]]  # (timestep, latent), (1000, noise) first, (0, clean) last
Progress = Callable[[int], object]  # called with the number of clips made


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRun:
    """A finished run of full mode."""

    caption: Caption
    seed: int
    trajectory: Trajectory  # every latent (1, C, T, H, W), the noise first
    clip: Clip
    seconds: float  # processor time

    @property
    def noise(self) -> Tensor:
        """The initial noise (1, C, T, H, W)."""
        return self.trajectory[0][1]

    @property
    def clean(self) -> Tensor:
        """The finished latent (1, C, T, H, W)."""
        return self.trajectory[-1][1]


def full_runs(
    pipeline: ChaiPipeline,
    captions: Sequence[Caption],
    seeds: Sequence[int],
    schedule: Schedule,
    progress: Progress | None = None,
) -> list[FullRun]:
    """Run full mode for every caption, keeping every latent."""
    runs: list[FullRun] = []
    for start in range(0, len(captions), BATCH):
        runs += _full_runs(pipeline, captions[start : start + BATCH], seeds[start : start + BATCH], schedule)
        if progress is not None:
            progress(min(BATCH, len(captions) - start))
    return runs


def _full_runs(
    pipeline: ChaiPipeline, captions: Sequence[Caption], seeds: Sequence[int], schedule: Schedule
) -> Iterator[FullRun]:
    config: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    began = process_time()
    noise = pipeline.noise(seeds).float()
    latents = [(1000.0, noise)]
    for step in pipeline.steps([caption.text for caption in captions], schedule, noise=noise):
        latents.append((step.next_timestep, step.latents))
    seconds = (process_time() - began) / len(captions)
    for i, (caption, seed) in enumerate(zip(captions, seeds, strict=True)):
        yield FullRun(
            caption=caption,
            seed=seed,
            trajectory=[(timestep, latent[i : i + 1].clone()) for timestep, latent in latents],
            clip=pipeline.decode(latents[-1][1][i], config.num_frames),
            seconds=seconds,
        )


def whole_prompts(embedder: Embedder, settings: MatchSettings) -> Index:
    """An index over whole prompts."""
    return Index(embedder, settings=settings, read=whole_prompt)


def recorded(run: FullRun, keep: Sequence[str], fast: Sequence[float]) -> Donor:
    """Return what the service's recorder would have kept of a run.

    `keep` is as for the recorder; `fast` are the timesteps of the runs that will use the donor.
    """
    full = [timestep for timestep, _ in run.trajectory[:-1]]
    recorder = Recorder(kept_steps(keep, full, fast), seed=run.seed)
    for index, ((timestep, entered), (next_timestep, latents)) in enumerate(pairwise(run.trajectory)):
        step = Step(
            index=index,
            num_steps=len(full),
            timestep=timestep,
            next_timestep=next_timestep,
            entered=entered,
            latents=latents,
            velocity=latents,  # not read by any recorder
        )
        recorder.finished(step)
    return recorder.donor()


def noise_run(run: FullRun, seed: int) -> FullRun:
    """A run with pure noise of another seed in place of each latent: the control for "any donor helps"."""
    noise = torch.randn(run.clean.shape, generator=torch.Generator().manual_seed(seed))
    return replace(run, trajectory=[(timestep, noise) for timestep, _ in run.trajectory])
