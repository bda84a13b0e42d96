"""Drawing many clips at once gives what drawing them one by one gives."""

import numpy as np
import torch
from einops import rearrange

from lab.toy_world.captions import Split
from lab.toy_world.rich.captions import Mix, sample_spec
from lab.toy_world.rich.drawing import render
from lab.toy_world.rich.painting import paint, row_of
from lab.toy_world.rich.world import Camera, draw_layout


def test_clips_are_painted_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    mix = Mix(counts=(0.2, 0.3, 0.5), turns=0.5, pans=0.6)
    specs = [sample_spec(rng, split, mix=mix) for split in Split for _ in range(8)]
    layouts = [draw_layout(spec, rng) for spec in specs]
    expected = np.stack([render(*both) for both in zip(specs, layouts, strict=True)])
    assert {len(spec.things) for spec in specs} == {1, 2, 3}
    assert {spec.camera for spec in specs} == set(Camera)

    rows = np.stack([row_of(*both) for both in zip(specs, layouts, strict=True)])
    painted = (paint(torch.from_numpy(rows)) + 1) * 127.5

    assert np.array_equal(rearrange(painted.round().numpy(), "b c t h w -> b t h w c"), expected)
