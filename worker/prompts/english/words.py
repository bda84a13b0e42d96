"""A prompt as words: tokens in a case that a tagger understands, with their spelling corrected."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worker.prompts.english.spelling import is_known, mended
from worker.prompts.vocabulary.grammar import FUNCTION_TAGS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import NUMERALS
from worker.prompts.vocabulary.spellings import SPLIT_WORDS
from worker.prompts.vocabulary.style import STYLE_WORDS

MAX_WORDS = 400  # later words are not read: text encoders stop at 300 tokens
_MAX_WORD = 40  # letters; longer runs are no words

NOUN = ("NN", "NNS", "NNP", "NNPS")
ADJECTIVE = ("JJ", "JJR", "JJS")
DESCRIBES = (*ADJECTIVE, "VBN", "CD", *NOUN)

_TOKEN = re.compile(r"[^\W_]+(?:[-'’][^\W_]+|[.:]\d+)*|[^\w\s]")
_NUMBERS = "|".join((r"\d+", *sorted(NUMERALS, key=len, reverse=True), "two|three|four|five|six|seven|eight|nine|ten"))
_AGE = re.compile(rf"\b({_NUMBERS})[ -]?(?:(?:years?|yrs?)[ -](?:olds?|of age)|y\.?o)\b", re.I)
_HEIGHT = re.compile(  # "20 foot tall", whose number nobody sees
    rf"\b(?:{_NUMBERS})[ -]?(?:foot|feet|ft|met(?:er|re)s?|m|inch(?:es)?|cm|miles?|stor(?:y|ey|ies|eys))[ -]"
    r"(?=(?:tall|high|long|wide|deep)\b)",
    re.I,
)


_OF_AGES = ("year", "yr", "yo", "y.o")
_OF_HEIGHTS = ("tall", "high", "long", "wide", "deep")


@dataclass(slots=True)
class Word:
    """A token on its way to an entity."""

    text: str  # as written, with its spelling corrected
    lower: str
    tag: str = "."
    original: str = ""  # lower case, before its spelling was corrected
    is_style: bool = False  # says how the picture looks
    is_excluded: bool = False  # says what must not be seen
    is_ignored: bool = False  # a comparison or an instruction: not seen either

    @property
    def is_name(self) -> bool:
        """Whether it is the name of somebody or something."""
        return self.tag in ("NNP", "NNPS")

    @property
    def is_noun(self) -> bool:
        """Whether a phrase may end in it."""
        return self.tag in NOUN

    @property
    def is_plain(self) -> bool:
        """Whether it may be part of something that is seen."""
        return not (self.is_style or self.is_ignored)


def mark(words: Sequence[Word], start: int, stop: int) -> None:
    """Marks words as style."""
    for word in words[start:stop]:
        word.is_style = True


def ignore(words: Sequence[Word], start: int, stop: int) -> None:
    """Marks words as naming what nobody sees."""
    for word in words[start:stop]:
        word.is_ignored, word.is_style = True, False


def tokens(text: str) -> list[Word]:
    """The words and signs of a text in any language, as they stand."""
    return [Word(text=token, lower=token.lower(), original=token.lower()) for token in _TOKEN.findall(text)[:MAX_WORDS]]


def read(text: str) -> list[Word]:
    """The words of a text without its signs (`prompt_syntax`), untagged."""
    text = re.sub(r"(?<=\s)&(?=\s)", "and", _without_measures(text))
    tokens = _TOKEN.findall(text)[:MAX_WORDS]
    tokens = [part for token in tokens for part in _split_possessive(token) if len(part) <= _MAX_WORD]
    tokens = _joined([token for i, token in enumerate(tokens) if i == 0 or not _is_repeated(tokens[i - 1], token)])
    shouts = has_capitals_throughout(tokens)
    words = []
    for i, token in enumerate(tokens):
        starts = i == 0 or tokens[i - 1] in (".", "!", "?", ":", '"')
        is_capital = token[:1].isupper() and not shouts
        lower = token.lower() if is_capital and not starts else mended(token.lower())
        is_action = i > 0 and tokens[i - 1] == "," and lower.endswith("ing") and is_known(lower)
        is_name = is_capital and not is_action and not (starts and _is_ordinary(lower, tokens, i))
        words.append(
            Word(text=token if is_name and lower == token.lower() else lower, lower=lower, original=token.lower())
        )
    return words


def _without_measures(text: str) -> str:
    """The text with ages as one word each, and without the numbers of heights. Few prompts have either."""
    lower = text.lower()
    if any(sign in lower for sign in _OF_AGES):
        text = _AGE.sub(r"\1-year-old", text)
    if any(sign in lower for sign in _OF_HEIGHTS):
        text = _HEIGHT.sub("", text)
    return text


def _joined(tokens: Sequence[str]) -> list[str]:
    """The tokens, with those that people tear apart in one: back ground, sun set, three headed."""
    found: list[str] = []
    for i, token in enumerate(tokens):
        if found and (whole := SPLIT_WORDS.get((found[-1].lower(), token.lower()))):
            found[-1] = whole
        elif found and found[-1].lower() in _FEW and token.lower() in _OF_SO_MANY and _is_noun_behind(tokens, i):
            found[-1] = f"{found[-1]}-{token}"
        else:
            found.append(token)
    return found


def _is_noun_behind(tokens: Sequence[str], i: int) -> bool:
    """Whether a describing word may stand at a place: what follows is neither a function word nor the end."""
    return i + 1 < len(tokens) and tokens[i + 1][0].isalpha() and tokens[i + 1].lower() not in FUNCTION_TAGS


_FEW = word_set("one two three four five six seven eight nine ten many 2 3 4 5 6 7 8 9 10")
_OF_SO_MANY = word_set("headed eyed legged handed wheeled sided masted story storey")


def _split_possessive(token: str) -> tuple[str, ...]:
    if token.lower() in _OWNERS:
        return (token[:-1], "'s")
    if token.lower().endswith("'s") and token.lower() not in STYLE_WORDS:
        return (token[:-2], "'s")
    return (token,)


_OWNERS = word_set("mans womans childs mens womens childrens")  # as people write man's


def _is_repeated(before: str, token: str) -> bool:
    return token[0].isalpha() and len(token) > 2 and token.lower() == before.lower()


def has_capitals_throughout(tokens: Sequence[str]) -> bool:
    """Whether capitals carry no meaning: SHOUTED or Set Like A Title."""
    words = [token for token in tokens if token[0].isalpha()]
    if len(words) < 3:
        return bool(words) and all(word.isupper() and len(word) > 1 for word in words)
    return sum(word[0].isupper() for word in words) > 0.7 * len(words)


def _is_ordinary(lower: str, tokens: Sequence[str], i: int) -> bool:
    """Whether a word that starts a sentence is no name despite its capital."""
    if lower in FUNCTION_TAGS or is_known(lower):
        return True
    return not (i + 1 < len(tokens) and tokens[i + 1][:1].isupper())
