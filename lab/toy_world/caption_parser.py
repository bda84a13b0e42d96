"""What a caption of the procedural world asks for, read back from its words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from lab.toy_world import captions as said
from lab.toy_world.world import Colour, Motion, Scene, Shape, Size, Spec, Texture, Thing

T = TypeVar("T", bound=StrEnum)


def _by_word(table: Mapping[T, Sequence[str]]) -> dict[str, T]:
    return {phrase.replace("{}", "").split()[-1]: value for value, phrases in table.items() for phrase in phrases}


_SIZES, _COLOURS, _SHAPES = (_by_word(table) for table in (said.SIZES, said.COLOURS, said.SHAPES))
_TEXTURES = _by_word(said.TEXTURES) | {"checkered": Texture.CHECKERED}
_MOTIONS = _by_word(said.WAYS) | {form.split()[0]: Motion.STILL for pair in said.RESTS for form in pair}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A thing or a ground in a caption, and what the words around it say of it; None for what they leave open."""

    place: int  # index of the word
    shape: Shape | None  # None: a ground
    size: Size | None
    colour: Colour | None
    motion: Motion | None
    texture: Texture | None

    @property
    def is_ground(self) -> bool:
        """Whether the scene is meant."""
        return self.shape is None


def nouns_of(words: Sequence[str]) -> list[Noun]:
    """Every thing and ground among the lower-case words of a caption, in their order."""
    places = [place for place, word in enumerate(words) if word in _SHAPES or word in said.GROUNDS]
    textures = [_TEXTURES[word] for word in words if word in _TEXTURES]
    nouns = []
    for place, end in pairwise([*places, len(words)]):
        shape = _SHAPES.get(words[place])
        motions = [_MOTIONS[word] for word in words[place:end] if word in _MOTIONS]
        nouns.append(
            Noun(
                place=place,
                shape=shape,
                size=_before(words, place, _SIZES) if shape else None,
                colour=_before(words, place, _COLOURS),
                motion=motions[0] if shape and motions else None,
                texture=None if shape or not textures else textures[0],
            )
        )
    return nouns


def spec_of(text: str) -> Spec | None:
    """Return what a caption asks for; None if it leaves something open or is not a caption of this world."""
    nouns = nouns_of(re.findall(r"[a-z]+", text.lower()))
    scenes = [_scene(noun) for noun in nouns if noun.is_ground]
    things = [_thing(noun) for noun in nouns if not noun.is_ground]
    known = tuple(thing for thing in things if thing)
    if len(scenes) != 1 or scenes[0] is None or len(known) != len(things):
        return None
    try:
        return Spec(things=known, scene=scenes[0])
    except ValueError:
        return None


def _scene(noun: Noun) -> Scene | None:
    if noun.colour is None or noun.texture is None:
        return None
    return Scene(colour=noun.colour, texture=noun.texture)


def _thing(noun: Noun) -> Thing | None:
    if noun.shape is None or noun.size is None or noun.colour is None or noun.motion is None:
        return None
    return Thing(shape=noun.shape, size=noun.size, colour=noun.colour, motion=noun.motion)


def _before(words: Sequence[str], place: int, table: Mapping[str, T]) -> T | None:
    """Return the meaning of the nearest of the three words before a noun."""
    near = reversed(words[max(0, place - 3) : place])
    return next((table[word] for word in near if word in table), None)
