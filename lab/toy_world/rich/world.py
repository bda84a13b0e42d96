"""The rich world: what a clip of 16 frames of 96 x 96 pixels can show.

One to three things (shape, size, colour, motion, speed) move over a scene (a colour, perhaps turning into another, with
a texture) in some light, before a camera that may pan. A `Spec` holds what a caption tells; a `Layout` what it leaves
open: where the things start. Things move in the world, so a panning camera carries all of them along.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

NUM_FRAMES = 16
SIDE = 96  # pixels, height and width
FPS = 12
PAN = 1  # pixels a frame of a panning camera
GRID = 4  # pixels between possible places of a thing
MAX_THINGS = 3
_TRIES = 1000  # draws of places before a spec counts as one that has no room

Clip = NDArray[np.uint8]  # (T, H, W, 3)
Places = NDArray[np.int64]  # (N, 2), rows and columns


class Shape(StrEnum):
    """Outline of a thing."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    CROSS = "cross"
    STAR = "star"
    RING = "ring"


class Size(StrEnum):
    """Width and height of a thing."""

    SMALL = "small"
    LARGE = "large"

    @property
    def pixels(self) -> int:
        """Side of the box around a thing."""
        return 20 if self is Size.SMALL else 30


class Colour(StrEnum):
    """Colour of a thing or a scene."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    PURPLE = "purple"
    WHITE = "white"

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Red, green and blue in 0..1."""
        return _RGB[self]


_RGB = {
    Colour.RED: (0.90, 0.16, 0.18),
    Colour.ORANGE: (0.98, 0.52, 0.12),
    Colour.YELLOW: (0.98, 0.90, 0.22),
    Colour.GREEN: (0.18, 0.66, 0.25),
    Colour.CYAN: (0.25, 0.82, 0.88),
    Colour.BLUE: (0.18, 0.30, 0.90),
    Colour.PURPLE: (0.66, 0.24, 0.80),
    Colour.WHITE: (0.96, 0.96, 0.96),
}


class Motion(StrEnum):
    """Where a thing goes during a clip."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    STILL = "still"

    @property
    def direction(self) -> tuple[int, int]:
        """Sign of the change of row and column."""
        return _DIRECTION[self]


_DIRECTION = {
    Motion.LEFT: (0, -1),
    Motion.RIGHT: (0, 1),
    Motion.UP: (-1, 0),
    Motion.DOWN: (1, 0),
    Motion.STILL: (0, 0),
}


class Speed(StrEnum):
    """How fast a moving thing moves."""

    SLOW = "slow"
    FAST = "fast"

    @property
    def pixels(self) -> int:
        """Pixels a frame."""
        return 1 if self is Speed.SLOW else 3


class Texture(StrEnum):
    """Pattern of a scene. Each changes along a row, so that a pan can be seen."""

    STRIPED = "striped"  # slanting bands
    CHECKERED = "checkered"
    BRICK = "brick"
    DOTTED = "dotted"
    WAVY = "wavy"  # bands that go up and down
    TILED = "tiled"  # a grid of thin lines


class Light(StrEnum):
    """How a clip is lit."""

    BRIGHT = "bright"
    DIM = "dim"
    LEFT = "left"  # a lamp on the left; the right lies in the dark
    RIGHT = "right"


class Camera(StrEnum):
    """What the camera does."""

    STILL = "still"
    LEFT = "left"
    RIGHT = "right"

    @property
    def step(self) -> int:
        """Columns that the view moves in one frame."""
        return {Camera.STILL: 0, Camera.LEFT: -PAN, Camera.RIGHT: PAN}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object. Raises ValueError when a thing that rests has a speed, or one that moves has none."""

    shape: Shape
    size: Size
    colour: Colour
    motion: Motion
    speed: Speed | None  # None: it rests

    def __post_init__(self) -> None:
        if (self.motion is Motion.STILL) != (self.speed is None):
            raise ValueError(f"speed {self.speed} does not go with motion {self.motion}; only what moves has a speed")

    @property
    def step(self) -> tuple[int, int]:
        """Rows and columns moved in one frame, in the world."""
        pixels = self.speed.pixels if self.speed else 0
        down, right = self.motion.direction
        return down * pixels, right * pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the things move over."""

    colour: Colour
    texture: Texture
    turns: Colour | None = None  # the colour that it has at the end, if another

    def __post_init__(self) -> None:
        if self.turns is self.colour:
            raise ValueError(f"turns {self.turns} is the scene's colour; leave it out")

    @property
    def colours(self) -> frozenset[Colour]:
        """The colours that it has at some time, by name."""
        return frozenset({self.colour, self.turns or self.colour})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a caption tells about a clip. Raises ValueError when no clip shows it."""

    things: tuple[Thing, ...]  # one to three, of different colours
    scene: Scene
    light: Light = Light.BRIGHT
    camera: Camera = Camera.STILL

    def __post_init__(self) -> None:
        if not 1 <= len(self.things) <= MAX_THINGS:
            raise ValueError(f"things has {len(self.things)} entries; a clip shows one to {MAX_THINGS}")
        colours = [thing.colour for thing in self.things]
        twice = next((colour for colour in colours if colours.count(colour) > 1), None)
        if twice:
            raise ValueError(f"colour {twice} is that of two things; give each its own")
        hidden = next((colour for colour in colours if colour in self.scene.colours), None)
        if hidden:
            raise ValueError(f"colour {hidden} is the scene's too; give things another one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a caption leaves open."""

    places: tuple[tuple[int, int], ...]  # row and column of each thing's box in the first frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The box of a thing on its way over the screen."""

    pixels: int  # side of the box
    step: tuple[int, int]  # rows and columns a frame, on the screen


def track_of(thing: Thing, camera: Camera) -> Track:
    """How a thing moves as the camera sees it."""
    down, right = thing.step
    return Track(pixels=thing.size.pixels, step=(down, right - camera.step))


@cache
def starts(track: Track) -> Places:
    """Every place in the first frame from which a box stays inside the clip, rows first."""
    rows, columns = (_starts(track.pixels, step) for step in track.step)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _starts(pixels: int, step: int) -> Places:
    travel = step * (NUM_FRAMES - 1)
    first = -(-max(0, -travel) // GRID) * GRID
    return np.arange(first, SIDE - pixels - max(0, travel) + 1, GRID)


def apart(track: Track, places: Places, other: Track, place: Sequence[int]) -> NDArray[np.bool_]:
    """At which of the places (N, 2) a box never touches another one that starts at `place`, (N,)."""
    t = np.arange(NUM_FRAMES)[:, None]
    way = (np.array(place) - places)[:, None] + t * (np.array(other.step) - track.step)  # (N, T, 2): other less this
    touching = np.logical_and(way < track.pixels, way > -other.pixels)
    together: NDArray[np.bool_] = np.asarray(np.all(touching, axis=-1).any(axis=-1))
    return np.logical_not(together)


def draw_layout(spec: Spec, rng: np.random.Generator, *, tries: int = _TRIES) -> Layout:
    """Draw places at which no two things ever touch. Raises ValueError when there seems to be no room for that."""
    tracks = [track_of(thing, spec.camera) for thing in spec.things]
    for _ in range(tries):
        places = _try_places(tracks, rng)
        if places is not None:
            return Layout(places=places)
    raise ValueError(f"found no room for {len(spec.things)} things in {tries} tries; make one small or slow")


def _try_places(tracks: Sequence[Track], rng: np.random.Generator) -> tuple[tuple[int, int], ...] | None:
    chosen: list[tuple[int, int]] = []
    for track in tracks:
        options = starts(track)
        for other, place in zip(tracks, chosen, strict=False):
            options = options[apart(track, options, other, place)]
        if not len(options):
            return None
        row, column = options[rng.integers(len(options))]
        chosen.append((int(row), int(column)))
    return tuple(chosen)
