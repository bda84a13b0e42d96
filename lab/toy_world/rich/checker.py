"""The analytic judge of clips of the rich world: finds what a clip shows by drawing it.

First the scene: every texture, light, camera, colour and change of colour is compared with the clip, at a few hundred
pixels, with errors cut off so that things do not count for more than their area. Then, over each of the likeliest
scenes, the things: drawing a thing (tone P, coverage a, colour c in light L) over a lit backdrop S changes the squared
error of the clip x by

    sum P^2 L^2 |c|^2 - 2 P a L c.S + a^2 |S|^2 - 2 P L c.(x - S) + 2 a S.(x - S)

so it is enough to add nine fields up along every way that a thing can go and to convolve the sums with every sprite.
Things never touch, so their changes add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lab.toy_world.rich.drawing import backdrop, brightness, scene_colours, sprite, tones
from lab.toy_world.rich.world import (
    GRID,
    NUM_FRAMES,
    SIDE,
    Camera,
    Clip,
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
    starts,
    track_of,
)

OF_THINGS = ("colour", "shape", "size", "motion", "speed")
ATTRIBUTES = ("count", *OF_THINGS, "scene", "turn", "texture", "light", "camera")
_CLIPPED = 0.1  # squared error of a pixel beyond which it counts as covered by a thing while scenes are compared
_NUM_PIXELS = 600  # of each compared frame
_FRAMES = (0, 4, 8, 11, 15)  # that are compared for the scene
_NUM_CANDIDATES = 3  # scenes that are tried with things
_MOST = 4  # things that are looked for, one more than a clip may show
_SHARE_SEEN = 0.2  # a thing is there when drawing it removes this share of its own contrast: when it is .6 opaque
_NUM_FITS = 40  # places of each thing that are tried together when a prompt is fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that is not a thing."""

    scene: Scene
    light: Light
    camera: Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a clip shows, drawable or not: it may be no thing or too many."""

    things: tuple[Thing, ...]
    setting: Setting
    layout: Layout
    distance: float  # to the clip drawn so, root mean square over all values, 0..1

    @property
    def scene(self) -> Scene:
        """The scene of the setting."""
        return self.setting.scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a clip shows of what was asked."""

    attributes: dict[str, bool]  # of `ATTRIBUTES`; an attribute of things holds when it does for every thing
    shown: Shown
    prompt_distance: float  # to about the nearest clip that fits the prompt

    @property
    def accuracy(self) -> float:
        """Share of the attributes that hold."""
        return sum(self.attributes.values()) / len(self.attributes)

    @property
    def manifold_distance(self) -> float:
        """To the nearest clip that the checker knows to draw."""
        return self.shown.distance


def check(clip: Clip, spec: Spec) -> Verdict:
    """Judge one clip, uint8 (16, 96, 96, 3), against what was asked. Raises ValueError for another shape."""
    video = _unit(clip)
    shown = _recognise(video)
    return Verdict(attributes=compare(shown, spec), shown=shown, prompt_distance=_fit(video, spec))


def compare(shown: Shown, asked: Spec) -> dict[str, bool]:
    """Which attributes agree, with the things paired in the way that agrees best."""
    scene = shown.setting.scene
    verdict = {
        "count": len(shown.things) == len(asked.things),
        "scene": scene.colour is asked.scene.colour,
        "turn": scene.turns is asked.scene.turns,
        "texture": scene.texture is asked.scene.texture,
        "light": shown.setting.light is asked.light,
        "camera": shown.setting.camera is asked.camera,
    }
    pairings = [list(zip(order, asked.things, strict=False)) for order in permutations(shown.things)]
    best = max(pairings, key=lambda pairs: sum(_agreement(a, b) for a, b in pairs))
    for name in OF_THINGS:
        verdict[name] = verdict["count"] and all(getattr(a, name) is getattr(b, name) for a, b in best)
    return {name: verdict[name] for name in ATTRIBUTES}


def _agreement(a: Thing, b: Thing) -> int:
    return sum(getattr(a, name) is getattr(b, name) for name in OF_THINGS)


def _unit(clip: Clip) -> Tensor:
    if clip.shape != (NUM_FRAMES, SIDE, SIDE, 3):
        raise ValueError(f"clip has shape {clip.shape}; the rich world draws ({NUM_FRAMES}, {SIDE}, {SIDE}, 3)")
    return torch.from_numpy(np.ascontiguousarray(clip)).float() / 255


def _recognise(video: Tensor) -> Shown:
    return min((_over(video, setting) for setting in likely_settings(video)), key=lambda shown: shown.distance)


@cache
def _pixels() -> tuple[Tensor, Tensor]:
    """Rows and columns of the compared pixels, always the same."""
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(SIDE, size=(2, _NUM_PIXELS))
    return torch.from_numpy(rows), torch.from_numpy(columns)


@cache
def _patterns() -> tuple[list[tuple[Texture, Light, Camera]], Tensor]:
    """Every lit texture under every camera at the compared pixels, (N, frames, pixels)."""
    rows, columns = _pixels()
    kinds = list(product(Texture, Light, Camera))
    drawn = [
        torch.from_numpy(tones(texture, camera) * brightness(light))[list(_FRAMES)][:, rows, columns]
        for texture, light, camera in kinds
    ]
    return kinds, torch.stack(drawn)


@cache
def _palettes() -> tuple[list[tuple[Colour, Colour | None]], Tensor]:
    """Every colour of a scene, turning or not, in the compared frames, (M, frames, 3)."""
    kinds = [(colour, turns) for colour in Colour for turns in (None, *Colour) if turns is not colour]
    drawn = [
        torch.from_numpy(scene_colours(Scene(colour=colour, texture=Texture.TILED, turns=turns)))[list(_FRAMES)]
        for colour, turns in kinds
    ]
    return kinds, torch.stack(drawn)


def likely_settings(video: Tensor) -> list[Setting]:
    """The settings that explain most of a clip, (T, H, W, 3), the likeliest first."""
    rows, columns = _pixels()
    seen = video[list(_FRAMES)][:, rows, columns]  # (f, p, 3)
    (patterns, tone), (palettes, colours) = _patterns(), _palettes()
    errors = torch.stack([_robust(seen, tone, colour) for colour in colours], dim=1)  # (N, M)
    best = errors.flatten().topk(_NUM_CANDIDATES, largest=False).indices.tolist()
    return [_setting(patterns[i // len(palettes)], palettes[i % len(palettes)]) for i in best]


def _robust(seen: Tensor, tone: Tensor, colour: Tensor) -> Tensor:
    """Clipped squared errors (N,) of every pattern (N, f, p) in the colours of the frames (f, 3)."""
    # |x - tone c|^2 = |x|^2 - 2 tone x.c + tone^2 |c|^2
    along = torch.einsum("fpc,fc->fp", seen, colour)
    errors = seen.square().sum(-1) - 2 * tone * along + tone.square() * colour.square().sum(-1)[:, None]
    return errors.clamp(max=_CLIPPED).sum((1, 2))


def _setting(pattern: tuple[Texture, Light, Camera], palette: tuple[Colour, Colour | None]) -> Setting:
    (texture, light, camera), (colour, turns) = pattern, palette
    return Setting(scene=Scene(colour=colour, texture=texture, turns=turns), light=light, camera=camera)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A thing without shape and colour: how it moves and how large it is."""

    motion: Motion
    speed: Speed | None
    size: Size

    def track(self, camera: Camera) -> Track:
        return track_of(self.thing(Shape.CIRCLE, Colour.RED), camera)

    def thing(self, shape: Shape, colour: Colour) -> Thing:
        return Thing(shape=shape, size=self.size, colour=colour, motion=self.motion, speed=self.speed)


_MOVES: tuple[tuple[Motion, Speed | None], ...] = (
    (Motion.STILL, None),
    *product((motion for motion in Motion if motion is not Motion.STILL), Speed),
)
_WAYS = tuple(_Way(motion=motion, speed=speed, size=size) for size in Size for motion, speed in _MOVES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One way to draw a thing and the change of the squared error that it brings."""

    change: float
    thing: Thing
    place: tuple[int, int]


class _Changes:
    """What every thing at every place changes over one setting, with tables (shapes, colours, places) by way."""

    def __init__(self, video: Tensor, setting: Setting):
        self.camera = setting.camera
        lamp = torch.from_numpy(brightness(setting.light))  # (W,)
        behind = torch.from_numpy(backdrop(setting.scene, setting.camera)) * lamp[:, None]
        rest = video - behind
        self.empty = float(rest.square().sum())
        fields = torch.cat(
            [
                lamp.square().expand(NUM_FRAMES, 1, SIDE, SIDE),
                (lamp[:, None] * behind).movedim(-1, 1),
                behind.square().sum(-1)[:, None],
                (lamp[:, None] * rest).movedim(-1, 1),
                (behind * rest).sum(-1)[:, None],
            ],
            dim=1,
        )  # (T, 9, H, W)
        self.changes: dict[_Way, Tensor] = {}  # (shapes, colours, places)
        self.contrasts: dict[_Way, Tensor] = {}  # what drawing it would change in the backdrop itself
        for size in Size:
            ways = [way for way in _WAYS if way.size is size]
            sums = torch.stack([_along(fields, way.track(self.camera)) for way in ways])  # (ways, 9, H, W)
            for way, change, contrast in zip(ways, *_tables(sums, size), strict=True):
                places = torch.from_numpy(starts(way.track(self.camera)) // GRID)
                self.changes[way] = change[:, :, places[:, 0], places[:, 1]]
                self.contrasts[way] = contrast[:, :, places[:, 0], places[:, 1]]

    def best(self, free: dict[_Way, Tensor], colours: Sequence[Colour]) -> _Found | None:
        """The thing in one of these colours at a free place that is seen and lowers the error most."""
        index = [list(Colour).index(colour) for colour in colours]
        lowest: _Found | None = None
        for way, change in self.changes.items():
            change, contrast = change[:, index], self.contrasts[way][:, index]
            seen = free[way] & (-change > _SHARE_SEEN * contrast)
            flat = change.masked_fill(~seen, torch.inf).flatten()
            at = int(flat.argmin())
            value = float(flat[at])
            if value < (lowest.change if lowest else 0.0):
                shape, colour, place = (int(i) for i in np.unravel_index(at, change.shape))
                row, column = starts(way.track(self.camera))[place].tolist()
                thing = way.thing(list(Shape)[shape], colours[colour])
                lowest = _Found(change=value, thing=thing, place=(row, column))
        return lowest

    def of(self, thing: Thing) -> Tensor:
        """The changes that a thing brings at each of its places, (N,)."""
        way = _Way(motion=thing.motion, speed=thing.speed, size=thing.size)
        return self.changes[way][list(Shape).index(thing.shape), list(Colour).index(thing.colour)]


def _along(fields: Tensor, track: Track) -> Tensor:
    """Fields (T, 9, H, W) added up along a way, by the place in the first frame, (9, H, W); zeros come from outside."""
    total = torch.zeros(fields.shape[1:])
    for t in range(NUM_FRAMES):
        down, right = t * track.step[0], t * track.step[1]
        top, left = max(0, -down), max(0, -right)
        bottom, end = SIDE - max(0, down), SIDE - max(0, right)
        total[:, top:bottom, left:end] += fields[t, :, top + down : bottom + down, left + right : end + right]
    return total


@cache
def _sprites(size: Size) -> tuple[Tensor, Tensor]:
    """Tone and coverage of every shape, (shapes, 1, s, s)."""
    drawn = [sprite(shape, size) for shape in Shape]
    tone, cover = (np.stack([getattr(one, name) for one in drawn])[:, None] for name in ("tone", "cover"))
    return torch.from_numpy(tone), torch.from_numpy(cover)


@cache
def _colours() -> Tensor:
    return torch.tensor([colour.rgb for colour in Colour])  # (K, 3)


def _tables(sums: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Changes and contrasts (ways, shapes, colours, rows, columns) on the grid, of sums (ways, 9, H, W)."""
    tone, cover = _sprites(size)
    lamp, lit_behind, behind, lit_rest, behind_rest = torch.split(sums, [1, 3, 1, 3, 1], dim=1)
    rgb = _colours()
    light = _slid(lamp, tone.square())[:, 0, :, None] * rgb.square().sum(1)[:, None, None]
    mixed = torch.einsum("wcshv,kc->wskhv", _slid(lit_behind, tone * cover), rgb)
    contrast = light - 2 * mixed + _slid(behind, cover.square())[:, 0, :, None]
    towards = torch.einsum("wcshv,kc->wskhv", _slid(lit_rest, tone), rgb)
    change = contrast - 2 * towards + 2 * _slid(behind_rest, cover)[:, 0, :, None]
    return change, contrast


def _slid(sums: Tensor, kernels: Tensor) -> Tensor:
    """Sums (ways, C, H, W) under kernels (shapes, 1, s, s) at every place of the grid, (ways, C, shapes, h, w)."""
    out = F.conv2d(sums.flatten(0, 1)[:, None], kernels, stride=GRID)
    return out.reshape(*sums.shape[:2], *out.shape[1:])


def _over(video: Tensor, setting: Setting) -> Shown:
    """The things over one setting: the best one, then the best one that does not touch it, and so on."""
    tables = _Changes(video, setting)
    colours = [colour for colour in Colour if colour not in setting.scene.colours]
    free = {way: torch.ones(len(starts(way.track(setting.camera))), dtype=torch.bool) for way in _WAYS}
    found: list[_Found] = []
    while len(found) < _MOST and (one := tables.best(free, colours)):
        found.append(one)
        taken = track_of(one.thing, setting.camera)
        for way in _WAYS:
            track = way.track(setting.camera)
            free[way] &= torch.from_numpy(apart(track, starts(track), taken, one.place))
    return Shown(
        things=tuple(one.thing for one in found),
        setting=setting,
        layout=Layout(places=tuple(one.place for one in found)),
        distance=_distance(video, tables.empty + sum(one.change for one in found)),
    )


def _distance(video: Tensor, squared: float) -> float:
    return float((max(0.0, squared) / video.numel()) ** 0.5)


def _fit(video: Tensor, spec: Spec) -> float:
    """The distance to about the nearest clip that fits a spec: of the best places of each thing, the best together."""
    tables = _Changes(video, Setting(scene=spec.scene, light=spec.light, camera=spec.camera))
    tracks = [track_of(thing, spec.camera) for thing in spec.things]
    for count in (_NUM_FITS, None):  # None: every place, which is seldom needed
        options = [_lowest(tables.of(thing), track, count) for thing, track in zip(spec.things, tracks, strict=True)]
        change = _together(options, tracks)
        if change is not None:
            return _distance(video, tables.empty + change)
    return _distance(video, tables.empty)


def _lowest(changes: Tensor, track: Track, count: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The lowest changes and their places, the lowest first."""
    order = changes.argsort()[:count].numpy()
    return changes.numpy()[order], starts(track)[order]


def _together(
    options: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], tracks: Sequence[Track]
) -> float | None:
    """The lowest sum of changes, one place for each thing, none touching; None when there is no such choice."""
    (changes, places), *others = options
    if not others:
        return float(changes[0])
    best: float | None = None
    floor = sum(float(other[0][0]) for other in others)
    for change, place in zip(changes, places, strict=True):
        if best is not None and change + floor >= best:
            break
        left = []
        for (other_changes, other_places), track in zip(others, tracks[1:], strict=True):
            open_ = apart(track, other_places, tracks[0], place)
            left.append((other_changes[open_], other_places[open_]))
        if any(not len(kept) for kept, _ in left):
            continue
        rest = _together(left, tracks[1:])
        if rest is not None and (best is None or change + rest < best):
            best = float(change) + rest
    return best
