"""Captions of the rich world: how many there are, what they say, what two of them share."""

import re

import numpy as np
import pytest

from lab.toy_world.captions import Shared, Split, shared
from lab.toy_world.rich.caption_parser import spec_of
from lab.toy_world.rich.captions import (
    HELD_OUT_SCENES,
    HELD_OUT_THINGS,
    SIZES,
    Mix,
    caption_of,
    redraw,
    sample_captions,
    sample_spec,
    vocabulary,
)
from lab.toy_world.rich.world import Camera, Light, Spec, draw_layout


def test_nearly_all_captions_differ() -> None:
    assert len({caption.text for caption in sample_captions(0, 5000)}) > 4990


def test_the_same_seed_gives_the_same_captions() -> None:
    assert sample_captions(7, 50) == sample_captions(7, 50)
    assert sample_captions(7, 50) != sample_captions(8, 50)


def test_a_caption_reads_back_as_what_it_asks_for() -> None:
    for caption in sample_captions(1, 2000):
        read = spec_of(caption.text)
        assert read is not None
        assert same(read, caption.spec), caption.text


def same(one: Spec, other: Spec) -> bool:
    """Whether two specs differ at most in the order of their things."""
    alike = (one.scene, one.light, one.camera) == (other.scene, other.light, other.camera)
    return alike and set(one.things) == set(other.things)


@pytest.mark.parametrize(
    "text",
    [
        "a dog runs over a meadow",
        "a red ball rests on a blue tiled wall",  # no size
        "a small red ball drifts left on a blue tiled wall",  # no speed
        "a small red ball rests on a blue wall",  # no texture
        "a small blue ball rests on a blue tiled wall",  # not to be seen
    ],
)
def test_a_caption_that_leaves_something_open_is_not_read(text: str) -> None:
    assert spec_of(text) is None


def test_what_is_not_said_of_light_and_camera_is_the_usual() -> None:
    short = spec_of("a small red ball rests on a blue tiled wall")
    long = spec_of("a small red ball rests on a blue tiled wall, at dusk, as the camera pans left")

    assert short is not None
    assert long is not None
    assert (short.light, short.camera) == (Light.BRIGHT, Camera.STILL)
    assert (long.light, long.camera) == (Light.DIM, Camera.LEFT)


def test_training_never_shows_a_held_out_pair() -> None:
    specs = [caption.spec for caption in sample_captions(1, 3000)]

    assert not {(thing.colour, thing.shape) for spec in specs for thing in spec.things} & HELD_OUT_THINGS
    assert not {(spec.scene.colour, spec.scene.texture) for spec in specs} & HELD_OUT_SCENES


def test_every_held_out_caption_shows_a_held_out_pair() -> None:
    for caption in sample_captions(1, 100, Split.HELD_OUT):
        things = {(thing.colour, thing.shape) for thing in caption.spec.things}
        assert things & HELD_OUT_THINGS or (caption.spec.scene.colour, caption.spec.scene.texture) in HELD_OUT_SCENES


def test_every_word_of_a_caption_is_in_the_vocabulary() -> None:
    words = {word for caption in sample_captions(2, 3000) for word in re.findall(r"[a-z]+|[^a-z ]", caption.text)}

    assert words <= set(vocabulary())
    assert len(words) > 120


def test_one_spec_is_said_in_many_ways() -> None:
    rng = np.random.default_rng(3)
    spec = sample_spec(rng)

    assert len({caption_of(spec, rng).text for _ in range(300)}) > 250


def test_sizes_can_be_left_open() -> None:
    rng = np.random.default_rng(4)
    texts = [caption_of(sample_spec(rng), rng, tell_sizes=False).text for _ in range(100)]
    sizes = {word for words in SIZES.values() for word in words}

    assert not sizes & {word for text in texts for word in text.split()}


def test_clips_show_what_the_mix_says() -> None:
    specs = [caption.spec for caption in sample_captions(5, 2000)]

    counts = [np.mean([len(spec.things) == n for spec in specs]) for n in (1, 2, 3)]
    assert counts == pytest.approx([0.4, 0.35, 0.25], abs=0.05)
    assert np.mean([spec.camera is not Camera.STILL for spec in specs]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([spec.light is not Light.BRIGHT for spec in specs]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([spec.scene.turns is not None for spec in specs]) == pytest.approx(0.2, abs=0.04)


def test_every_drawn_spec_has_room_for_its_things() -> None:
    rng = np.random.default_rng(0)

    for caption in sample_captions(6, 400, mix=Mix(counts=(0, 0, 1))):
        draw_layout(caption.spec, rng)


@pytest.mark.parametrize("wanted", list(Shared))
@pytest.mark.parametrize("counts", [(1, 0, 0), (0, 0, 1)])
def test_a_drawn_relative_shares_exactly_what_is_wanted(wanted: Shared, counts: tuple[float, ...]) -> None:
    rng = np.random.default_rng(5)
    specs = [sample_spec(rng, mix=Mix(counts=counts)) for _ in range(20)]

    assert {shared(spec, redraw(spec, wanted, rng)) for spec in specs} == {wanted}


def test_a_thing_with_another_motion_is_the_same_object() -> None:
    rng = np.random.default_rng(6)
    spec = sample_spec(rng, mix=Mix(counts=(1, 0, 0)))
    relatives = [redraw(spec, Shared.OBJECT, rng) for _ in range(40)]

    assert len({(relative.things[0].motion, relative.things[0].speed) for relative in relatives}) > 5
