"""Misspelled words of prompts, corrected only if no other word can have been meant.

A list of the frequencies of 321,000 English words and names (wordfreq) decides. A word that people use stays as it is,
however near it is to another: mario is no macro, moose no mouse, spain no spin. What is hardly ever written is
changed into a word of the extractor's own lists that is hundreds of times as common and one letter away; never into a
colour, a number or a short word of style, where a wrong guess changes the picture or makes a thing vanish. Long words
of style need not be common: photorealisitc can have meant nothing else.
"""

from collections.abc import Iterator
from functools import cache, lru_cache

from worker.prompts.english import style_words
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.vocabulary.grammar import ADJECTIVES, NOUNS, VERBS
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.invisible import PRAISE
from worker.prompts.vocabulary.people import ANIMATE, BODY_PARTS, CLOTHES
from worker.prompts.vocabulary.places import CONTAINERS, MORE_PLACES, PLACE_NAMES, PLACE_NOUNS, SCENE_NOUNS
from worker.prompts.vocabulary.spellings import COMMON, SLIPS
from worker.prompts.vocabulary.style import STYLE_HEADS, STYLE_WORDS

RARE = 2.2  # Zipf value (log10 of uses per billion words) from which a word is in use
FARTHER = 2.0  # powers of ten by which the corrected word must be commoner
_UNHEARD = 1.2  # a wrong letter is corrected only in words that nobody uses: a stoat is no start
_COMMON = 3.3  # least Zipf value of a word that may have been meant
_SPOKEN = 1.5  # powers of ten by which a verb must be commoner with its g
_SHORTEST = 5  # letters
_LONG = 8  # letters from which one wrong, or one too many at the end, leaves no doubt of what was meant


def is_known(word: str) -> bool:
    """Whether the extractor's own lists have the word."""
    return word in _KNOWN


@cache
def frequencies() -> dict[str, float]:
    """Uses of each English word, by wordfreq: 0.15 s and 60 MB, once."""
    from wordfreq import get_frequency_dict

    found: dict[str, float] = get_frequency_dict("en", "large")
    return found


@lru_cache(maxsize=MOST_REMEMBERED)
def zipf(word: str) -> float:
    """How common a word is, as log10 of its uses per billion words; 0 for one that is not in the list."""
    from math import log10

    frequency = frequencies().get(word)
    return log10(frequency) + 9 if frequency else 0.0


@lru_cache(maxsize=MOST_REMEMBERED)
def mended(word: str) -> str:
    """The known word that was meant, or the word itself when that is not sure."""
    if word in SLIPS:
        return SLIPS[word]
    if len(word) < _SHORTEST or not (word.isascii() and word.isalpha()) or word in _KNOWN:
        return word
    rarity = zipf(word)
    if word.endswith("in") and f"{word}g" in _KNOWN and zipf(f"{word}g") - rarity >= _SPOKEN:
        return f"{word}g"  # drinkin
    if rarity >= RARE or _stem_is_known(word):
        return word
    if word.endswith("s") and not word.endswith(("ies", "ss")) and (single := mended(word[:-1])) != word[:-1]:
        return f"{single}s"  # ligths
    for number, near in enumerate(_slips(word)):  # the likeliest slips first
        if number == 2 and rarity > (_UNHEARD if len(word) < _LONG else RARE - 0.2):
            break
        meant = {other for other in near if zipf(other) - rarity >= FARTHER and zipf(other) >= _COMMON}
        meant = meant or (near & _LONG_STYLE if rarity < _UNHEARD else set())  # photorealisitc
        if meant:
            best = max(meant, key=lambda other: (zipf(other), other))
            return best if best in _TARGETS | _LONG_STYLE else word
    return word


def _stem_is_known(word: str) -> bool:
    """Whether it is a regular form of a word that people use: a plural, a compound's half."""
    stems = [word[:-2], word[:-1]] if word.endswith("s") else []
    return any(stem in _KNOWN or zipf(stem) >= RARE for stem in stems)


def _slips(word: str) -> Iterator[set[str]]:
    """Words that a slip of the finger inside the word turns into this one, by kind of slip."""
    inner = range(1, len(word))
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)}
    doubled = {word[:i] + word[i + 1 :] for i in inner if word[i] == word[i - 1]}
    single = {word[:i] + word[i - 1] + word[i:] for i in inner}
    yield swapped | doubled | single
    shortened = {word[:i] + word[i + 1 :] for i in range(1, len(word) - (len(word) < _LONG))}
    yield set(_lacking().get(word, ())) | shortened | {word.replace("f", "ph")}
    yield set().union(*(_lacking().get(shorter, ()) for shorter in shortened)) - swapped


@cache
def _lacking() -> dict[str, tuple[str, ...]]:
    """Every common word, by each spelling that lacks one of its inner letters."""
    spellings: dict[str, list[str]] = {}
    common = {w for w, f in frequencies().items() if f > 10 ** (_COMMON - 9) and w.isalpha()}
    for word in sorted(common | _TARGETS | _LONG_STYLE):
        if len(word) >= _SHORTEST:
            for i in range(1, len(word) - (word not in _LONG_STYLE)):  # cinematik
                spellings.setdefault(word[:i] + word[i + 1 :], []).append(word)
    return {spelling: tuple(dict.fromkeys(words)) for spelling, words in spellings.items()}


def _present_participle(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    doubles = len(verb) <= 4 and verb[-1] in "bdgmnprt" and verb[-2:-1] in "aeiou" and verb[-3:-2] not in "aeiou"
    return verb + (verb[-1] if doubles else "") + "ing"


_KNOWN = frozenset(
    word
    for words in (
        *(
            COMMON,
            SCENE_NOUNS,
            PLACE_NOUNS,
            NOUNS,
            ADJECTIVES,
            STYLE_WORDS,
            STYLE_HEADS,
            VERBS,
            PRAISE,
        ),
        *(CLOTHES, CONTAINERS, BODY_PARTS, ANIMATE, MORE_PLACES),
        *(group.keys() for group in CONFLICT_GROUPS.values()),
        (_present_participle(verb) for verb in VERBS),
    )
    for word in words
)
_NEVER = (
    frozenset(CONFLICT_GROUPS["colour"])
    | frozenset(CONFLICT_GROUPS["number"])
    | PLACE_NAMES  # robin berlijn is not in berlin
    | {word for word in STYLE_WORDS if len(word) < _LONG}
)
_LONG_STYLE = frozenset(word for word in STYLE_WORDS | style_words.TOOLS if len(word) >= _LONG and word.isalpha())
_TARGETS = frozenset(word for word in _KNOWN - _NEVER if len(word) >= _SHORTEST)
