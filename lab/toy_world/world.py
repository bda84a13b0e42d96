"""The procedural world: what a clip of the small model can show, and how it is drawn.

A clip is one scene (a colour with a texture) and one or two things (shape, size, colour, motion) that move over it.
A `Spec` holds what a caption says; a `Layout` holds what it leaves open: where the things start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

NUM_FRAMES = 8
SIDE = 32  # pixels, height and width
FPS = 8
SPEED = 2  # pixels per frame of a moving thing
GRID = 8  # pixels between possible places of a thing
CELL = 4  # pixels, half a period of a texture
LANE = SIDE // 2  # two things keep to two halves of the clip, so they never overlap
DARK = 0.65  # brightness of the second tone of a texture

Clip = NDArray[np.uint8]  # (T, H, W, 3)


class Shape(StrEnum):
    """Outline of a thing."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    CROSS = "cross"


class Size(StrEnum):
    """Width and height of a thing."""

    SMALL = "small"
    LARGE = "large"

    @property
    def pixels(self) -> int:
        """Side of the box around a thing."""
        return 12 if self is Size.SMALL else 16


class Colour(StrEnum):
    """Colour of a thing or a scene."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    PURPLE = "purple"
    WHITE = "white"

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Red, green and blue in 0..1."""
        return _RGB[self]


_RGB = {
    Colour.RED: (0.88, 0.18, 0.18),
    Colour.GREEN: (0.20, 0.69, 0.27),
    Colour.BLUE: (0.20, 0.31, 0.88),
    Colour.YELLOW: (0.96, 0.84, 0.24),
    Colour.PURPLE: (0.65, 0.25, 0.78),
    Colour.WHITE: (0.94, 0.94, 0.94),
}


class Motion(StrEnum):
    """Where a thing goes during a clip."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    STILL = "still"

    @property
    def step(self) -> tuple[int, int]:
        """Rows and columns moved in one frame."""
        return _STEP[self]


_STEP = {
    Motion.LEFT: (0, -SPEED),
    Motion.RIGHT: (0, SPEED),
    Motion.UP: (-SPEED, 0),
    Motion.DOWN: (SPEED, 0),
    Motion.STILL: (0, 0),
}


class Texture(StrEnum):
    """Pattern of a scene, in its colour and a darker tone of it."""

    PLAIN = "plain"
    STRIPED = "striped"  # horizontal bands
    BARRED = "barred"  # vertical bands
    CHECKERED = "checkered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One moving object."""

    shape: Shape
    size: Size
    colour: Colour
    motion: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the things move over."""

    colour: Colour
    texture: Texture


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a caption says about a clip. Raises ValueError if no clip can show it."""

    things: tuple[Thing, ...]  # one or two
    scene: Scene

    def __post_init__(self) -> None:
        if len(self.things) not in (1, 2):
            raise ValueError(f"things has {len(self.things)} entries; a clip shows one or two")
        if any(thing.colour is self.scene.colour for thing in self.things):
            raise ValueError(f"colour {self.scene.colour} is the scene's too; give things another one")
        if len(self.things) == 2 and not shared_lanes(self.things[0].motion, self.things[1].motion):
            raise ValueError("one thing moves across and one up or down; two things move along the same axis")


class Lanes(StrEnum):
    """How two things share the clip."""

    ROWS = "rows"  # one in the upper half, one in the lower
    COLUMNS = "columns"


def shared_lanes(first: Motion, second: Motion) -> tuple[Lanes, ...]:
    """The ways in which two things with these motions can keep out of each other's way."""
    vertical = any(motion.step[0] for motion in (first, second))
    horizontal = any(motion.step[1] for motion in (first, second))
    if vertical and horizontal:
        return ()
    if vertical:
        return (Lanes.COLUMNS,)
    return (Lanes.ROWS,) if horizontal else (Lanes.ROWS, Lanes.COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a caption leaves open."""

    places: tuple[tuple[int, int], ...]  # row and column of each thing's box in the first frame


def places(
    size: Size, motion: Motion, *, lanes: Lanes | None = None, lane: int = 0, grid: int = GRID
) -> list[tuple[int, int]]:
    """Every starting place from which a thing stays inside the clip (inside half `lane` of it, given lanes)."""
    rows, columns = (
        _starts(size.pixels, step, lane if lanes is axis else None, grid)
        for step, axis in zip(motion.step, (Lanes.ROWS, Lanes.COLUMNS), strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def _starts(pixels: int, step: int, lane: int | None, grid: int) -> range:
    low, high = (0, SIDE) if lane is None else (lane * LANE, (lane + 1) * LANE)
    travel = step * (NUM_FRAMES - 1)
    first = -(-(low + max(0, -travel)) // grid) * grid
    return range(first, high - pixels - max(0, travel) + 1, grid)


def layouts(spec: Spec) -> Iterator[Layout]:
    """Every clip that fits a spec."""
    if len(spec.things) == 1:
        thing = spec.things[0]
        yield from (Layout(places=(place,)) for place in places(thing.size, thing.motion))
        return
    first, second = spec.things
    for lanes in shared_lanes(first.motion, second.motion):
        for lane in (0, 1):
            for one in places(first.size, first.motion, lanes=lanes, lane=lane):
                for other in places(second.size, second.motion, lanes=lanes, lane=1 - lane):
                    yield Layout(places=(one, other))


def draw_layout(spec: Spec, rng: np.random.Generator, *, grid: int = GRID) -> Layout:
    """Draw one layout; every place of a thing is equally likely. A finer grid than the world's gives more places."""
    if len(spec.things) == 1:
        thing = spec.things[0]
        return Layout(places=(_pick(places(thing.size, thing.motion, grid=grid), rng),))
    first, second = spec.things
    ways = shared_lanes(first.motion, second.motion)
    lanes, lane = ways[rng.integers(len(ways))], int(rng.integers(2))
    one = _pick(places(first.size, first.motion, lanes=lanes, lane=lane, grid=grid), rng)
    other = _pick(places(second.size, second.motion, lanes=lanes, lane=1 - lane, grid=grid), rng)
    return Layout(places=(one, other))


def _pick(options: list[tuple[int, int]], rng: np.random.Generator) -> tuple[int, int]:
    return options[rng.integers(len(options))]


@cache
def outline(shape: Shape, size: Size) -> NDArray[np.float32]:
    """Coverage of each pixel of a thing's box, (s, s) in 0..1, from 4 x 4 samples a pixel."""
    pixels = size.pixels
    line = (np.arange(4 * pixels) + 0.5) / (2 * pixels) - 1  # -1..1 over the box
    y, x = np.meshgrid(line, line, indexing="ij")
    match shape:
        case Shape.CIRCLE:
            inside = x**2 + y**2 < 1
        case Shape.SQUARE:
            inside = np.maximum(abs(x), abs(y)) < 0.9
        case Shape.TRIANGLE:
            inside = abs(x) < (y + 1) / 2
        case Shape.CROSS:
            inside = np.minimum(abs(x), abs(y)) < 0.32
    cover: NDArray[np.float32] = inside.reshape(pixels, 4, pixels, 4).mean(axis=(1, 3)).astype(np.float32)
    return cover


@cache
def backdrop(scene: Scene) -> NDArray[np.float32]:
    """One frame of a scene without things, (H, W, 3) in 0..1.

    A texture is always in the same position. If randomly shifted by a cell, striped, barred and checkered scenes are
    alike on average, and a model trained for an hour on one core still confused them.
    """
    bands = np.arange(SIDE) // CELL % 2
    match scene.texture:
        case Texture.PLAIN:
            dark = np.zeros((SIDE, SIDE), dtype=bands.dtype)
        case Texture.STRIPED:
            dark = np.repeat(bands[:, None], SIDE, axis=1)
        case Texture.BARRED:
            dark = np.repeat(bands[None, :], SIDE, axis=0)
        case Texture.CHECKERED:
            dark = (bands[:, None] + bands[None, :]) % 2
    tone = 1 - (1 - DARK) * dark
    frame: NDArray[np.float32] = (tone[..., None] * np.asarray(scene.colour.rgb)).astype(np.float32)
    return frame


def render(spec: Spec, layout: Layout) -> Clip:
    """Draw one clip, uint8 (T, H, W, 3)."""
    frames = np.repeat(backdrop(spec.scene)[None], NUM_FRAMES, axis=0)
    for thing, (row, column) in zip(spec.things, layout.places, strict=True):
        pixels, (down, right) = thing.size.pixels, thing.motion.step
        cover = outline(thing.shape, thing.size)[..., None]
        colour = np.asarray(thing.colour.rgb, dtype=np.float32)
        for t in range(NUM_FRAMES):
            box = frames[t, row + t * down :, column + t * right :][:pixels, :pixels]
            box += cover * (colour - box)
    return np.round(frames * 255).astype(np.uint8)
