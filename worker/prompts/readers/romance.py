"""Spanish, French and Portuguese words with their roles: closed classes, endings, and how common infinitives are.

    "un gato negro duerme sobre una mesa de madera"  →  gato negro (object) · mesa de madera (scene)

The noun comes first and its adjectives follow, so the question is where they end: a word after a noun is a verb if its
infinitive is in use ("camina", caminar), else it describes ("perro labrador").
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache, partial

from worker.prompts.english import style_words
from worker.prompts.languages import frequency
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.readers import prepositions as p
from worker.prompts.readers.lexicon import Meaning, Sort, meanings, nouns
from worker.prompts.readers.prepositions import Role, Token
from worker.prompts.readers.reading import Reading
from worker.prompts.readers.romance_context import role_in_context
from worker.prompts.readers.romance_words import GRAMMARS, Grammar, variants
from worker.prompts.vocabulary.style import STYLE_WORDS

_TOKEN = re.compile(r"[^\W\d_]+['’]|[^\W\d_]+(?:-[^\W\d_]+)*|\d+\w*|[^\w\s]")
_COMMONER = 0.7  # powers of ten by which a singular may be rarer than its plural
_NAMED = STYLE_WORDS | style_words.TOOLS
_ORDER = p.Order(follows=True, joins_of=True, shown=p.plain)


def reader(language: str) -> partial[Reading]:
    """The reader of texts in `es`, `fr` or `pt`."""
    return partial(_read, grammar=GRAMMARS[language])


def _read(text: str, *, grammar: Grammar) -> Reading:
    return p.read(tag(text, grammar), _ORDER)


def tag(text: str, grammar: Grammar) -> list[Token]:
    """The words of a text with their roles."""
    tokens = [_token(word, grammar) for word in _joined(_TOKEN.findall(text.replace("’", "'")), grammar)]
    for i in range(len(tokens)):
        if i and tokens[i].text in _YEARS and tokens[i - 1].role is Role.NUMBER:
            tokens[i - 1].role = tokens[i].role = Role.OTHER  # "una niña de siete años"
            continue
        tokens[i].role = role_in_context(tokens, i, grammar)
        if tokens[i].written == "nada" and tokens[i + 1 : i + 2] and tokens[i + 1].written == "de":
            tokens[i].role = Role.NEGATION  # "nada de coches"
        is_made_of = i > 0 and tokens[i - 1].role in (Role.OF, Role.IN)
        if tokens[i].role is Role.NOUN and tokens[i].is_of(Sort.MATERIAL) and not is_made_of:
            tokens[i].meaning = nouns(grammar.language).get(tokens[i].text)  # "un verre" is no material
    return tokens


_YEARS = ("año", "an", "ano")


def _joined(words: Sequence[str], grammar: Grammar) -> Iterator[str]:
    """The words, with fixed phrases as one word: "puesta de sol"."""
    i = 0
    while i < len(words):
        firsts = (words[i], words[i].removesuffix("s"))  # estrellas de mar
        runs = ((n, " ".join((first, *words[i + 1 : i + n]))) for n in (5, 4, 3, 2) for first in firsts)
        texts = ((n, text.replace("' ", "'")) for n, text in runs)
        length, text = next(((n, t) for n, t in texts if t.lower() in _fixed(grammar.language)), (1, words[i]))
        if text.lower() in _TWO_COLOURS and i and words[i - 1].isalpha() and not _is_of_the_whole(words, i, grammar):
            length, text = 1, words[i]
        yield text
        i += length


@cache
def _fixed(language: str) -> frozenset[str]:
    """The phrases of a language that are one word elsewhere: "puesta de sol", "pomme de terre"."""
    return GRAMMARS[language].fixed | {word for word in meanings(language) if " " in word}


def _is_of_the_whole(words: Sequence[str], i: int, grammar: Grammar) -> bool:
    """Whether the colours at i are those of the whole picture: ", en blanco y negro", "película en blanco y negro"."""
    before = words[i - 2] if i > 1 else ","
    meaning, _ = _known(before.lower(), grammar)
    is_picture = meaning is not None and meaning.sort in (Sort.STYLE, Sort.NOTHING)
    return words[i - 1].lower() in ("en", "em") and (is_picture or not before[0].isalnum())


_TWO_COLOURS = frozenset(("blanco y negro", "noir et blanc", "preto e branco"))


def _token(word: str, grammar: Grammar) -> Token:
    lower = word.lower()
    if not lower[0].isalnum():
        return Token(lower, Role.END, lower)
    if " " in lower and (placed := _closed(lower, grammar)) is not None:
        return Token(lower, placed, lower)  # "al pie de"
    if " " in lower and lower in meanings(grammar.language):
        known = meanings(grammar.language)[lower]
        return Token(lower.removeprefix("de "), Role.NOUN, lower, known, is_style=known.sort is Sort.STYLE)
    if lower in grammar.fixed:
        return Token(lower, Role.NOUN, lower, Meaning(lower, Sort.STYLE), is_style=True)  # how it is filmed
    if lower[0].isdigit():
        is_style = not lower.isdigit()
        return Token(lower, Role.ADJECTIVE if is_style else Role.NUMBER, lower, is_style=is_style)
    role = _closed(lower, grammar)
    if role is None and lower.endswith("mente") and grammar.language != "fr":
        role = Role.OTHER  # an adverb
    if role is not None:
        return Token(lower, role, lower, _numbers(grammar.language).get(lower))
    meaning, text = _known(lower, grammar)
    is_name = word[0].isupper() and meaning is None
    is_style = lower in _NAMED if meaning is None else meaning.sort is Sort.STYLE
    return Token(text, _open(lower, text, meaning, grammar), lower, meaning, is_name=is_name, is_style=is_style)


def _closed(lower: str, grammar: Grammar) -> Role | None:
    """The role of a word of a closed class."""
    return next((role for role, words in _classes(grammar.language) if lower in words), None)


@cache
def _classes(language: str) -> tuple[tuple[Role, frozenset[str]], ...]:
    g = GRAMMARS[language]
    return (
        *((Role.NOBODY, g.nobody), (Role.NEGATION, g.negations), (Role.NOT, g.nots), (Role.OF, g.of)),
        *((Role.IN, g.inside), (Role.ON, g.on), (Role.PREPOSITION, g.prepositions), (Role.AND, g.conjunctions)),
        *((Role.OR, g.alternatives), (Role.COPULA, g.copulas), (Role.RELATIVE, g.relatives), (Role.LIKE, g.likes)),
        *(
            (Role.NUMBER, frozenset(_numbers(language)) - g.articles),
            (Role.ARTICLE, g.articles),
            (Role.DEGREE, g.degrees),
        ),
        (Role.OTHER, g.others),
    )


@cache
def _numbers(language: str) -> dict[str, Meaning]:
    return {word: meaning for word, meaning in meanings(language).items() if meaning.sort is Sort.NUMBER}


def _known(lower: str, grammar: Grammar) -> tuple[Meaning | None, str]:
    """What a word means, and its singular."""
    known = meanings(grammar.language)
    singular = _singular(lower, grammar)
    for word in (lower, singular):
        if word in known:
            return known[word], word
    found = _unaccented(grammar.language).get(without_accents(singular))
    if found is not None and not {lower, singular} & (grammar.verbs | grammar.nouns | grammar.adjectives):
        return found, singular
    for word in variants(singular, grammar.feminines):
        if word in known and (known[word].sort.describes or known[word].sort in _GENDERED):
            return known[word], singular
    return None, singular


def without_accents(word: str) -> str:
    """A word as it is typed in haste: camara, arvore."""
    return "".join(char for char in unicodedata.normalize("NFD", word) if not unicodedata.combining(char))


@cache
def _unaccented(language: str) -> dict[str, Meaning]:
    """The words of the lexicon that have accents, without them."""
    known = meanings(language)
    bare = {without_accents(word): meaning for word, meaning in known.items()}
    return {word: meaning for word, meaning in bare.items() if word not in known}


_GENDERED = (Sort.PERSON, Sort.ANIMATE, Sort.STYLE)


@lru_cache(maxsize=MOST_REMEMBERED)
def _singular(lower: str, grammar: Grammar) -> str:
    known, common = meanings(grammar.language), frequency(grammar.language)
    if lower in known or lower in grammar.nouns:
        return lower
    for word in variants(lower, grammar.plurals):
        is_listed = word in known or word in grammar.nouns or word in grammar.adjectives
        if is_listed or any(base in known or base in grammar.adjectives for base in variants(word, grammar.feminines)):
            return word
        if word in common and common[word] > common.get(lower, 0.0) - _COMMONER:
            return word
    return lower


def _open(lower: str, singular: str, meaning: Meaning | None, grammar: Grammar) -> Role:
    """The role of a word by itself: what it means, what it is listed as, how it ends."""
    if meaning is not None:
        is_material = meaning.sort is Sort.MATERIAL and singular in meanings(grammar.language)
        return Role.ADJECTIVE if meaning.sort.describes and not is_material else Role.NOUN
    forms = {lower, singular, *variants(singular, grammar.feminines)}
    if forms & grammar.postures:
        return Role.PARTICIPLE
    if lower in grammar.verbs:
        return Role.VERB
    if forms & grammar.nouns:
        return Role.NOUN
    if forms & grammar.adjectives:
        return Role.ADJECTIVE
    if lower.endswith(grammar.gerund_ends or ("\0",)) or _has_pronoun(lower, grammar):
        return Role.VERB
    return Role.NOUN


def _has_pronoun(lower: str, grammar: Grammar) -> bool:
    """Whether a word is a verb with the pronoun that is joined to it: "lanzándole", "comprarla", "olhando-se"."""
    found = grammar.with_pronoun.fullmatch(lower)
    infinitive = found.groupdict().get("infinitive") if found else None
    return found is not None and (infinitive is None or infinitive in frequency(grammar.language))
