"""Donors of donors: what a fast run is worth if its donor is itself a fast run, on the small model.

    python -m lab.experiments.chains --chains 60

A chain begins with a full run; each later run shares scene, thing or both with the first and borrows from the one
before it. Then the same prompts with the same noise borrow from every link, so that differences are paired.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np

from lab.experiments.evaluate import load_model
from lab.experiments.experiment import Model
from lab.experiments.scores import difference
from lab.toy_world.captions import Caption, caption_of, sample_captions, share_both, share_object, share_scene
from lab.toy_world.checker import Verdict, check
from lab.toy_world.world import NUM_FRAMES, SIDE
from worker.models.opensora.schedule import Schedule
from worker.models.video_model import StepHook
from worker.reuse import registry as ways
from worker.reuse.donor import Donor
from worker.reuse.recorder import PAPER_STEPS, Recorder, kept_steps

SHARES = (share_scene, share_object, share_both)
WAY, OPTIONS = "cache_attention", {"steps": list(PAPER_STEPS)}
NUM_STEPS, NUM_ASKED = 8, 2  # of a fast run; prompts per chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Makes full and fast runs of a model."""

    model: Model
    fast: Schedule
    full_times: Sequence[float]
    fast_times: Sequence[float]

    def full(self, caption: Caption, seed: int) -> Donor:
        """Make a full run and return the donor that it leaves."""
        return self._run(caption, self.model.full_schedule, seed, [], self.full_times)[0]

    def borrowing(self, caption: Caption, seed: int, donor: Donor | None) -> tuple[Donor, Verdict]:
        """Make a fast run, and return the donor that it would leave and the verdict on its clip."""
        hooks = [] if donor is None else ways.bind(WAY, OPTIONS, [donor], self.fast_times)
        return self._run(caption, self.fast, seed, hooks, self.fast_times)

    def _run(
        self, caption: Caption, schedule: Schedule, seed: int, hooks: Sequence[StepHook], times: Sequence[float]
    ) -> tuple[Donor, Verdict]:
        recorder = Recorder(kept_steps(["nearest"], times, self.fast_times), seed=seed)
        pipeline = self.model.pipeline
        *_, last = pipeline.steps([caption.text], schedule, seed=[seed], hooks=[*hooks, recorder])
        return recorder.donor(), check(pipeline.decode(last.latents[0], NUM_FRAMES), caption.spec)


def runs_of(folder: Path) -> Runs:
    """Return the runs of the model in a folder."""
    model = load_model(folder)
    fast, size = model.pipeline.schedule(NUM_STEPS, model.guidance_scale), (SIDE, SIDE, NUM_FRAMES)
    return Runs(
        model=model, fast=fast, full_times=model.full_schedule.timesteps(*size), fast_times=fast.timesteps(*size)
    )


def judged(runs: Runs, captions: Sequence[Caption], depth: int, rng: np.random.Generator) -> Iterator[list[Verdict]]:
    """Yield, for each prompt, verdicts without a donor and then with each link of its chain as donor."""
    for number, first in enumerate(captions):
        share = SHARES[number % len(SHARES)]
        chain = [runs.full(first, 1_000 + number)]
        for link in range(1, depth + 1):
            caption = caption_of(share(first.spec, rng), rng)
            chain.append(runs.borrowing(caption, 2_000 + 10 * number + link, chain[-1])[0])
        for asked in range(NUM_ASKED):
            caption = caption_of(share(first.spec, rng), rng)
            yield [runs.borrowing(caption, 5_000 + 10 * number + asked, donor)[1] for donor in (None, *chain)]


def main() -> None:
    """Print accuracy and distance by the donor's number of links from a full run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=Path("worker/cards/small"))
    parser.add_argument("--chains", type=int, default=60)
    parser.add_argument("--depth", type=int, default=3, help="fast runs behind a full one")
    asked = parser.parse_args()
    captions = sample_captions(77, asked.chains, pairs=0.2)
    found = list(judged(runs_of(asked.model), captions, asked.depth, np.random.default_rng(5)))
    names = ["no donor", "full run", *(f"{link} fast runs away" for link in range(1, asked.depth + 1))]
    print(f"{len(found)} prompts; differences to the full run as donor")
    for (place, name), figure in product(enumerate(names), ("accuracy", "prompt_distance")):
        ours, full = ([getattr(row[at], figure) for row in found] for at in (place, 1))
        print(f"{name:18} {figure:16} {fmean(ours):.4f}  {difference(ours, full)}")


if __name__ == "__main__":
    main()
