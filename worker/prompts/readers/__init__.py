"""Readers for prompts in languages other than English, one per language (`of`)."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from worker.prompts.readers.reading import Reading

Reader = Callable[[str], Reading]

_MODULES = {"zh": "chinese", "ja": "japanese", "ko": "korean", "de": "german", "ru": "russian"}
_ROMANCE = ("es", "fr", "pt")
WITHOUT_BLANKS = ("zh", "ja")  # languages that put no blanks between their words


@cache
def of(language: str) -> Reader | None:
    """The reader of a language; None for English, and for languages whose prompts are compared as a whole.

    Dictionaries are loaded when the first text is read, not here.
    """
    if language in _ROMANCE:
        return cast(Reader, import_module(f"{__name__}.romance").reader(language))
    if language in _MODULES:
        return cast(Reader, import_module(f"{__name__}.{_MODULES[language]}").read)
    return None
