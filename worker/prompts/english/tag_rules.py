"""Corrects a lexicon's tags for what captions do: each word by itself, then by its neighbours.

The rules by neighbours are in `noun_rules.py` and `verb_rules.py`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from worker.prompts.english import noun_rules, verb_rules
from worker.prompts.english.lexicon import FINITE, is_heard, is_in_lexicon, tag_in_lexicon
from worker.prompts.english.neighbours import Place
from worker.prompts.english.spelling import zipf
from worker.prompts.english.words import NOUN
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.vocabulary.grammar import ADJECTIVES, ADVERBS, FUNCTION_TAGS, NOUNS, SINGULARS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import COUNTS
from worker.prompts.vocabulary.people import ANIMATE, PEOPLE_BY_FIRST_WORD, SOMEBODY
from worker.prompts.vocabulary.places import PLACE_NOUNS, SCENE_NOUNS, SCENE_PREPOSITIONS

_NUMBER = re.compile(r"[\d.,:]+(st|nd|rd|th)?")
_DECADE = re.compile(r"(?:1\d|20)?\d0'?s")
_TYPE_NUMBER = re.compile(r"(?!(?:mid|pre|post|late|early)-)[a-z]+\d*-\d[a-z\d]*(?<!\ds)|[a-z]+\d+-[a-z]+\d*")  # bb-8
_LIKE_DRAGONFLY = re.compile(r"\w{2,}(?:fly|lily|belly|jelly)")
_LIKE_WINDPROOF = re.compile(r"\w{3,}(?:proof|worthy)")
_LONGEST_NAME_IN_ING = 4  # letters
_GUESSED = re.compile(r"\w+(?<!ic|on|in|nt|rn|ur|or|id|iv)(?<!i)al")
_HEARD_OF = 3.6  # Zipf value
_DECADES = word_set("twenties thirties forties fifties sixties seventies eighties nineties")
_CONTRACTED = re.compile(r"'(?:ve|re|ll|m|d)$|n't$")


def correct(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """The lexicon's tags, corrected for captions; `words` in the case that they were written in."""
    lower = [word.lower() for word in words]
    fixed = [_by_word(word, original, tag) for word, original, tag in zip(lower, words, tags, strict=True)]
    named = set(_people(lower))
    for i in named:
        fixed[i] = "NNP"
    for i in range(len(fixed)):
        if i not in named and (fixed[i] not in _SURE or lower[i] in FINITE):
            at = Place(lower, fixed, i)
            fixed[i] = next((tag for rule in _RULES if (tag := rule(at)) is not None), at.tag)
    return fixed


_SURE = frozenset((".", "DT", "PRP", "CC", "WRB", "POS"))  # tags of words that are nothing else, apart from "own"
_RULES = (  # the first that applies decides
    noun_rules.name_or_fruit,
    verb_rules.verb_by_its_words,
    noun_rules.part_of_compound,
    verb_rules.thing_that_was_done_to,
    verb_rules.verb_behind_modal,
    noun_rules.kind_or_second_life,
    verb_rules.word_in_ing,
    noun_rules.colour,
    verb_rules.verb_of_clause,
    noun_rules.thing_of_one_kind,
    noun_rules.thing_of_phrase,
    verb_rules.verb_of_subject,
    verb_rules.participle,
    verb_rules.present_tense,
    noun_rules.adjective_that_is_a_thing,
    verb_rules.noun_that_is_a_verb,
)


def _people(lower: Sequence[str]) -> Iterator[int]:
    """The places of words that are somebody's name, though they are ordinary words: bruno mars, will smith."""
    for i, word in enumerate(lower):
        for name in PEOPLE_BY_FIRST_WORD.get(word, ()):
            is_thing = word == "the" and i > 0 and lower[i - 1] in SCENE_PREPOSITIONS  # "on the rock"
            if tuple(lower[i : i + len(name)]) == name and not is_thing:
                yield from range(i, i + len(name))
        if word in _TITLES and lower[i + 1 : i + 2] and lower[i + 1].isalpha() and lower[i + 1] not in FUNCTION_TAGS:
            yield from range(i, i + 2)  # "dr strange"
        if lower[i + 1 : i + 2] == ["the"] and not _BEINGS.isdisjoint(lower[i + 2 : i + 3]) and _is_nobodys_word(word):
            yield from range(i, i + 3)  # "pepe the frog"


_TITLES = word_set("dr mr mrs ms")
_BEINGS = ANIMATE | SOMEBODY


def _is_nobodys_word(word: str) -> bool:
    is_word = is_heard(word) or word in FINITE or word in FUNCTION_TAGS
    return word.isalpha() and not is_word and not word.endswith(("s", "ed"))


@lru_cache(maxsize=MOST_REMEMBERED)
def _by_word(word: str, original: str, tag: str) -> str:
    """A tag that the word alone decides."""
    if word in FUNCTION_TAGS:
        return FUNCTION_TAGS[word]
    if not word[:1].isalnum():
        return tag if tag in ("POS", "CC") else "."
    if _NUMBER.fullmatch(word):
        return "CD"
    if _DECADE.fullmatch(word) or word in _DECADES:
        return noun_rules.PERIOD
    if _CONTRACTED.search(word):
        return "VB"
    if original[0].isupper() and tag in ("NNP", "NNPS"):
        return "NNP"
    if _LIKE_WINDPROOF.fullmatch(word):
        return "JJ"
    for tag_of_list, words in _LISTS:
        if word in words:
            return "NNS" if tag_of_list == "NN" and _is_plural(word) else tag_of_list
    if original.islower() and not word.endswith(("ing", "ly")) and (of_parts := _by_parts(word)):
        return of_parts
    if tag in ("NNP", "NNPS", "FW", "UH", "SYM", "LS", "MD", "EX"):
        return "NN"
    is_verb = tag in ("VB", "VBP", "VBZ", "VBD")
    if is_verb and word not in FINITE and not is_in_lexicon(word) and is_in_lexicon(word.capitalize()):
        return "NN"  # lake louise: the lexicon guesses by the ending
    if tag == "RB" and word.endswith("ly") and not is_in_lexicon(word) and is_in_lexicon(word.capitalize()):
        return "NN"  # billy
    if tag == "RB" and _LIKE_DRAGONFLY.fullmatch(word) and not is_in_lexicon(word):
        return "NN"  # guessed to be an adverb: mayfly, waterlily, potbelly
    if tag == "VBG" and len(word) <= _LONGEST_NAME_IN_ING and not is_in_lexicon(word):
        return "NN"  # ming
    if tag == "NNS" and word.endswith(("us", "ss", "is")) and not is_in_lexicon(word):
        return "NN"  # hibiscus
    if tag == "JJ" and _GUESSED.fullmatch(word) and not is_in_lexicon(word) and zipf(word) < _HEARD_OF:
        return "NN"  # mohanlal, taj mahal: the lexicon takes any unknown word in -al for an adjective
    if _TYPE_NUMBER.fullmatch(word):
        return "NN"
    if "-" in word and word.endswith("s") and tag not in NOUN:
        return "NNS"
    if "-" in word and not word.endswith("s"):
        return "JJ" if tag not in NOUN or word.endswith(("ed", "ing")) else tag
    return tag if tag[:1].isalpha() else "NN"


@lru_cache(maxsize=MOST_REMEMBERED)
def _by_parts(word: str) -> str | None:
    """The tag of a word in no list whose parts are words: anglerfish, ultrafine, grungy; else None."""
    if not word.isalpha() or is_heard(word) or is_in_lexicon(word.capitalize()):
        return None
    if word.endswith("y") and "NN" in (_tag_in_lists(word[:-1]), _tag_in_lists(f"{word[:-1]}e")):
        return "JJ"
    for i in range(_SHORTEST_PART, len(word) - _SHORTEST_END + 1):
        tag, has_prefix = _tag_in_lists(word[i:]), word[:i] in _PREFIXES
        if (tag == "JJ" and has_prefix) or (tag in ("NN", "NNS") and (has_prefix or _tag_in_lists(word[:i]))):
            return tag
    return None


def _tag_in_lists(word: str) -> str | None:
    """The tag of a word of four letters or more by the lists and the lexicon; None if neither has it."""
    if len(word) < _SHORTEST_END:
        return None
    listed = next((tag for tag, words in _LISTS if word in words), None)
    return listed or tag_in_lexicon(word)


_SHORTEST_PART, _SHORTEST_END = 3, 4  # letters
_PREFIXES = word_set("alter anti hyper mega micro mini multi neo over post semi sub super tri ultra uni")


def _is_plural(word: str) -> bool:
    return word.endswith("s") and SINGULARS.get(word) != word and not word.endswith(("ss", "us", "is"))


_LISTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("CD", COUNTS),
    ("JJ", ADJECTIVES),
    ("NN", NOUNS | SCENE_NOUNS | PLACE_NOUNS),
    ("RB", ADVERBS),
)
