"""A prompt becomes entities (what is seen), style (how it is filmed) and what must not be seen.

    "A red sports car drifts through neon-lit Tokyo streets at night, no people, cinematic, 4k"
    → red sports car (object) · neon-lit tokyo street (scene) · night (scene);   excluded: person
      style: cinematic, 4k

One step a module: signs and tags come off (`prompt_syntax`), what is left becomes words (`words`, `spelling`), what
the model's encoder does not read is dropped, the language is told (`languages`), words are tagged (`tagging`), style
(`style`) and what must not be seen (`negation`) are set aside, attributes move to their noun (`attributes`). The rest
is read by one rule: an entity is a run of describing words and nouns that ends in a noun. A prompt without nouns, or in
a language that is not read, is one entity as a whole, and the extraction says so. Nothing here raises for any text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Protocol

from worker.cache.decisions import (
    attributes,
    heaps,
    languages,
    motion,
    negation,
    prompt_syntax,
    readers,
    salience,
    style,
    style_classes,
    style_words,
)
from worker.cache.decisions import vocabulary as v
from worker.cache.decisions import words as w
from worker.cache.decisions.english_lexicon import is_in_lexicon, tag_in_lexicon
from worker.cache.decisions.memory import MOST_REMEMBERED
from worker.cache.decisions.noun_rules import OF_TOPS
from worker.cache.decisions.readers.reading import Reading
from worker.cache.decisions.spelling import RARE, is_known, zipf
from worker.cache.decisions.tagging import Tagger, lexicon_tagger, spacy_tagger
from worker.cache.decisions.types import Entity, EntityKind, Extraction, FallbackReason
from worker.cache.decisions.words import DESCRIBES as _DESCRIBES
from worker.cache.decisions.words import NOUN as _NOUN
from worker.cache.decisions.words import Word

__all__ = ["Entity", "EntityKind", "Extraction", "FallbackReason", "extract", "extractor", "whole_prompt"]

MAX_ENTITIES = 24
_MAX_CHARS = 8_000
_OF_NAMES = frozenset(tuple(name.split("-")) for name in v.OF_NAMES)
_LONGEST_NAME = max(map(len, _OF_NAMES))

Reads = Callable[[str], str]  # a prompt → the part of it, cleaned and cut, that a model's text encoder gets


class Extractor(Protocol):
    """What takes a prompt apart."""

    def __call__(self, prompt: str, *, negative: str = "", reads: Reads | None = None) -> Extraction:
        """Return entities, style and what must not be seen; never raises."""


def extract(prompt: str, tagger: Tagger | None = None, *, negative: str = "", reads: Reads | None = None) -> Extraction:
    """The entities and the style of a prompt; never raises.

    `negative` is what the request itself asks not to show. `reads` is what the model's encoder makes of the prompt:
    what it does not get is no entity, and is told in `unread`.
    """
    syntax = prompt_syntax.read(_clean(prompt))
    language = languages.language(syntax.text)
    reader = readers.of(language)
    if reader is not None:
        result, looks = _read_other(syntax, prompt, language, reader, reads)
        return _finished(result, (*looks, *syntax.style), negative, tagger)
    words = w.read(syntax.text)
    words, unread = _read_by_model(words, reads(prompt) if reads else None)
    if not any(word.lower[0].isalnum() for word in words):
        return _unread(unread, language) if unread else whole_prompt(prompt, FallbackReason.EMPTY)
    if unread:
        prompt = " ".join(word.original for word in words)
    if language != languages.ENGLISH:
        return replace(whole_prompt(prompt, FallbackReason.NOT_ENGLISH), language=language, unread=unread)
    found, excluded, styles = _read_english(words, tagger)
    moves = motion.motions(words)
    listed = [entity for text in syntax.excluded for entity in _excluded_by_list(text, tagger)]
    result = Extraction(
        entities=found,
        style=tuple(dict.fromkeys((*styles, *syntax.style))),
        excluded=_unique((*excluded, *listed)),
        unread=unread,
        motion=moves,
    )
    if not found:
        whole = whole_prompt(prompt, FallbackReason.NO_NOUNS)
        result = replace(result, entities=whole.entities, fallback_reason=whole.fallback_reason)
    return _finished(result, result.style, negative, tagger)


def _finished(found: Extraction, looks: Iterable[str], negative: str, tagger: Tagger | None) -> Extraction:
    """The extraction with what the request's negative prompt excludes, and each entity with its surroundings.

    `looks` are the words of its style in English.
    """
    if negative:
        found = replace(found, excluded=_unique((*found.excluded, *_excluded_by_list(_clean(negative), tagger))))
    described = [word for entity in found.entities for word in entity.attributes]
    return found.with_context(style_classes.classes(looks, described))


def _read_other(
    syntax: prompt_syntax.Prompt, prompt: str, language: str, reader: readers.Reader, reads: Reads | None
) -> tuple[Extraction, tuple[str, ...]]:
    """What a prompt in another language than English names, and the words of its style in English."""
    taken = _characters_read if language in readers.WITHOUT_BLANKS else _words_read
    text, unread = taken(syntax.text, reads(prompt) if reads else None)
    if not any(char.isalnum() for char in text):
        return (_unread(unread, language) if unread else whole_prompt(prompt, FallbackReason.EMPTY)), ()
    found = _read_mixed(text, reader) if language in _IDEOGRAPHIC else reader(text)
    listed = [entity for part in syntax.excluded for entity in reader(part).entities]
    result = Extraction(
        entities=found.entities[:MAX_ENTITIES],
        style=tuple(dict.fromkeys((*found.style, *syntax.style))),
        excluded=_unique((*found.excluded, *listed)),
        unread=unread,
        language=language,
    )
    if not found.entities:
        whole = whole_prompt(text if unread else prompt)
        result = replace(result, entities=whole.entities, fallback_reason=FallbackReason.NO_NOUNS)
    return result, found.looks


_IDEOGRAPHIC = (*readers.WITHOUT_BLANKS, "ko", "ru")  # languages whose letters are not those of English
_ENGLISH_RUN = re.compile(r"(?<![^\s,;.!?，。、；！？:：])[A-Za-z][A-Za-z' ,;.!?&-]*(?![^\s,;.!?，。、；！？:：])")


def _read_mixed(text: str, reader: readers.Reader) -> Reading:
    """What a text in other letters names, with what stands in it in English: "a 熊猫 eating 竹子 in the snow"."""
    english = [run for run in _ENGLISH_RUN.findall(text) if _is_english(run)]
    if not english:
        return reader(text)
    found = reader(_ENGLISH_RUN.sub(lambda match: "，" if _is_english(match[0]) else match[0], text))
    seen, excluded, style = _read_english(w.read(" , ".join(english)), None)
    entities = sorted((*found.entities, *seen), key=lambda entity: text.lower().find(entity.text.split()[0]))
    return replace(
        found,
        entities=_unique(entities),
        excluded=_unique((*found.excluded, *excluded)),
        style=(*found.style, *style),
        looks=(*found.looks, *style),
    )


def _is_english(run: str) -> bool:
    """Whether letters among others are English words; a single one may be style, which every reader knows."""
    word = run.strip(" ,;.!?-&").lower()
    return " " in word or (word.isalpha() and word not in v.STYLE_WORDS)


def _unread(words: tuple[str, ...], language: str) -> Extraction:
    """Nothing: the model gets no word of the prompt, so that nothing it names is in the video."""
    return Extraction(entities=(), fallback_reason=FallbackReason.UNREAD, unread=words, language=language)


def _read_english(
    words: list[Word], tagger: Tagger | None
) -> tuple[tuple[Entity, ...], tuple[Entity, ...], tuple[str, ...]]:
    """Entities, excluded entities and style of the words of a prompt."""
    for word, tag in zip(words, (tagger or lexicon_tagger())([word.text for word in words]), strict=True):
        word.tag = tag
    style.mark_style(words)
    negation.mark_excluded(words)
    attributes.fold(words)
    seen: list[Entity] = []
    excluded: list[Entity] = []
    for start, stop in _phrases(words):
        entity = _entity_or_style(words, start, stop)
        if entity is not None:
            (excluded if words[stop - 1].is_excluded else seen).append(entity)
    return _unique(seen)[:MAX_ENTITIES], _unique(excluded), tuple(style.style_runs(words))


def _excluded_by_list(text: str, tagger: Tagger | None) -> tuple[Entity, ...]:
    """The things of a list of what must not be seen: "cats, extra fingers"."""
    reader = readers.of(languages.language(text))
    if reader is not None:
        found = reader(text)
        return _unique((*found.entities, *found.excluded))[:MAX_ENTITIES]
    words = w.read(text)
    seen, excluded, _ = _read_english(words, tagger) if words else ((), (), ())
    return _unique((*seen, *excluded))[:MAX_ENTITIES]


def _unique(entities: Sequence[Entity]) -> tuple[Entity, ...]:
    return tuple({entity.text: entity for entity in reversed(entities)}.values())[::-1]


def whole_prompt(
    prompt: str, reason: FallbackReason | None = None, *, negative: str = "", reads: Reads | None = None
) -> Extraction:
    """The prompt as one entity: the fallback of `extract`, and what whole-prompt reuse compares."""
    del negative  # NIRVANA compares what was written
    text = " ".join(_clean(prompt).lower().split())
    entity = Entity(text=text, head=text, kind=EntityKind.PROMPT)
    unread = extract(prompt, reads=reads).unread if reads else ()
    return Extraction(entities=(entity,) if text else (), fallback_reason=reason, unread=unread)


def extractor(name: str = "lexicon") -> Extractor:
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


def _clean(prompt: str) -> str:
    text = unicodedata.normalize("NFKC", prompt[:_MAX_CHARS])
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char == "\n" else " " if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Co") else char
        for char in text
    )


# --- what the model reads -------------------------------------------------------------------------------------------

_LETTERS = re.compile(r"[^\W_]+")
_REACH = 30  # words of the encoder's text that are looked through for the next one of the prompt


def _read_by_model(words: list[Word], text: str | None) -> tuple[list[Word], tuple[str, ...]]:
    """The words that the model's encoder gets, and those that it does not."""
    if text is None:
        return words, ()
    given = _LETTERS.findall(prompt_syntax.with_named_signs(unicodedata.normalize("NFKC", text)).lower())
    kept: list[Word] = []
    unread: list[str] = []
    position = 0
    for word in words:
        parts = _LETTERS.findall(word.original)
        place = _find(given, parts, position) if parts else position
        if place is None:
            unread.append(word.original)
            kept.append(Word(text=",", lower=",", original=","))  # what stood on both sides was no phrase
        else:
            position = place
            kept.append(word)
    return kept, tuple(unread)


def _words_read(text: str, given: str | None) -> tuple[str, tuple[str, ...]]:
    """A text without the words that the model's encoder does not get."""
    if given is None:
        return text, ()
    words, unread = _read_by_model(w.tokens(text), given)
    return " ".join(word.text for word in words), unread


def _characters_read(text: str, given: str | None) -> tuple[str, tuple[str, ...]]:
    """A text without blanks between its words, without the characters that the model's encoder does not get."""
    if given is None:
        return text, ()
    kept: list[str] = []
    unread: list[str] = []
    position = 0
    given = unicodedata.normalize("NFKC", given).lower()
    for char in text:
        place = given.find(char.lower(), position) if char.isalnum() else position
        if place < 0:
            unread.append(char)
        else:
            kept.append(char)
            position = place + 1 if char.isalnum() else position
    return "".join(kept), tuple(unread)


def _find(given: Sequence[str], parts: Sequence[str], start: int) -> int | None:
    """Where the text goes on behind these parts of a word; None if they do not come soon."""
    for i in range(start, min(start + _REACH, len(given))):
        if given[i] == parts[0] or (i == len(given) - 1 and len(given[i]) > 2 and parts[0].startswith(given[i])):
            return i + 1
    return None


# --- phrases ------------------------------------------------------------------------------------------------------


def _phrases(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
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
    """Where a phrase ends without nouns that name nothing: "stadium year", "forest side"."""
    end = stop
    if words[end - 1].lower in v.CARRIERS:
        return end
    if _is_day(words, start, end):
        return end
    while end - start > 1 and _is_empty(words[end - 1].lower) and words[end - 2].is_noun:
        if _is_kept(words[end - 2], words[end - 1]):
            break
        end -= 1
    return end


def _is_kept(before: Word, word: Word) -> bool:
    """Whether a word that names nothing by itself ends a name or a fixed pair: kanye west, the milky way."""
    if (before.lower, word.lower) in v.KEPT_PAIRS or (before.is_name and word.is_name):
        return True
    is_word = is_known(before.lower) or is_in_lexicon(before.lower)
    return word.lower in v.POINTS_OF_THE_COMPASS and not is_word


def _is_day(words: Sequence[Word], start: int, end: int) -> bool:
    """Whether the phrase is a day that one sees: a rainy day, christmas day."""
    return words[end - 1].lower == "day" and any(word.lower in v.DAYS for word in words[start : end - 1])


def _is_empty(noun: str) -> bool:
    return not {noun, singular(noun)}.isdisjoint(v.EMPTY_NOUNS)


def _continues(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether word i belongs to the phrase that began at `start`."""
    word = words[i]
    if word.is_excluded != words[start].is_excluded or not word.is_plain:
        return False
    if word.lower == "and" and i > start and _is_pair(words, i):
        return True
    if word.tag == "RB" and word.lower.endswith("ly") and i + 1 < len(words) and words[i + 1].tag == "JJ":
        return word.lower not in v.DEGREES  # "dimly lit room", but "extremely tall man"
    if word.tag not in _DESCRIBES:
        return False
    if i > start and _begins_thing_of(words, start, i):
        return False
    if i > start and words[i - 1].tag in _NOUN and not words[i - 1].is_name:
        if word.tag == "JJ":  # "a car red" is two phrases, "a snow covered yard" one
            return (
                word.lower in v.SUFFIX_ADJECTIVES
                or _is_measured(words, i)
                or _is_one(words, start, i)
                or _is_title(words, start, i)
            )
        return word.tag in _NOUN
    return True


def _begins_thing_of(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether a colour behind somebody's full name says what another thing is like: "adam driver red lightsaber"."""
    is_full = i - start > 1 and words[i - 1].is_name and words[i - 2].is_name
    return is_full and words[i].lower in _COLOURS and i + 1 < len(words) and words[i + 1].tag in ("NN", "NNS")


def _is_measured(words: Sequence[Word], i: int) -> bool:
    """Whether a part of the body says how high or deep the thing behind it is: "thigh high leather boots"."""
    is_body = words[i - 1].lower in v.BODY_PARTS and words[i].lower in v.MEASURED
    return is_body and i + 1 < len(words) and words[i + 1].tag in _DESCRIBES


def _is_one(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether "a" before a phrase makes one thing of a noun and what follows it: "a pet polar bear"."""
    end = next((k for k in range(i, len(words)) if words[k].tag != "JJ" or not words[k].is_plain), len(words))
    stop = next((k for k in range(end, len(words)) if not (words[k].is_noun and words[k].is_plain)), len(words))
    is_single = stop > end and words[stop - 1].tag == "NN" and words[stop - 1].lower not in _ENDS_NO_PHRASE
    is_apart = words[i - 1].tag != "NN" or words[i - 1].lower in _STANDS_ALONE
    is_place = words[i - 1].lower in v.PLACE_NOUNS and stop > end and words[stop - 1].lower in _SURROUNDINGS
    return is_single and not (is_apart or is_place) and start > 0 and words[start - 1].lower in ("a", "an")


_ENDS_NO_PHRASE = v.STYLE_HEADS | style_words.GENRE_HEADS | v.EMPTY_WHEN_BARE
_STANDS_ALONE = v.ANIMATE | v.BODY_PARTS | v.SCENE_NOUNS  # "a long face narrow nose"


def _is_title(words: Sequence[Word], start: int, i: int) -> bool:
    """Whether nouns, a material and a noun are all that stands between two commas: "dragon priest wooden mask"."""
    begins = start == 0 or not words[start - 1].lower[0].isalnum()
    is_made = words[i].lower in v.CONFLICT_GROUPS["material"] and i + 1 < len(words) and words[i + 1].tag == "NN"
    ends = i + 2 >= len(words) or not words[i + 2].lower[0].isalnum()
    return begins and is_made and ends and all(word.tag == "NN" for word in words[start:i])


_SURROUNDINGS = v.SCENE_NOUNS | {"day"}
_COLOURS = v.CONFLICT_GROUPS["colour"].keys()
_PAIRED = _COLOURS | v.CONFLICT_GROUPS["material"].keys()


def _is_pair(words: Sequence[Word], i: int) -> bool:
    """Whether "and" at i joins two descriptions of one noun: "black and white cow"."""
    return (
        i + 2 < len(words)
        and all(word.tag == "JJ" or word.lower in _PAIRED for word in (words[i - 1], words[i + 1]))
        and words[i + 2].tag in (*_NOUN, "JJ")
        and not any(word.is_style for word in words[i - 1 : i + 3])
    )


def _join_of(words: Sequence[Word], start: int, stop: int) -> int:
    """Takes in "of Y" of a name: Queen of England, statue of liberty."""
    if stop + 1 >= len(words) or words[stop].lower != "of" or words[stop - 1].lower in _STYLE_HEADS:
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


def _entity_or_style(words: Sequence[Word], start: int, stop: int) -> Entity | None:
    """The entity of a phrase; none when it is style (then its words are marked) or names nothing."""
    phrase = words[start:stop]
    of = next((i for i, word in enumerate(phrase) if word.lower == "of"), len(phrase))
    noun = phrase[of - 1]
    head = singular(noun.lower)
    if noun.is_name and noun.lower not in v.SINGULARS and not _is_common(phrase[: of - 1], head):
        head = noun.lower
    rest = [word.lower for word in phrase[: of - 1] if word.tag != "DT"]
    counts = [word for i, word in enumerate(rest) if word in v.COUNTS or (i == 0 and word.isdigit())]
    described = [word for word in rest if word not in counts]
    if counts and head in v.UNITS:
        return None
    says_little = _SAYS_LITTLE.issuperset(described) or (head in _PICTURES and all(w.tag == "JJ" for w in phrase[:-1]))
    is_of_picture = head in v.VIEWS and described and (says_little or described[-1] in v.STYLE_HEADS)
    is_compound = of > 1 and f"{phrase[of - 2].lower} {noun.lower}" in v.COMPOUNDS  # a paper clip
    if (noun.lower in _STYLE_HEADS and not is_compound) or is_of_picture:
        for word in phrase:
            word.is_style = not v.DURATIONS & {word.lower for word in phrase}
        return None
    is_kept = is_compound or _is_day(words, start, stop) or (of > 1 and _is_kept(phrase[of - 2], noun))
    is_kept = is_kept or (head == "light" and stop < len(words) and words[stop].tag.startswith("VB"))  # it moves
    is_kept = is_kept or (head == "top" and not OF_TOPS.isdisjoint(described[-1:]))
    is_kept = is_kept or (head in v.FRUITS and _is_behind_article(words, start))  # "an orange"
    if (
        _is_quantifier(words, stop)
        or _is_part_of_place(words, start, stop)
        or (not is_kept and _names_nothing(noun, head, described))
    ):
        return None
    tail = [word.lower for word in phrase[of:]]
    counts = [v.NUMERALS.get(word, word) for word in counts] or _count_before(words, start)
    return Entity(
        text=" ".join([*described, head, *tail]),
        head=head,
        attributes=(*counts, *_made_into(words, start), *described),
        kind=EntityKind.OBJECT if tail else _kind(words, start, head, noun),
        weight=salience.weight(head, described),
        is_single=not counts and head == noun.lower and _is_behind_article(words, start),
    )


_PICTURES = v.word_set("scene view image picture composition look")  # a scary scene: the picture itself
_STYLE_HEADS = v.STYLE_HEADS | style_words.GENRE_HEADS
_SAYS_LITTLE = v.PRAISE | v.STYLE_WORDS | v.VIEWS
_EMPTY_WHEN_BARE = v.EMPTY_WHEN_BARE | v.SEEN_WHEN_DESCRIBED | (v.ADJECTIVES - v.NOUNS - v.PEOPLES)
_MONTHS = v.MONTHS - {"march", "may"}
_COMMON_NOUNS = v.SCENE_NOUNS | v.PLACE_NOUNS | v.ANIMATE


def _names_nothing(noun: Word, head: str, described: Sequence[str]) -> bool:
    """Whether a noun, or a bare one, is no thing of a picture: a moment, a feeling, a scene."""
    if len(head) == 1 or _is_empty(noun.lower) or noun.lower in v.CARRIERS or head in v.STYLE_HEADS:
        return True
    is_fruit = noun.lower != head and head in v.FRUITS  # "vendors sell oranges"
    if not described and not is_fruit and (head in _EMPTY_WHEN_BARE or head in _MONTHS or head[0].isdigit()):
        return True
    return not noun.is_name and noun.lower not in v.SEEN_IN_PLURAL and _is_unseen(head)


def _is_common(before: Sequence[Word], head: str) -> bool:
    """Whether a noun with a capital is an ordinary one: "board Games", but not "Bill Gates"."""
    if head in _COMMON_NOUNS:
        return True
    return bool(before) and not before[-1].is_name and is_in_lexicon(head)


def _is_unseen(head: str) -> bool:
    """Whether no picture shows what the noun means: happiness, coexistence, music."""
    return head in v.UNSEEN or (head.endswith(v.ABSTRACT_ENDS) and head not in v.SEEN_ALL_THE_SAME)


def _is_quantifier(words: Sequence[Word], stop: int) -> bool:
    nouns = {words[stop - 1].lower, singular(words[stop - 1].lower)}
    return not v.QUANTIFIERS.isdisjoint(nouns) and stop < len(words) and words[stop].lower == "of"


def _is_part_of_place(words: Sequence[Word], start: int, stop: int) -> bool:
    """Whether a phrase says where in the next one something is: "at the foot of a volcano"."""
    is_part = words[stop - 1].lower in _PARTS_WITH_NAMES and [word.lower for word in words[stop : stop + 1]] == ["of"]
    return (
        is_part and start > 1 and words[start - 1].lower == "the" and words[start - 2].lower in ("at", "to", "in", "on")
    )


def _made_into(words: Sequence[Word], start: int) -> list[str]:
    """What a thing is seen as: a horse of "a statue of a horse" is no horse, nor is a wolf whose shadow is seen."""
    of = start - 1
    while of > 0 and words[of].tag in ("DT", "CD", "PRP$"):
        of -= 1
    is_of = of > 0 and words[of].lower == "of" and words[of - 1].is_plain
    image = singular(words[of - 1].lower) if is_of else ""
    return [image] if v.NATURES.get(image) in _MADE else []


_MADE = frozenset(("image", "trace", "undead", "toy"))


def _is_behind_article(words: Sequence[Word], start: int) -> bool:
    """Whether "a" stands before a phrase: a bird, a very big bird."""
    article = start - 1
    while article > 0 and words[article].tag == "RB":
        article -= 1
    return article >= 0 and words[article].lower in ("a", "an")


def _count_before(words: Sequence[Word], start: int) -> list[str]:
    """The count of "two of ...", "a pair of ...": the counting noun before "of"."""
    if start >= 2 and words[start - 1].lower == "of" and words[start - 2].lower in v.QUANTIFIERS:
        noun = words[start - 2].lower
        if noun in ("pair", "pairs", "couple", "trio"):
            return ["three" if noun == "trio" else "two"]
        return [noun if noun in v.COUNTS else "many"] if noun not in ("kind", "type", "sort") else []
    return []


_PARTS_WITH_NAMES = frozenset(("foot", "base", "heart", "brink", "outskirts", "tip"))
_PARTS_OF_PLACES = v.word_set(
    "front middle center centre edge foot base heart outskirts bottom top end side mouth brink"
)
_ENDS_OF_CLOTHES = ("wear", "mask", "coat", "dres", "shirt", "skirt", "jacket", "pants", "boot", "shoe", "gown")
_NO_PLACES = {"top"} | v.NOT_PLACES | v.ANIMATE | v.GENERIC | v.ABSTRACT


def _kind(words: Sequence[Word], start: int, head: str, noun: Word) -> EntityKind:
    """Scene for places, weather and times of day; for surfaces after "on", "over" ...; for most that one is "in"."""
    if _is_person(words, start, noun):
        return EntityKind.OBJECT
    if head in v.SCENE_NOUNS or head in ("day", "weather") or _is_named_place(words, start, noun):
        return EntityKind.SCENE
    before = start - 1
    while before >= 0 and words[before].tag in ("DT", "PRP$", "CD", "JJ", "RB"):
        before -= 1
    in_front = before >= 1 and words[before].lower == "of" and words[before - 1].lower in _PARTS_OF_PLACES
    after_place = in_front or (before >= 0 and words[before].lower in v.SCENE_PREPOSITIONS)
    if after_place and noun.is_name and words[before].lower in ("in", "through", "across"):
        return EntityKind.SCENE
    if after_place and (head in v.PLACE_NOUNS or head in v.MORE_PLACES):
        return EntityKind.SCENE
    is_inside = before >= 0 and words[before].lower in v.INSIDE and not _is_looked_at(words, before)
    names_place = not (_NO_PLACES & {head, noun.lower} or head.removesuffix("s").endswith(_ENDS_OF_CLOTHES))
    return EntityKind.SCENE if is_inside and names_place else EntityKind.OBJECT


def _is_named_place(words: Sequence[Word], start: int, noun: Word) -> bool:
    """Whether a phrase is a name behind what it names: lake louise, mount rainier."""
    is_name = noun.is_name or not (is_known(noun.lower) or is_in_lexicon(noun.lower))
    return words[start].lower in v.BEFORE_NAMES and words[start + 1 : start + 2] == [noun] and is_name


def _is_person(words: Sequence[Word], start: int, noun: Word) -> bool:
    """Whether a phrase is somebody's name that ends in the word of a place: bruno mars, captain america."""
    lower = tuple(word.lower for word in words[start : start + 4])
    return noun.is_name and any(lower[: len(name)] == name for name in v.PEOPLE_BY_FIRST_WORD.get(lower[0], ()))


def _is_looked_at(words: Sequence[Word], i: int) -> bool:
    """Whether "at" at i belongs to a verb: "looking at a bakery", "throws tomatoes at a judge"."""
    return words[i].lower == "at" and any(word.lower in v.AIMS for word in words[max(0, i - 3) : i])


_LONGER_THAN_WOMEN = 5  # letters: omen and semen are no men


@lru_cache(maxsize=MOST_REMEMBERED)
def singular(word: str) -> str:
    """The singular of a noun."""
    if word in v.SINGULARS:
        return v.SINGULARS[word]
    if word.endswith("men") and len(word) > _LONGER_THAN_WOMEN and zipf(f"{word[:-3]}man") >= RARE:
        return f"{word[:-3]}man"
    if word.endswith("is") and tag_in_lexicon(word) in (None, "NNS") and tag_in_lexicon(word[:-1]) == "NN":
        return word[:-1]  # taxis
    if word.endswith("us") and (is_known(word[:-1]) or tag_in_lexicon(word[:-1]) == "NN"):
        return word[:-1]  # tutus, menus
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    from textblob.en.inflect import singularize

    single = str(singularize(word))
    if tag_in_lexicon(word) == "NN" and not is_in_lexicon(single) and zipf(single) < RARE:
        return word  # rhinoceros
    is_field = word.endswith("ics") and lexicon_tagger()([single]) == ["JJ"]  # electronics, but not fabrics
    return word if is_field or _is_name_in_s(word, single) else _by_lists(word, single)


def _by_lists(word: str, single: str) -> str:
    """The singular of a word in -s that is a noun: ears, toes, valves, ceremonies; else `single`, which a rule gave."""
    if tag_in_lexicon(single) == "NN":
        return single
    forms = [word[:-1]]
    forms += [word[:-2]] if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")) else []
    forms += [f"{word[:-3]}y"] if word.endswith("ies") else []
    nouns = [form for form in forms if tag_in_lexicon(form) == "NN"]
    return max(nouns or [form for form in forms if zipf(form) >= RARE], key=zipf, default=single)


def _is_name_in_s(word: str, single: str) -> bool:
    """Whether the s belongs to a name: thanos, andrews."""
    if is_known(single) or is_in_lexicon(single) or is_in_lexicon(word):
        return False
    if zipf(single) >= RARE and not is_in_lexicon(single.capitalize()) and zipf(word) < zipf(single) + 1:
        return False
    return is_in_lexicon(word.capitalize()) or zipf(word) > zipf(single) + 1
