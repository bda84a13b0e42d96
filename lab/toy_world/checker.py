"""The analytic judge of clips: projects a clip onto the set of clips that the world can draw.

The nearest drawable clip is found by comparing all of them. With x the clip, S the scene, c a colour and a the coverage
of a moving outline, drawing the thing over the scene changes the squared error by

    sum a^2 |c - S|^2 - 2 a (x - S).(c - S)

which is one matrix product for all colours and paths. Two things never overlap, so their changes add up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from lab.toy_world.world import (
    NUM_FRAMES,
    SIDE,
    Clip,
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
    backdrop,
    outline,
    places,
    shared_lanes,
)

ATTRIBUTES = ("count", "colour", "shape", "size", "motion", "scene", "texture")
_CLIPPED = 0.1  # squared error beyond which a pixel counts as covered by a thing while scenes are compared
_NUM_CANDIDATES = 4  # scenes that are tried with things


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The drawable clip nearest to a clip."""

    spec: Spec
    layout: Layout
    distance: float  # root mean square over all values, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How much of what was asked a clip shows."""

    attributes: dict[str, bool]  # by name in `ATTRIBUTES`; one of things holds if it does for every thing
    shown: Spec  # what the nearest drawable clip shows
    manifold_distance: float  # to the nearest drawable clip
    prompt_distance: float  # to the nearest clip that fits the prompt

    @property
    def accuracy(self) -> float:
        """Share of the attributes that hold."""
        return sum(self.attributes.values()) / len(self.attributes)


def check(clip: Clip, spec: Spec) -> Verdict:
    """Judge one clip, uint8 (8, 32, 32, 3), against what was asked. Raises ValueError for another shape."""
    video = _unit(clip)
    nearest = _project(video, _likely_scenes(video))
    return Verdict(
        attributes=compare(nearest.spec, spec),
        shown=nearest.spec,
        manifold_distance=nearest.distance,
        prompt_distance=_fit(video, spec).distance,
    )


def project(clip: Clip) -> Projection:
    """The drawable clip nearest to a clip, uint8 (8, 32, 32, 3)."""
    video = _unit(clip)
    return _project(video, _likely_scenes(video))


def compare(shown: Spec, asked: Spec) -> dict[str, bool]:
    """Which attributes agree, with the things paired so that the most agree."""
    verdict = {
        "count": len(shown.things) == len(asked.things),
        "scene": shown.scene.colour is asked.scene.colour,
        "texture": shown.scene.texture is asked.scene.texture,
    }
    pairings = [list(zip(order, asked.things, strict=False)) for order in permutations(shown.things)]
    best = max(pairings, key=lambda pairs: sum(_agreement(a, b) for a, b in pairs))
    for name in ("colour", "shape", "size", "motion"):
        verdict[name] = verdict["count"] and all(getattr(a, name) is getattr(b, name) for a, b in best)
    return {name: verdict[name] for name in ATTRIBUTES}


def _agreement(a: Thing, b: Thing) -> int:
    return sum(getattr(a, name) is getattr(b, name) for name in ("colour", "shape", "size", "motion"))


def _unit(clip: Clip) -> Tensor:
    if clip.shape != (NUM_FRAMES, SIDE, SIDE, 3):
        raise ValueError(f"clip has shape {clip.shape}; the world draws ({NUM_FRAMES}, {SIDE}, {SIDE}, 3)")
    return torch.from_numpy(np.ascontiguousarray(clip)).float() / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One way to draw a thing and the change of the squared error that it brings."""

    change: float
    thing: Thing
    place: tuple[int, int]


@cache
def _scenes() -> tuple[tuple[Scene, ...], Tensor]:
    """Every scene, and a frame of each without things (N, H, W, 3)."""
    scenes = tuple(Scene(colour=colour, texture=texture) for colour in Colour for texture in Texture)
    return scenes, torch.stack([_frame(scene) for scene in scenes])


def _frame(scene: Scene) -> Tensor:
    return torch.from_numpy(backdrop(scene))  # (H, W, 3)


def _likely_scenes(video: Tensor) -> list[Scene]:
    """The scenes that explain most of the clip if badly explained pixels are taken for things."""
    scenes, frames = _scenes()
    errors = torch.stack([(frame - frames).square().sum(-1).clamp(max=_CLIPPED).sum((1, 2)) for frame in video]).sum(0)
    return [scenes[i] for i in errors.topk(_NUM_CANDIDATES, largest=False).indices.tolist()]


def _project(video: Tensor, scenes: Iterable[Scene]) -> Projection:
    return min((_over(video, scene) for scene in scenes), key=lambda found: found.distance)


def _over(video: Tensor, scene: Scene) -> Projection:
    """The best one or two things over one scene."""
    tables = _Changes(video, _frame(scene))
    colours = [colour for colour in Colour if colour is not scene.colour]
    singles = tables.best(tuple(Motion))
    choices = [(singles[colour],) for colour in colours] + list(_pairs(tables, colours))
    return _projection(video, scene, min(choices, key=_total))


def _pairs(tables: "_Changes", colours: Sequence[Colour]) -> Iterator[tuple[_Found, ...]]:
    """The best pair of things for every two colours, alike or not, and every way to share the clip."""
    for lanes in Lanes:
        motions = tuple(motion for motion in Motion if lanes in shared_lanes(motion, Motion.STILL))
        first, second = (tables.best(motions, lanes, lane) for lane in (0, 1))
        yield from ((first[a], second[b]) for a in colours for b in colours)


def _fit(video: Tensor, spec: Spec) -> Projection:
    """The nearest clip that fits a spec."""
    tables = _Changes(video, _frame(spec.scene))
    return _projection(video, spec.scene, min(_placements(tables, spec), key=_total))


def _placements(tables: "_Changes", spec: Spec) -> Iterator[tuple[_Found, ...]]:
    if len(spec.things) == 1:
        yield (tables.place(spec.things[0], None, 0),)
        return
    first, second = spec.things
    for lanes in shared_lanes(first.motion, second.motion):
        for lane in (0, 1):
            yield tables.place(first, lanes, lane), tables.place(second, lanes, 1 - lane)


def _total(found: Sequence[_Found]) -> float:
    return sum(one.change for one in found)


def _projection(video: Tensor, scene: Scene, found: Sequence[_Found]) -> Projection:
    empty = float((video - _frame(scene)).square().sum())
    return Projection(
        spec=Spec(things=tuple(one.thing for one in found), scene=scene),
        layout=Layout(places=tuple(one.place for one in found)),
        distance=(max(0.0, empty + _total(found)) / video.numel()) ** 0.5,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """A moving outline in a clip, without its colour."""

    shape: Shape
    size: Size
    motion: Motion
    place: tuple[int, int]


@cache
def _paths() -> tuple[tuple[_Path, ...], Tensor]:
    """Every path that the world can draw, and its coverage, (N, T, H, W) in 0..1."""
    kinds = [(shape, size, motion) for shape in Shape for size in Size for motion in Motion]
    paths = tuple(
        _Path(shape=shape, size=size, motion=motion, place=place)
        for shape, size, motion in kinds
        for place in places(size, motion)
    )
    return paths, torch.stack([_covered(path) for path in paths])


def _covered(path: _Path) -> Tensor:
    cover = torch.zeros(NUM_FRAMES, SIDE, SIDE)
    (row, column), (down, right), pixels = path.place, path.motion.step, path.size.pixels
    for t in range(NUM_FRAMES):
        top, left = row + t * down, column + t * right
        cover[t, top : top + pixels, left : left + pixels] = torch.from_numpy(outline(path.shape, path.size))
    return cover


@cache
def _in_lane(motions: tuple[Motion, ...], lanes: Lanes | None, lane: int) -> Tensor:
    """Which paths have one of these motions and stay in a half of the clip."""
    allowed = {(size, motion): set(places(size, motion, lanes=lanes, lane=lane)) for size in Size for motion in motions}
    return torch.tensor(
        [i for i, path in enumerate(_paths()[0]) if path.place in allowed.get((path.size, path.motion), ())]
    )


class _Changes:
    """The change of the squared error for every colour and path over one scene."""

    def __init__(self, video: Tensor, frame: Tensor):
        cover = _paths()[1]
        towards = torch.stack([torch.tensor(colour.rgb) - frame for colour in Colour])  # (K, H, W, 3)
        gain = torch.einsum("thwc,khwc->kthw", video - frame, towards)
        cost = towards.square().sum(-1)  # (K, H, W)
        self._changes = cost.flatten(1) @ _squares().T - 2 * gain.flatten(1) @ cover.flatten(1).T  # (K, N)

    def best(self, motions: tuple[Motion, ...], lanes: Lanes | None = None, lane: int = 0) -> dict[Colour, _Found]:
        """For every colour, the thing with one of these motions that lowers the error most."""
        chosen = _in_lane(motions, lanes, lane)
        lows = self._changes[:, chosen].min(dim=1)
        indices = chosen[lows.indices].tolist()
        return {
            colour: _found(colour, index, change)
            for colour, index, change in zip(Colour, indices, lows.values.tolist(), strict=True)
        }

    def place(self, thing: Thing, lanes: Lanes | None, lane: int) -> _Found:
        """The best place of a thing in a clip, or in one half of it."""
        paths, row = _paths()[0], self._changes[list(Colour).index(thing.colour)]
        allowed = [
            i
            for i in _in_lane((thing.motion,), lanes, lane).tolist()
            if paths[i].shape is thing.shape and paths[i].size is thing.size
        ]
        index = min(allowed, key=lambda i: float(row[i]))
        return _found(thing.colour, index, float(row[index]))


@cache
def _squares() -> Tensor:
    """Squared coverage of each path, summed over frames, (N, H * W)."""
    return _paths()[1].square().sum(1).flatten(1)


def _found(colour: Colour, index: int, change: float) -> _Found:
    path = _paths()[0][index]
    thing = Thing(shape=path.shape, size=path.size, colour=colour, motion=path.motion)
    return _Found(change=change, thing=thing, place=path.place)
