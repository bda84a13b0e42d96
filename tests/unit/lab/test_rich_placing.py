"""Noise decides where things are: at the place that looks most like them, and never where they would touch."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lab.toy_world.rich.captions import Mix, sample_spec
from lab.toy_world.rich.painting import ROW, SCENE, THING, paint, row_of
from lab.toy_world.rich.placing import contrasts, placed
from lab.toy_world.rich.world import Layout, Spec, apart, draw_layout, starts, track_of
from lab.training.numbered_noise import numbered_noise
from worker.models.opensora.small_vae import SmallVAE

FOLDER = Path(__file__).resolve().parents[3] / "worker" / "cards" / "rich"
SHAPE = (16, 4, 12, 12)


@pytest.fixture(scope="module")
def vae() -> SmallVAE:
    """The one that ships: contrasts of random weights mean nothing."""
    loaded: SmallVAE = SmallVAE.from_pretrained(FOLDER / "vae").eval()
    return loaded


@pytest.fixture(scope="module")
def contrast(vae: SmallVAE) -> Tensor:
    return contrasts(vae)


def drawn(num: int, counts: tuple[float, float, float]) -> tuple[list[Spec], Tensor]:
    rng = np.random.default_rng(11)
    specs = [sample_spec(rng, mix=Mix(counts=counts, pans=0.5, turns=0.3)) for _ in range(num)]
    return specs, torch.from_numpy(np.stack([row_of(spec, draw_layout(spec, rng)) for spec in specs]))


def layout_of(spec: Spec, row: Tensor) -> Layout:
    boxes = row[SCENE:].reshape(-1, THING)[: len(spec.things), 2:4]
    return Layout(places=tuple((int(top), int(left)) for top, left in boxes))


def test_things_lie_inside_and_never_touch(contrast: Tensor) -> None:
    specs, rows = drawn(200, (0.2, 0.3, 0.5))
    found = placed(rows, numbered_noise(torch.arange(200), SHAPE, seed=1), contrast)

    moved = 0
    for spec, row, before in zip(specs, found, rows, strict=True):
        layout = layout_of(spec, row)
        assert torch.equal(torch.from_numpy(row_of(spec, layout)).long(), row)  # nothing but places has changed
        moved += not torch.equal(row, before.long())
        tracks = [track_of(thing, spec.camera) for thing in spec.things]
        for track, place in zip(tracks, layout.places, strict=True):
            assert (starts(track) == place).all(axis=1).any()
        for (one, place), (other, there) in combinations(zip(tracks, layout.places, strict=True), 2):
            assert apart(one, np.array([place]), other, there)[0]
    assert moved > 190


def test_the_same_noise_gives_the_same_places_and_other_noise_others(contrast: Tensor) -> None:
    _, rows = drawn(60, (0.4, 0.3, 0.3))
    noise, other = (numbered_noise(torch.arange(60), SHAPE, seed=seed) for seed in (1, 2))

    first = placed(rows, noise, contrast)
    assert torch.equal(first, placed(first, noise, contrast))  # wherever the things were before
    assert (first != placed(rows, other, contrast)).any(1).float().mean() > 0.9


def test_a_thing_goes_where_the_noise_shows_it(vae: SmallVAE, contrast: Tensor) -> None:
    specs, rows = drawn(40, (1, 0, 0))
    bare = rows.clone()
    bare[:, SCENE:] = 0
    shows = vae.encode(paint(rows)) - vae.encode(paint(bare))

    found = placed(rows, 0.5 * shows + numbered_noise(torch.arange(40), SHAPE, seed=3), contrast)

    gaps = [
        max(abs(a - b) for a, b in zip(*(layout_of(spec, at).places[0] for at in (row, wanted)), strict=True))
        for spec, row, wanted in zip(specs, found, rows, strict=True)
    ]
    assert np.median(gaps) <= 4  # one place of the grid
    blind = placed(rows, numbered_noise(torch.arange(40), SHAPE, seed=3), contrast)
    assert (blind != found).any(1).float().mean() > 0.5


def test_clips_lie_nearer_to_noise_that_laid_them_out(vae: SmallVAE, contrast: Tensor) -> None:
    _, rows = drawn(64, (0, 1, 0))
    noise = numbered_noise(torch.arange(64), SHAPE, seed=4)
    ours, others = (vae.encode(paint(each)) for each in (placed(rows, noise, contrast), rows))

    shown = ((ours - others) * noise).flatten(1).sum(1)
    assert shown.mean() > 5 * shown.std() / 64**0.5


def test_a_clip_without_things_stays(contrast: Tensor) -> None:
    rows = torch.zeros(2, ROW, dtype=torch.long)

    assert torch.equal(placed(rows, numbered_noise(torch.arange(2), SHAPE, seed=1), contrast), rows)


def test_noise_has_a_number_and_is_normal() -> None:
    noise = numbered_noise(torch.tensor([7, 0, 7, 5_000_000_000]), (3, 100, 100), seed=2)

    assert noise.dtype == torch.float32
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise[1], numbered_noise(torch.tensor([0]), (3, 100, 100), seed=2)[0])
    assert not torch.equal(noise[0], numbered_noise(torch.tensor([7]), (3, 100, 100), seed=3)[0])
    some = noise[[0, 1, 3]].flatten(1).double()
    assert torch.allclose(some.mean(1), torch.zeros(3, dtype=torch.double), atol=0.03)
    assert torch.allclose(some.var(1), torch.ones(3, dtype=torch.double), atol=0.04)
    assert torch.allclose(some.pow(4).mean(1), torch.full((3,), 3.0, dtype=torch.double), atol=0.25)
    assert abs(torch.corrcoef(some) - torch.eye(3)).max() < 0.03
    assert abs(torch.corrcoef(torch.stack([some[0, :-1], some[0, 1:]]))[0, 1]) < 0.03
