"""The procedural worlds as values: what a tool needs of the world that a model draws, whichever that is.

The shape of the clips tells the world, so a model's card need not name it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from lab.toy_world import caption_parser, captions, checker, world
from lab.toy_world.captions import Shared, Split
from lab.toy_world.rich import caption_parser as rich_parser
from lab.toy_world.rich import captions as rich_captions
from lab.toy_world.rich import checker as rich_checker
from lab.toy_world.rich import drawing as rich_drawing
from lab.toy_world.rich import world as rich_world
from lab.toy_world.world import Clip

Spec = Any  # each world has specs of its own; tools only pass them on and look at things, scene, colour and the like
_SEVERAL = 0.2  # share of two things among the small world's fresh prompts


class Caption(Protocol):
    """A sentence and what it asks for."""

    @property
    def text(self) -> str: ...

    @property
    def spec(self) -> Spec: ...


class Verdict(Protocol):
    """A checker's verdict on a clip."""

    @property
    def attributes(self) -> dict[str, bool]: ...

    @property
    def shown(self) -> Any: ...  # things and a scene

    @property
    def accuracy(self) -> float: ...

    @property
    def manifold_distance(self) -> float: ...

    @property
    def prompt_distance(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A world: what it can show, how that is said, drawn and judged. A random generator decides what is left open."""

    clip_shape: tuple[int, ...]  # (T, H, W, 3)
    title: str  # of the card of a model that draws it
    guidance_scale: float  # of that card
    examples: tuple[str, ...]  # for a card: four prompts, then others that share a thing or a scene with them
    draw: Callable[[np.random.Generator], Spec]  # draws a spec of a fresh prompt, without held-out pairs
    draw_scene: Callable[[np.random.Generator], Any]
    say: Callable[[Spec, np.random.Generator], Caption]
    read: Callable[[str], Spec | None]  # None = not a caption of this world, or one that leaves something open
    render: Callable[[Spec, np.random.Generator], Clip]
    check: Callable[[Clip, Spec], Verdict]
    shared: Callable[[Spec, Spec], Shared]
    redraw: Callable[[Spec, Shared, np.random.Generator], Spec]  # shares exactly that
    moved: Callable[[Any, np.random.Generator], Any]  # a thing with any motion
    is_drawable: Callable[[Spec, np.random.Generator], bool]  # and has no held-out pair

    def captions(self, seed: int, count: int) -> list[Caption]:
        """Draw captions. The same seed gives the same ones."""
        rng = np.random.default_rng(seed)
        return [self.say(self.draw(rng), rng) for _ in range(count)]


def world_of(clip_shape: Sequence[int]) -> World | None:
    """Return the world whose clips have this shape (T, H, W, 3)."""
    return next((one for one in WORLDS if one.clip_shape == tuple(clip_shape)), None)


def known_world(clip_shape: Sequence[int]) -> World:
    """Return the world whose clips have this shape; raise ValueError if there is none."""
    found = world_of(clip_shape)
    if found is None:
        raise ValueError(
            f"clips of shape {tuple(clip_shape)} are of no procedural world, so nothing here can judge them"
        )
    return found


def share_shown(prompt: str, clip: Clip) -> float | None:
    """Return the share of a prompt's attributes that a clip shows; None if the prompt or the clip is of no world."""
    shown_in = world_of(clip.shape)
    if shown_in is None or (asked := shown_in.read(prompt)) is None:
        return None
    return shown_in.check(clip, asked).accuracy


def _render(spec: world.Spec, rng: np.random.Generator) -> Clip:
    return world.render(spec, world.draw_layout(spec, rng))


def _moved(thing: world.Thing, rng: np.random.Generator) -> world.Thing:
    return replace(thing, motion=list(world.Motion)[rng.integers(len(world.Motion))])


def _is_drawable(spec: world.Spec, rng: np.random.Generator) -> bool:
    del rng
    has_twins = len({thing.colour for thing in spec.things}) < len(spec.things)
    return not has_twins and captions.split_of(spec) is Split.TRAIN


def _rich_render(spec: rich_world.Spec, rng: np.random.Generator) -> Clip:
    return rich_drawing.render(spec, rich_world.draw_layout(spec, rng))


def _rich_moved(thing: rich_world.Thing, rng: np.random.Generator) -> rich_world.Thing:
    fresh = rich_captions.sample_spec(rng).things[0]
    return replace(thing, motion=fresh.motion, speed=fresh.speed)


def _rich_is_drawable(spec: rich_world.Spec, rng: np.random.Generator) -> bool:
    return rich_captions.split_of(spec) is Split.TRAIN and rich_captions.has_room(spec, rng)


SMALL = World(
    clip_shape=(world.NUM_FRAMES, world.SIDE, world.SIDE, 3),
    title="A small trained model of a procedural world",
    guidance_scale=1.5,
    examples=(
        "a large red circle drifts right over a blue striped field",
        "a small yellow square moves up over a green checkered wall",
        "a large white triangle floats left over a purple plain background",
        "a small blue cross slides down over a yellow barred floor",
        "a large red circle drifts left over a blue striped field",
        "a large red circle glides up over a green checkered wall",
        "a small yellow square moves down over a blue striped field",
        "a small green square rests over a blue striped field",
        "a large white triangle floats right over a green checkered wall",
        "a small yellow square slides left over a purple plain background",
        "a small blue cross drifts up over a yellow barred floor",
        "a large purple circle moves right over a yellow barred floor",
    ),
    draw=partial(captions.sample_spec, pairs=_SEVERAL),
    draw_scene=lambda rng: captions.sample_spec(rng).scene,
    say=captions.caption_of,
    read=caption_parser.spec_of,
    render=_render,
    check=checker.check,
    shared=captions.shared,
    redraw=captions.redraw,
    moved=_moved,
    is_drawable=_is_drawable,
)
RICH = World(
    clip_shape=(rich_world.NUM_FRAMES, rich_world.SIDE, rich_world.SIDE, 3),
    title="A trained model of a richer procedural world, 96 x 96 pixels",
    guidance_scale=3.0,
    examples=(
        "a large red star drifts slowly right over a blue brick wall",
        "a small yellow ring glides slowly up over a green checkered floor, at dusk",
        "a large white square slides slowly left over a purple wavy background",
        "a small cyan cross moves slowly down over an orange tiled floor, lit from the left",
        "a large red star drifts slowly left over a blue brick wall",
        "a large red star glides slowly up over a green checkered floor, at dusk",
        "a small yellow ring races down over a blue brick wall, as the camera pans right",
        "a large white square rests over an orange tiled floor, lit from the left",
        "a small yellow ring slides slowly right and a large white square rests over a purple wavy background",
        "a small cyan cross races up over a green checkered floor, as the camera pans left",
        "a large orange triangle rests over a blue brick wall that turns purple",
        "a large red star drifts slowly right and a small cyan cross rests over a purple wavy background",
    ),
    draw=rich_captions.sample_spec,
    draw_scene=lambda rng: rich_captions.sample_spec(rng).scene,
    say=rich_captions.caption_of,
    read=rich_parser.spec_of,
    render=_rich_render,
    check=rich_checker.check,
    shared=captions.shared,
    redraw=rich_captions.redraw,
    moved=_rich_moved,
    is_drawable=_rich_is_drawable,
)
WORLDS = (SMALL, RICH)
