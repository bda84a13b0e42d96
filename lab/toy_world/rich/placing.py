"""Where noise puts the things of a clip: each at the place at which the noise looks most like it already.

A caption leaves places open. A network that has to guess them is in two minds, and draws a thing twice or not at all;
one that can read them from the noise is not. Of all places the one is taken whose clip lies nearest to the noise (the
pairing by optimal transport of Tong et al. 2023, arXiv:2302.00482, here over every layout in place of a few), with two
short cuts: a thing is a box of one colour, and things choose one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import permutations, product

import torch
from torch import Tensor

from lab.toy_world.rich.drawing import turned
from lab.toy_world.rich.painting import ROW, SCENE, SPRITES, THING, paint
from lab.toy_world.rich.world import (
    MAX_THINGS,
    NUM_FRAMES,
    SIDE,
    Camera,
    Colour,
    Motion,
    Shape,
    Size,
    Speed,
    Texture,
    Thing,
    Track,
    starts,
    track_of,
)
from worker.models.opensora.small_vae import SmallVAE

_SIZES = list(Size)
_FASTEST = 4  # pixels a frame, a fast thing before a camera that pans the other way
_MIDDLE = 32  # row and column at which a thing is drawn to see what it changes, pixels
_NEAR, _INSIDE = slice(24, 72), slice(2, 4)  # pixels around it, and positions of their latents that it fills


@torch.no_grad()
def contrasts(vae: SmallVAE) -> Tensor:
    """What a thing changes in the latents of a scene: float32 (colours of things, of scenes, C), on the VAE's device.

    The mean over the positions inside a large square over stripes, with it less without it; other textures are alike.
    """
    num = len(Colour)
    rows = torch.zeros(num, 1 + num, ROW, dtype=torch.long)  # over each scene nothing, then each colour
    rows[..., 0] = list(Texture).index(Texture.STRIPED)
    rows[..., 3] = rows[..., 4] = torch.arange(num)[:, None]
    rows[:, 1:, SCENE] = 1 + SPRITES.index((Shape.SQUARE, Size.LARGE))
    rows[:, 1:, SCENE + 1] = torch.arange(num)
    rows[:, 1:, SCENE + 2 : SCENE + 4] = _MIDDLE
    latents = vae.encode(paint(rows.flatten(0, 1).to(vae.mean.device))[..., _NEAR, _NEAR]).float()
    means = latents[..., _INSIDE, _INSIDE].mean(dim=(2, 3, 4)).reshape(num, 1 + num, -1)
    return (means[:, 1:] - means[:, :1]).transpose(0, 1)


def placed(rows: Tensor, noise: Tensor, contrast: Tensor) -> Tensor:
    """Clips with every thing where their noise puts it.

    rows: int (B, ROW) of `painting.row_of`, noise: (B, C, T', h, w), contrast: of `contrasts`; all on one device.
    Returns int64 (B, ROW). The thing that finds the best place goes first, the next ones to what is left at which they
    never touch it. Where one finds no room they go in another order, and where none has room the clip stays as it is.
    """
    rows = rows.long()
    things = rows[:, SCENE:].reshape(-1, MAX_THINGS, THING)
    drawn, steps = things[..., 0], things[..., 4:]
    table = _tables(noise.shape[2:], noise.device)
    size = (drawn - 1).clamp_min(0) % len(_SIZES)
    way = table.numbers[size, steps[..., 0] + _FASTEST, steps[..., 1] + _FASTEST]  # (B, things)
    scores = _scores(rows, noise, contrast, table.footprints[way]).masked_fill(~table.valid[way], -torch.inf)
    there = drawn > 0
    options = _Options(there=there, scores=scores, places=table.places[way], steps=steps, pixels=table.pixels[way])
    ranks = scores.amax(-1).masked_fill(~there, -torch.inf).argsort(dim=1, descending=True)
    places, left = things[..., 2:4].clone(), torch.arange(len(rows), device=rows.device)
    for order in permutations(range(MAX_THINGS)):
        found, has_room = _in_order(options.of(left), ranks[left][:, list(order)])
        places[left[has_room]] = found[has_room]
        left = left[~has_room]
    moved = torch.cat([things[..., :2], torch.where(there[..., None], places, 0), steps], dim=-1)
    return torch.cat([rows[:, :SCENE], moved.flatten(1)], dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """Where the things of some clips can be."""

    there: Tensor  # bool (B, things)
    scores: Tensor  # (B, things, N)
    places: Tensor  # (B, things, N, 2)
    steps: Tensor  # (B, things, 2) pixels a frame
    pixels: Tensor  # (B, things) side of a box

    def of(self, clips: Tensor) -> "_Options":
        """Those of some of the clips."""
        return _Options(**{one.name: getattr(self, one.name)[clips] for one in fields(self)})


def _in_order(options: _Options, order: Tensor) -> tuple[Tensor, Tensor]:
    """The best free place of one thing after the other, (B, things, 2), and whether all found one, bool (B,)."""
    clips = torch.arange(len(order), device=order.device)
    chosen = torch.zeros_like(options.steps)
    has_room = torch.ones_like(clips, dtype=torch.bool)
    done: list[Tensor] = []
    for one in order.unbind(1):
        free = options.scores[clips, one]
        for other in done:
            touching = _touching(
                options.places[clips, one] - chosen[clips, other][:, None],
                options.steps[clips, one] - options.steps[clips, other],
                options.pixels[clips, one],
                options.pixels[clips, other],
            )
            free = free.masked_fill(touching & options.there[clips, other][:, None], -torch.inf)
        best, at = free.max(-1)
        has_room &= best.isfinite() | ~options.there[clips, one]
        chosen[clips, one] = options.places[clips, one, at]
        done.append(one)
    return chosen, has_room


def _scores(rows: Tensor, noise: Tensor, contrast: Tensor, footprints: Tensor) -> Tensor:
    """How much the noise looks like each thing at each place, (B, things, N), of unit variance."""
    first, last = rows[:, 3], rows[:, 4]
    colours = rows[:, SCENE:].reshape(-1, MAX_THINGS, THING)[..., 1]
    share = torch.from_numpy(turned()).to(noise.device).reshape(noise.shape[2], -1).mean(1, keepdim=True)
    before, after = (contrast[colours, colour[:, None]][:, :, None] for colour in (first, last))
    change = before + share * (after - before)  # (B, things, T', C)
    change = change / change.norm(dim=(-2, -1), keepdim=True)
    field = torch.einsum("bntc,bcthw->bnthw", change, noise).flatten(2)
    return torch.einsum("bnpx,bnx->bnp", footprints, field)


def _touching(ways: Tensor, steps: Tensor, pixels: Tensor, other: Tensor) -> Tensor:
    """Whether a box touches another at some time, bool (B, N), as `world.apart` has it.

    ways: (B, N, 2) from the other's place to its own, steps: (B, 2) its own less the other's, the sides of both: (B,).
    """
    t = torch.arange(NUM_FRAMES, device=ways.device)[:, None]
    way = ways[:, :, None] + t * steps[:, None, None]  # (B, N, T, 2)
    pixels, other = (side[:, None, None, None] for side in (pixels, other))
    return ((way < other) & (way > -pixels)).all(-1).any(-1)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Every way over the screen, by number."""

    numbers: Tensor  # of a way, by size, steps down and steps right, each from the fastest up to the fastest down
    pixels: Tensor  # (ways,) side of the box
    places: Tensor  # (ways, N, 2) rows and columns
    valid: Tensor  # bool (ways, N); others fill up
    footprints: Tensor  # (ways, N, T' h w), share of each position that the box covers, of norm 1


@cache
def _tables(shape: tuple[int, int, int], device: torch.device) -> _Tables:
    moves = [(Motion.STILL, None), *product((m for m in Motion if m is not Motion.STILL), Speed)]
    looks = [
        Thing(shape=Shape.SQUARE, size=size, colour=Colour.RED, motion=motion, speed=speed)
        for size in Size
        for motion, speed in moves
    ]
    tracks = list(dict.fromkeys(track_of(thing, camera) for thing in looks for camera in Camera))
    numbers = torch.zeros(len(_SIZES), 2 * _FASTEST + 1, 2 * _FASTEST + 1, dtype=torch.long)
    sides = [size.pixels for size in _SIZES]
    most = max(len(starts(track)) for track in tracks)
    places = torch.zeros(len(tracks), most, 2, dtype=torch.long)
    valid = torch.zeros(len(tracks), most, dtype=torch.bool)
    footprints = torch.zeros(len(tracks), most, *shape)
    for number, track in enumerate(tracks):
        down, right = track.step
        numbers[sides.index(track.pixels), down + _FASTEST, right + _FASTEST] = number
        found = torch.from_numpy(starts(track))
        places[number, : len(found)], valid[number, : len(found)] = found, True
        footprints[number, : len(found)] = _footprints(track, found, shape)
    pixels = torch.tensor([track.pixels for track in tracks])
    tables = (numbers, pixels, places, valid, footprints.flatten(2))
    return _Tables(*(table.to(device) for table in tables))


def _footprints(track: Track, places: Tensor, shape: Sequence[int]) -> Tensor:
    """The share of each position of a latent that a box covers on its way from each place, (N, T', h, w), of norm 1."""
    t = torch.arange(NUM_FRAMES)
    sides = []
    for axis, cells in enumerate(shape[1:]):
        cell = SIDE // cells
        start = (places[:, axis, None] + t * track.step[axis])[..., None]  # (N, T, 1)
        edge = torch.arange(cells) * cell
        over = torch.minimum(start + track.pixels, edge + cell) - torch.maximum(start, edge)
        sides.append(over.clamp_min(0) / cell)
    both = torch.einsum("nth,ntw->nthw", *sides).reshape(len(places), shape[0], -1, *shape[1:]).mean(2)
    covered: Tensor = both / both.flatten(1).norm(dim=1)[:, None, None, None]
    return covered
