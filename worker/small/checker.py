"""The analytic judge of clips: projects a clip on the set of clips that the world can draw.

For every scene the error of drawing a thing over it is a correlation of the clip with the thing's outline, so the
nearest drawable clip is found by looking at every one of them. With x the clip, S the scene, c a colour and a the
coverage of an outline, drawing the thing changes the squared error by  sum a^2 |c - S|^2 - 2 a (x - S).(c - S).
Two things never overlap, so their changes add up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worker.small.world import (
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
    phases,
    places,
    shared_lanes,
)

ATTRIBUTES = ("count", "colour", "shape", "size", "motion", "scene", "texture")
_CLIPPED = 0.1  # squared error of a pixel beyond which it counts as covered by a thing while scenes are compared
_NUM_CANDIDATES = 4  # scenes that are tried with things


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The drawable clip nearest to a clip."""

    spec: Spec
    layout: Layout
    distance: float  # root mean square over all values, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a clip shows of what was asked."""

    attributes: dict[str, bool]  # of `ATTRIBUTES`; an attribute of things holds when it does for every thing
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
    """Which attributes agree, with the things paired in the way that agrees best."""
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
class _Ground:
    """A scene at one phase."""

    scene: Scene
    phase: tuple[int, int]

    @property
    def frame(self) -> Tensor:
        return torch.from_numpy(backdrop(self.scene, self.phase))  # (H, W, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One way to draw a thing and the change of the squared error that it brings."""

    change: float
    thing: Thing
    place: tuple[int, int]


@cache
def _all_grounds() -> tuple[tuple[_Ground, ...], Tensor]:
    """Every scene at every phase, and their frames (N, H, W, 3)."""
    scenes = [Scene(colour=colour, texture=texture) for colour in Colour for texture in Texture]
    grounds = tuple(_Ground(scene=scene, phase=phase) for scene in scenes for phase in phases(scene.texture))
    return grounds, torch.stack([ground.frame for ground in grounds])


def _likely_scenes(video: Tensor) -> list[_Ground]:
    """The scenes that explain most of the clip when badly explained pixels are taken to be things."""
    grounds, frames = _all_grounds()
    errors = torch.stack([(frame - frames).square().sum(-1).clamp(max=_CLIPPED).sum((1, 2)) for frame in video]).sum(0)
    return [grounds[i] for i in errors.topk(_NUM_CANDIDATES, largest=False).indices.tolist()]


def _project(video: Tensor, grounds: Iterable[_Ground]) -> Projection:
    return min((_over(video, ground) for ground in grounds), key=lambda found: found.distance)


def _over(video: Tensor, ground: _Ground) -> Projection:
    """The best one or two things over one ground."""
    tables = _Changes(video, ground.frame)
    colours = [colour for colour in Colour if colour is not ground.scene.colour]
    singles = tables.best(tuple(Motion))
    choices = [(singles[colour],) for colour in colours] + list(_pairs(tables, colours))
    return _projection(video, ground, min(choices, key=_total))


def _pairs(tables: "_Changes", colours: Sequence[Colour]) -> Iterator[tuple[_Found, ...]]:
    """The best pair of things for every two colours and every way to share the clip."""
    for lanes in Lanes:
        motions = tuple(motion for motion in Motion if lanes in shared_lanes(motion, Motion.STILL))
        first, second = (tables.best(motions, lanes, lane) for lane in (0, 1))
        yield from ((first[a], second[b]) for a in colours for b in colours if a is not b)


def _fit(video: Tensor, spec: Spec) -> Projection:
    """The nearest clip that fits a spec."""
    fits = []
    for phase in phases(spec.scene.texture):
        ground = _Ground(scene=spec.scene, phase=phase)
        tables = _Changes(video, ground.frame)
        fits.append(_projection(video, ground, min(_placements(tables, spec), key=_total)))
    return min(fits, key=lambda found: found.distance)


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


def _projection(video: Tensor, ground: _Ground, found: Sequence[_Found]) -> Projection:
    empty = float((video - ground.frame).square().sum())
    return Projection(
        spec=Spec(things=tuple(one.thing for one in found), scene=ground.scene),
        layout=Layout(phase=ground.phase, places=tuple(one.place for one in found)),
        distance=(max(0.0, empty + _total(found)) / video.numel()) ** 0.5,
    )


class _Changes:
    """The change of the squared error for every thing at every place over one ground."""

    def __init__(self, video: Tensor, frame: Tensor):
        towards = torch.stack([torch.tensor(colour.rgb) - frame for colour in Colour])  # (K, H, W, 3)
        self._gain = -2 * torch.einsum("thwc,khwc->tkhw", video - frame, towards)
        self._cost = towards.square().sum(-1)[None]  # (1, K, H, W)
        self._maps: dict[tuple[Shape, Size], Tensor] = {}
        self._placed: dict[tuple[Shape, Size, Motion], Tensor] = {}

    def best(self, motions: Sequence[Motion], lanes: Lanes | None = None, lane: int = 0) -> dict[Colour, _Found]:
        """For every colour, the thing with one of these motions that lowers the error most."""
        kinds = [(shape, size, motion) for shape in Shape for size in Size for motion in motions]
        lows = [self._changes(*kind, lanes, lane).min(dim=1) for kind in kinds]
        values = torch.stack([low.values for low in lows])  # (kinds, K)
        found = {}
        for k, colour in enumerate(Colour):
            i = int(values[:, k].argmin())
            shape, size, motion = kinds[i]
            thing = Thing(shape=shape, size=size, colour=colour, motion=motion)
            place = _allowed(size, motion, lanes, lane)[int(lows[i].indices[k])]
            found[colour] = _Found(change=float(values[i, k]), thing=thing, place=place)
        return found

    def place(self, thing: Thing, lanes: Lanes | None, lane: int) -> _Found:
        """The best place of a thing in a clip, or in one half of it."""
        changes = self._changes(thing.shape, thing.size, thing.motion, lanes, lane)[list(Colour).index(thing.colour)]
        i = int(changes.argmin())
        return _Found(change=float(changes[i]), thing=thing, place=_allowed(thing.size, thing.motion, lanes, lane)[i])

    def _changes(self, shape: Shape, size: Size, motion: Motion, lanes: Lanes | None, lane: int) -> Tensor:
        """The change for every colour and allowed place, (K, P)."""
        if (shape, size, motion) not in self._placed:
            self._placed[shape, size, motion] = self._along(shape, size, motion)
        rows, columns = torch.tensor(_allowed(size, motion, lanes, lane)).T
        top, left = _room(motion)
        return self._placed[shape, size, motion][:, rows - top, columns - left]

    def _along(self, shape: Shape, size: Size, motion: Motion) -> Tensor:
        """The change for every start of a path that stays inside the clip, (K, H'', W'')."""
        table, (down, right), (top, left) = self._table(shape, size), motion.step, _room(motion)
        height, width = (
            side - abs(step) * (NUM_FRAMES - 1) for side, step in zip(table.shape[2:], motion.step, strict=True)
        )
        paths = [table[t, :, top + t * down :, left + t * right :][:, :height, :width] for t in range(NUM_FRAMES)]
        return torch.stack(paths).sum(0)

    def _table(self, shape: Shape, size: Size) -> Tensor:
        if (shape, size) not in self._maps:
            cover = torch.from_numpy(outline(shape, size))[None, None]  # (1, 1, s, s)
            self._maps[shape, size] = _correlate(self._gain, cover) + _correlate(self._cost, cover**2)
        return self._maps[shape, size]  # (T, K, H', W')


def _room(motion: Motion) -> tuple[int, int]:
    """The first row and column from which a thing can move without leaving the clip."""
    down, right = motion.step
    return max(0, -down) * (NUM_FRAMES - 1), max(0, -right) * (NUM_FRAMES - 1)


@cache
def _allowed(size: Size, motion: Motion, lanes: Lanes | None, lane: int) -> list[tuple[int, int]]:
    return places(size, motion, lanes=lanes, lane=lane)


def _correlate(maps: Tensor, kernel: Tensor) -> Tensor:
    """Valid correlation of every map (N, K, H, W) with one kernel."""
    return F.conv2d(maps.flatten(0, 1)[:, None], kernel).unflatten(0, maps.shape[:2])[:, :, 0]
