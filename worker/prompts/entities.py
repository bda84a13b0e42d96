"""A prompt becomes entities (what is seen), style (how it is filmed) and what must not be seen.

    "A red sports car drifts through neon-lit Tokyo streets at night, no people, cinematic, 4k"
    → red sports car (object) · neon-lit tokyo street (scene) · night (scene);   excluded: person
      style: cinematic, 4k

Each step is a module: prompt syntax is removed (`prompt_syntax`), the language is detected (`languages`), and what the
model's encoder does not receive is dropped (`encoder_text`). `readers` has readers for other languages. English is
split into words (`english.words`, `spelling`), which are tagged (`tagging`); style (`style`) and what must not be seen
(`negation`) are set aside, attributes move to their noun (`attributes`). The rest is read by one rule: an entity is a
run of describing words and nouns that ends in a noun (`phrases`, `naming`). A prompt without nouns, or in a language
without a reader, is one entity as a whole, and the extraction says so. No text raises an error.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from worker.prompts import encoder_text, languages, prompt_syntax, readers, style_classes
from worker.prompts.english import attributes, motion, negation, style
from worker.prompts.english import words as w
from worker.prompts.english.naming import entity_or_style
from worker.prompts.english.phrases import phrases
from worker.prompts.english.tagging import tags
from worker.prompts.english.words import Word
from worker.prompts.readers.reading import Reading
from worker.prompts.types import Entity, EntityKind, Extraction, FallbackReason
from worker.prompts.vocabulary.style import STYLE_WORDS

__all__ = ["Entity", "EntityKind", "Extraction", "FallbackReason", "extract", "extractor", "whole_prompt"]

MAX_ENTITIES = 24
_MAX_CHARS = 8_000

Reads = Callable[[str], str]  # prompt → the text that a model's text encoder receives, cleaned and cut


class Extractor(Protocol):
    """Something that extracts entities from a prompt."""

    def __call__(self, prompt: str, *, negative: str = "", reads: Reads | None = None) -> Extraction:
        """Return entities, style and what must not be seen; never raises."""


def extract(prompt: str, *, negative: str = "", reads: Reads | None = None) -> Extraction:
    """The entities and the style of a prompt; never raises.

    `negative` is the negative prompt of the request. `reads` gives the text that the model's encoder receives; words
    that are not in it become no entity, and are listed in `unread`.
    """
    syntax = prompt_syntax.read(_clean(prompt))
    language = languages.language(syntax.text)
    reader = readers.of(language)
    if reader is not None:
        result, looks = _read_other(syntax, prompt, language, reader, reads)
        return _finished(result, (*looks, *syntax.style), negative)
    words = w.read(syntax.text)
    words, unread = encoder_text.by_model(words, reads(prompt) if reads else None)
    if not any(word.lower[0].isalnum() for word in words):
        return _unread(unread, language) if unread else whole_prompt(prompt, FallbackReason.EMPTY)
    if unread:
        prompt = " ".join(word.original for word in words)
    if language != languages.ENGLISH:
        return replace(whole_prompt(prompt, FallbackReason.NOT_ENGLISH), language=language, unread=unread)
    found, excluded, styles = _read_english(words)
    moves = motion.motions(words)
    listed = [entity for text in syntax.excluded for entity in _excluded_by_list(text)]
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
    return _finished(result, result.style, negative)


def _finished(found: Extraction, looks: Iterable[str], negative: str) -> Extraction:
    """The extraction with what the request's negative prompt excludes, and with its context on each entity.

    `looks` are the words of its style in English.
    """
    if negative:
        found = replace(found, excluded=_unique((*found.excluded, *_excluded_by_list(_clean(negative)))))
    described = [word for entity in found.entities for word in entity.attributes]
    return found.with_context(style_classes.classes(looks, described))


def _read_other(
    syntax: prompt_syntax.Prompt, prompt: str, language: str, reader: readers.Reader, reads: Reads | None
) -> tuple[Extraction, tuple[str, ...]]:
    """What a prompt in a language other than English names, and the words of its style in English."""
    taken = encoder_text.characters_read if language in readers.WITHOUT_BLANKS else encoder_text.words_read
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


_IDEOGRAPHIC = (*readers.WITHOUT_BLANKS, "ko", "ru")  # languages in other letters than English
_ENGLISH_RUN = re.compile(r"(?<![^\s,;.!?，。、；！？:：])[A-Za-z][A-Za-z' ,;.!?&-]*(?![^\s,;.!?，。、；！？:：])")


def _read_mixed(text: str, reader: readers.Reader) -> Reading:
    """What a text in other letters names, with its English parts: "a 熊猫 eating 竹子 in the snow"."""
    english = [run for run in _ENGLISH_RUN.findall(text) if _is_english(run)]
    if not english:
        return reader(text)
    found = reader(_ENGLISH_RUN.sub(lambda match: "，" if _is_english(match[0]) else match[0], text))
    seen, excluded, style = _read_english(w.read(" , ".join(english)))
    entities = sorted((*found.entities, *seen), key=lambda entity: text.lower().find(entity.text.split()[0]))
    return replace(
        found,
        entities=_unique(entities),
        excluded=_unique((*found.excluded, *excluded)),
        style=(*found.style, *style),
        looks=(*found.looks, *style),
    )


def _is_english(run: str) -> bool:
    """Whether a run of Latin letters is English; a single word may be style, which every reader knows."""
    word = run.strip(" ,;.!?-&").lower()
    return " " in word or (word.isalpha() and word not in STYLE_WORDS)


def _unread(words: tuple[str, ...], language: str) -> Extraction:
    """An extraction of nothing: the model receives no word of the prompt, so nothing that it names is in the video."""
    return Extraction(entities=(), fallback_reason=FallbackReason.UNREAD, unread=words, language=language)


def _read_english(words: list[Word]) -> tuple[tuple[Entity, ...], tuple[Entity, ...], tuple[str, ...]]:
    """Entities, excluded entities and style of the words of a prompt."""
    for word, tag in zip(words, tags([word.text for word in words]), strict=True):
        word.tag = tag
    style.mark_style(words)
    negation.mark_excluded(words)
    attributes.fold(words)
    seen: list[Entity] = []
    excluded: list[Entity] = []
    for start, stop in phrases(words):
        entity = entity_or_style(words, start, stop)
        if entity is not None:
            (excluded if words[stop - 1].is_excluded else seen).append(entity)
    return _unique(seen)[:MAX_ENTITIES], _unique(excluded), tuple(style.style_runs(words))


def _excluded_by_list(text: str) -> tuple[Entity, ...]:
    """The things in a list of what must not be seen: "cats, extra fingers"."""
    reader = readers.of(languages.language(text))
    if reader is not None:
        found = reader(text)
        return _unique((*found.entities, *found.excluded))[:MAX_ENTITIES]
    words = w.read(text)
    seen, excluded, _ = _read_english(words) if words else ((), (), ())
    return _unique((*seen, *excluded))[:MAX_ENTITIES]


def _unique(entities: Sequence[Entity]) -> tuple[Entity, ...]:
    return tuple({entity.text: entity for entity in reversed(entities)}.values())[::-1]


def whole_prompt(
    prompt: str, reason: FallbackReason | None = None, *, negative: str = "", reads: Reads | None = None
) -> Extraction:
    """The prompt as one entity: the fallback of `extract`, and what whole-prompt reuse compares."""
    del negative  # NIRVANA compares what is written
    text = " ".join(_clean(prompt).lower().split())
    entity = Entity(text=text, head=text, kind=EntityKind.PROMPT)
    unread = extract(prompt, reads=reads).unread if reads else ()
    return Extraction(entities=(entity,) if text else (), fallback_reason=reason, unread=unread)


def extractor(name: str = "lexicon") -> Extractor:
    """The extractor of a name, `lexicon` or `whole_prompt`. Raises ValueError for any other."""
    extractors: dict[str, Extractor] = {"lexicon": extract, "whole_prompt": whole_prompt}
    if name not in extractors:
        raise ValueError(f"{name!r} is not an entity extractor; use {' or '.join(extractors)}")
    return extractors[name]


def _clean(prompt: str) -> str:
    text = unicodedata.normalize("NFKC", prompt[:_MAX_CHARS])
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char == "\n" else " " if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Co") else char
        for char in text
    )
