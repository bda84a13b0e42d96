"""Part-of-speech tags for the words of a prompt (Penn tags: NN, JJ, VBG ...).

The default tagger is a lexicon, corrected by rules for captions; spaCy with a model of the user's replaces both.
"""

from collections.abc import Callable, Sequence
from functools import cache

from worker.cache.decisions.english import lexicon
from worker.cache.decisions.english.tag_rules import correct

Tagger = Callable[[Sequence[str]], list[str]]


class TaggerUnavailable(RuntimeError):
    """The chosen tagger is not installed; the message says how to install it."""


@cache
def lexicon_tagger() -> Tagger:
    """The default tagger. The first call loads the lexicon."""
    parser = lexicon.parser()

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
