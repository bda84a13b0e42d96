"""Paired differences, leakage, Fréchet distance and the Pareto front, against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lab.experiments.report import front
from lab.experiments.scores import difference, features, frechet, leaks
from lab.toy_world.captions import sample_captions
from lab.toy_world.world import Colour, Motion, Scene, Shape, Size, Spec, Texture, Thing, draw_layout, render

ASKED = Spec(
    things=(Thing(shape=Shape.CIRCLE, size=Size.SMALL, colour=Colour.RED, motion=Motion.LEFT),),
    scene=Scene(colour=Colour.BLUE, texture=Texture.PLAIN),
)
LENT = Spec(
    things=(Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.UP),),
    scene=Scene(colour=Colour.GREEN, texture=Texture.PLAIN),
)


def clips(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [render(caption.spec, draw_layout(caption.spec, rng)) for caption in sample_captions(seed, count)]


def test_a_difference_is_the_mean_gap_with_its_standard_error() -> None:
    found = difference([1.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.5, 0.5])

    assert found.mean == 0.25
    assert found.error == pytest.approx(np.std([0.5, 0, 0, 0.5], ddof=1) / 2)
    assert found.interval == pytest.approx((0.25 - 1.96 * found.error, 0.25 + 1.96 * found.error))


def test_values_without_partners_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^3 and 2 values are no pairs$"):
        difference([1, 1, 1], [1, 1])


def test_the_error_of_paired_differences_is_not_that_of_the_means() -> None:
    noise = np.random.default_rng(0).normal(size=200)

    assert difference(list(noise + 0.1), list(noise)).error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (ASKED, [False, False, False]),  # size, motion and scene colour differ between donor and prompt
        (LENT, [True, True, True]),
        (replace(ASKED, scene=LENT.scene), [False, False, True]),
        (replace(ASKED, things=(replace(ASKED.things[0], motion=Motion.DOWN),)), [False, False, False]),  # wrong alone
    ],
)
def test_a_leak_is_the_donors_value_where_the_prompt_has_another(shown: Spec, expected: list[bool]) -> None:
    assert leaks(shown, ASKED, LENT) == expected


def test_a_donor_of_the_same_spec_cannot_leak() -> None:
    assert leaks(LENT, ASKED, ASKED) == []


def test_the_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    rng = torch.Generator().manual_seed(0)
    ours = torch.randn(200_000, 2, generator=rng).double() * torch.tensor([1.0, 2.0])
    real = torch.randn(200_000, 2, generator=rng).double() * torch.tensor([3.0, 2.0]) + torch.tensor([1.0, 0.0])

    assert frechet(ours, real) == pytest.approx(1 + (3 - 1) ** 2, rel=0.02)  # |m - n|^2 + sum of (s - t)^2


def test_clips_of_the_world_are_nearer_to_each_other_than_to_noisy_ones() -> None:
    ours, others = clips(1, 96), clips(2, 96)
    rng = np.random.default_rng(3)
    noisy = [np.clip(clip + rng.normal(0, 40, clip.shape), 0, 255).astype(np.uint8) for clip in others]

    real = features(others)

    assert frechet(features(ours), real) < frechet(features(noisy), real) / 3


def test_the_front_holds_what_nothing_cheaper_reaches() -> None:
    points = [(8.0, 0.9), (2.0, 0.5), (4.0, 0.9), (3.0, 0.4), (30.0, 0.95), (4.0, 0.8)]

    assert front(points) == [1, 2, 4]
