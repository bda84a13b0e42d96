"""Captions read back as what they ask for."""

import pytest

from lab.toy_world.caption_parser import spec_of
from lab.toy_world.captions import sample_captions


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_every_caption_of_the_world_says_its_spec(pairs):
    wrong = [
        caption.text
        for caption in sample_captions(3, 400, pairs=pairs)
        if (read := spec_of(caption.text)) is None
        or set(read.things) != set(caption.spec.things)
        or read.scene != caption.spec.scene
    ]

    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a corgi surfing a wave at sunset",
        "a red circle drifts right over a blue striped field",  # how large?
        "a large red circle drifts right",  # over what?
        "a large red circle drifts right over a red striped field",  # no clip can show it
    ],
)
def test_a_text_that_leaves_something_open_asks_for_nothing_certain(text):
    assert spec_of(text) is None
