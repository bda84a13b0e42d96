"""Captions of the rich world: many ways to say one `Spec`, and the vocabulary that they use.

Speed, light, camera and a scene that turns are said where they matter: a bright light and a camera that rests are
mostly left out, and leaving them out means just that.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.toy_world.captions import END, PADDING, UNKNOWN, Shared, Split, choose, shared, with_article
from lab.toy_world.rich.world import (
    MAX_THINGS,
    Camera,
    Colour,
    Light,
    Motion,
    Scene,
    Shape,
    Size,
    Spec,
    Speed,
    Texture,
    Thing,
    draw_layout,
)

HELD_OUT_THINGS = frozenset(
    {(Colour.PURPLE, Shape.TRIANGLE), (Colour.YELLOW, Shape.CROSS), (Colour.WHITE, Shape.CIRCLE)}
)
HELD_OUT_SCENES = frozenset({(Colour.GREEN, Texture.BRICK), (Colour.RED, Texture.CHECKERED)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often specs show what; shares of 1."""

    counts: tuple[float, ...] = (0.4, 0.35, 0.25)  # of clips with one, two and three things
    turns: float = 0.2  # scenes that change their colour
    pans: float = 0.3
    lamps: float = 0.5  # lights other than bright


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A sentence and what it asks for."""

    text: str
    spec: Spec


SIZES = {Size.SMALL: ("small", "little", "tiny"), Size.LARGE: ("large", "big", "huge")}
COLOURS = {
    Colour.RED: ("red", "red", "crimson"),
    Colour.ORANGE: ("orange", "orange", "amber"),
    Colour.YELLOW: ("yellow", "yellow", "golden"),
    Colour.GREEN: ("green", "green", "emerald"),
    Colour.CYAN: ("cyan", "cyan", "turquoise"),
    Colour.BLUE: ("blue", "blue", "azure"),
    Colour.PURPLE: ("purple", "purple", "violet"),
    Colour.WHITE: ("white", "white", "ivory"),
}
SHAPES = {
    Shape.CIRCLE: ("circle", "ball", "disc"),
    Shape.SQUARE: ("square", "box", "block"),
    Shape.TRIANGLE: ("triangle", "pyramid", "wedge"),
    Shape.CROSS: ("cross", "plus"),
    Shape.STAR: ("star",),
    Shape.RING: ("ring", "hoop", "donut"),
}
VERBS = {  # without and with a speed of their own
    None: (("drifts", "drifting"), ("moves", "moving"), ("glides", "gliding"), ("slides", "sliding")),
    Speed.SLOW: (("creeps", "creeping"), ("crawls", "crawling")),
    Speed.FAST: (("races", "racing"), ("dashes", "dashing")),
}
ADVERBS = {Speed.SLOW: ("slowly", "gently"), Speed.FAST: ("quickly", "swiftly")}
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
    Texture.STRIPED: ("striped {}", "banded {}", "{} with stripes"),
    Texture.CHECKERED: ("checkered {}", "checked {}", "{} with checks"),
    Texture.BRICK: ("brick {}", "{} of bricks"),
    Texture.DOTTED: ("dotted {}", "spotted {}", "{} with dots"),
    Texture.WAVY: ("wavy {}", "{} with waves"),
    Texture.TILED: ("tiled {}", "{} of tiles"),
}
TURNS = ("that turns {}", "turning {}", "that becomes {}", "fading to {}")
LIGHTS = {
    Light.BRIGHT: ("in bright light", "at noon"),
    Light.DIM: ("in dim light", "at dusk"),
    Light.LEFT: ("lit from the left", "with a lamp on the left"),
    Light.RIGHT: ("lit from the right", "with a lamp on the right"),
}
CAMERAS = {
    Camera.STILL: ("with a steady camera", "as the camera rests"),
    Camera.LEFT: ("as the camera pans left", "while the view pans to the left"),
    Camera.RIGHT: ("as the camera pans right", "while the view pans to the right"),
}
_TRIES = 10  # draws of places in which a spec must find room
_SAID_ANYWAY = 0.2  # how often a bright light and a resting camera are said
_OVER = ("over", "across", "above", "on", "in front of", "against")
_SENTENCES = (
    "{acts} {over} {scene}{rest}",
    "{over} {scene}, {acts}{rest}",
    "{acting} {over} {scene}{rest}",
    "{scene} and {acting}{rest}",
    "{scene} where {acts}{rest}",
    "a video of {acting} {over} {scene}{rest}",
    "{acts}, {over} {scene}{rest}",
)


def sample_captions(seed: int, n: int, split: Split = Split.TRAIN, *, mix: Mix | None = None) -> list[Caption]:
    """Draw n captions. The same seed gives the same captions."""
    rng = np.random.default_rng(seed)
    return [caption_of(sample_spec(rng, split, mix=mix), rng) for _ in range(n)]


def sample_spec(rng: np.random.Generator, split: Split = Split.TRAIN, *, mix: Mix | None = None) -> Spec:
    """Draw a spec of a split by rejection. Three things that nearly never find room together are left out."""
    while True:
        spec = _any_spec(rng, mix or Mix())
        if split_of(spec) is split and has_room(spec, rng):
            return spec


def has_room(spec: Spec, rng: np.random.Generator) -> bool:
    """Whether a few draws of places find one at which no two things touch."""
    try:
        draw_layout(spec, rng, tries=_TRIES)
    except ValueError:
        return False
    return True


def _any_spec(rng: np.random.Generator, mix: Mix) -> Spec:
    num_things = 1 + int(rng.choice(len(mix.counts), p=mix.counts))
    colours = [list(Colour)[i] for i in rng.permutation(len(Colour))[: num_things + 2]]
    turns = colours[1] if rng.random() < mix.turns else None
    lamps = [light for light in Light if light is not Light.BRIGHT]
    pans = [camera for camera in Camera if camera is not Camera.STILL]
    return Spec(
        things=tuple(_any_thing(rng, colour) for colour in colours[2:]),
        scene=Scene(colour=colours[0], texture=choose(tuple(Texture), rng), turns=turns),
        light=choose(lamps, rng) if rng.random() < mix.lamps else Light.BRIGHT,
        camera=choose(pans, rng) if rng.random() < mix.pans else Camera.STILL,
    )


def _any_thing(rng: np.random.Generator, colour: Colour) -> Thing:
    motion = choose(tuple(Motion), rng)
    speed = None if motion is Motion.STILL else choose(tuple(Speed), rng)
    return Thing(
        shape=choose(tuple(Shape), rng), size=choose(tuple(Size), rng), colour=colour, motion=motion, speed=speed
    )


def split_of(spec: Spec) -> Split:
    """Held out when any thing or the scene shows a held-out pair."""
    held = any((thing.colour, thing.shape) in HELD_OUT_THINGS for thing in spec.things)
    return Split.HELD_OUT if held or (spec.scene.colour, spec.scene.texture) in HELD_OUT_SCENES else Split.TRAIN


def caption_of(spec: Spec, rng: np.random.Generator, *, tell_sizes: bool = True) -> Caption:
    """Say a spec in one of its many ways. `tell_sizes=False` leaves the sizes open in the sentence."""
    acts, acting = zip(*(_deed(thing, rng, tell_sizes=tell_sizes) for thing in spec.things), strict=True)
    order = rng.permutation(len(spec.things))
    text = choose(_SENTENCES, rng).format(
        acts=_listed([acts[i] for i in order]),
        acting=_listed([acting[i] for i in order]),
        over=choose(_OVER, rng),
        scene=scene_phrase(spec.scene, rng),
        rest="".join(f", {phrase}" for phrase in _circumstances(spec, rng)),
    )
    return Caption(text=text, spec=spec)


def _listed(phrases: Sequence[str]) -> str:
    return " and ".join((", ".join(phrases[:-1]), phrases[-1])) if len(phrases) > 1 else phrases[0]


def _circumstances(spec: Spec, rng: np.random.Generator) -> list[str]:
    """Light and camera, in any order, the usual ones mostly left out."""
    said = []
    if spec.light is not Light.BRIGHT or rng.random() < _SAID_ANYWAY:
        said.append(choose(LIGHTS[spec.light], rng))
    if spec.camera is not Camera.STILL or rng.random() < _SAID_ANYWAY:
        said.append(choose(CAMERAS[spec.camera], rng))
    return said if rng.random() < 0.5 else said[::-1]


def _deed(thing: Thing, rng: np.random.Generator, *, tell_sizes: bool) -> tuple[str, str]:
    """A thing and what it does, as "a red ball races left" and as "a red ball racing left"."""
    phrase = thing_phrase(thing, rng, tell_size=tell_sizes)
    if thing.speed is None:
        act, acting = choose(RESTS, rng)
        return f"{phrase} {act}", f"{phrase} {acting}"
    way = choose(WAYS[thing.motion], rng)
    if rng.random() < 0.5:
        act, acting = choose(VERBS[thing.speed], rng)
        return f"{phrase} {act} {way}", f"{phrase} {acting} {way}"
    (act, acting), adverb = choose(VERBS[None], rng), choose(ADVERBS[thing.speed], rng)
    return f"{phrase} {act} {adverb} {way}", f"{phrase} {acting} {adverb} {way}"


def thing_phrase(thing: Thing, rng: np.random.Generator, *, tell_size: bool = True) -> str:
    """A noun phrase of a thing: "a small red circle", "the tiny crimson ball"."""
    words = [choose(COLOURS[thing.colour], rng), choose(SHAPES[thing.shape], rng)]
    if tell_size:
        words.insert(0, choose(SIZES[thing.size], rng))
    return with_article(" ".join(words), rng)


def scene_phrase(scene: Scene, rng: np.random.Generator) -> str:
    """A noun phrase of a scene: "a green striped field", "a wavy blue wall that turns red"."""
    ground, colour = choose(GROUNDS, rng), choose(COLOURS[scene.colour], rng)
    texture = choose(TEXTURES[scene.texture], rng)
    turns = f" {choose(TURNS, rng).format(choose(COLOURS[scene.turns], rng))}" if scene.turns else ""
    if texture.endswith("{}") and rng.random() < 0.5:
        return with_article(f"{colour} {texture.format(ground)}{turns}", rng)
    return with_article(f"{texture.format(f'{colour} {ground}')}{turns}", rng)


def vocabulary() -> list[str]:
    """Every token of the captions, special ones first; the position in the list is the token's id."""
    tables = (SIZES, COLOURS, SHAPES, ADVERBS, WAYS, TEXTURES, LIGHTS, CAMERAS)
    phrases = [phrase for table in tables for options in table.values() for phrase in options]
    phrases += [word for pairs in (*VERBS.values(), RESTS) for pair in pairs for word in pair]
    phrases += [*GROUNDS, *_OVER, *TURNS, *_SENTENCES, "an", "the"]
    words = sorted({word for phrase in phrases for word in re.findall(r"[a-z]+|,", re.sub(r"\{\w*\}", "", phrase))})
    return [PADDING, END, UNKNOWN, *words]


def redraw(spec: Spec, wanted: Shared, rng: np.random.Generator, split: Split = Split.TRAIN) -> Spec:
    """A spec with as many things that shares exactly what is wanted; its first thing may move elsewhere."""
    one_hot = tuple(float(n == len(spec.things)) for n in range(1, MAX_THINGS + 1))
    while True:
        fresh = sample_spec(rng, mix=Mix(counts=one_hot))
        things, scene = fresh.things, fresh.scene
        if wanted in (Shared.OBJECT, Shared.BOTH):
            kept = replace(spec.things[0], motion=things[0].motion, speed=things[0].speed)
            things = (kept, *things[1:])
        if wanted in (Shared.SCENE, Shared.BOTH):
            scene = spec.scene
        if len(scene.colours | {thing.colour for thing in things}) < len(scene.colours) + len(things):
            continue
        drawn = replace(fresh, things=things, scene=scene)
        if shared(spec, drawn) is wanted and split_of(drawn) is split and has_room(drawn, rng):
            return drawn
