"""Drawing clips of the rich world."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lab.toy_world.rich.captions import sample_captions
from lab.toy_world.rich.drawing import brightness, render, sprite, tones
from lab.toy_world.rich.world import (
    NUM_FRAMES,
    SIDE,
    Camera,
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
    Track,
    apart,
    draw_layout,
    starts,
    track_of,
)

BALL = Thing(shape=Shape.CIRCLE, size=Size.LARGE, colour=Colour.RED, motion=Motion.RIGHT, speed=Speed.FAST)
BOX = Thing(shape=Shape.SQUARE, size=Size.SMALL, colour=Colour.BLUE, motion=Motion.STILL, speed=None)
WALL = Scene(colour=Colour.GREEN, texture=Texture.TILED)


def left_edges(spec: Spec, place: tuple[int, int]) -> list[int]:
    """The first column in every frame in which something red is seen."""
    clip = render(spec, Layout(places=(place,)))
    red = (clip[..., 0] > 120) & (clip[..., 1] < 60)
    return [int(frame.any(axis=0).argmax()) for frame in red]


def test_a_clip_is_sixteen_frames_of_96_by_96_pixels() -> None:
    spec = Spec(things=(BALL,), scene=WALL)

    clip = render(spec, draw_layout(spec, np.random.default_rng(0)))

    assert clip.shape == (NUM_FRAMES, SIDE, SIDE, 3) == (16, 96, 96, 3)
    assert clip.dtype == np.uint8


@pytest.mark.parametrize(
    ("thing", "camera", "step"),
    [
        (BALL, Camera.STILL, 3),
        (replace(BALL, speed=Speed.SLOW), Camera.STILL, 1),
        (BALL, Camera.RIGHT, 2),  # the view goes after the ball
        (BALL, Camera.LEFT, 4),
        (replace(BALL, motion=Motion.STILL, speed=None), Camera.LEFT, 1),  # what rests stays with the scene
    ],
)
def test_a_thing_moves_in_the_world_and_the_camera_carries_it_along(thing: Thing, camera: Camera, step: int) -> None:
    edges = left_edges(Spec(things=(thing,), scene=WALL, camera=camera), (32, 0))

    assert np.diff(edges).tolist() == [step] * 15


@pytest.mark.parametrize("texture", list(Texture))
@pytest.mark.parametrize(("camera", "shift"), [(Camera.RIGHT, 15), (Camera.LEFT, -15)])
def test_a_pan_shifts_every_texture_and_can_be_seen(texture: Texture, camera: Camera, shift: int) -> None:
    drawn = tones(texture, camera)
    shifted = np.roll(drawn[0], -shift, axis=1)

    kept = slice(0, SIDE - 15) if shift > 0 else slice(15, SIDE)
    assert np.array_equal(drawn[-1][:, kept], shifted[:, kept])
    assert abs(drawn[8] - drawn[0]).mean() > 0.05


def test_every_texture_has_detail_of_its_own() -> None:
    drawn = [tones(texture, Camera.STILL)[0] for texture in Texture]

    assert all(tone.std() > 0.05 and tone.min() >= 0 and tone.max() <= 1 for tone in drawn)
    assert all(abs(one - other).mean() > 0.1 for i, one in enumerate(drawn) for other in drawn[:i])


def test_a_scene_that_turns_ends_in_its_other_colour() -> None:
    turning = Spec(things=(BOX,), scene=replace(WALL, turns=Colour.YELLOW))
    plain, other = (replace(turning, scene=replace(WALL, colour=colour)) for colour in (Colour.GREEN, Colour.YELLOW))

    clip, first, last = (render(spec, Layout(places=((0, 0),))) for spec in (turning, plain, other))

    assert np.array_equal(clip[0], first[0])
    assert np.array_equal(clip[-1], last[-1])
    assert not np.array_equal(clip[8], first[8])


def test_a_lamp_lights_its_own_side_and_dim_light_all_alike() -> None:
    assert brightness(Light.LEFT)[0] == 1 == brightness(Light.RIGHT)[-1]
    assert brightness(Light.LEFT)[-1] < 0.5 > brightness(Light.RIGHT)[0]
    assert brightness(Light.DIM).tolist() == pytest.approx([0.55] * SIDE)


@pytest.mark.parametrize("size", list(Size))
@pytest.mark.parametrize("shape", list(Shape))
def test_every_sprite_fills_a_clear_part_of_its_box_and_is_never_too_bright(shape: Shape, size: Size) -> None:
    drawn = sprite(shape, size)

    assert 0.25 < drawn.cover.mean() < 0.85
    assert (drawn.tone <= drawn.cover + 1e-6).all()
    assert drawn.tone.std() > 0.1


@pytest.mark.parametrize("camera", list(Camera))
@pytest.mark.parametrize("speed", list(Speed))
@pytest.mark.parametrize("motion", [motion for motion in Motion if motion is not Motion.STILL])
@pytest.mark.parametrize("size", list(Size))
def test_a_thing_never_leaves_the_clip(size: Size, motion: Motion, speed: Speed, camera: Camera) -> None:
    track = track_of(replace(BALL, size=size, motion=motion, speed=speed), camera)

    places = starts(track)
    ends = places + (NUM_FRAMES - 1) * np.array(track.step)

    assert len(places) > 1
    assert min(places.min(), ends.min()) >= 0
    assert max(places.max(), ends.max()) + size.pixels <= SIDE


def test_boxes_are_apart_when_they_never_touch_at_the_same_time() -> None:
    right, left = Track(pixels=10, step=(0, 3)), Track(pixels=10, step=(0, -3))
    places = np.array([[0, 0], [9, 0], [10, 0], [0, 56]])

    assert apart(right, places, left, (0, 45)).tolist() == [False, False, True, True]  # they meet unless a row apart


def test_drawn_things_never_touch() -> None:
    rng = np.random.default_rng(1)
    for caption in sample_captions(4, 60):
        spec = caption.spec
        alone = replace(spec, things=spec.things[:1])
        places = draw_layout(spec, rng).places
        tracks = [track_of(thing, spec.camera) for thing in spec.things]
        for i, (track, place) in enumerate(zip(tracks, places, strict=True)):
            for other, there in zip(tracks[:i], places[:i], strict=True):
                assert apart(track, np.array([place]), other, there).all()
        assert render(alone, Layout(places=places[:1])).shape[0] == NUM_FRAMES


@pytest.mark.parametrize(
    ("things", "scene", "message"),
    [
        ((), WALL, "things has 0 entries; a clip shows one to 3"),
        ((BALL, BOX, replace(BALL, colour=Colour.RED)), WALL, "colour red is that of two things; give each its own"),
        ((replace(BALL, colour=Colour.GREEN),), WALL, "colour green is the scene's too; give things another one"),
        (
            (BALL,),
            replace(WALL, turns=Colour.RED),
            "colour red is the scene's too; give things another one",
        ),
    ],
)
def test_a_spec_that_no_clip_can_show_is_refused(things: tuple[Thing, ...], scene: Scene, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Spec(things=things, scene=scene)


def test_only_what_moves_has_a_speed() -> None:
    message = "speed slow does not go with motion still; only what moves has a speed"

    with pytest.raises(ValueError, match=f"^{message}$"):
        replace(BOX, speed=Speed.SLOW)


def test_a_scene_cannot_turn_into_its_own_colour() -> None:
    with pytest.raises(ValueError, match=r"^turns green is the scene's colour; leave it out$"):
        replace(WALL, turns=Colour.GREEN)


def test_a_spec_without_room_for_its_things_is_refused() -> None:
    colours = (Colour.RED, Colour.BLUE, Colour.WHITE)
    motions = (Motion.RIGHT, Motion.UP, Motion.LEFT)
    things = tuple(replace(BALL, colour=colour, motion=motion) for colour, motion in zip(colours, motions, strict=True))
    spec = Spec(things=things, scene=WALL, camera=Camera.RIGHT)

    with pytest.raises(ValueError, match=r"^found no room for 3 things in 1 tries; make one small or slow$"):
        draw_layout(spec, np.random.default_rng(0), tries=1)
