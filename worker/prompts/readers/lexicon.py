"""What words of other languages mean: `lexicon.txt` as one table per language.

Things are compared by their English words (`Entity.head`, `Entity.attributes`): so colours, sizes, ages and kinds of
people exclude each other within every language and between two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

LANGUAGES = ("es", "fr", "pt", "de", "ru", "ja", "ko")


class Sort(StrEnum):
    """What a word of the lexicon stands for."""

    COLOUR = "colour"
    SIZE = "size"
    AGE = "age"
    NUMBER = "number"
    MATERIAL = "material"
    LIGHT = "light"
    STATE = "state"
    PERSON = "person"
    ANIMATE = "animate"
    VEHICLE = "vehicle"
    BODY = "body"
    CLOTHES = "clothes"
    CONTAINER = "container"
    THING = "thing"
    SURFACE = "surface"  # a scene where something stands or lies on it
    SCENE = "scene"  # a place, weather, a time of day
    NOTHING = "nothing"  # no entity: "the middle of", "a group of", "a video of"
    STYLE = "style"

    @property
    def describes(self) -> bool:
        """Whether words of this sort say what a thing is like."""
        return self in _DESCRIBES


_DESCRIBES = frozenset((Sort.COLOUR, Sort.SIZE, Sort.AGE, Sort.MATERIAL, Sort.LIGHT, Sort.STATE))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word means."""

    english: str
    sort: Sort

    @property
    def is_object(self) -> bool:
        """Whether it is a thing wherever it stands."""
        return self.sort in _OBJECTS


_OBJECTS = frozenset(
    (Sort.PERSON, Sort.ANIMATE, Sort.VEHICLE, Sort.BODY, Sort.CLOTHES, Sort.CONTAINER, Sort.THING, Sort.MATERIAL)
)


@cache
def meanings(language: str) -> Mapping[str, Meaning]:
    """The words of a language, in lower case, with their meanings; the first one listed if there are several."""
    return {word: found[0] for word, found in _read(language).items()}


@cache
def nouns(language: str) -> Mapping[str, Meaning]:
    """The same for words that are what a phrase is about: 木 is a tree, not wooden."""
    return {word: next((m for m in found if not m.sort.describes), found[0]) for word, found in _read(language).items()}


@cache
def known_nouns() -> frozenset[str]:
    """The English nouns for which some language has a word here."""
    found = (meaning for language in LANGUAGES for meaning in nouns(language).values())
    return frozenset(meaning.english.split()[-1] for meaning in found if not meaning.sort.describes)


@cache
def _read(language: str) -> Mapping[str, Sequence[Meaning]]:
    column = 1 + LANGUAGES.index(language)
    found: dict[str, list[Meaning]] = {}
    sort = Sort.THING
    for line in Path(__file__).with_name("lexicon.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            sort = Sort(line.strip("[]"))
        elif line and not line.startswith("#"):
            row = [part.strip() for part in line.split("|")]
            for word in row[column].split(","):
                if word != "-":
                    found.setdefault(word, []).append(Meaning(row[0], sort))
    return found
