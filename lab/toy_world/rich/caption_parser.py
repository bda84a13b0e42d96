"""What a caption of the rich world asks for, read back from its words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from lab.toy_world.rich import captions as said
from lab.toy_world.rich.world import Camera, Colour, Light, Motion, Scene, Shape, Size, Spec, Speed, Texture, Thing

T = TypeVar("T", bound=StrEnum)


def _by_word(table: Mapping[T, Sequence[str]]) -> dict[str, T]:
    return {phrase.replace("{}", "").split()[-1]: value for value, phrases in table.items() for phrase in phrases}


_SIZES, _COLOURS, _SHAPES, _ADVERBS = (
    _by_word(table) for table in (said.SIZES, said.COLOURS, said.SHAPES, said.ADVERBS)
)
_TEXTURES = _by_word(said.TEXTURES)
_MOTIONS = _by_word(said.WAYS) | {form.split()[0]: Motion.STILL for pair in said.RESTS for form in pair}
_SPEEDS = _ADVERBS | {form: speed for speed, pairs in said.VERBS.items() if speed for pair in pairs for form in pair}
_TURNING = frozenset(phrase.split()[-2] for phrase in said.TURNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A thing or a ground in a caption, and what the words around it say of it; None where they leave it open."""

    place: int  # number of the word
    shape: Shape | None  # None: a ground
    size: Size | None = None
    colour: Colour | None = None
    motion: Motion | None = None
    speed: Speed | None = None
    texture: Texture | None = None
    turns: Colour | None = None  # of a ground
    light: Light | None = None  # of the whole caption, told at its ground
    camera: Camera | None = None

    @property
    def is_ground(self) -> bool:
        """Whether the scene is meant."""
        return self.shape is None


def nouns_of(words: Sequence[str]) -> list[Noun]:
    """Every thing and ground among the lower-case words of a caption, in their order."""
    text, light = _taken(" ".join(words), said.LIGHTS, Light.BRIGHT)
    text, camera = _taken(text, said.CAMERAS, Camera.STILL)
    left = text.split(" ")
    places = [place for place, word in enumerate(left) if word in _SHAPES or word in said.GROUNDS]
    textures = [_TEXTURES[word] for word in left if word in _TEXTURES]
    return [
        _thing_at(left, place, left[place + 1 : end])
        if left[place] in _SHAPES
        else Noun(
            place=place,
            shape=None,
            colour=_before(left, place, _COLOURS),
            texture=textures[0] if textures else None,
            turns=_turns(left[place + 1 : end]),
            light=light,
            camera=camera,
        )
        for place, end in pairwise([*places, len(left)])
    ]


def _taken(text: str, table: Mapping[T, Sequence[str]], usual: T) -> tuple[str, T]:
    """The text with a phrase of the table blanked word by word, and what the phrase says."""
    for value, phrases in table.items():
        for phrase in phrases:
            if re.search(rf"\b{phrase}\b", text):
                blanks = " ".join("-" for _ in phrase.split())
                return re.sub(rf"\b{phrase}\b", blanks, text), value
    return text, usual


def _thing_at(words: Sequence[str], place: int, after: Sequence[str]) -> Noun:
    motion = next((_MOTIONS[word] for word in after if word in _MOTIONS), None)
    speed = next((_SPEEDS[word] for word in after if word in _SPEEDS), None)
    return Noun(
        place=place,
        shape=_SHAPES[words[place]],
        size=_before(words, place, _SIZES),
        colour=_before(words, place, _COLOURS),
        motion=motion,
        speed=speed,
    )


def _turns(after: Sequence[str]) -> Colour | None:
    """The colour in the two words after the one that says so."""
    at = next((place for place, word in enumerate(after) if word in _TURNING), None)
    return None if at is None else next((_COLOURS[word] for word in after[at + 1 : at + 3] if word in _COLOURS), None)


def spec_of(text: str) -> Spec | None:
    """Return what a caption asks for; None when it leaves something open or is no caption of this world."""
    nouns = nouns_of(re.findall(r"[a-z]+|,", text.lower()))
    grounds = [noun for noun in nouns if noun.is_ground]
    if len(grounds) != 1:
        return None
    ground, things = grounds[0], [_thing(noun) for noun in nouns if not noun.is_ground]
    known = tuple(thing for thing in things if thing)
    if ground.colour is None or ground.texture is None or len(known) != len(things):
        return None
    try:
        scene = Scene(colour=ground.colour, texture=ground.texture, turns=ground.turns)
        return Spec(things=known, scene=scene, light=ground.light or Light.BRIGHT, camera=ground.camera or Camera.STILL)
    except ValueError:
        return None


def _thing(noun: Noun) -> Thing | None:
    if noun.shape is None or noun.size is None or noun.colour is None or noun.motion is None:
        return None
    try:
        return Thing(shape=noun.shape, size=noun.size, colour=noun.colour, motion=noun.motion, speed=noun.speed)
    except ValueError:
        return None


def _before(words: Sequence[str], place: int, table: Mapping[str, T]) -> T | None:
    """Return what the nearest of the three words before a noun says."""
    near = reversed(words[max(0, place - 3) : place])
    return next((table[word] for word in near if word in table), None)
