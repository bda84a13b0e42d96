"""Captions: how many there are, what is held out, what two of them share."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from lab.toy_world.captions import (
    HELD_OUT_SCENES,
    HELD_OUT_THINGS,
    Shared,
    Split,
    caption_of,
    redraw,
    sample_captions,
    sample_spec,
    share_both,
    share_object,
    share_scene,
    shared,
    vocabulary,
)
from lab.toy_world.world import Spec


def test_there_are_more_than_a_hundred_thousand_captions() -> None:
    """As with birthdays: of n captions k draws repeat k²/2n, here 20, and more where some are likelier than others."""
    assert len({caption.text for caption in sample_captions(0, 2000)}) > 1995


def test_the_same_seed_gives_the_same_captions() -> None:
    assert sample_captions(7, 50) == sample_captions(7, 50)
    assert sample_captions(7, 50) != sample_captions(8, 50)


def test_training_never_shows_a_held_out_pair() -> None:
    specs = [caption.spec for caption in sample_captions(1, 5000)]

    assert not {(thing.colour, thing.shape) for spec in specs for thing in spec.things} & HELD_OUT_THINGS
    assert not {(spec.scene.colour, spec.scene.texture) for spec in specs} & HELD_OUT_SCENES


def test_every_held_out_caption_shows_a_held_out_pair() -> None:
    for caption in sample_captions(1, 200, Split.HELD_OUT):
        things = {(thing.colour, thing.shape) for thing in caption.spec.things}
        scene = (caption.spec.scene.colour, caption.spec.scene.texture)
        assert things & HELD_OUT_THINGS or scene in HELD_OUT_SCENES


def test_every_word_of_a_caption_is_in_the_vocabulary() -> None:
    words = {word for caption in sample_captions(2, 5000) for word in re.findall(r"[a-z]+|[^a-z ]", caption.text)}

    assert words <= set(vocabulary())
    assert len(words) > 80


def test_one_spec_is_said_in_many_ways() -> None:
    rng = np.random.default_rng(3)
    spec = sample_spec(rng, pairs=0)

    assert len({caption_of(spec, rng).text for _ in range(300)}) > 250


def test_sizes_can_be_left_open() -> None:
    rng = np.random.default_rng(4)
    texts = [caption_of(sample_spec(rng), rng, tell_sizes=False).text for _ in range(100)]

    assert not {"small", "little", "tiny", "large", "big", "huge"} & {word for text in texts for word in text.split()}


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (share_scene, Shared.SCENE),
        (share_object, Shared.OBJECT),
        (share_both, Shared.BOTH),
        (lambda spec, rng: redraw(spec, Shared.NONE, rng), Shared.NONE),
    ],
)
@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_a_drawn_relative_shares_what_its_name_says(
    draw: Callable[[Spec, np.random.Generator], Spec], expected: Shared, pairs: float
) -> None:
    rng = np.random.default_rng(5)
    specs = [sample_spec(rng, pairs=pairs) for _ in range(40)]

    assert {shared(spec, draw(spec, rng)) for spec in specs} == {expected}


def test_a_thing_with_another_motion_is_the_same_object() -> None:
    rng = np.random.default_rng(6)
    spec = sample_spec(rng, pairs=0)
    relatives = [share_object(spec, rng) for _ in range(30)]

    assert {shared(spec, relative) for relative in relatives} == {Shared.OBJECT}
    assert len({relative.things[0].motion for relative in relatives}) == 5
