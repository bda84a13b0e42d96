"""Drawing clips of the procedural world."""

import re

import numpy as np
import pytest

from lab.toy_world.captions import sample_captions
from lab.toy_world.world import (
    LANE,
    NUM_FRAMES,
    SIDE,
    Colour,
    Lanes,
    Layout,
    Motion,
    Scene,
    Shape,
    Size,
    Spec,
    Texture,
    Thing,
    draw_layout,
    layouts,
    outline,
    places,
    render,
    shared_lanes,
)

BALL = Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.RIGHT)
BOX = Thing(shape=Shape.SQUARE, size=Size.SMALL, colour=Colour.BLUE, motion=Motion.STILL)
WALL = Scene(colour=Colour.GREEN, texture=Texture.PLAIN)


def test_a_clip_is_eight_frames_of_32_by_32_pixels() -> None:
    spec = Spec(things=(BALL,), scene=WALL)

    clip = render(spec, draw_layout(spec, np.random.default_rng(0)))

    assert clip.shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert clip.dtype == np.uint8


def test_a_thing_moves_two_pixels_a_frame_its_own_way() -> None:
    clip = render(Spec(things=(BALL,), scene=WALL), Layout(places=((8, 0),)))

    red = clip[..., 0] > 150

    assert [int(frame.any(axis=0).argmax()) for frame in red] == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("motion", list(Motion))
@pytest.mark.parametrize("size", list(Size))
def test_a_thing_never_leaves_the_clip(size: Size, motion: Motion) -> None:
    starts = np.array(places(size, motion))

    ends = starts + (NUM_FRAMES - 1) * np.array(motion.step)

    assert len(starts) > 1
    assert min(starts.min(), ends.min()) >= 0
    assert max(starts.max(), ends.max()) + size.pixels <= SIDE


def test_two_things_keep_to_their_own_halves() -> None:
    spec = Spec(things=(BALL, BOX), scene=WALL)

    rows = [(first[0], second[0]) for first, second in (layout.places for layout in layouts(spec))]

    assert rows
    assert all((first < LANE) != (second < LANE) for first, second in rows)


def test_things_that_rest_may_share_the_clip_both_ways() -> None:
    assert shared_lanes(Motion.STILL, Motion.STILL) == (Lanes.ROWS, Lanes.COLUMNS)


def test_every_outline_fills_a_clear_part_of_its_box() -> None:
    shares = {(shape, size): outline(shape, size).mean() for shape in Shape for size in Size}

    assert all(0.4 < share < 0.9 for share in shares.values())


def test_every_layout_of_a_spec_is_another_clip() -> None:
    spec = Spec(things=(BOX,), scene=Scene(colour=Colour.WHITE, texture=Texture.CHECKERED))

    clips = [render(spec, layout).tobytes() for layout in layouts(spec)]

    assert len(set(clips)) == len(clips) == 9  # places


def test_drawn_layouts_are_layouts_of_the_spec() -> None:
    rng = np.random.default_rng(1)
    specs = [caption.spec for caption in sample_captions(4, 20, pairs=0.5)]

    assert all(draw_layout(spec, rng) in list(layouts(spec)) for spec in specs)


@pytest.mark.parametrize(
    ("things", "scene", "message"),
    [
        ((), WALL, "things has 0 entries; a clip shows one or two"),
        (
            (BALL,),
            Scene(colour=Colour.RED, texture=Texture.PLAIN),
            "colour red is the scene's too; give things another one",
        ),
        (
            (BALL, Thing(shape=Shape.CROSS, size=Size.SMALL, colour=Colour.WHITE, motion=Motion.UP)),
            WALL,
            "one thing moves across and one up or down; two things move along the same axis",
        ),
    ],
)
def test_a_spec_that_no_clip_can_show_is_refused(things: tuple[Thing, ...], scene: Scene, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Spec(things=things, scene=scene)
