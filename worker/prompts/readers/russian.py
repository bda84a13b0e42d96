"""Russian words with their roles, by pymorphy3's dictionary.

    "рыжий кот спит на подоконнике без людей"  →  рыжий кот (object) · подоконник (scene);   excluded: человек

Nouns are shown in the nominative singular, their adjectives in the gender of the noun: what is asked for in another
case is the same thing.
"""

import re
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from worker.prompts.english import style_words
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.readers import prepositions as p
from worker.prompts.readers.lexicon import Meaning, Sort, meanings
from worker.prompts.readers.prepositions import Phrase, Role, Token
from worker.prompts.readers.reading import Reading
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_WORDS

_VIEW = (
    r"(?:вид|съёмка|съемка|ракурс|снято) (?:сверху|снизу|сбоку|спереди|сзади|издалека|вблизи|изнутри|"
    r"с (?:воздуха|дрона|высоты(?: птичьего полёта| птичьего полета)?|земли|вертолёта|вертолета)|от первого лица)\b"
    r"|с высоты птичьего пол[её]та\b"
)
_TOKEN = re.compile(rf"{_VIEW}|[^\W\d_]+(?:-[^\W\d_]+)*|\d+\w*|[^\w\s]", re.I)
_CLASSES: tuple[tuple[Role, frozenset[str]], ...] = (
    (Role.NOBODY, word_set("никто никого никем")),
    (
        Role.NEGATION,
        word_set("без нет кроме ни безо никакой никакая никакое никакие никакого никаких никакому никакими"),
    ),
    (Role.NOT, word_set("не никогда")),
    (Role.IN, word_set("в во внутри среди посреди")),
    (Role.ON, word_set("на")),
    (
        Role.PREPOSITION,
        word_set(
            "с со к ко по под подо над надо у о об обо от до из из-за из-под за перед передо при про через сквозь "
            "между около возле вокруг вдоль мимо напротив рядом для после во-время"
        ),
    ),
    (Role.AND, word_set("и да")),
    (Role.OR, word_set("или либо")),
    (Role.COPULA, word_set("был была было были является")),
    (Role.LIKE, word_set("как словно будто точно чем")),
    (Role.DEGREE, word_set("очень совсем полностью весьма слишком")),
    (
        Role.ARTICLE,
        word_set("этот эта это эти тот та те свой своя своё свои своей своём своих его её их мой моя каждый"),
    ),
    (Role.RELATIVE, word_set("который которая которое которые")),
)
_NAMED = STYLE_WORDS | style_words.TOOLS
_ADJECTIVES = frozenset(("ADJF", "ADJS", "PRTF"))
_VERBS = frozenset(("VERB", "INFN", "GRND", "PRTS", "PRED"))
_OTHERS = frozenset(("ADVB", "NPRO", "CONJ", "PRCL", "INTJ", "COMP", "PREP"))
_RESEMBLES = ("похож", "смахива")
_IN_SUBJECT = (Role.NOUN, Role.ADJECTIVE, Role.ARTICLE, Role.IN, Role.ON, Role.PREPOSITION, Role.NUMBER)
_OF_COLOUR = "цвета"  # "машина красного цвета"


@cache
def _analyzer() -> Any:  # Any: pymorphy3 has no types
    """pymorphy3 with its dictionary: 0.2 s and 40 MB, needed only where Russian is read."""
    warnings.filterwarnings("ignore", module=".*pymorphy3")  # for good: `catch_warnings` would affect every thread
    import pymorphy3

    return pymorphy3.MorphAnalyzer(lang="ru")


@lru_cache(maxsize=MOST_REMEMBERED)
def _parses(word: str) -> tuple[Any, ...]:
    return tuple(_analyzer().parse(word))


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a Russian text."""
    return p.read(tag(text), p.Order(follows=False, joins_of=False, shown=_shown))


def tag(text: str) -> list[Token]:
    """The words of a text with their roles, nouns and adjectives in the nominative singular."""
    words = _TOKEN.findall(text)
    tokens: list[Token] = []
    for i in range(len(words) - 1, -1, -1):
        tokens.insert(0, _token(words[i], tokens[0] if tokens else None))
    for before, token in pairwise(tokens):
        if token.written == "на" and before.written.startswith(_RESEMBLES):
            before.role, token.role = Role.OTHER, Role.LIKE  # "робот, похожий на человека"
    return _with_colours(_with_likened(tokens))


def _with_likened(tokens: list[Token]) -> list[Token]:
    """Moves a look with a comparison to its noun: "чёрная как чернила лошадь"."""
    for i in range(len(tokens) - 4, -1, -1):
        look, joint, compared, noun = tokens[i : i + 4]
        is_likened = look.role is Role.ADJECTIVE and joint.role is Role.LIKE and compared.role is Role.NOUN
        if is_likened and noun.role in (Role.NOUN, Role.ADJECTIVE) and look.cases & noun.cases:
            tokens[i : i + 3] = [joint, compared, look]
    return tokens


def _token(word: str, after: Token | None) -> Token:
    lower = word.lower()
    if not lower[0].isalnum():
        return Token(lower, Role.END, lower)
    if " " in lower:
        return Token(lower, Role.NOUN, lower, Meaning("camera angle", Sort.STYLE), is_style=True)
    if lower[0].isdigit():
        is_style = not lower.isdigit()
        return Token(lower, Role.ADJECTIVE if is_style else Role.NUMBER, lower, is_style=is_style)
    role = next((role for role, closed in _CLASSES if lower in closed), None)
    if role is not None:
        return Token(lower, role, lower)
    parse = _parse_of(lower, after)
    text = _inflected(lower, frozenset(("nomn", "sing", "masc"))) if parse.tag.POS == "PRTF" else parse.normal_form
    meaning = meanings("ru").get(lower) or meanings("ru").get(text)
    role = _role(parse, meaning)
    cases = _cases(lower, parse.tag.POS)
    if parse.tag.POS == "PRTF" and after is not None and after.cases and not cases & after.cases:
        role = Role.VERB  # "мост, покрытый мхом"
    is_style = lower in _NAMED if meaning is None else meaning.sort is Sort.STYLE
    is_name = word[0].isupper() and "Geox" in parse.tag
    return Token(text, role, lower, meaning, is_name=is_name, is_style=is_style, cases=cases)


@lru_cache(maxsize=MOST_REMEMBERED)
def _cases(word: str, part: str) -> frozenset[str]:
    """The cases and numbers that a word may stand in."""
    return frozenset(f"{parse.tag.case} {parse.tag.number}" for parse in _parses(word) if part == parse.tag.POS)


def _parse_of(lower: str, after: Token | None) -> Any:
    """The likeliest reading of a word.

    Before a noun an adjective; else a noun that the lexicon has, also for what the dictionary takes for an adverb
    (ночью) or for another noun (парке: парка).
    """
    parses = _parses(lower)
    if after is not None and after.role in (Role.NOUN, Role.ADJECTIVE):
        for parse in parses:
            if parse.tag.POS in ("ADJF", "PRTF"):
                return parse
    if parses[0].tag.mood == "impr":  # голубей: doves, hardly "become blue"
        return next((parse for parse in parses if parse.tag.POS == "NOUN"), parses[0])
    if parses[0].tag.POS in ("NOUN", "ADVB"):
        known = meanings("ru")
        for parse in parses:
            if parse.tag.POS == "NOUN" and parse.normal_form in known:
                return parse
    return parses[0]


def _role(parse: Any, meaning: Meaning | None) -> Role:
    part = parse.tag.POS
    if part == "NUMR" or (meaning is not None and meaning.sort is Sort.NUMBER):
        return Role.NUMBER
    if part in _ADJECTIVES:
        return Role.ARTICLE if "Apro" in parse.tag else Role.ADJECTIVE
    if part in _VERBS:
        return Role.VERB
    return Role.OTHER if part in _OTHERS else Role.NOUN


def _with_colours(tokens: list[Token]) -> list[Token]:
    """Brings what is said after a noun in front of it: "машина красного цвета", "дракон синий"."""
    for i in range(len(tokens) - 1, 0, -1):
        if tokens[i].role is not Role.ADJECTIVE or tokens[i - 1].role is not Role.NOUN or tokens[i].is_style:
            continue
        after = tokens[i + 1] if i + 1 < len(tokens) else None
        noun = i - 1
        if after is not None and after.written == _OF_COLOUR:
            del tokens[i + 1]
        elif after is not None and after.role not in (Role.END, Role.AND):
            continue
        else:
            noun = _noun_of(tokens, i)
        tokens.insert(noun, tokens.pop(i))
    return tokens


def _noun_of(tokens: Sequence[Token], i: int) -> int:
    """The noun that an adjective at i agrees with, as far back as its clause goes: "платье этой женщины красное"."""
    k = i - 1
    while k >= 0 and tokens[k].role in _IN_SUBJECT:
        if tokens[k].role is Role.NOUN and (not tokens[k].cases or tokens[k].cases & tokens[i].cases):
            return k
        k -= 1
    return i - 1


def _shown(tokens: Sequence[Token], phrase: Phrase) -> str:
    """The phrase in the nominative singular, adjectives in the gender of the noun."""
    noun = tokens[phrase.noun]
    tags = [parse.tag for parse in _parses(noun.text) if parse.tag.POS == "NOUN"]
    tag = next((tag for tag in tags if tag.case == "nomn"), tags[0] if tags else None)
    form = ("nomn", "plur") if tag is None or tag.number == "plur" else ("nomn", "sing", tag.gender or "masc")
    described = (_inflected(tokens[i].text, frozenset(form)) for i in phrase.parts if i != phrase.noun)
    of = () if phrase.of is None else range(phrase.of, phrase.stop)
    return " ".join((*described, noun.text, *(tokens[i].written for i in of)))


@lru_cache(maxsize=MOST_REMEMBERED)
def _inflected(word: str, form: frozenset[str]) -> str:
    for parse in _parses(word):
        if parse.tag.POS in _ADJECTIVES and (found := parse.inflect(set(form))):
            return str(found.word)
    return word
