"""TextBlob's bundled lexicon of 94,000 English words and their tags, and the forms of verbs that captions use.

Called directly: TextBlob's public properties need corpora that have to be downloaded.
"""

import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from threading import get_ident
from typing import Any

from worker.prompts.english.spelling import is_known
from worker.prompts.vocabulary.grammar import VERBS, VERBS_OR_NOUNS

_LEFT_OUT = ("scipy", "sklearn")  # NLTK, which TextBlob imports, takes 1.5 s to import them for what is not used here


class _Refusal:
    """An import finder that hides some packages from one thread, but not from others."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages, self._thread = packages, get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden package; leave others to the other finders."""
        if name in self._packages and get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Within the block, import as if these packages were not installed."""
    refusal = _Refusal(packages)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


@cache
def parser() -> Any:  # Any: TextBlob has no types
    """TextBlob's English parser with its lists loaded: takes a second, needed only where prompts are read."""
    with _without(*_LEFT_OUT):
        from textblob.en import parser as loaded

    # It leaves the files of its lists open. Filtered for good: `catch_warnings` would affect every thread.
    warnings.filterwarnings("ignore", category=ResourceWarning, module=".*textblob")
    loaded.find_tags(["Load", "everything"])
    return loaded


def is_in_lexicon(word: str) -> bool:
    """Whether the lexicon has the word, as written."""
    return word in parser().lexicon


def is_heard(word: str) -> bool:
    """Whether the extractor's own lists or the lexicon have the word, as written."""
    return is_known(word) or is_in_lexicon(word)


def is_first_name(word: str) -> bool:
    """Return whether the word is only ever written with a capital."""
    return is_in_lexicon(word.capitalize()) and not is_in_lexicon(word)


def tag_in_lexicon(word: str) -> str | None:
    """Return the tag of a word as written; None if it is not in the lexicon."""
    tag: str | None = parser().lexicon.get(word)
    return tag


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def _finite_forms() -> Iterator[tuple[str, str]]:
    for verb in VERBS | VERBS_OR_NOUNS:
        yield verb, verb
        yield _third_person(verb), verb


FINITE = dict(_finite_forms())  # each form to its verb
