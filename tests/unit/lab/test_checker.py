"""The analytic checker on real, noisy, changed and wrong clips."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lab.toy_world.captions import sample_captions
from lab.toy_world.checker import ATTRIBUTES, check, compare, project
from lab.toy_world.world import (
    Clip,
    Colour,
    Motion,
    Scene,
    Shape,
    Size,
    Spec,
    Texture,
    Thing,
    draw_layout,
    render,
)

BALL = Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.RIGHT)
BOX = Thing(shape=Shape.SQUARE, size=Size.SMALL, colour=Colour.BLUE, motion=Motion.STILL)
WALL = Scene(colour=Colour.GREEN, texture=Texture.STRIPED)
SPEC = Spec(things=(BALL,), scene=WALL)
CAPTIONS = sample_captions(11, 30, pairs=0.4)


def clip_of(spec: Spec, seed: int = 0) -> Clip:
    return render(spec, draw_layout(spec, np.random.default_rng(seed)))


def noisy(clip: Clip, sigma: float, seed: int = 0) -> Clip:
    noise = np.random.default_rng(seed).normal(0, 255 * sigma, clip.shape)
    return np.clip(clip + noise, 0, 255).round().astype(np.uint8)


def test_a_real_clip_shows_everything_and_lies_on_the_manifold() -> None:
    for i, caption in enumerate(CAPTIONS):
        verdict = check(clip_of(caption.spec, i), caption.spec)
        assert verdict.accuracy == 1
        assert verdict.prompt_distance == verdict.manifold_distance < 0.002  # rounding to 8 bits


def test_noise_of_a_tenth_changes_no_verdict() -> None:
    for i, caption in enumerate(CAPTIONS):
        verdict = check(noisy(clip_of(caption.spec, i), 0.1, i), caption.spec)
        assert verdict.accuracy == 1
        assert 0.07 < verdict.manifold_distance < 0.1  # the noise itself, less what is clipped


def test_shuffled_captions_score_near_chance() -> None:
    asked = CAPTIONS[1:] + CAPTIONS[:1]

    verdicts = [check(clip_of(shown.spec), other.spec) for shown, other in zip(CAPTIONS, asked, strict=True)]

    assert np.mean([verdict.accuracy for verdict in verdicts]) < 0.4
    assert np.mean([verdict.prompt_distance for verdict in verdicts]) > 0.2
    assert all(verdict.prompt_distance >= verdict.manifold_distance for verdict in verdicts)


def test_the_projection_finds_the_layout_too() -> None:
    for i, caption in enumerate(CAPTIONS[:10]):
        clip = clip_of(caption.spec, i)
        found = project(clip)
        assert np.array_equal(render(found.spec, found.layout), clip)


@pytest.mark.parametrize(
    ("attribute", "shown"),
    [
        ("colour", Spec(things=(replace(BALL, colour=Colour.WHITE),), scene=WALL)),
        ("shape", Spec(things=(replace(BALL, shape=Shape.CROSS),), scene=WALL)),
        ("size", Spec(things=(replace(BALL, size=Size.SMALL),), scene=WALL)),
        ("motion", Spec(things=(replace(BALL, motion=Motion.STILL),), scene=WALL)),
        ("scene", Spec(things=(BALL,), scene=replace(WALL, colour=Colour.YELLOW))),
        ("texture", Spec(things=(BALL,), scene=replace(WALL, texture=Texture.BARRED))),
    ],
)
def test_one_wrong_attribute_is_the_only_one_that_fails(attribute: str, shown: Spec) -> None:
    verdict = check(clip_of(shown), SPEC)

    assert [name for name in ATTRIBUTES if not verdict.attributes[name]] == [attribute]
    assert verdict.prompt_distance > 0.05


def test_a_missing_thing_fails_the_count_and_every_attribute_of_things() -> None:
    verdict = check(clip_of(SPEC), Spec(things=(BALL, BOX), scene=WALL))

    assert [name for name in ATTRIBUTES if verdict.attributes[name]] == ["scene", "texture"]


def test_a_thing_that_is_drawn_twice_fails_the_count_and_every_attribute_of_things() -> None:
    twice = clip_of(Spec(things=(BALL, BALL), scene=WALL))

    verdict = check(twice, SPEC)

    assert [name for name in ATTRIBUTES if verdict.attributes[name]] == ["scene", "texture"]
    assert verdict.shown.things == (BALL, BALL)


def test_the_order_of_two_things_does_not_matter() -> None:
    assert all(compare(Spec(things=(BOX, BALL), scene=WALL), Spec(things=(BALL, BOX), scene=WALL)).values())


def test_attributes_swapped_between_two_things_fail() -> None:
    swapped = (replace(BALL, colour=Colour.BLUE), replace(BOX, colour=Colour.RED))

    verdict = compare(Spec(things=swapped, scene=WALL), Spec(things=(BALL, BOX), scene=WALL))

    assert not verdict["colour"]
    assert verdict["shape"]


def test_noise_alone_is_far_from_every_clip() -> None:
    static = np.random.default_rng(0).integers(0, 256, clip_of(SPEC).shape, dtype=np.uint8)

    assert project(static).distance > 0.25


def test_a_clip_of_another_size_is_refused() -> None:
    message = "clip has shape (8, 16, 16, 3); the world draws (8, 32, 32, 3)"

    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        project(np.zeros((8, 16, 16, 3), dtype=np.uint8))
