"""Drawing clips of the rich world.

A frame is light * (backdrop outside the things + colour * tone inside), where coverage and tone of a thing's pixels
come from 4 x 4 samples, so edges are smooth.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lab.toy_world.rich.world import (
    NUM_FRAMES,
    PAN,
    SIDE,
    Camera,
    Clip,
    Layout,
    Light,
    Scene,
    Shape,
    Size,
    Spec,
    Texture,
    track_of,
)

Floats = NDArray[np.float32]
Samples = NDArray[np.float64]
Mask = NDArray[np.bool_]
_MARGIN = PAN * (NUM_FRAMES - 1)  # pixels beyond both sides of the first frame that a pan can show
_SAMPLES = 4  # a pixel, along each axis
_RIM = 0.58  # tone of the edge of a thing
_RIM_WIDTH = 6  # samples


@dataclass(frozen=True, slots=True)
class Sprite:
    """A shape as drawn in its box, (s, s) each."""

    cover: Floats  # share of the pixel inside, 0..1
    tone: Floats  # brightness times that share


@cache
def sprite(shape: Shape, size: Size) -> Sprite:
    """The shape lit from above left, with a darker rim."""
    pixels = size.pixels
    line = (np.arange(_SAMPLES * pixels) + 0.5) * 2 / (_SAMPLES * pixels) - 1  # -1..1 over the box
    y, x = np.meshgrid(line, line, indexing="ij")
    inside = _inside(shape, y, x)
    tone: Samples = np.where(_eroded(inside), 0.84 - 0.09 * (x + y), _RIM)
    return Sprite(cover=_by_pixel(inside.astype(np.float64)), tone=_by_pixel(np.where(inside, tone, 0.0)))


def _inside(shape: Shape, y: Samples, x: Samples) -> Mask:
    radius: Samples = np.hypot(x, y)
    match shape:
        case Shape.CIRCLE:
            return radius < 0.98
        case Shape.SQUARE:
            return np.maximum(abs(x), abs(y)) < 0.86
        case Shape.TRIANGLE:
            return (abs(x) < (y + 0.96) / 1.92) & (y < 0.9)
        case Shape.CROSS:
            return (np.minimum(abs(x), abs(y)) < 0.32) & (np.maximum(abs(x), abs(y)) < 0.96)
        case Shape.STAR:
            return _star(radius, np.arctan2(x, -y))
        case Shape.RING:
            return (radius < 0.98) & (radius > 0.5)


def _star(radius: Samples, angle: Samples) -> Mask:
    """A star of five rays: inside the straight line from each tip (1, 0) to the notch (inner, half) beside it."""
    half, inner = np.pi / 5, 0.48
    fold = abs((angle + half) % (2 * half) - half)  # 0 on a ray, half a turn to the next one between two
    reach: Samples = radius * (np.sin(half - fold) * inner + np.sin(fold))
    inside: Mask = reach < 0.98 * inner * np.sin(half)
    return inside


def _eroded(inside: Mask) -> Mask:
    """What is left of a shape without the samples near its edge."""
    padded, left = np.pad(inside, _RIM_WIDTH), inside.copy()
    size = len(inside)
    for down in range(2 * _RIM_WIDTH + 1):
        for right in range(2 * _RIM_WIDTH + 1):
            if (down - _RIM_WIDTH) ** 2 + (right - _RIM_WIDTH) ** 2 <= _RIM_WIDTH**2:
                left &= padded[down : down + size, right : right + size]
    return left


def _by_pixel(samples: Samples) -> Floats:
    height, width = (side // _SAMPLES for side in samples.shape)
    mean: Floats = samples.reshape(height, _SAMPLES, width, _SAMPLES).mean(axis=(1, 3)).astype(np.float32)
    return mean


@cache
def panorama(texture: Texture) -> Floats:
    """Tones of a texture over all that a pan can show, (H, W + 2 margins)."""
    rows = (np.arange(_SAMPLES * SIDE) + 0.5) / _SAMPLES
    columns = (np.arange(_SAMPLES * (SIDE + 2 * _MARGIN)) + 0.5) / _SAMPLES - _MARGIN
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return _by_pixel(_tone(texture, y, x))


def _tone(texture: Texture, y: Samples, x: Samples) -> Samples:
    match texture:
        case Texture.STRIPED:
            return np.where((x + y) % 24 < 12, 1.0, 0.62)
        case Texture.CHECKERED:
            even = (x // 16 + y // 16) % 2 == 0
            speck = np.hypot(x % 16 - 8, y % 16 - 8) < 2.2
            return np.where(even, 1.0, 0.60) + np.where(speck, np.where(even, -0.2, 0.2), 0.0)
        case Texture.BRICK:
            row = y // 12
            along = x + 12 * (row % 2)
            mortar = (y % 12 < 1.6) | (along % 24 < 1.6)
            shade = 0.78 + 0.11 * np.sin(2.4 * (along // 24) + 4.1 * row)  # each brick its own
            return np.where(mortar, 0.45, shade)
        case Texture.DOTTED:
            return np.where(np.hypot(x % 16 - 8, y % 16 - 8) < 5, 0.55, 0.95)
        case Texture.WAVY:
            return 0.78 + 0.22 * np.sin(2 * np.pi * (y / 16 + 0.4 * np.sin(2 * np.pi * x / 32)))
        case Texture.TILED:
            line = (x % 20 < 1.8) | (y % 20 < 1.8)
            return np.where(line, 0.50, 0.92 - 0.10 * (((x // 20) + (y // 20)) % 2))


@cache
def tones(texture: Texture, camera: Camera) -> Floats:
    """The tones of a scene in every frame, (T, H, W)."""
    wide = panorama(texture)
    lefts = [_MARGIN + camera.step * t for t in range(NUM_FRAMES)]
    return np.stack([wide[:, left : left + SIDE] for left in lefts])


@cache
def brightness(light: Light) -> Floats:
    """Share of the light that reaches each column, (W,)."""
    across = np.linspace(0, 1, SIDE, dtype=np.float32)
    match light:
        case Light.BRIGHT:
            return np.ones(SIDE, dtype=np.float32)
        case Light.DIM:
            return np.full(SIDE, 0.55, dtype=np.float32)
        case Light.LEFT:
            return (1 - 0.62 * across).astype(np.float32)
        case Light.RIGHT:
            return (1 - 0.62 * across[::-1]).astype(np.float32)


def turned() -> Floats:
    """How far a scene that turns has turned, 0..1, (T,)."""
    t = np.linspace(0, 1, NUM_FRAMES)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def scene_colours(scene: Scene) -> Floats:
    """The colour of a scene in every frame, (T, 3)."""
    first = np.asarray(scene.colour.rgb, dtype=np.float32)
    last = np.asarray((scene.turns or scene.colour).rgb, dtype=np.float32)
    return first + turned()[:, None] * (last - first)


def backdrop(scene: Scene, camera: Camera) -> Floats:
    """A scene without things in full light, (T, H, W, 3) in 0..1."""
    drawn: Floats = tones(scene.texture, camera)[..., None] * scene_colours(scene)[:, None, None]
    return drawn


def render(spec: Spec, layout: Layout) -> Clip:
    """Draw one clip, uint8 (T, H, W, 3)."""
    frames = backdrop(spec.scene, spec.camera)
    for thing, (row, column) in zip(spec.things, layout.places, strict=True):
        track, drawn = track_of(thing, spec.camera), sprite(thing.shape, thing.size)
        down, right = track.step
        uncovered = 1 - drawn.cover[..., None]
        paint = drawn.tone[..., None] * np.asarray(thing.colour.rgb, dtype=np.float32)
        for t in range(NUM_FRAMES):
            box = frames[t, row + t * down :, column + t * right :][: track.pixels, : track.pixels]
            box *= uncovered
            box += paint
    lit: Clip = np.round(frames * brightness(spec.light)[:, None] * 255).astype(np.uint8)
    return lit
