"""Nouns side by side without commas that are not a compound: "knight dragon castle sunset".

    "cat beach sunset"  →  cat · beach · sunset

Only a run of three bare nouns or more between commas is taken for a heap: with an article, an adjective or two nouns
("ninja cat", "a dragon castle") the last noun is what is named.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from functools import partial

from worker.prompts.english.lexicon import is_heard
from worker.prompts.english.words import Word
from worker.prompts.vocabulary.grammar import COMPOUNDS, PLURAL_MODIFIERS, SINGULARS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import DAYS
from worker.prompts.vocabulary.people import ANIMATE, PERSONS
from worker.prompts.vocabulary.places import MORE_PLACES, PLACE_NOUNS, SCENE_NOUNS

_SHORTEST = 3  # nouns
_MANY = 2  # plurals before the last noun: too many for a compound
_TIMES = word_set(
    "night nighttime midnight dawn dusk sunset sunrise twilight morning evening noon rain snowfall fog mist "
    "moonlight sunlight starlight thunderstorm blizzard lightning"
)
_PLACES = (SCENE_NOUNS | PLACE_NOUNS | MORE_PLACES) - ANIMATE - _TIMES


class _Sort(Enum):
    BEING = auto()
    PLACE = auto()
    TIME = auto()
    THING = auto()


def parts(words: Sequence[Word], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where each thing of a phrase begins and ends: the phrase itself, unless it is a heap."""
    several = [k for k in range(start, stop) if words[k].tag == "NNS" and _is_several(words[k])]
    are_several = len([k for k in several if k < stop - 1]) >= _MANY  # "scrolls maps artifacts"
    are_several = are_several or any(map(partial(_begin_more, words), several[:-1], several[1:]))
    if are_several or _is_heap(words, start, stop):
        for i in range(start + 1, stop):
            if _is_several(words[i - 1]) if are_several else _is_cut(words, start, i):
                yield start, i
                start = i
    yield start, stop


def _begin_more(words: Sequence[Word], k: int, following: int) -> bool:
    """Whether a plural and the next in the phrase are two things: "pointed ears freckles", but not "kids toys"."""
    owns = words[k].lower in PLURAL_MODIFIERS or not PERSONS.isdisjoint(_forms(words[k].lower))
    are_words = all(is_heard(words[i].lower) for i in (k, following))
    return following == k + 1 and are_words and not owns


def _is_several(word: Word) -> bool:
    is_plural = word.lower.endswith("s") or SINGULARS.get(word.lower, word.lower) != word.lower
    return word.tag == "NNS" and is_plural


def _is_heap(words: Sequence[Word], start: int, stop: int) -> bool:
    """Whether nouns alone stand between two commas, or the ends of the prompt."""
    is_whole = all(k in (-1, len(words)) or not words[k].lower[0].isalnum() for k in (start - 1, stop))
    bare = words[start:stop]
    return stop - start >= _SHORTEST and is_whole and all(word.is_noun and not word.is_name for word in bare)


def _is_cut(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether another thing begins at i."""
    before, word = words[i - 1].lower, words[i].lower
    if f"{before} {word}" in COMPOUNDS:
        return False
    if _sort(word) is _Sort.TIME:
        return before not in DAYS
    if _sort(word) is _Sort.PLACE:
        return _sort(before) is _Sort.BEING
    is_local = _sort(before) is _Sort.PLACE and not PERSONS.isdisjoint(_forms(word))  # a school girl
    return _sort(word) is _Sort.BEING and _sort(before) is not _Sort.THING and not is_local


def _sort(word: str) -> _Sort:
    for sort, nouns in ((_Sort.TIME, _TIMES), (_Sort.BEING, ANIMATE), (_Sort.PLACE, _PLACES)):
        if not nouns.isdisjoint(_forms(word)):
            return sort
    return _Sort.THING


def _forms(word: str) -> tuple[str, str]:
    return word, SINGULARS.get(word, word.removesuffix("s"))
