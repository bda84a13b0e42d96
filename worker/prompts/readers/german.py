"""German words with their roles: capitals identify nouns, endings the adjectives before them.

    "roter Sportwagen in Tokio bei Regen"  →  roter sportwagen (object) · tokio (scene) · regen (scene)

In a text without capitals, a phrase ends before a verb, a preposition or a comma.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from worker.prompts.english import style_words
from worker.prompts.languages import frequency
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.readers import prepositions as p
from worker.prompts.readers.lexicon import Meaning, Sort, meanings
from worker.prompts.readers.prepositions import Phrase, Role, Token
from worker.prompts.readers.reading import Reading
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_WORDS

_TOKEN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+\w*|[^\w\s]")
_CLASSES: tuple[tuple[Role, frozenset[str]], ...] = (
    (Role.NOBODY, word_set("niemand niemanden niemandem")),
    (Role.NEGATION, word_set("ohne kein keine keinen keinem keiner keines weder außer statt")),
    (Role.NOT, word_set("nicht nie niemals")),
    (Role.OF, word_set("von vom aus")),
    (Role.IN, word_set("in im ins inmitten innerhalb")),
    (Role.ON, word_set("auf aufs am an")),
    (
        Role.PREPOSITION,
        word_set(
            "bei beim bis durch für gegen hinter mit nach neben ober oberhalb seit über überm um unter unterm vor "
            "voller vorm während zu zum zur zwischen entlang gegenüber unterhalb"
        ),
    ),
    (Role.AND, word_set("und sowie vs")),
    (Role.OR, word_set("oder noch")),
    (Role.COPULA, word_set("ist sind war waren wird werden bleibt wirkt scheint wurde")),
    (Role.LIKE, word_set("wie als")),
    (
        Role.ARTICLE,
        word_set(
            "der die das den dem des ein eine einen einem einer eines sein seine seinen seinem seiner ihr ihre ihren "
            "ihrem ihrer ihres seines meines "
            "unseres mein meine unser dieser diese dieses diesen diesem jeder jede jedes alle allen anderen andere "
            "anderer"
        ),
    ),
    (Role.DEGREE, word_set("sehr ganz so zu völlig komplett")),
    (
        Role.OTHER,
        word_set(
            "mir mich dir dich uns "
            "er sie es wir ich du man sich ihm ihn ihnen auch noch schon immer dann da dort hier während wenn weil "
            "dass aber sondern doch nur mehr langsam schnell sanft gerade zusammen herum hinauf hinunter hoch oben "
            "unten vorne hinten links rechts davon darin darauf dabei weit bitte wo"
        ),
    ),
)
_VERBS = word_set(
    "mach mache zeigen "
    "soll sollen kann können muss will wollen schläft fährt läuft trägt hält sitzt steht liegt geht fliegt springt "
    "isst liest sieht fällt gibt trinkt spielt tanzt singt schwimmt rennt hat haben kommt macht zeigt zeige erstelle "
    "erzeuge mache hängt brennt leuchtet scheint schaut blickt kämpft reitet wächst treibt schwebt rollt dreht öffnet "
    "schließt kocht malt schreibt lächelt lacht weint jagt sitzend liegend stehend fahren laufen fliegen spielen gehen "
    "stehen liegen tanzen rennen gleitet zieht überquert erkundet beobachtet schlafen kämpfen springen schwimmen"
)
_ADJECTIVES = word_set(
    "schön hübsch hässlich glücklich traurig wild magisch geheimnisvoll hoch tief lang kurz breit schmal voll sauber "
    "schmutzig trocken nass frisch kalt heiß warm weich hart stark schwach süß salzig klar flach lebendig tot blass "
    "schnell langsam elegant niedlich flauschig bärtig blond rothaarig kahl menschlich mittelalterlich antik japanisch "
    "chinesisch französisch spanisch italienisch russisch deutsch englisch amerikanisch dunkel gotisch durchsichtig "
    "tropisch gut schlecht fern nah offen geschlossen bedeckt rostig moosig sandig staubig bunt farbig golden glänzend "
    "dampfend fliegend leuchtend schlafend tanzend rennend sitzend stehend laufend brennend spielend verlassen "
    "verfallen"
)
_RELATIVES = word_set("der die das welcher welche welches")
_ENDS = ("er", "es", "en", "em", "e")
_PLURALS = ("en", "er", "n", "e", "s", "es", "se", "nen")
_UMLAUTS = str.maketrans("äöü", "aou")
_SHORTEST = 4  # letters of the noun that a compound ends in
_NAMED = STYLE_WORDS | style_words.TOOLS


def _shown(tokens: Sequence[Token], phrase: Phrase) -> str:
    """The phrase with what is said of its noun put before the noun: "die Straßenbahn ist gelb"."""
    words = []
    for i in phrase.parts:
        if i - 2 in phrase.parts and tokens[i - 1].role is Role.AND:
            words.append(tokens[i - 1].text)  # "rotes und blaues Haus"
        words.append(tokens[i].text)
    of = () if phrase.of is None else range(phrase.of, phrase.stop)
    return " ".join((*words, *(tokens[i].text for i in (phrase.noun, *of))))


_ORDER = p.Order(follows=False, joins_of=False, shown=_shown)


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a German text."""
    return p.read(tag(text), _ORDER)


def tag(text: str) -> list[Token]:
    """The words of a text with their roles."""
    words = _TOKEN.findall(text)
    has_capitals = any(word[0].isupper() and word[1:].islower() for word in words[1:])
    tokens = [_token(word) for word in words]
    for before, token in pairwise(tokens):
        if token.text == "tag" and before.text in ("am", "bei"):
            token.meaning = Meaning("daytime", Sort.SCENE)  # else a length of time
    for i in range(len(tokens) - 1, -1, -1):
        if tokens[i].role is Role.NOUN and not tokens[i].is_style:
            tokens[i].role = _open(tokens, words, i, has_capitals=has_capitals)
    for before, token in pairwise(tokens):
        if before.text in _GENITIVES and token.role is Role.NOUN:
            token.text = _nominative(token.text)
    return _with_clauses(tokens)


_GENITIVES = word_set("des eines dieses jedes seines ihres meines unseres")


@lru_cache(maxsize=MOST_REMEMBERED)
def _nominative(lower: str) -> str:
    """A noun after "des" without its ending: Hauses, Haus; Drachens, Drachen."""
    common = frequency("de")
    stems = (lower[: -len(end)] for end in ("sses", "es", "s") if lower.endswith(end))
    stems = (f"{stem}s" if lower.endswith("sses") and stem == lower[:-4] else stem for stem in stems)
    return next((stem for stem in stems if len(stem) > _SHORTEST_STEM and common.get(stem, 0.0) >= _USED), lower)


_SHORTEST_STEM, _USED = 2, 2.0  # letters, Zipf value


def _with_clauses(tokens: list[Token]) -> list[Token]:
    """The words with relative clauses turned into sentences about their noun: "die Katze, die schwarz ist"."""
    for i in range(len(tokens) - 1, 2, -1):
        if tokens[i].role is not Role.COPULA:
            continue
        end = i - (tokens[i - 1].role is Role.VERB)  # "das rot gestrichen ist"
        start = end
        while start > 2 and tokens[start - 1].role in (Role.ADJECTIVE, Role.AND, Role.DEGREE):
            start -= 1
        is_clause = tokens[start - 1].written in _RELATIVES and tokens[start - 2].role is Role.END
        if is_clause and start < end and tokens[start - 3].role is Role.NOUN:
            tokens[start - 2 : i + 1] = [tokens[i], *tokens[start:end]]
    return tokens


def _token(word: str) -> Token:
    lower = word.lower()
    if not lower[0].isalnum():
        return Token(lower, Role.END, lower)
    if lower[0].isdigit():
        is_style = not lower.isdigit()
        return Token(lower, Role.ADJECTIVE if is_style else Role.NUMBER, lower, is_style=is_style)
    meaning = _meaning(lower)
    role = next((role for role, closed in _CLASSES if lower in closed), None)
    if role is None and meaning is not None and meaning.sort is Sort.NUMBER:
        role = Role.NUMBER
    is_style = role is None and (lower in _NAMED if meaning is None else meaning.sort is Sort.STYLE)
    is_name = role is None and word[0].isupper() and meaning is None
    return Token(lower, role or Role.NOUN, lower, meaning, is_style=is_style, is_name=is_name)


@lru_cache(maxsize=MOST_REMEMBERED)
def _meaning(lower: str) -> Meaning | None:
    """What a word means: itself, its base form, or for a compound the sort of thing that its last part names."""
    known = meanings("de")
    for base in (lower, *_bases(lower, (*_ENDS, *_PLURALS)), lower.translate(_UMLAUTS)):  # Vögel, Vogel
        if base in known:
            return known[base]
    for start in range(2, len(lower) - _SHORTEST + 1):  # a "Kreis" is no "Reis"
        if lower[start - 1] == "ä":
            continue  # no "Ufer" ends a "Verkäufer"
        for base in (lower[start:], *_bases(lower[start:], _PLURALS)):
            found = known.get(base)
            if (
                len(base) >= _SHORTEST
                and found is not None
                and found.sort is not Sort.NUMBER
                and not found.sort.describes
            ):
                if found.sort is Sort.STYLE or found.english == "manner":  # "Schwarzweißfilm", "Anime-Stil"
                    first = lower[:start].strip("-")
                    return Meaning(f"{known[first].english if first in known else first} {found.english}", found.sort)
                if found.sort is not Sort.NOTHING:
                    return Meaning(lower, found.sort)
    return None


def _bases(word: str, endings: Sequence[str]) -> Iterator[str]:
    for ending in endings:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            base = word[: -len(ending)]
            yield base
            yield base.translate(_UMLAUTS)
            if base.endswith("l"):
                yield f"{base[:-1]}el"  # dunkler, dunkel


def _open(tokens: Sequence[Token], words: Sequence[str], i: int, *, has_capitals: bool) -> Role:
    """The role of a word of an open class; the roles after i are final."""
    lower = words[i].lower()
    after = tokens[i + 1].role if i + 1 < len(tokens) else Role.END
    before = tokens[i - 1].role if i else Role.END
    describes = after in (Role.NOUN, Role.ADJECTIVE, Role.AND)
    if describes and not tokens[i].is_name and (look := _look(lower)) is not None:
        tokens[i].meaning = look  # "junge Frau", beside "Junge"
    if _is_adjective(tokens[i], lower):
        return Role.ADJECTIVE
    is_capital = words[i][0].isupper()
    if is_capital and after is Role.NOUN and _is_of_place(tokens[i], tokens[i + 1]):
        tokens[i].meaning = None
        return Role.ADJECTIVE
    starts = i == 0 or before is Role.END
    if lower in _VERBS:
        return Role.VERB if not is_capital or starts else Role.NOUN
    if has_capitals and is_capital:
        is_known = tokens[i].meaning is not None and not lower.rstrip("emnrs").endswith("isch")  # no "tische" ends it
        is_inflected = starts and describes and lower.endswith(_ENDS) and not is_known
        return Role.ADJECTIVE if is_inflected and words[i + 1][0].isupper() else Role.NOUN
    if has_capitals:
        follows_thing = before in (Role.NOUN, Role.OTHER)
        return Role.ADJECTIVE if describes and lower.endswith(_ENDS) and not follows_thing else Role.VERB
    if tokens[i].meaning is not None:
        return Role.NOUN
    if before in (Role.NOUN, Role.OTHER) and _is_verb(lower):
        return Role.VERB
    return Role.ADJECTIVE if describes and lower.endswith(_ENDS) else Role.NOUN


def _is_of_place(token: Token, after: Token) -> bool:
    """Whether a name in -er says where a thing is: "Kölner Dom", "Brandenburger Tor", but "Schauspieler Tom"."""
    base = meanings("de").get(token.text.removesuffix("er"))
    is_known = token.is_of(Sort.SCENE) or (base is not None and base.sort is Sort.SCENE)
    return token.text.endswith("er") and (is_known or token.is_name) and not after.is_name


def _look(lower: str) -> Meaning | None:
    """What a word means as a description."""
    known = meanings("de")
    found = (known[base] for base in (lower, *_bases(lower, _ENDS)) if base in known)
    return next((meaning for meaning in found if meaning.sort.describes), None)


def _is_adjective(token: Token, lower: str) -> bool:
    if token.meaning is not None:
        return token.meaning.sort.describes
    return lower in _ADJECTIVES or any(base in _ADJECTIVES for base in _bases(lower, _ENDS))


def _is_verb(lower: str) -> bool:
    """Whether it is a present-tense form of a verb whose infinitive is in use."""
    common = frequency("de")
    return lower in _VERBS or (lower.endswith("t") and any(f"{lower[:-1]}{end}" in common for end in ("en", "n")))
