"""Phrases of languages that put a preposition before their nouns: Spanish, French, Portuguese, German, Russian.

    "un chat rouge endormi sur un lit, sans personne"  →  chat rouge (object) · lit (scene);   excluded: personne

Each language tags its words (`Token.role`); the rule is shared: descriptions, a noun and, if the language puts
them there, more descriptions and "de" with a bare noun. What a verb says of the noun joins it ("est rouge").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from worker.prompts.readers.lexicon import Meaning, Sort
from worker.prompts.readers.reading import TWO_COLOURS, Found, Reading, Said, Worded, entity
from worker.prompts.types import Entity
from worker.prompts.vocabulary.groups import CLAD
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import PERSONS, SOMEBODY


class Role(Enum):
    """What a word does in a sentence."""

    NOUN = auto()
    ADJECTIVE = auto()
    PARTICIPLE = auto()  # an adjective, unless what follows says by what or where: "assis sur"
    NUMBER = auto()
    ARTICLE = auto()
    IN = auto()  # what follows is a place
    ON = auto()  # what follows is a place if it is a surface
    PREPOSITION = auto()
    OF = auto()
    AND = auto()
    OR = auto()
    COPULA = auto()
    RELATIVE = auto()
    NEGATION = auto()  # what follows is not seen
    NOT = auto()  # what the verb after it names is not seen
    NOBODY = auto()
    LIKE = auto()  # what follows is compared with
    DEGREE = auto()
    VERB = auto()
    OTHER = auto()  # adverbs, pronouns
    END = auto()  # a comma, a full stop


@dataclass(slots=True)
class Token(Worded):
    """A word with its role."""

    text: str  # lower case, in the singular
    role: Role
    written: str = ""  # lower case, as it stands
    meaning: Meaning | None = None
    is_name: bool = False
    is_style: bool = False
    cases: frozenset[str] = frozenset()  # Russian: what it can agree with

    @property
    def is_singular(self) -> bool:
        """Whether its form can only be singular, in a language that shows number by the form alone."""
        return bool(self.cases) and all(case.endswith(" sing") for case in self.cases)

    @property
    def is_genitive(self) -> bool:
        """Whether it is a noun that can say whose something is, by its form."""
        return self.role is Role.NOUN and any(case.startswith("gent") for case in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A noun with what describes it: places in the list of tokens."""

    start: int
    noun: int
    stop: int
    parts: tuple[int, ...]  # what describes it
    of: int | None = None  # where "de" with a bare noun stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a language builds its phrases."""

    follows: bool  # adjectives follow the noun
    joins_of: bool  # "mesa de madera" is one phrase
    shown: Callable[[Sequence[Token], Phrase], str]  # the text of a phrase


_DESCRIBES = (Role.ADJECTIVE, Role.PARTICIPLE)
_LIGHT = word_set("luz lumière licht свет")
_COSTUMES = word_set("suit costume")
_BEHIND_PARTICIPLE = (Role.IN, Role.ON, Role.PREPOSITION, Role.OF)
_JOINS_PHRASE = (Role.OF, Role.IN, Role.ON, Role.PREPOSITION, Role.ARTICLE)
_ENDS_SUBJECT = (Role.END, Role.VERB, Role.RELATIVE, Role.AND, Role.OR, Role.NEGATION, Role.NOT, Role.LIKE, Role.COPULA)
_MAX_APART = 3  # words between "no" and what is not seen


def plain(tokens: Sequence[Token], phrase: Phrase) -> str:
    """The words of a phrase in their order, counts left out."""
    kept = {phrase.noun, *phrase.parts, *(range(phrase.of, phrase.stop) if phrase.of is not None else ())}
    is_plural = tokens[phrase.noun].text == tokens[phrase.noun].written  # in form: what describes it stays so too
    first_of = phrase.stop if phrase.of is None else phrase.of
    words = [
        tokens[i].written if is_plural or i >= first_of else tokens[i].text
        for i in range(min(kept), max(kept) + 1)
        if i in kept or (tokens[i].role is Role.AND and i - 1 in kept and i + 1 in kept)
    ]
    return " ".join(words).replace("' ", "'")


def read(tokens: Sequence[Token], order: Order) -> Reading:
    """The entities, the excluded entities and the style of tagged words."""
    tokens = _told_of_subjects(tokens, order)
    found = Found()
    i = 0
    while i < len(tokens):
        i = _next(tokens, i, order, found)
    return found.reading()


def _told_of_subjects(tokens: Sequence[Token], order: Order) -> list[Token]:
    """The words with what a sentence says moved right after its subject: "le chat sur la table est noir"."""
    told = _with_asides(tokens)
    start = 0
    for i, token in enumerate(tuple(told)):
        if token.role is Role.COPULA and told[i] is token:
            said, end = _said(told, i)
            first = phrase_at(told, _skip(told, start, Role.ARTICLE), order)
            is_apart = first is not None and any(told[k].role in _JOINS_PHRASE for k in range(first.stop, i))
            if said and first is not None and first.stop < i and is_apart:
                told[first.stop : end] = told[i:end] + told[first.stop : i]
        if token.role in _ENDS_SUBJECT:
            start = i + 1
    return told


def _with_asides(tokens: Sequence[Token]) -> list[Token]:
    """The words with a colour between commas as a sentence would say it: "el velero, blanco, navega"."""
    told = list(tokens)
    for i in range(1, len(tokens) - 1):
        end = _skip(tokens, i + 1, Role.ADJECTIVE, Role.DEGREE)
        is_likened = end < len(tokens) and tokens[end].role is Role.LIKE
        is_last = end == len(tokens) or tokens[end].role is Role.END or is_likened
        is_joint = tokens[i].text == "," or (is_likened and tokens[i].role is Role.DEGREE)  # "so schwarz wie Tinte"
        is_thing = tokens[i - 1].role in (Role.NOUN, Role.ADJECTIVE) and not tokens[i - 1].is_style
        is_look = tokens[end - 1].is_of(Sort.COLOUR) and tokens[end - 1].said.english != TWO_COLOURS
        if is_joint and is_thing and end > i + 1 and is_last and is_look:
            told[i] = replace(tokens[i], role=Role.COPULA)
    return told


def _next(tokens: Sequence[Token], i: int, order: Order, found: Found) -> int:
    """Reads what stands at i; returns where the next thing begins."""
    role = tokens[i].role
    if role is Role.NOBODY:
        found.add_nobody(tokens[i].text)
        return i + 1
    if role in (Role.NEGATION, Role.NOT):
        return _exclude(tokens, i, order, found)
    if role is Role.LIKE or _is_shape(tokens, i):
        compared = phrase_at(tokens, _skip(tokens, i + 1, Role.ARTICLE, Role.OF), order)
        return compared.stop if compared else i + 1
    if tokens[i].is_style and role is not Role.NOUN:
        return _style(tokens, i, order, found)
    phrase = phrase_at(tokens, i, order)
    if phrase is None:
        return _style(tokens, i, order, found) if tokens[i].said.english == TWO_COLOURS else i + 1
    noun = tokens[phrase.noun]
    if noun.is_style or _is_look(tokens, phrase):
        return _style(tokens, i, order, found)
    said, stop = _said(tokens, phrase.stop)
    found.add(_entity(tokens, phrase, order, said))
    for part in phrase.parts:
        if tokens[part].is_style:
            found.add_style(tokens[part].written, (tokens[part].said.english,))
    return stop


def _is_shape(tokens: Sequence[Token], i: int) -> bool:
    """Whether what follows only gives a thing its shape: "en forma de corazón", "in Form eines Herzens", "в виде"."""
    return tokens[i].written in _SHAPES and i > 0 and tokens[i - 1].role in (Role.IN, Role.PREPOSITION)


_SHAPES = word_set("forma forme form gestalt форме виде")


def _is_look(tokens: Sequence[Token], phrase: Phrase) -> bool:
    """Whether a phrase about nothing says how it looks: "escena cinematográfica", "estilo anime", "plano aéreo"."""
    meaning = tokens[phrase.noun].meaning
    beside = (*phrase.parts, *range(phrase.stop, min(phrase.stop + 1, len(tokens))))
    if tokens[phrase.noun].text in _LIGHT and any(tokens[part].is_style for part in beside):
        return True  # "luz dramática"
    if meaning is None or meaning.sort is not Sort.NOTHING:
        return False
    return meaning.english.endswith("manner") or any(tokens[part].is_style for part in phrase.parts)


def _style(tokens: Sequence[Token], i: int, order: Order, found: Found) -> int:
    """Takes a phrase of style; "in the style of" goes on to the comma."""
    phrase = phrase_at(tokens, i, order)
    stop = phrase.stop if phrase else i + 1
    noun = tokens[phrase.noun] if phrase else None
    if noun and noun.is_of(Sort.NOTHING):
        while stop < len(tokens) and tokens[stop].role is not Role.END:
            stop += 1
    stop = max(stop, _medium_end(tokens, stop))
    while stop < len(tokens) and (tokens[stop].is_style or tokens[stop].said.english == "background"):
        stop += 1  # "unscharfer Hintergrund"
    run = tokens[i:stop]
    found.add_style(" ".join(token.written for token in run), (token.said.english for token in run))
    return stop


def _medium_end(tokens: Sequence[Token], i: int) -> int:
    """The end of what a picture is painted with: "dibujo a lápiz", "peinture à l'huile"; 0 if that is not said."""
    if i >= len(tokens) or tokens[i].written not in ("a", "à", "al", "au"):
        return 0
    medium = _skip(tokens, i + 1, Role.ARTICLE)
    is_medium = medium < len(tokens) and tokens[medium].role is Role.NOUN and tokens[medium].meaning is None
    return medium + 1 if is_medium else 0


def _exclude(tokens: Sequence[Token], i: int, order: Order, found: Found) -> int:
    """Takes the things of a negation; returns where it ends."""
    start = i + 1
    if tokens[i].role is Role.NOT:
        verbs = (Role.VERB, Role.COPULA, Role.NOT, Role.OTHER, Role.DEGREE, Role.OF)
        while start < min(i + 1 + _MAX_APART, len(tokens)) and tokens[start].role in verbs:
            start += 1
        start += start < len(tokens) and tokens[start].text == ":"  # "nicht zeigen: Menschen"
    stop = start
    while True:
        start = _skip(tokens, start, Role.ARTICLE, Role.OF, Role.NEGATION)
        if start < len(tokens) and tokens[start].role is Role.NOBODY:
            return _next(tokens, start, order, found)
        phrase = phrase_at(tokens, start, order)
        if phrase is None:
            return max(stop, i + 1)
        found.add(_entity(tokens, phrase, order, ()), is_excluded=True)
        stop = phrase.stop
        follows = stop + 1 < len(tokens) and tokens[stop].role in (Role.OR, Role.AND, Role.NEGATION)
        if not follows or (tokens[stop].role is Role.AND and tokens[stop + 1].role is Role.ARTICLE):
            return stop
        start = stop + 1


def _skip(tokens: Sequence[Token], i: int, *roles: Role) -> int:
    while i < len(tokens) and tokens[i].role in roles:
        i += 1
    return i


def phrase_at(tokens: Sequence[Token], i: int, order: Order) -> Phrase | None:
    """The phrase that begins at i, None if none does."""
    noun = i
    parts: list[int] = []
    while noun < len(tokens) and tokens[noun].role is not Role.NOUN:
        is_pair = tokens[noun].role is Role.AND and parts == [*parts[:-1], noun - 1] and _describes(tokens, noun + 1)
        if tokens[noun].role in _DESCRIBES:
            parts.append(noun)
        elif tokens[noun].role not in (Role.NUMBER, Role.DEGREE) and not is_pair:
            return None
        noun += 1
    if noun == len(tokens):
        return None
    stop, of = noun + 1, None
    while order.follows and stop < len(tokens):
        end = _description_end(tokens, noun, stop)
        if end == stop and order.joins_of and of is None:
            joint = stop + _is_made(tokens, stop)
            of_end = _bare_of(tokens, noun, joint)
            end, of = (of_end, joint) if of_end > joint else (stop, None)
        if end == stop:
            break
        if of is None or of < stop:
            parts += [k for k in range(stop, end) if tokens[k].role in (*_DESCRIBES, Role.NOUN)]
        stop = end
    if not order.follows:
        while stop < len(tokens) and tokens[stop].is_name and tokens[noun].is_name:
            parts.append(noun)  # "BMW Cabrio"
            noun, stop = stop, stop + 1
        joint = stop + (stop < len(tokens) and tokens[stop].role is Role.END and _is_made(tokens, stop + 1))
        joint += _is_made(tokens, joint)
        stuff = joint + 1
        while stuff < len(tokens) and tokens[stuff].role is Role.ADJECTIVE and not tokens[stuff].is_stuff:
            stuff += 1  # "Tisch aus dunklem Holz"
        if stuff < len(tokens) and tokens[joint].written in _OUT_OF and tokens[stuff].is_stuff:
            of, stop = joint, stuff + 1  # "Drache aus Holz", "замок из льда"
        whose = stop
        while tokens[noun].said.english in _COSTUMES and whose < len(tokens) and tokens[whose].is_genitive:
            whose += 1
        if whose > stop:
            of, stop = stop, whose  # "костюм пирата"
    return Phrase(start=i, noun=noun, stop=stop, parts=tuple(parts), of=of)


def _describes(tokens: Sequence[Token], i: int) -> bool:
    return i < len(tokens) and tokens[i].role in _DESCRIBES


def _description_end(tokens: Sequence[Token], noun: int, i: int) -> int:
    """Where one description after a noun ends; i if none begins there."""
    token = tokens[i]
    after = tokens[i + 1].role if i + 1 < len(tokens) else Role.END
    if _is_made(tokens, i):
        return i
    if token.role is Role.ADJECTIVE:
        return i + 1
    if token.role is Role.PARTICIPLE:
        return i if after in _BEHIND_PARTICIPLE else i + 1
    if token.role is Role.AND and tokens[i - 1].role in _DESCRIBES and _describes(tokens, i + 1):
        return i + 2
    if token.role is Role.DEGREE and _describes(tokens, i + 1):
        return i + 2
    is_other = token.is_style or token.is_of(Sort.NOTHING) or tokens[noun].is_of(Sort.NOTHING)
    is_other = is_other or (token.is_of(Sort.SCENE) and " " in token.written)  # "castillo de día"
    if token.role is Role.NOUN and not is_other and i - noun < 3:
        return i + 1  # "perro labrador", "torre Eiffel"
    return i


def _bare_of(tokens: Sequence[Token], noun: int, i: int) -> int:
    """Where "de" with a bare noun ends: "mesa de madera", not "calle de la ciudad"; i if there is none."""
    if i + 1 >= len(tokens) or tokens[noun].is_of(Sort.NOTHING):
        return i
    of = tokens[i + 1]
    if tokens[noun].is_of(Sort.CONTAINER) and not (of.is_of(Sort.MATERIAL) and of.said.english in _NEVER_HELD):
        return i  # "vaso de agua", but "vaso de vidrio"
    if tokens[i].role is Role.OF and _is_made(tokens, i - 1):
        return i + 2 if of.role in (Role.NOUN, Role.ADJECTIVE) else i  # "castillo hecho de hielo"
    if tokens[i].role is Role.IN or _is_made(tokens, i - 1):
        is_bare = _is_made(tokens, i - 1) or tokens[i].written in _MADE_OF
        return i + 2 if of.is_stuff and is_bare else i  # "table en bois", but not "raposa na neve"
    is_joint = tokens[i].written in _JOINTS and tokens[i].role is not Role.NEGATION
    is_bare = of.role is Role.NOUN and not of.is_name and not of.is_of(*_APART)
    is_look = of.role is Role.ADJECTIVE and of.meaning is not None and not of.is_of(Sort.COLOUR)
    return i + 2 if is_joint and (is_bare or is_look) else i


_NEVER_HELD = word_set("glass crystal porcelain ceramic clay wood wooden metal bronze steel iron copper")
_JOINTS = ("de", "d'", "à")  # "del", "do" have an article
_OUT_OF = ("aus", "из")
_MADE_OF = (*_JOINTS, *_OUT_OF, "en", "em", "con", "com")
_MADE = (  # beginnings of words that say what a thing is made of
    *("hech", "construid", "fabricad", "tallad", "esculpid", "tejid", "feit", "construíd", "talhad", "entalhad"),
    *("fait", "construit", "fabriqu", "sculpt", "taillé", "gemacht", "gebaut", "gefertigt", "geschnitzt"),
    *("сделанн", "построенн", "вырезанн", "изготовленн", "слепленн", "сложенн"),
)


def _is_made(tokens: Sequence[Token], i: int) -> bool:
    """Whether a word at i says that what stands before it is made of what follows: hecho de, fait en."""
    return i + 1 < len(tokens) and tokens[i].written.startswith(_MADE) and tokens[i + 1].written in _MADE_OF


_APART = (Sort.NOTHING, Sort.STYLE, Sort.SCENE, Sort.BODY, Sort.CLOTHES, Sort.PERSON)


def _said(tokens: Sequence[Token], i: int) -> tuple[tuple[int, ...], int]:
    """What a sentence says of the noun before i ("que es azul", "está pintado de azul"), and where that ends."""
    end = i + 1 if i < len(tokens) and tokens[i].role is Role.RELATIVE else i
    while end < len(tokens) and tokens[end].role in (Role.COPULA, Role.PARTICIPLE):
        end += 1
    if end == i or tokens[end - 1].role is Role.RELATIVE:
        if not (i < len(tokens) and tokens[i].role in (Role.OF, Role.IN)):
            return (), i
        end = i
    is_bare = end == i  # "en blanco", "de color rojo"
    end = _skip(tokens, end, Role.DEGREE, Role.OF, Role.IN)
    said: list[int] = []
    while end < len(tokens) and (tokens[end].role in _DESCRIBES or (said and tokens[end].role is Role.AND)):
        if tokens[end].role is Role.AND and not _describes(tokens, end + 1):
            break
        if tokens[end].role is not Role.AND:
            said.append(end)
        end += 1
    is_closed = end == len(tokens) or tokens[end].role not in (Role.NOUN, Role.NUMBER)
    is_visible = any(tokens[k].is_of(Sort.COLOUR) if is_bare else tokens[k].meaning for k in said)
    return (tuple(said), end) if said and is_closed and is_visible else ((), i)


def _entity(tokens: Sequence[Token], phrase: Phrase, order: Order, said: Sequence[int]) -> Entity | None:
    """The entity of a phrase with what a sentence says of it."""
    parts = tuple(part for part in phrase.parts if not tokens[part].is_style)
    if said and phrase.of is None and _is_worn(tokens, phrase, said):
        phrase = replace(phrase, parts=parts, of=said[0] - 1, stop=said[-1] + 1)  # "hombre de negro"
    else:
        phrase = replace(phrase, parts=(*parts, *said))
    of = () if phrase.of is None else range(phrase.of + (tokens[phrase.of].role is not Role.NOUN), phrase.stop)
    is_place, is_group = _surroundings(tokens, phrase)
    counts = [tokens[i].said.english for i in range(phrase.start, phrase.noun) if tokens[i].role is Role.NUMBER]
    return entity(
        tokens[phrase.noun].said,
        order.shown(tokens, phrase),
        [_as_dress(tokens[i].said) if i in of and i in said else tokens[i].said for i in sorted((*phrase.parts, *of))],
        counts=counts or (["many"] if is_group else []),
        is_single=not counts and not is_group and _is_behind_article(tokens, phrase),
        is_place=is_place and not _is_garment(tokens, phrase) and not _is_goal(tokens, phrase),
    )


def _is_garment(tokens: Sequence[Token], phrase: Phrase) -> bool:
    """Whether an unknown coloured thing that somebody is "in" is worn: "женщина в красном платке"."""
    who = phrase.start - 1
    while who > 0 and tokens[who].role in (Role.ARTICLE, Role.IN):
        who -= 1
    is_coloured = any(tokens[i].is_of(Sort.COLOUR) for i in phrase.parts)
    return is_coloured and who >= 0 and tokens[phrase.noun].meaning is None and tokens[who].is_of(Sort.PERSON)


def _is_goal(tokens: Sequence[Token], phrase: Phrase) -> bool:
    """Whether an unknown thing is what somebody turns to, by its case: "дует на одуванчик", but "на утёсе"."""
    noun = tokens[phrase.noun]
    is_on = phrase.start > 0 and tokens[phrase.start - 1].role is Role.ON
    return is_on and noun.meaning is None and bool(noun.cases) and not any(c.startswith("loc") for c in noun.cases)


def _is_worn(tokens: Sequence[Token], phrase: Phrase, said: Sequence[int]) -> bool:
    """Whether a bare colour after somebody is that of the clothes: "hombre de negro" is no "hombre negro"."""
    is_bare = tokens[said[0] - 1].role in (Role.IN, Role.OF) and phrase.stop == said[0] - 1
    is_somebody = tokens[phrase.noun].is_of(Sort.PERSON) and tokens[phrase.noun].said.english.split()[-1] in _SOMEBODY
    return is_bare and is_somebody and all(tokens[i].is_of(Sort.COLOUR) for i in said)


def _as_dress(said: Said) -> Said:
    return Said(said.text, Meaning(f"{said.english}{CLAD}", Sort.COLOUR))


def _is_behind_article(tokens: Sequence[Token], phrase: Phrase) -> bool:
    """Whether an article or the form says that it is one: "un pájaro", "птица" is one bird."""
    if tokens[phrase.noun].is_singular:
        return True
    first = phrase.start - 1
    return first >= 0 and tokens[first].role is Role.ARTICLE and tokens[first].written in _ONE


_SOMEBODY = PERSONS | SOMEBODY
_ONE = word_set("un une una uno um uma ein eine einen einem einer eines")


def _surroundings(tokens: Sequence[Token], phrase: Phrase) -> tuple[bool, bool]:
    """Whether a phrase is where something is, and whether it is a group: "un grupo de niños"."""
    i, is_group = phrase.start - 1, False
    while i >= 0:
        before = tokens[i - 1] if i else None
        if tokens[i].is_of(Sort.NOTHING) and tokens[i].role is Role.NOUN:
            is_group = is_group or tokens[i].said.english == "group"  # "Gruppe Kinder", "am Rande eines Tisches"
        elif tokens[i].role is Role.OF and before is not None:
            if _noun_before(tokens, i).is_of(Sort.SCENE) and tokens[phrase.start].is_name:
                return True, False  # "calle de Lisboa"
            if before.is_of(Sort.NOTHING):
                is_group = is_group or before.said.english == "group"
                i -= 1
            elif before.role not in (Role.IN, Role.ON) and before.written not in _WAYS:
                break
        elif tokens[i].role not in (Role.ARTICLE, Role.NUMBER, Role.ADJECTIVE):
            break
        i -= 1
    return i >= 0 and (tokens[i].role in (Role.IN, Role.ON) or _is_on_the_way(tokens, i, phrase)), is_group


def _noun_before(tokens: Sequence[Token], i: int) -> Token:
    """The noun that an "of" at i belongs to, over what describes it: "callejón estrecho de Cádiz"."""
    noun = i - 1
    while noun > 0 and tokens[noun].role in _DESCRIBES:
        noun -= 1
    return tokens[noun]


def _is_on_the_way(tokens: Sequence[Token], i: int, phrase: Phrase) -> bool:
    """Whether the preposition at i leads along a surface or through a place by name: "bajo el agua", "por Cuzco"."""
    before, noun = tokens[i], tokens[phrase.noun]
    if before.written not in _WAYS:
        return False
    is_done_by = i > 0 and tokens[i - 1].role in _DESCRIBES  # "pintado por Frida"
    is_through = before.written in _THROUGH and noun.is_name and not is_done_by
    return noun.is_of(Sort.SURFACE) or is_through


_THROUGH = word_set("por par pelo pela à hacia vers hasta até через по")
_WAYS = _THROUGH | word_set(
    "bajo sobre tras entre ante frente junto cerca debajo alrededor través sous devant derrière près parmi travers "
    "autour dessus dessous sob debaixo embaixo perto redor através über durch unter unterm vor hinter neben zwischen "
    "entlang überm под над сквозь вдоль около возле у за между вокруг мимо напротив перед среди"
)
