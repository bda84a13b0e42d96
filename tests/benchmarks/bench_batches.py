"""Whether jobs of equal shape would gain by sharing a batch: a step of several prompts against one after the other."""

import json
import statistics
import time
from dataclasses import dataclass

import pytest
import torch

from lab.benchmarks.engine import Request, build
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import letter_tokenizer, stdit3_small_config, stdit3_xl2_config
from worker.models.opensora.stdit3 import STDiT3

pytestmark = pytest.mark.bench

PROMPTS = ("a red fox", "a blue boat on a lake", "a dog", "two cats asleep on a green sofa")
NUM_STEPS, ROUNDS = 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is run: the width of the network, pixels and frames."""

    width: int
    side: int
    num_frames: int

    def pipeline(self) -> ChaiPipeline:
        """Return the small pipeline, at the released width with a network of its own."""
        request = Request(preset="small", height=self.side, width=self.side, num_frames=self.num_frames, steps=(1,))
        pipeline = build(request, torch.device("cpu"))
        if self.width != stdit3_small_config()["hidden_size"]:
            own, wide = pipeline.transformer.config, stdit3_xl2_config()
            same = {name: own[name] for name in ("in_channels", "caption_channels", "model_max_length")}
            transformer = STDiT3(**{**wide, **same, "depth": 1}).requires_grad_(False).eval()
            pipeline = ChaiPipeline(
                transformer, pipeline.vae, pipeline.text_encoder, letter_tokenizer(), time_shift="none", fps=8
            )
        return pipeline


SHAPES = {
    "small, an image": Shape(width=128, side=32, num_frames=1),
    "small, a clip": Shape(width=128, side=32, num_frames=8),
    "small, a larger clip": Shape(width=128, side=64, num_frames=16),
    "released width, an image": Shape(width=1152, side=32, num_frames=1),
    "released width, a clip": Shape(width=1152, side=32, num_frames=8),
}


def step_s(pipeline: ChaiPipeline, shape: Shape, prompts: tuple[str, ...]) -> float:
    """Return the processor seconds of a guided step of all these prompts in one batch."""
    caption = pipeline.encode_prompt(list(prompts))
    size = {"height": shape.side, "width": shape.side, "num_frames": shape.num_frames}
    steps = pipeline.steps(caption, pipeline.schedule(NUM_STEPS), **size, seed=list(range(len(prompts))))
    next(steps)  # reads the captions
    began = time.process_time()
    for _ in steps:
        pass
    return (time.process_time() - began) / (NUM_STEPS - 1)


@pytest.mark.parametrize("name", SHAPES)
def test_steps_of_equal_jobs_in_one_batch(name: str) -> None:
    torch.set_num_threads(1)
    shape = SHAPES[name]
    pipeline = shape.pipeline()
    ratios: dict[int, list[float]] = {2: [], 4: []}
    alone_s = []
    for _ in range(1 + ROUNDS):  # in turn: the machine's load moves
        each = [step_s(pipeline, shape, (prompt,)) for prompt in PROMPTS]
        alone_s.append(statistics.mean(each))
        for count in ratios:
            ratios[count].append(step_s(pipeline, shape, PROMPTS[:count]) / sum(each[:count]))

    found = {count: round(statistics.median(rounds[1:]), 3) for count, rounds in ratios.items()}
    print(f"\n  {name}: a step alone {1e3 * statistics.median(alone_s[1:]):.1f} ms; in a batch of 2 and 4 {found}")
    print(json.dumps({"benchmark": "batches", "shape": name, "of_one_after_the_other": found}))
