"""Captions of the procedural world: many ways to say one `Spec`, and the vocabulary that they use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np

from lab.toy_world.world import Colour, Motion, Scene, Shape, Size, Spec, Texture, Thing, shared_lanes

T = TypeVar("T")
UNKNOWN, PADDING, END = "<unk>", "<pad>", "</s>"


class Split(StrEnum):
    """Which specs may be drawn."""

    TRAIN = "train"  # no held-out pair
    HELD_OUT = "held_out"  # at least one held-out pair


HELD_OUT_THINGS = frozenset(
    {(Colour.PURPLE, Shape.TRIANGLE), (Colour.YELLOW, Shape.CROSS), (Colour.WHITE, Shape.CIRCLE)}
)
HELD_OUT_SCENES = frozenset({(Colour.GREEN, Texture.BARRED), (Colour.RED, Texture.CHECKERED)})


class Shared(StrEnum):
    """What two specs have in common. A thing is the same when its shape, size and colour are; motion may differ."""

    NONE = "none"
    SCENE = "scene"
    OBJECT = "object"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A sentence and what it asks for."""

    text: str
    spec: Spec


SIZES = {Size.SMALL: ("small", "little", "tiny"), Size.LARGE: ("large", "big", "huge")}
COLOURS = {
    Colour.RED: ("red", "red", "crimson"),
    Colour.GREEN: ("green", "green", "emerald"),
    Colour.BLUE: ("blue", "blue", "azure"),
    Colour.YELLOW: ("yellow", "yellow", "golden"),
    Colour.PURPLE: ("purple", "purple", "violet"),
    Colour.WHITE: ("white", "white", "ivory"),
}
SHAPES = {
    Shape.CIRCLE: ("circle", "ball", "disc"),
    Shape.SQUARE: ("square", "box", "block"),
    Shape.TRIANGLE: ("triangle", "pyramid", "wedge"),
    Shape.CROSS: ("cross", "plus"),
}
_VERBS = (
    ("drifts", "drifting"),
    ("moves", "moving"),
    ("glides", "gliding"),
    ("slides", "sliding"),
    ("floats", "floating"),
)
WAYS = {
    Motion.LEFT: ("left", "to the left", "leftwards"),
    Motion.RIGHT: ("right", "to the right", "rightwards"),
    Motion.UP: ("up", "upwards", "to the top"),
    Motion.DOWN: ("down", "downwards", "to the bottom"),
}
RESTS = (
    ("rests", "resting"),
    ("stays still", "staying still"),
    ("stands still", "standing still"),
    ("waits", "waiting"),
)
GROUNDS = ("field", "wall", "floor", "background", "carpet")
TEXTURES = {
    Texture.PLAIN: ("plain {}", "solid {}", "bare {}"),
    Texture.STRIPED: ("striped {}", "banded {}", "{} with stripes", "{} with horizontal stripes"),
    Texture.BARRED: ("barred {}", "{} with bars", "{} with vertical bars"),
    Texture.CHECKERED: ("checkered {}", "checked {}", "{} with checks", "{} with a checkered pattern"),
}
_OVER = ("over", "across", "above", "on", "in front of", "against")
_SENTENCES = (
    "{acts} {over} {scene}",
    "{over} {scene}, {acts}",
    "{acting} {over} {scene}",
    "{scene} and {acting}",
    "{scene} where {acts}",
    "a video of {acting} {over} {scene}",
    "{acts}, {over} {scene}",
)


def sample_captions(seed: int, n: int, split: Split = Split.TRAIN, *, pairs: float = 0.3) -> list[Caption]:
    """Draw n captions; `pairs` is the share with two things. The same seed gives the same captions."""
    rng = np.random.default_rng(seed)
    return [caption_of(sample_spec(rng, split, pairs=pairs), rng) for _ in range(n)]


def sample_spec(rng: np.random.Generator, split: Split = Split.TRAIN, *, pairs: float = 0.3) -> Spec:
    """Draw a spec of a split by rejection."""
    while True:
        spec = _any_spec(rng, 2 if rng.random() < pairs else 1)
        if split_of(spec) is split:
            return spec


def _any_spec(rng: np.random.Generator, num_things: int) -> Spec:
    colours = [list(Colour)[i] for i in rng.permutation(len(Colour))[: num_things + 1]]
    motions = [choose(tuple(Motion), rng) for _ in range(num_things)]
    while num_things == 2 and not shared_lanes(motions[0], motions[1]):
        motions[1] = choose(tuple(Motion), rng)
    things = tuple(
        Thing(shape=choose(tuple(Shape), rng), size=choose(tuple(Size), rng), colour=colour, motion=motion)
        for colour, motion in zip(colours[1:], motions, strict=True)
    )
    return Spec(things=things, scene=Scene(colour=colours[0], texture=choose(tuple(Texture), rng)))


def split_of(spec: Spec) -> Split:
    """Held out when any thing or the scene shows a held-out pair."""
    held = any((thing.colour, thing.shape) in HELD_OUT_THINGS for thing in spec.things)
    return Split.HELD_OUT if held or (spec.scene.colour, spec.scene.texture) in HELD_OUT_SCENES else Split.TRAIN


def caption_of(spec: Spec, rng: np.random.Generator, *, tell_sizes: bool = True) -> Caption:
    """Say a spec in one of its many ways. `tell_sizes=False` leaves the sizes open in the sentence."""
    acts, acting = zip(*(_deed(thing, rng, tell_sizes=tell_sizes) for thing in spec.things), strict=True)
    order = rng.permutation(len(spec.things))
    text = choose(_SENTENCES, rng).format(
        acts=" and ".join(acts[i] for i in order),
        acting=" and ".join(acting[i] for i in order),
        over=choose(_OVER, rng),
        scene=scene_phrase(spec.scene, rng),
    )
    return Caption(text=text, spec=spec)


def _deed(thing: Thing, rng: np.random.Generator, *, tell_sizes: bool) -> tuple[str, str]:
    """A thing and what it does, as "a red ball drifts left" or as "a red ball drifting left"."""
    phrase = thing_phrase(thing, rng, tell_size=tell_sizes)
    if thing.motion is Motion.STILL:
        act, acting = choose(RESTS, rng)
        return f"{phrase} {act}", f"{phrase} {acting}"
    (act, acting), way = choose(_VERBS, rng), choose(WAYS[thing.motion], rng)
    return f"{phrase} {act} {way}", f"{phrase} {acting} {way}"


def thing_phrase(thing: Thing, rng: np.random.Generator, *, tell_size: bool = True) -> str:
    """A noun phrase of a thing: "a small red circle", "the tiny crimson ball"."""
    words = [choose(COLOURS[thing.colour], rng), choose(SHAPES[thing.shape], rng)]
    if tell_size:
        words.insert(0, choose(SIZES[thing.size], rng))
    return with_article(" ".join(words), rng)


def scene_phrase(scene: Scene, rng: np.random.Generator) -> str:
    """A noun phrase of a scene: "a green striped field", "a plain blue wall"."""
    ground, colour = choose(GROUNDS, rng), choose(COLOURS[scene.colour], rng)
    texture = choose(TEXTURES[scene.texture], rng)
    if texture.endswith("{}") and rng.random() < 0.5:
        return with_article(f"{colour} {texture.format(ground)}", rng)
    return with_article(texture.format(f"{colour} {ground}"), rng)


def with_article(phrase: str, rng: np.random.Generator) -> str:
    """A noun phrase with "the" or, mostly, with "a" or "an"."""
    if rng.random() < 0.15:
        return f"the {phrase}"
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def choose(options: Sequence[T], rng: np.random.Generator) -> T:
    """One of the options, each as likely as the others."""
    return options[int(rng.integers(len(options)))]


def vocabulary() -> list[str]:
    """Every token of the captions, special ones first; the position in the list is the token's id."""
    tables = (SIZES, COLOURS, SHAPES, WAYS, TEXTURES)
    phrases = [phrase for table in tables for options in table.values() for phrase in options]
    phrases += [word for pair in (*_VERBS, *RESTS) for word in pair]
    phrases += [*GROUNDS, *_OVER, *(re.sub(r"\{\w+\}", "", sentence) for sentence in _SENTENCES), "an", "the"]
    words = sorted({word for phrase in phrases for word in re.findall(r"[a-z]+|,", phrase)})
    return [PADDING, END, UNKNOWN, *words]


class Looks(Protocol):
    """How a thing of any world looks."""

    @property
    def shape(self) -> StrEnum: ...

    @property
    def size(self) -> StrEnum: ...

    @property
    def colour(self) -> StrEnum: ...


class Shown(Protocol):
    """The things and the scene of a spec of any world."""

    @property
    def things(self) -> Sequence[Looks]: ...

    @property
    def scene(self) -> object: ...


def shared(one: Shown, other: Shown) -> Shared:
    """What two specs of a world share: the scene, a thing, both or nothing. Nothing else of them counts."""
    scene = one.scene == other.scene
    thing = bool(_looks(one) & _looks(other))
    if scene:
        return Shared.BOTH if thing else Shared.SCENE
    return Shared.OBJECT if thing else Shared.NONE


def _looks(spec: Shown) -> set[tuple[str, str, str]]:
    return {(thing.shape, thing.size, thing.colour) for thing in spec.things}


def share_scene(spec: Spec, rng: np.random.Generator, split: Split = Split.TRAIN) -> Spec:
    """A spec with the scene of `spec` and other things."""
    return redraw(spec, Shared.SCENE, rng, split)


def share_object(spec: Spec, rng: np.random.Generator, split: Split = Split.TRAIN) -> Spec:
    """A spec with the first thing of `spec`, which may move elsewhere, in another scene."""
    return redraw(spec, Shared.OBJECT, rng, split)


def share_both(spec: Spec, rng: np.random.Generator, split: Split = Split.TRAIN) -> Spec:
    """A spec with the scene and the first thing of `spec`, which may move elsewhere."""
    return redraw(spec, Shared.BOTH, rng, split)


def redraw(spec: Spec, wanted: Shared, rng: np.random.Generator, split: Split = Split.TRAIN) -> Spec:
    """Draw until a spec that keeps what it must shares exactly what is wanted and belongs to the split."""
    while True:
        fresh = sample_spec(rng, pairs=float(len(spec.things) - 1))
        things, scene = fresh.things, fresh.scene
        if wanted in (Shared.OBJECT, Shared.BOTH):
            kept = replace(spec.things[0], motion=things[0].motion)
            things = (kept, *things[1:])
        if wanted in (Shared.SCENE, Shared.BOTH):
            scene = spec.scene
        if len({scene.colour, *(thing.colour for thing in things)}) <= len(things):
            continue
        drawn = Spec(things=things, scene=scene)
        if shared(spec, drawn) is wanted and split_of(drawn) is split:
            return drawn
