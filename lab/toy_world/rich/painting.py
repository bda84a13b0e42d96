"""Drawing many clips of the rich world at once, on any device: what `drawing.render` draws, a layer for all clips.

A clip comes as one row of small numbers (`row_of`), so that other processes can choose what is drawn, and draw lots
about the places, while a GPU draws.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.toy_world.rich.drawing import brightness, sprite, tones, turned
from lab.toy_world.rich.world import (
    MAX_THINGS,
    NUM_FRAMES,
    SIDE,
    Camera,
    Colour,
    Layout,
    Light,
    Shape,
    Size,
    Spec,
    Texture,
    track_of,
)

Row = NDArray[np.int16]  # (ROW,)
_SCENE = 5  # numbers of a scene: texture, camera, light, colour, colour at the end
_THING = 6  # of a thing: sprite (0: none), colour, row and column of its box, rows and columns a frame
ROW = _SCENE + MAX_THINGS * _THING
_SPRITES = [(shape, size) for shape in Shape for size in Size]
_BOX = max(size.pixels for size in Size)
_COLOURS, _LIGHTS, _TEXTURES, _CAMERAS = list(Colour), list(Light), list(Texture), list(Camera)


def row_of(spec: Spec, layout: Layout) -> Row:
    """Return a clip as numbers."""
    scene, row = spec.scene, np.zeros(ROW, dtype=np.int16)
    row[:_SCENE] = (
        _TEXTURES.index(scene.texture),
        _CAMERAS.index(spec.camera),
        _LIGHTS.index(spec.light),
        _COLOURS.index(scene.colour),
        _COLOURS.index(scene.turns or scene.colour),
    )
    for number, (thing, place) in enumerate(zip(spec.things, layout.places, strict=True)):
        start = _SCENE + number * _THING
        drawn = 1 + _SPRITES.index((thing.shape, thing.size))
        row[start : start + _THING] = (
            drawn,
            _COLOURS.index(thing.colour),
            *place,
            *track_of(thing, spec.camera).step,
        )
    return row


@torch.no_grad()
def paint(rows: Tensor) -> Tensor:
    """Return the clips of rows, int (B, ROW), on their device: float32 (B, 3, T, H, W) in [-1, 1], of 8 bits."""
    device, rows = rows.device, rows.long()
    texture, camera, light, first, last = rows[:, :_SCENE].unbind(1)
    rgb = _table(_rgb, device)
    share = _table(turned, device)[None, :, None]
    colours = rgb[first][:, None] + share * (rgb[last] - rgb[first])[:, None]  # (B, T, 3)
    backdrop = _table(_tones, device)[texture, camera]  # (B, T, H, W)
    frames = backdrop[:, None] * colours.movedim(2, 1)[..., None, None]  # (B, 3, T, H, W)
    for thing in torch.split(rows[:, _SCENE:], _THING, 1):
        cover, tone = _layer(thing)
        frames = frames * (1 - cover) + tone * rgb[thing[:, 1]][:, :, None, None, None]
    lit = (frames * _table(_brightness, device)[light][:, None, None, None] * 255).round()
    return lit / 127.5 - 1


def _layer(thing: Tensor) -> tuple[Tensor, Tensor]:
    """Cover and tone of one thing of each clip, (B, 1, T, H, W) each; of none where there is none."""
    device = thing.device
    drawn, _, top, left, down, right = thing.unbind(1)
    t, line = torch.arange(NUM_FRAMES, device=device), torch.arange(SIDE, device=device)
    y = line - (top[:, None] + t * down[:, None])[..., None]  # (B, T, H), in the box
    x = line - (left[:, None] + t * right[:, None])[..., None]  # (B, T, W)
    y, x = (torch.where((at >= 0) & (at < _BOX), at, _BOX) for at in (y, x))  # the last row and column are empty
    both = _table(_boxes, device)[:, drawn[:, None, None, None], y[..., None], x[..., None, :]]
    cover, tone = both[:, :, None].unbind(0)
    return cover, tone


def _boxes() -> NDArray[np.float32]:
    """Cover and tone of each sprite, (2, 1 + sprites, box + 1, box + 1); the first is none."""
    found = np.zeros((2, 1 + len(_SPRITES), _BOX + 1, _BOX + 1), dtype=np.float32)
    for number, (shape, size) in enumerate(_SPRITES, start=1):
        one = sprite(shape, size)
        found[:, number, : size.pixels, : size.pixels] = one.cover, one.tone
    return found


def _tones() -> NDArray[np.float32]:
    return np.stack([[tones(texture, camera) for camera in Camera] for texture in Texture])


def _brightness() -> NDArray[np.float32]:
    return np.stack([brightness(light) for light in Light])


def _rgb() -> NDArray[np.float32]:
    return np.array([colour.rgb for colour in Colour], dtype=np.float32)


@cache
def _table(make: Callable[[], NDArray[np.float32]], device: torch.device) -> Tensor:
    return torch.from_numpy(make()).to(device)
