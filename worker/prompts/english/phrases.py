"""Where a thing begins and ends in tagged words: a run of describing words and nouns that ends in a noun."""

from collections.abc import Iterator, Sequence

from worker.prompts.english import heaps, style_words
from worker.prompts.english.lexicon import is_heard, is_in_lexicon
from worker.prompts.english.singulars import singular
from worker.prompts.english.words import DESCRIBES as _DESCRIBES
from worker.prompts.english.words import NOUN as _NOUN
from worker.prompts.english.words import Word
from worker.prompts.vocabulary.grammar import DEGREES, OF_NAMES, SUFFIX_ADJECTIVES
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.invisible import CARRIERS, EMPTY_NOUNS, EMPTY_WHEN_BARE
from worker.prompts.vocabulary.numbers import DAYS, MEASURED
from worker.prompts.vocabulary.people import ANIMATE, BODY_PARTS
from worker.prompts.vocabulary.places import PLACE_NOUNS, POINTS_OF_THE_COMPASS, SCENE_NOUNS
from worker.prompts.vocabulary.spellings import KEPT_PAIRS
from worker.prompts.vocabulary.style import STYLE_HEADS

ENDS_OF_STYLE = STYLE_HEADS | style_words.GENRE_HEADS  # last words of phrases that say how the picture looks

_OF_NAMES = frozenset(tuple(name.split("-")) for name in OF_NAMES)
_LONGEST_NAME = max(map(len, _OF_NAMES))


def phrases(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of describing words and nouns that ends in a noun."""
    i = 0
    while i < len(words):
        stop = i
        while stop < len(words) and _continues(words, i, stop):
            stop += 1
        while stop > i and words[stop - 1].tag not in _NOUN:
            stop -= 1
        if stop > i:
            stop = _join_of(words, i, _without_empty_end(words, i, stop))
            yield from heaps.parts(words, i, stop)
        i = max(stop, i + 1)


def _without_empty_end(words: Sequence[Word], start: int, stop: int) -> int:
    """The end of a phrase without final nouns that name nothing: "stadium year", "forest side"."""
    end = stop
    if words[end - 1].lower in CARRIERS:
        return end
    if is_day(words, start, end):
        return end
    while end - start > 1 and is_empty(words[end - 1].lower) and words[end - 2].is_noun:
        if are_kept(words[end - 2], words[end - 1]):
            break
        end -= 1
    return end


def are_kept(before: Word, word: Word) -> bool:
    """Whether a word that names nothing by itself is the end of a name or a fixed pair: kanye west, the milky way."""
    if (before.lower, word.lower) in KEPT_PAIRS or (before.is_name and word.is_name):
        return True
    return word.lower in POINTS_OF_THE_COMPASS and not is_heard(before.lower)


def is_day(words: Sequence[Word], start: int, end: int) -> bool:
    """Whether the phrase is a day that one sees: a rainy day, christmas day."""
    return words[end - 1].lower == "day" and any(word.lower in DAYS for word in words[start : end - 1])


def is_empty(noun: str) -> bool:
    """Whether a noun names nothing after another: year, side."""
    return not {noun, singular(noun)}.isdisjoint(EMPTY_NOUNS)


def _continues(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether word i belongs to the phrase that began at `start`."""
    word = words[i]
    if word.is_excluded != words[start].is_excluded or not word.is_plain:
        return False
    if word.lower == "and" and i > start and _is_pair(words, i):
        return True
    if word.tag == "RB" and word.lower.endswith("ly") and i + 1 < len(words) and words[i + 1].tag == "JJ":
        return word.lower not in DEGREES  # "dimly lit room", but "extremely tall man"
    if word.tag not in _DESCRIBES:
        return False
    if i > start and _begins_thing_of(words, start, i):
        return False
    if i > start and words[i - 1].tag in _NOUN and not words[i - 1].is_name:
        if word.tag == "JJ":  # "a car red" is two phrases, "a snow covered yard" one
            return (
                word.lower in SUFFIX_ADJECTIVES
                or _is_measured(words, i)
                or _is_one(words, start, i)
                or _is_title(words, start, i)
            )
        return word.tag in _NOUN
    return True


def _begins_thing_of(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether a colour after somebody's full name says what another thing is like: "adam driver red lightsaber"."""
    is_full = i - start > 1 and words[i - 1].is_name and words[i - 2].is_name
    return is_full and words[i].lower in _COLOURS and i + 1 < len(words) and words[i + 1].tag in ("NN", "NNS")


def _is_measured(words: Sequence[Word], i: int) -> bool:
    """Whether a part of the body says how high or deep the thing after it is: "thigh high leather boots"."""
    is_body = words[i - 1].lower in BODY_PARTS and words[i].lower in MEASURED
    return is_body and i + 1 < len(words) and words[i + 1].tag in _DESCRIBES


def _is_one(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether "a" before a phrase makes one thing of a noun and what follows it: "a pet polar bear"."""
    end = next((k for k in range(i, len(words)) if words[k].tag != "JJ" or not words[k].is_plain), len(words))
    stop = next((k for k in range(end, len(words)) if not (words[k].is_noun and words[k].is_plain)), len(words))
    is_single = stop > end and words[stop - 1].tag == "NN" and words[stop - 1].lower not in _ENDS_NO_PHRASE
    is_apart = words[i - 1].tag != "NN" or words[i - 1].lower in _STANDS_ALONE
    is_place = words[i - 1].lower in PLACE_NOUNS and stop > end and words[stop - 1].lower in _SURROUNDINGS
    return is_single and not (is_apart or is_place) and start > 0 and words[start - 1].lower in ("a", "an")


_ENDS_NO_PHRASE = ENDS_OF_STYLE | EMPTY_WHEN_BARE
_STANDS_ALONE = ANIMATE | BODY_PARTS | SCENE_NOUNS  # "a long face narrow nose"


def _is_title(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether nouns, a material and a noun are all that stands between two commas: "dragon priest wooden mask"."""
    begins = start == 0 or not words[start - 1].lower[0].isalnum()
    is_made = words[i].lower in CONFLICT_GROUPS["material"] and i + 1 < len(words) and words[i + 1].tag == "NN"
    ends = i + 2 >= len(words) or not words[i + 2].lower[0].isalnum()
    return begins and is_made and ends and all(word.tag == "NN" for word in words[start:i])


_SURROUNDINGS = SCENE_NOUNS | {"day"}
_COLOURS = CONFLICT_GROUPS["colour"].keys()
_PAIRED = _COLOURS | CONFLICT_GROUPS["material"].keys()


def _is_pair(words: Sequence[Word], i: int) -> bool:
    """Whether "and" at i joins two descriptions of one noun: "black and white cow"."""
    return (
        i + 2 < len(words)
        and all(word.tag == "JJ" or word.lower in _PAIRED for word in (words[i - 1], words[i + 1]))
        and words[i + 2].tag in (*_NOUN, "JJ")
        and not any(word.is_style for word in words[i - 1 : i + 3])
    )


def _join_of(words: Sequence[Word], start: int, stop: int) -> int:
    """The end of a phrase with the "of Y" of its name, if any: Queen of England, statue of liberty."""
    if stop + 1 >= len(words) or words[stop].lower != "of" or words[stop - 1].lower in ENDS_OF_STYLE:
        return stop
    lower = tuple(word.lower for word in words)
    named = (k + _name_length(lower, k) for k in range(start, stop))
    if (last := max(named)) > stop:
        return last
    end = stop + 1
    while end < len(words) and (words[end].is_name or words[end].lower == "the"):
        end += 1
    is_name = end > stop + 1 and words[end - 1].is_name and words[stop - 1].text[:1].isupper()
    return end if is_name and not (words[stop - 1].lower.endswith("s") and is_in_lexicon(lower[stop - 1])) else stop


def _name_length(lower: Sequence[str], i: int) -> int:
    """How many words at i are a name with "of"; 0 if none."""
    lengths = range(min(_LONGEST_NAME, len(lower) - i), 1, -1)
    return next((length for length in lengths if tuple(lower[i : i + length]) in _OF_NAMES), 0)
