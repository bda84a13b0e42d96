"""Part-of-speech tags for the words of a prompt (Penn tags: NN, JJ, VBG ...).

The default tagger is TextBlob's bundled lexicon of 94,000 words, called directly, since its public properties need
corpora that have to be downloaded, and then corrected by rules for what captions do: verbs in -ing and -s that the
lexicon reads as nouns, participles that describe. spaCy with a model of the user's replaces both.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from worker.cache.decisions import vocabulary as v

Tagger = Callable[[Sequence[str]], list[str]]

_NUMBER = re.compile(r"[\d.,:]+(st|nd|rd|th)?")
_NOUN = ("NN", "NNS", "NNP", "NNPS")
_STARTS_OBJECT = ("DT", "PRP$", "IN", "RB", "PRP", "TO", "CD")


class TaggerUnavailable(RuntimeError):
    """The chosen tagger is not installed; the message says how to install it."""


@cache
def _parser() -> Any:  # Any: TextBlob has no types
    """TextBlob's English parser with its lists loaded: 1.7 s of imports, wanted only where prompts are read."""
    from textblob.en import parser

    with warnings.catch_warnings():  # it leaves the files of its lists open
        warnings.simplefilter("ignore", ResourceWarning)
        parser.find_tags(["Load", "everything"])
    return parser


def is_in_lexicon(word: str) -> bool:
    """Whether the lexicon has the word, as written."""
    return word in _parser().lexicon


@cache
def lexicon_tagger() -> Tagger:
    """The default tagger. The first call loads the lexicon."""
    parser = _parser()

    def tag(words: Sequence[str]) -> list[str]:
        found = parser.find_tags(list(words))
        return correct(words, [tag for _, tag in found])

    return tag


@cache
def spacy_tagger(model: str = "en_core_web_sm") -> Tagger:
    """A tagger from an installed spaCy model. Raises TaggerUnavailable when spaCy or the model is missing."""
    try:
        import spacy
        from spacy.tokens import Doc
    except ImportError as error:
        raise TaggerUnavailable("the spaCy tagger needs spaCy: pip install 'chai-t2v[spacy]'") from error
    try:
        nlp = spacy.load(model, exclude=["ner", "lemmatizer", "parser"])
    except OSError as error:
        raise TaggerUnavailable(
            f"the spaCy model {model!r} is not installed: python -m spacy download {model}"
        ) from error

    def tag(words: Sequence[str]) -> list[str]:
        doc = nlp(Doc(nlp.vocab, words=list(words)))
        return [token.tag_ or "NN" for token in doc]

    return tag


def correct(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """The lexicon's tags, corrected for captions; `words` in the case that they were written in."""
    lower = [word.lower() for word in words]
    fixed = [_by_word(word, original, tag) for word, original, tag in zip(lower, words, tags, strict=True)]
    for i in range(len(fixed)):
        before = fixed[i - 1] if i else ","
        after = fixed[i + 1] if i + 1 < len(fixed) else "."
        fixed[i] = _by_context(lower, fixed, i, before, after)
    return fixed


def _by_word(word: str, original: str, tag: str) -> str:
    """A tag that the word alone decides."""
    if word in v.FUNCTION_TAGS:
        return v.FUNCTION_TAGS[word]
    if not word[:1].isalnum():
        return tag if tag in ("POS", "CC") else "."
    if _NUMBER.fullmatch(word):
        return "CD"
    if original[0].isupper() and tag in ("NNP", "NNPS"):
        return "NNP"
    for tag_of_list, words in _LISTS:
        if word in words:
            return "NNS" if tag_of_list == "NN" and _is_plural(word) else tag_of_list
    if tag in ("NNP", "NNPS", "FW", "UH", "SYM", "LS", "MD", "EX"):
        return "NN"
    if "-" in word and not word.endswith("s"):
        return "JJ" if tag not in _NOUN or word.endswith(("ed", "ing")) else tag
    return tag if tag[:1].isalpha() else "NN"


def _is_plural(word: str) -> bool:
    return word.endswith("s") and v.SINGULARS.get(word) != word and not word.endswith(("ss", "us", "is"))


_LISTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("CD", v.COUNTS),
    ("JJ", v.ADJECTIVES),
    ("NN", v.NOUNS | v.SCENE_NOUNS | v.PLACE_NOUNS),
    ("RB", v.ADVERBS),
)


def _by_context(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> str:
    """A tag that the neighbours decide; `tags` are corrected up to i."""
    word, tag = lower[i], tags[i]
    if word.endswith("ing") and word not in v.ING_NOUNS and len(word) > 4 and tag not in ("NNP", "IN"):
        return _ing(lower, i, before, after)
    if word in v.CONFLICT_GROUPS["colour"] and (after in (*_NOUN, "JJ", "CC") or tag not in _NOUN):
        return "JJ"
    if word in v.COLOUR_NOUNS and _is_shade(lower, tags, i):
        return "JJ"
    if word in v.SUFFIX_ADJECTIVES and before in ("NN", "JJ") and after in (*_NOUN, "JJ"):
        return "JJ"
    if i and lower[i - 1] in ("to", "that", "who", "which") and word in _FINITE and after != "IN":
        return "VB"
    if tag in ("VBN", "VBD") or (tag == "JJ" and word.endswith("ed")):
        return "JJ" if after in (*_NOUN, "JJ") and before not in _NOUN else "VBN"
    if word in _FINITE and before in (*_NOUN, "RB", "PRP", "WRB", "CC", "VB"):
        return _finite(lower, tags, i, before, after)
    if tag in ("VB", "VBP", "VBZ") and before in ("DT", "JJ", "PRP$", "CD"):
        return "NN"
    if tag in ("VB", "VBP", "VBZ") and word not in _FINITE and word not in v.FUNCTION_TAGS and before in (",", "."):
        return tag if after in _STARTS_OBJECT else "NNS" if word.endswith("s") else "NN"
    if tag == "JJ" and before in ("DT", "PRP$") and after in (".", "IN", "WRB"):
        return "NN"  # "his net"
    if tag == "NNS" and before in ("NN", "NNP") and after in ("DT", "PRP$"):
        return "VBZ"
    return tag


def _is_shade(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether a noun names the shade of the colour behind it: "a sky blue kettle"."""
    if not (i + 1 < len(lower) and lower[i + 1] in v.CONFLICT_GROUPS["colour"]):
        return False
    return i + 2 < len(lower) and tags[i + 2] in (*_NOUN, "JJ")


def _ing(lower: Sequence[str], i: int, before: str, after: str) -> str:
    """A word in -ing: a description before a noun ("flying cars"), else what the thing does."""
    if before in ("DT", "PRP$", "JJ", "CD"):
        return "JJ" if after in (*_NOUN, "JJ", "VBG", "CD") else "NN"
    follows_thing = before in (*_NOUN, "WRB", "CC", "RB", "VBG", "VB", "PRP")
    if follows_thing or lower[i] in v.TRANSITIVE_ING or after not in (*_NOUN, "JJ"):
        return "VBG"
    return "JJ"


def _finite(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> str:
    """A word that can be a verb in the present tense, after something that can be its subject."""
    word, tag = lower[i], tags[i]
    if word not in _BASES and (before == "NNP" or (lower[i - 1] in v.ANIMATE and before == "NN")):
        return "VB"
    is_plural_form = word in _BASES
    if is_plural_form and before == "NNS" and lower[i - 1] not in v.PLURAL_MODIFIERS:
        return "VB"
    is_joined = is_plural_form and "and" in lower[max(0, i - 6) : i]
    plural_subject = before == "NNS" or is_joined
    if before in ("RB", "CC", "WRB", "VB", "PRP") and tag in _NOUN and _FINITE[word] in v.VERBS_OR_NOUNS:
        return "VB" if after in ("DT", "PRP$", "RB") and before in ("RB", "PRP") else tag
    if before in _NOUN and is_plural_form != plural_subject and word not in _BOTH_FORMS:
        return tag if tag in _NOUN else "NN" if word in v.VERBS_OR_NOUNS else "VB"
    if _FINITE[word] in v.VERBS_OR_NOUNS and after not in _STARTS_OBJECT:
        return tag if before in _NOUN and tag in _NOUN else "VB"
    if _FINITE[word] in v.VERBS_OR_NOUNS and after == "IN" and lower[i] in v.SCENE_NOUNS | v.PLACE_NOUNS:
        return tag
    return "VB"


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def _finite_forms() -> Iterator[tuple[str, str]]:
    for verb in v.VERBS | v.VERBS_OR_NOUNS:
        yield verb, verb
        yield _third_person(verb), verb


_FINITE = dict(_finite_forms())
_BASES = v.VERBS | v.VERBS_OR_NOUNS
_BOTH_FORMS = frozenset({"has", "have"})
