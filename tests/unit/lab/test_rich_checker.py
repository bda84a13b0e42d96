"""The checker of the rich world on real, noisy, changed and wrong clips."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lab.toy_world.rich.captions import sample_captions
from lab.toy_world.rich.checker import ATTRIBUTES, OF_THINGS, Setting, Shown, check, compare
from lab.toy_world.rich.drawing import render
from lab.toy_world.rich.world import (
    Camera,
    Clip,
    Colour,
    Layout,
    Light,
    Motion,
    Scene,
    Shape,
    Size,
    Spec,
    Speed,
    Texture,
    Thing,
    draw_layout,
)

BALL = Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.RIGHT, speed=Speed.SLOW)
BOX = Thing(shape=Shape.SQUARE, size=Size.SMALL, colour=Colour.BLUE, motion=Motion.STILL, speed=None)
WALL = Scene(colour=Colour.GREEN, texture=Texture.BRICK)
SPEC = Spec(things=(BALL,), scene=WALL)
BOTH = Spec(things=(BALL, BOX), scene=WALL)
CAPTIONS = sample_captions(11, 12)


def clip_of(spec: Spec, seed: int = 0) -> Clip:
    return render(spec, draw_layout(spec, np.random.default_rng(seed)))


def noisy(clip: Clip, sigma: float, seed: int = 0) -> Clip:
    noise = np.random.default_rng(seed).normal(0, 255 * sigma, clip.shape)
    return np.clip(clip + noise, 0, 255).round().astype(np.uint8)


def test_a_real_clip_shows_everything_and_lies_on_the_manifold() -> None:
    for i, caption in enumerate(CAPTIONS):
        verdict = check(clip_of(caption.spec, i), caption.spec)
        assert verdict.accuracy == 1, (caption.text, verdict.shown)
        assert verdict.manifold_distance < 0.003  # rounding to 8 bits, and of sums in float32
        assert verdict.prompt_distance == pytest.approx(verdict.manifold_distance, abs=1e-3)


def test_noise_of_a_tenth_changes_no_verdict() -> None:
    for i, caption in enumerate(CAPTIONS[:6]):
        verdict = check(noisy(clip_of(caption.spec, i), 0.1, i), caption.spec)
        assert verdict.accuracy == 1
        assert 0.07 < verdict.manifold_distance < 0.1  # the noise itself, less what is clipped


def test_shuffled_captions_score_near_chance() -> None:
    asked = CAPTIONS[1:] + CAPTIONS[:1]

    verdicts = [check(clip_of(shown.spec), other.spec) for shown, other in zip(CAPTIONS, asked, strict=True)]

    assert np.mean([verdict.accuracy for verdict in verdicts]) < 0.3
    assert np.mean([verdict.prompt_distance for verdict in verdicts]) > 0.15


def test_the_layout_is_found_too_so_that_the_clip_can_be_drawn_again() -> None:
    for i, caption in enumerate(CAPTIONS[:4]):
        clip = clip_of(caption.spec, i)
        shown = check(clip, SPEC).shown
        setting = shown.setting
        again = Spec(things=shown.things, scene=setting.scene, light=setting.light, camera=setting.camera)
        assert np.array_equal(render(again, shown.layout), clip)


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"colour"}, Spec(things=(replace(BALL, colour=Colour.WHITE),), scene=WALL)),
        ({"shape"}, Spec(things=(replace(BALL, shape=Shape.RING),), scene=WALL)),
        ({"size"}, Spec(things=(replace(BALL, size=Size.SMALL),), scene=WALL)),
        ({"motion"}, Spec(things=(replace(BALL, motion=Motion.UP),), scene=WALL)),
        ({"speed"}, Spec(things=(replace(BALL, speed=Speed.FAST),), scene=WALL)),
        ({"motion", "speed"}, Spec(things=(replace(BALL, motion=Motion.STILL, speed=None),), scene=WALL)),
        ({"scene"}, Spec(things=(BALL,), scene=replace(WALL, colour=Colour.YELLOW))),
        ({"turn"}, Spec(things=(BALL,), scene=replace(WALL, turns=Colour.PURPLE))),
        ({"texture"}, Spec(things=(BALL,), scene=replace(WALL, texture=Texture.WAVY))),
        ({"light"}, replace(SPEC, light=Light.LEFT)),
        ({"camera"}, replace(SPEC, camera=Camera.LEFT)),  # the ball moves in the world as before
    ],
)
def test_what_is_wrong_is_all_that_fails(attributes: set[str], shown: Spec) -> None:
    verdict = check(clip_of(shown), SPEC)

    assert {name for name in ATTRIBUTES if not verdict.attributes[name]} == attributes
    assert verdict.prompt_distance > 0.02


def test_a_missing_thing_fails_the_count_and_every_attribute_of_things() -> None:
    verdict = check(clip_of(SPEC), BOTH)

    assert {name for name in ATTRIBUTES if not verdict.attributes[name]} == {"count", *OF_THINGS}


def test_a_thing_that_is_drawn_twice_fails_the_count() -> None:
    once = render(SPEC, Layout(places=((0, 8),)))
    again = render(SPEC, Layout(places=((56, 8),)))
    twice = np.concatenate([once[:, :48], again[:, 48:]], axis=1)

    verdict = check(twice, SPEC)

    assert verdict.shown.things == (BALL, BALL)
    assert not verdict.attributes["count"]


def test_a_scene_without_things_shows_none() -> None:
    once, again = (render(SPEC, Layout(places=(place,))) for place in ((0, 8), (56, 8)))
    empty = np.concatenate([again[:, :48], once[:, 48:]], axis=1)

    assert check(empty, SPEC).shown.things == ()


@pytest.mark.parametrize(("opacity", "seen"), [(0.4, False), (0.85, True)])
def test_a_ghost_is_no_thing(opacity: float, seen: bool) -> None:
    layout = Layout(places=((0, 8), (60, 40)))
    whole, half = render(BOTH, layout), render(SPEC, Layout(places=layout.places[:1]))
    ghost = (opacity * whole + (1 - opacity) * half).astype(np.uint8)

    assert (len(check(ghost, SPEC).shown.things) == 2) is seen


def test_the_order_of_things_does_not_matter() -> None:
    setting = Setting(scene=WALL, light=Light.BRIGHT, camera=Camera.STILL)
    shown = Shown(things=(BOX, BALL), setting=setting, layout=Layout(places=()), distance=0.0)

    assert all(compare(shown, BOTH).values())


def test_attributes_swapped_between_two_things_fail() -> None:
    setting = Setting(scene=WALL, light=Light.BRIGHT, camera=Camera.STILL)
    swapped = (replace(BALL, colour=Colour.BLUE), replace(BOX, colour=Colour.RED))
    shown = Shown(things=swapped, setting=setting, layout=Layout(places=()), distance=0.0)

    verdict = compare(shown, BOTH)

    assert not verdict["colour"]
    assert verdict["shape"]


def test_noise_alone_is_far_from_every_clip() -> None:
    static = np.random.default_rng(0).integers(0, 256, (16, 96, 96, 3), dtype=np.uint8)

    assert check(static, SPEC).shown.distance > 0.25


def test_a_clip_of_another_size_is_refused() -> None:
    message = "clip has shape (8, 32, 32, 3); the rich world draws (16, 96, 96, 3)"

    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check(np.zeros((8, 32, 32, 3), dtype=np.uint8), SPEC)
