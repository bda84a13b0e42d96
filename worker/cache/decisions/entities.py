"""A prompt becomes entities (what is seen) and style (how it is filmed).

    "A red sports car drifts through neon-lit Tokyo streets at night, cinematic, 4k"
    → red sports car (object) · neon-lit tokyo street (scene) · night (scene);   style: cinematic, 4k

Words are tagged (`worker.cache.decisions.tagging`), style words are set aside, and the rest is read by one rule: an
entity is a run of describing words and nouns that ends in a noun. A prompt without nouns, or in another language, is
one entity as a whole, and the extraction says so. Nothing here raises for any text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby

from worker.cache.decisions import vocabulary as v
from worker.cache.decisions.tagging import Tagger, is_in_lexicon, lexicon_tagger, spacy_tagger
from worker.cache.decisions.types import Entity, EntityKind, Extraction, FallbackReason

__all__ = ["Entity", "EntityKind", "Extraction", "FallbackReason", "extract", "extractor", "whole_prompt"]

MAX_WORDS = 400  # later words are not read: text encoders stop at 300 tokens
MAX_ENTITIES = 24
_MAX_CHARS = 8_000
_MAX_WORD = 40  # letters; longer runs are no words

_TOKEN = re.compile(r"[^\W_]+(?:[-'’][^\W_]+|[.:]\d+)*|[^\w\s]")
_NOISE = re.compile(
    r"https?://\S+|(?<!\w)--?(?:ar|v|s|q|motion|gs|fps|neg|seed|camera|style|no|c|iw|hd)\b(?:\s+[\d.:]+)?", re.I
)
_AGE = re.compile(r"\b(\d+)[ -]years?[ -]old\b", re.I)
_NOUN = ("NN", "NNS", "NNP", "NNPS")
_DESCRIBES = ("JJ", "JJR", "JJS", "VBN", "CD", *_NOUN)
_OF_NAMES = frozenset(tuple(name.split("-")) for name in v.OF_NAMES)
_STYLE_PHRASES = frozenset(tuple(phrase.split()) for phrase in v.STYLE_PHRASES)
_LONGEST_PHRASE = max(map(len, _STYLE_PHRASES | _OF_NAMES))


@dataclass(slots=True)
class _Word:
    """A token on its way to an entity."""

    text: str  # as written, spelling mended
    lower: str
    tag: str = "."
    is_style: bool = False

    @property
    def is_name(self) -> bool:
        return self.tag in ("NNP", "NNPS")


def extract(prompt: str, tagger: Tagger | None = None) -> Extraction:
    """The entities and the style of a prompt; never raises."""
    words = _read(prompt)
    if not any(word.lower[0].isalnum() for word in words):
        return whole_prompt(prompt, FallbackReason.EMPTY)
    if _is_foreign(words):
        return whole_prompt(prompt, FallbackReason.NOT_ENGLISH)
    for word, tag in zip(words, (tagger or lexicon_tagger())([word.text for word in words]), strict=True):
        word.tag = tag
    _fold_patterns(words)
    _mark_style(words)
    entities: dict[str, Entity] = {}
    for start, stop in _phrases(words):
        entity = _entity_or_style(words, start, stop)
        if entity is not None and len(entities) < MAX_ENTITIES:
            entities.setdefault(entity.text, entity)
    style = tuple(dict.fromkeys(_style_runs(words)))
    if not entities:
        whole = whole_prompt(prompt, FallbackReason.NO_NOUNS)
        return Extraction(entities=whole.entities, style=style, fallback_reason=whole.fallback_reason)
    return Extraction(entities=tuple(entities.values()), style=style)


def whole_prompt(prompt: str, reason: FallbackReason | None = None) -> Extraction:
    """The prompt as one entity: the fallback of `extract`, and what whole-prompt reuse compares."""
    text = " ".join(_clean(prompt).lower().split())
    entity = Entity(text=text, head=text, kind=EntityKind.PROMPT)
    return Extraction(entities=(entity,) if text else (), fallback_reason=reason)


def extractor(name: str = "lexicon") -> Callable[[str], Extraction]:
    """The extractor of a setting: `lexicon`, `spacy`, `spacy:<model>` or `whole_prompt`.

    Raises TaggerUnavailable when spaCy or its model is not installed, ValueError for another name.
    """
    backend, _, model = name.partition(":")
    if backend == "lexicon" and not model:
        return partial(extract, tagger=lexicon_tagger())
    if backend == "spacy":
        return partial(extract, tagger=spacy_tagger(model) if model else spacy_tagger())
    if name == "whole_prompt":
        return whole_prompt
    raise ValueError(f"{name!r} is not an entity extractor; use lexicon, spacy, spacy:<model> or whole_prompt")


# --- words --------------------------------------------------------------------------------------------------------


def _clean(prompt: str) -> str:
    text = unicodedata.normalize("NFKC", prompt[:_MAX_CHARS])
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Co") else char for char in text)


def _read(prompt: str) -> list[_Word]:
    """The tokens of a prompt, with words in a case that the tagger understands."""
    tokens = _TOKEN.findall(_AGE.sub(r"\1-year-old", _NOISE.sub(" ", _clean(prompt))).replace("’", "'"))[:MAX_WORDS]
    tokens = [part for token in tokens for part in _split_possessive(token) if len(part) <= _MAX_WORD]
    shouts = _has_capitals_throughout(tokens)
    words = []
    for i, token in enumerate(tokens):
        starts = i == 0 or tokens[i - 1] in (".", "!", "?", ":", '"')
        is_capital = token[:1].isupper() and not shouts
        lower = token.lower() if is_capital and not starts else _mend(token.lower())
        is_name = is_capital and not (starts and _is_ordinary(lower, tokens, i))
        words.append(_Word(text=token if is_name and lower == token.lower() else lower, lower=lower))
    return words


def _split_possessive(token: str) -> tuple[str, ...]:
    if token.lower().endswith("'s") and token.lower() not in v.STYLE_WORDS:
        return (token[:-2], "'s")
    return (token,)


def _has_capitals_throughout(tokens: Sequence[str]) -> bool:
    """Whether capitals carry no meaning: SHOUTED or Set Like A Title."""
    words = [token for token in tokens if token[0].isalpha()]
    if len(words) < 3:
        return bool(words) and all(word.isupper() and len(word) > 1 for word in words)
    return sum(word[0].isupper() for word in words) > 0.7 * len(words)


def _is_ordinary(lower: str, tokens: Sequence[str], i: int) -> bool:
    """Whether a word that starts a sentence is no name for all its capital."""
    if lower in v.FUNCTION_TAGS or lower in _KNOWN:
        return True
    return not (i + 1 < len(tokens) and tokens[i + 1][:1].isupper())


def _is_foreign(words: Sequence[_Word]) -> bool:
    """Whether the tagger would be guessing: another script, or more foreign than English function words."""
    letters = [char for word in words for char in word.lower if char.isalpha()]
    if sum(ord(char) > 0x24F for char in letters) > 0.3 * len(letters):
        return True
    foreign = sum(word.lower in v.FOREIGN for word in words)
    english = sum(word.lower in v.ENGLISH for word in words)
    return foreign > english and foreign >= min(2, len(words) / 4)


@cache
def _misspellings() -> dict[str, str]:
    """Every known word of five letters and more, by each spelling that lacks one of its inner letters."""
    spellings: dict[str, str] = {}
    for word in sorted(_KNOWN):
        if len(word) >= 5:
            for i in range(1, len(word) - 1):
                spellings.setdefault(word[:i] + word[i + 1 :], word)
    return spellings


def _mend(word: str) -> str:
    """The known word that is one letter away, when the word itself is none; else the word."""
    if (
        len(word) < 5
        or not word.isalpha()
        or not word.isascii()
        or word in _KNOWN
        or is_in_lexicon(word)
        or _singular(word) in _KNOWN
    ):
        return word
    near = _misspellings()
    if word in near:  # a letter too few
        return near[word]
    shortened = [word[:i] + word[i + 1 :] for i in range(1, len(word) - 1)]
    for shorter in shortened:
        if shorter in _KNOWN:  # a letter too many
            return shorter
    for shorter in shortened:
        if shorter in near:  # a wrong letter, or two that changed places
            return near[shorter]
    return word


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
        *(v.COMMON, v.SCENE_NOUNS, v.PLACE_NOUNS, v.NOUNS, v.ADJECTIVES, v.STYLE_WORDS, v.STYLE_HEADS, v.VERBS),
        *(group.keys() for group in v.CONFLICT_GROUPS.values()),
        (_present_participle(verb) for verb in v.VERBS),
    )
    for word in words
)


def _fold_patterns(words: list[_Word]) -> None:
    """Turns "a green field with vertical bars" into "a green barred field"."""
    for i in range(len(words) - 1, 0, -1):
        if words[i].lower == "with" and words[i - 1].tag in _NOUN:
            end, pattern = _pattern_after(words, i + 1)
            if pattern:
                del words[i:end]
                words.insert(i - 1, _Word(text=pattern, lower=pattern, tag="JJ"))


def _pattern_after(words: Sequence[_Word], i: int) -> tuple[int, str]:
    """Where a phrase like "thin stripes" or "a checkered pattern" ends, and its adjective; empty for any other."""
    adjective = ""
    for end in range(i, min(i + 4, len(words))):
        word = words[end].lower
        if word in v.PATTERN_NOUNS:
            return end + 1, v.PATTERN_NOUNS[word]
        if word == "pattern" and adjective:
            return end + 1, adjective
        if word in v.CONFLICT_GROUPS["pattern"]:
            adjective = v.CONFLICT_GROUPS["pattern"][word]
        elif word not in v.PATTERN_DIRECTIONS and words[end].tag != "DT":
            break
    return i, ""


# --- style --------------------------------------------------------------------------------------------------------


def _mark_style(words: Sequence[_Word]) -> None:
    """Marks style phrases and words, "in the style of ..." and "oil painting style"."""
    lower = tuple(word.lower for word in words)
    i = 0
    while i < len(words):
        length = _phrase_length(lower, i, _STYLE_PHRASES)
        if lower[i : i + length] == _TWO_COLOURS and _describes_thing(words, i + length):
            length = 0
        if length == 0 and _is_style_word(words, i):
            length = 1
        for word in words[i : i + length]:
            word.is_style = True
        i += max(1, length)
    for i, word in enumerate(words):
        if word.lower in ("style", "styled", "aesthetic") or word.lower.endswith("-style"):
            _mark_around_style(words, i)


_TWO_COLOURS = ("black", "and", "white")


def _describes_thing(words: Sequence[_Word], i: int) -> bool:
    """Whether the words before i describe the thing named there."""
    return i < len(words) and words[i].tag in (*_NOUN, "JJ") and words[i].lower not in v.STYLE_HEADS | v.STYLE_WORDS


def _phrase_length(lower: Sequence[str], i: int, phrases: frozenset[tuple[str, ...]]) -> int:
    for length in range(min(_LONGEST_PHRASE, len(lower) - i), 1, -1):
        if tuple(lower[i : i + length]) in phrases:
            return length
    return 0


def _is_style_word(words: Sequence[_Word], i: int) -> bool:
    """Whether a word is style here. "cartoon, a dog" is; "a cartoon dog" describes the dog."""
    word = words[i].lower
    if word not in v.STYLE_WORDS:
        return False
    if word not in v.AMBIGUOUS_STYLE_WORDS:
        return True
    before = words[i - 1].tag if i else "."
    return not (
        _describes_thing(words, i + 1)
        or (before in ("DT", "JJ", "VBG", "PRP$") and words[i].lower not in v.STYLE_HEADS)
    )


def _mark_around_style(words: Sequence[_Word], i: int) -> None:
    """Marks the words that say which style: those before, or after "style of"."""
    words[i].is_style = True
    if i + 1 < len(words) and words[i + 1].lower == "of":
        for word in words[i + 1 : i + 7]:
            if word.tag not in (*_DESCRIBES, "IN", "DT", "POS") or (word.tag == "IN" and word.lower != "of"):
                break
            word.is_style = True
    for word in reversed(words[max(0, i - 4) : i]):
        if word.tag not in (*_DESCRIBES, "VBG", "POS") and not word.is_style:
            break
        word.is_style = True


def _style_runs(words: Sequence[_Word]) -> Iterator[str]:
    """The text of each run of marked words."""
    for is_style, run in groupby(words, key=lambda word: word.is_style):
        if is_style:
            yield " ".join(word.lower for word in run if word.lower[0].isalnum() or word.tag == "POS")


# --- phrases ------------------------------------------------------------------------------------------------------


def _phrases(words: Sequence[_Word]) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of describing words and nouns that ends in a noun."""
    i = 0
    while i < len(words):
        stop = i
        while stop < len(words) and _continues(words, i, stop):
            stop += 1
        while stop > i and words[stop - 1].tag not in _NOUN:
            stop -= 1
        if stop > i:
            stop = _join_of(words, i, stop)
            yield i, stop
        i = max(stop, i + 1)


def _continues(words: Sequence[_Word], start: int, i: int) -> bool:
    """Whether word i belongs to the phrase that began at `start`."""
    word = words[i]
    if word.lower == "and" and i > start and _is_pair(words, i):
        return True
    if word.tag == "RB" and word.lower.endswith("ly") and i + 1 < len(words) and words[i + 1].tag == "JJ":
        return True  # "dimly lit room"
    if word.is_style or word.tag not in _DESCRIBES:
        return False
    if i > start and words[i - 1].tag in _NOUN and not words[i - 1].is_name:
        if word.tag == "JJ":  # "a car red" is two phrases, "a snow covered yard" one
            return word.lower in v.SUFFIX_ADJECTIVES
        return word.tag in _NOUN
    return True


def _is_pair(words: Sequence[_Word], i: int) -> bool:
    """Whether "and" at i joins two descriptions of one noun: "black and white cow"."""
    return (
        i + 2 < len(words)
        and words[i - 1].tag == "JJ"
        and words[i + 1].tag == "JJ"
        and words[i + 2].tag in (*_NOUN, "JJ")
        and not any(word.is_style for word in words[i - 1 : i + 3])
    )


def _join_of(words: Sequence[_Word], start: int, stop: int) -> int:
    """Takes in "of Y" of a name: Queen of England, statue of liberty."""
    if stop + 1 >= len(words) or words[stop].lower != "of":
        return stop
    lower = tuple(word.lower for word in words)
    length = _phrase_length(lower, stop - 1, _OF_NAMES)
    if length:
        return stop - 1 + length
    end = stop + 1
    while end < len(words) and (words[end].is_name or words[end].lower == "the"):
        end += 1
    is_name = end > stop + 1 and words[end - 1].is_name and words[stop - 1].text[:1].isupper()
    return end if is_name else stop


def _entity_or_style(words: Sequence[_Word], start: int, stop: int) -> Entity | None:
    """The entity of a phrase; none when it is style (then its words are marked) or names nothing."""
    phrase = words[start:stop]
    of = next((i for i, word in enumerate(phrase) if word.lower == "of"), len(phrase))
    noun = phrase[of - 1]
    head = noun.lower if noun.is_name else _singular(noun.lower)
    rest = [word.lower for word in phrase[: of - 1] if word.tag != "DT"]
    described = [word for word in rest if word not in v.COUNTS]
    if noun.lower in v.STYLE_HEADS:
        for word in phrase:
            word.is_style = True
        return None
    if _is_quantifier(words, stop, head) or noun.lower in v.EMPTY_NOUNS or head in v.STYLE_HEADS:
        return None
    if head in v.EMPTY_WHEN_BARE and not described:
        return None
    tail = [word.lower for word in phrase[of:]]
    counts = [word for word in rest if word in v.COUNTS] or _count_before(words, start)
    return Entity(
        text=" ".join([*described, head, *tail]),
        head=head,
        attributes=(*counts, *described),
        kind=EntityKind.OBJECT if tail else _kind(words, start, head, is_name=noun.is_name),
    )


def _is_quantifier(words: Sequence[_Word], stop: int, head: str) -> bool:
    return head in v.QUANTIFIERS and stop < len(words) and words[stop].lower == "of"


def _count_before(words: Sequence[_Word], start: int) -> list[str]:
    """The count of "two of ...", "a pair of ...": the counting noun before "of"."""
    if start >= 2 and words[start - 1].lower == "of" and words[start - 2].lower in v.QUANTIFIERS:
        noun = words[start - 2].lower
        return [noun if noun in v.COUNTS else "many"] if noun not in ("kind", "type", "sort") else []
    return []


def _kind(words: Sequence[_Word], start: int, head: str, *, is_name: bool) -> EntityKind:
    """Scene for places, weather and times of day, and for surfaces after "on", "over", "through" ..."""
    if head in v.SCENE_NOUNS:
        return EntityKind.SCENE
    before = start - 1
    while before >= 0 and words[before].tag in ("DT", "PRP$", "CD", "JJ", "RB"):
        before -= 1
    in_front = before >= 1 and words[before].lower == "of" and words[before - 1].lower == "front"
    after_place = in_front or (before >= 0 and words[before].lower in v.SCENE_PREPOSITIONS)
    if after_place and is_name and words[before].lower in ("in", "through", "across"):
        return EntityKind.SCENE
    return EntityKind.SCENE if after_place and head in v.PLACE_NOUNS else EntityKind.OBJECT


@cache
def _singular(word: str) -> str:
    """The singular of a noun."""
    if word in v.SINGULARS:
        return v.SINGULARS[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    from textblob.en.inflect import singularize

    return str(singularize(word))
