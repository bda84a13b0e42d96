"""Which part of a prompt a model's text encoder receives: it cleans a text, and cuts it at its limit."""

import re
import unicodedata
from collections.abc import Sequence

from worker.prompts import prompt_syntax
from worker.prompts.english import words as w
from worker.prompts.english.words import Word

_LETTERS = re.compile(r"[^\W_]+")
_REACH = 30  # words of the encoder's text that are searched for the next word of the prompt


def by_model(words: list[Word], text: str | None) -> tuple[list[Word], tuple[str, ...]]:
    """The words that the model's encoder receives, and those that it does not."""
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
            kept.append(Word(text=",", lower=",", original=","))  # what stood on both sides is not one phrase
        else:
            position = place
            kept.append(word)
    return kept, tuple(unread)


def words_read(text: str, given: str | None) -> tuple[str, tuple[str, ...]]:
    """A text without the words that the model's encoder does not receive, and these words."""
    if given is None:
        return text, ()
    words, unread = by_model(w.tokens(text), given)
    return " ".join(word.text for word in words), unread


def characters_read(text: str, given: str | None) -> tuple[str, tuple[str, ...]]:
    """The same, character by character, for a text without blanks between its words."""
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
    """The place after these parts of a word in the encoder's text; None if they do not come soon."""
    for i in range(start, min(start + _REACH, len(given))):
        if given[i] == parts[0] or (i == len(given) - 1 and len(given[i]) > 2 and parts[0].startswith(given[i])):
            return i + 1
    return None
