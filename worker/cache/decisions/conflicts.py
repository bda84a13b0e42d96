"""What forbids a match: another colour, number, age or size, another kind of noun, prompts that contradict each other.

A sentence embedder puts "white cat" nearer to "black cat" than "ship" to "boat", so words decide here.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from worker.prompts import style_classes
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.types import LOOKS, STYLE, WITH, WITHOUT
from worker.prompts.vocabulary.grammar import COMPOUNDS
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS, HEAD_GROUPS, NATURES, NOUN_SYNONYMS, TIMES
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import ANIMATE, PERSONS


@lru_cache(maxsize=MOST_REMEMBERED)
def has_conflict(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether both name a colour (number, age, size ...) and have none in common."""
    ours, theirs = (tuple(map(_shade_as_colour, words)) for words in (ours, theirs))
    for group in CONFLICT_GROUPS.values():
        a, b = ({group[word] for word in words if word in group} for words in (ours, theirs))
        if a and b and a.isdisjoint(b):
            return True
    return _are_other_numbers(ours, theirs) or _is_skin(ours, theirs) or _is_skin(theirs, ours)


def _are_other_numbers(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether both name a number in digits, or one in digits and the other in a word (15 birds, two birds)."""
    a, b = ({word for word in words if word.isdecimal() and word not in _NUMBERS} for words in (ours, theirs))
    if a and b:
        return a.isdisjoint(b)
    said = {_NUMBERS[word] for word in (theirs if a else ours) if word in _NUMBERS}
    return bool((a or b) and said and "many" not in said)


_NUMBERS = CONFLICT_GROUPS["number"]


def _is_skin(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one names the colour of somebody's clothes only and the other that of the skin: a man in black."""
    a, b = (
        {name for name in ("colour", "dress") for w in words if w in CONFLICT_GROUPS[name]} for words in (ours, theirs)
    )
    return a == {"dress"} and b == {"colour"}


def _shade_as_colour(word: str) -> str:
    """The colour that a compound names: sky-blue, dark-red, white-painted."""
    first, _, last = word.rpartition("-")
    if last in _TINTED and first in CONFLICT_GROUPS["colour"]:
        return first
    return last if last in CONFLICT_GROUPS["colour"] and word not in CONFLICT_GROUPS["colour"] else word


_TINTED = word_set("painted coloured colored tinted hued toned dyed")


@lru_cache(maxsize=MOST_REMEMBERED)
def has_other_nature(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether the nouns, or what is made of them, exclude each other: king and queen, dog and toy dog."""
    for name in HEAD_GROUPS:
        group = CONFLICT_GROUPS[name]
        a = {group[word] for word in ours if word in group}
        b = {group[word] for word in theirs if word in group}
        if a and b and a.isdisjoint(b):
            return True
    return _compounds(ours) != _compounds(theirs) or _natures(ours) != _natures(theirs)


def _natures(words: tuple[str, ...]) -> frozenset[str]:
    """What the description makes of a noun: a toy, a ruin; a living thing of wood or ice is an image of it."""
    *described, noun = words
    is_made = noun in ANIMATE and noun not in NATURES and any(word in CONFLICT_GROUPS["material"] for word in described)
    found = {NATURES[word] for word in described if word in NATURES}
    return frozenset(found | {"image"} if is_made else found)


def _compounds(words: tuple[str, ...]) -> frozenset[str]:
    """The fixed pair of words that a phrase ends in, which is a thing of its own: a black hole, a hot dog."""
    return frozenset(pair for pair in (" ".join(words[-2:]),) if pair in COMPOUNDS)


@lru_cache(maxsize=MOST_REMEMBERED)
def contradict(ours: tuple[str, ...], theirs: tuple[str, ...], *, by_style: bool, by_looks: bool) -> bool:
    """Whether one prompt shows what the other excludes, or both name looks that exclude each other (`context`).

    A look is the style of the whole, or that of a thing that both show: a red jeep and a blue one in the same desert.
    """
    if marked(WITHOUT, ours) & marked(WITH, theirs) or marked(WITH, ours) & marked(WITHOUT, theirs):
        return True
    if by_style and style_classes.exclude(marked(STYLE, ours), marked(STYLE, theirs)):
        return True
    looks, others = looks_of(ours), looks_of(theirs)
    if by_looks and any(a.isdisjoint(b) for a, b in _times(ours, theirs)):
        return True
    return by_looks and any(has_conflict(looks[noun], others[noun]) for noun in looks.keys() & others.keys())


def _times(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """What two prompts say of time of day and season, where both say it: these change the light and the ground."""
    a, b = marked(WITH, ours), marked(WITH, theirs)
    for names in TIMES:
        said = tuple(frozenset(names[word] for word in words if word in names) for words in (a, b))
        if all(said):
            yield said[0], said[1]


@lru_cache(maxsize=MOST_REMEMBERED)
def looks_of(marks: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return, by noun (one for all synonyms), everything that a prompt says of the looks of such things."""
    found: dict[str, tuple[str, ...]] = {}
    for mark in marks:
        if mark.startswith(LOOKS):
            noun, word = mark.removeprefix(LOOKS).rsplit(":", 1)
            noun = NOUN_SYNONYMS.get(noun, noun)
            found[noun] = (*found.get(noun, ()), word)
    return found


def marked(mark: str, words: Sequence[str]) -> frozenset[str]:
    """Return the values of a mark; every kind of person counts as a person."""
    found = (word.removeprefix(mark) for word in words if word.startswith(mark))
    return frozenset("person" if word in PERSONS else word for word in found)
