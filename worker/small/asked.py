"""What a caption of the procedural world asks for, read back from its words."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from worker.small import captions as said
from worker.small.world import Motion, Scene, Spec, Texture, Thing

T = TypeVar("T", bound=StrEnum)


def _by_word(table: Mapping[T, Sequence[str]]) -> dict[str, T]:
    return {phrase.replace("{}", "").split()[-1]: value for value, phrases in table.items() for phrase in phrases}


_SIZES, _COLOURS, _SHAPES = (_by_word(table) for table in (said.SIZES, said.COLOURS, said.SHAPES))
_TEXTURES = _by_word(said.TEXTURES) | {"checkered": Texture.CHECKERED}
_MOTIONS = _by_word(said.WAYS) | {form.split()[0]: Motion.STILL for pair in said.RESTS for form in pair}


def spec_of(text: str) -> Spec | None:
    """Return what a caption asks for; None when it leaves something open or is no caption of this world."""
    words = re.findall(r"[a-z]+", text.lower())
    nouns = [place for place, word in enumerate(words) if word in _SHAPES or word in said.GROUNDS]
    grounds = [place for place in nouns if words[place] in said.GROUNDS]
    textures = [_TEXTURES[word] for word in words if word in _TEXTURES]
    if len(grounds) != 1 or not textures:
        return None
    colour = _before(words, grounds[0], _COLOURS)
    things = [_thing(words, place, nouns) for place in nouns if place not in grounds]
    known = tuple(thing for thing in things if thing)
    if colour is None or len(known) != len(things):
        return None
    try:
        return Spec(things=known, scene=Scene(colour=colour, texture=textures[0]))
    except ValueError:
        return None


def _thing(words: Sequence[str], place: int, nouns: Sequence[int]) -> Thing | None:
    end = min((noun for noun in nouns if noun > place), default=len(words))
    motions = [_MOTIONS[word] for word in words[place:end] if word in _MOTIONS]
    size, colour = _before(words, place, _SIZES), _before(words, place, _COLOURS)
    if size is None or colour is None or not motions:
        return None
    return Thing(shape=_SHAPES[words[place]], size=size, colour=colour, motion=motions[0])


def _before(words: Sequence[str], place: int, table: Mapping[str, T]) -> T | None:
    """Return what the nearest of the three words before a noun says."""
    near = reversed(words[max(0, place - 3) : place])
    return next((table[word] for word in near if word in table), None)
