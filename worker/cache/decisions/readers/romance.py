"""Spanish, French and Portuguese words with their roles: closed classes, endings, and how common infinitives are.

    "un gato negro duerme sobre una mesa de madera"  →  gato negro (object) · mesa de madera (scene)

The noun comes first and its adjectives follow, so what must be told is where they end: a word behind a noun is a verb
where people use its infinitive ("camina", caminar), else it describes ("perro labrador").
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, partial

from worker.cache.decisions import style_words
from worker.cache.decisions import vocabulary as v
from worker.cache.decisions.languages import frequency
from worker.cache.decisions.readers import prepositions as p
from worker.cache.decisions.readers.lexicon import Meaning, Sort, meanings, nouns
from worker.cache.decisions.readers.prepositions import Role, Token
from worker.cache.decisions.readers.reading import Reading
from worker.cache.decisions.readers.romance_words import GRAMMARS, Grammar

_TOKEN = re.compile(r"[^\W\d_]+['’]|[^\W\d_]+(?:-[^\W\d_]+)*|\d+\w*|[^\w\s]")
_COMMONER = 0.7  # a singular may be so much rarer than its plural, as powers of ten
_NAMED = v.STYLE_WORDS | style_words.TOOLS
_ORDER = p.Order(follows=True, joins_of=True, shown=p.plain)


def reader(language: str) -> partial[Reading]:
    """What reads texts of `es`, `fr` or `pt`."""
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
        tokens[i].role = _in_context(tokens, i, grammar)
        if tokens[i].written == "nada" and tokens[i + 1 : i + 2] and tokens[i + 1].written == "de":
            tokens[i].role = Role.NEGATION  # "nada de coches"
        is_made_of = i > 0 and tokens[i - 1].role in (Role.OF, Role.IN)
        if tokens[i].role is Role.NOUN and tokens[i].is_of(Sort.MATERIAL) and not is_made_of:
            tokens[i].meaning = nouns(grammar.language).get(tokens[i].text)  # "un verre" is no material
    return tokens


_YEARS = ("año", "an", "ano")


def _joined(words: Sequence[str], grammar: Grammar) -> Iterator[str]:
    """The words, those of fixed phrases as one: "puesta de sol"."""
    i = 0
    while i < len(words):
        texts = (" ".join(words[i : i + n]).replace("' ", "'") for n in (4, 3, 2))
        lengths = zip((4, 3, 2), texts, strict=True)
        length, text = next(((n, t) for n, t in lengths if t.lower() in grammar.fixed), (1, words[i]))
        if text.lower() in _TWO_COLOURS and i and words[i - 1].isalpha() and not _is_of_the_whole(words, i, grammar):
            length, text = 1, words[i]
        yield text
        i += length


def _is_of_the_whole(words: Sequence[str], i: int, grammar: Grammar) -> bool:
    """Whether the colours at i are those of the picture: ", en blanco y negro", "película en blanco y negro"."""
    before = words[i - 2] if i > 1 else ","
    meaning, _ = _known(before.lower(), grammar)
    is_picture = meaning is not None and meaning.sort in (Sort.STYLE, Sort.NOTHING)
    return words[i - 1].lower() in ("en", "em") and (is_picture or not before[0].isalnum())


_TWO_COLOURS = frozenset(("blanco y negro", "noir et blanc", "preto e branco"))
_LOOKS = (  # how fixed phrases begin that say how it is filmed
    *(
        "cámara",
        "câmera",
        "plano",
        "primer",
        "primeiro",
        "plan ",
        "gros",
        "caméra",
        "vista",
        "vue",
        "alta",
        "haute",
        "ciencia",
    ),
    *("science", "ficção"),
)


def _token(word: str, grammar: Grammar) -> Token:
    lower = word.lower()
    if not lower[0].isalnum():
        return Token(lower, Role.END, lower)
    if " " in lower and (placed := _closed(lower, grammar)) is not None:
        return Token(lower, placed, lower)  # "al pie de"
    if lower in grammar.fixed and lower in meanings(grammar.language):
        known = meanings(grammar.language)[lower]
        return Token(lower.removeprefix("de "), Role.NOUN, lower, known, is_style=known.sort is Sort.STYLE)
    if lower in grammar.fixed:
        is_style = lower.startswith(_LOOKS)
        sunrise = lower.startswith(("salida", "lever", "nascer"))
        sort = Sort.THING if "-iel" in lower or "lèvres" in lower or "guarda" in lower else Sort.SCENE
        english = "sunrise" if sunrise else "sunset" if "sol" in lower else lower
        english = "new york" if lower.endswith(("york", "iorque")) else english
        return Token(lower, Role.NOUN, lower, Meaning(english, Sort.STYLE if is_style else sort), is_style=is_style)
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
    for word in _variants(singular, grammar.feminines):
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


def _variants(word: str, endings: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
    for ending, others in endings:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            for other in others:
                yield word[: -len(ending)] + other


@cache
def _singular(lower: str, grammar: Grammar) -> str:
    known, common = meanings(grammar.language), frequency(grammar.language)
    if lower in known or lower in grammar.nouns:
        return lower
    for word in _variants(lower, grammar.plurals):
        is_listed = word in known or word in grammar.nouns or word in grammar.adjectives
        if is_listed or any(base in known or base in grammar.adjectives for base in _variants(word, grammar.feminines)):
            return word
        if word in common and common[word] > common.get(lower, 0.0) - _COMMONER:
            return word
    return lower


def _open(lower: str, singular: str, meaning: Meaning | None, grammar: Grammar) -> Role:
    """The role of a word by itself: what it means, what it is listed as, how it ends."""
    if meaning is not None:
        is_material = meaning.sort is Sort.MATERIAL and singular in meanings(grammar.language)
        return Role.ADJECTIVE if meaning.sort.describes and not is_material else Role.NOUN
    forms = {lower, singular, *_variants(singular, grammar.feminines)}
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


def _in_context(tokens: Sequence[Token], i: int, grammar: Grammar) -> Role:
    """The role of a word beside its neighbours; the roles before i are final."""
    token = tokens[i]
    before = tokens[i - 1].role if i else Role.END
    after = tokens[i + 1].role if i + 1 < len(tokens) else Role.END
    follows = before in (Role.NOUN, Role.ADJECTIVE, Role.PARTICIPLE)
    if token.role is Role.VERB and before in (Role.ARTICLE, Role.NUMBER, Role.OF):
        return Role.NOUN  # "la danse"
    if token.role is Role.ARTICLE and token.text in ("esta", "estas") and _is_said_next(tokens, i, grammar):
        return Role.COPULA  # "está" without its accent
    if _is_compared_next(tokens, i, after):
        return Role.LIKE
    if token.written.startswith(_RESEMBLES) and i + 1 < len(tokens) and tokens[i + 1].written in _TO:
        return Role.OTHER  # "una nube parecida a un dragón"
    can_act = before in (Role.END, Role.VERB) or tokens[i - 1].written in _BEFORE_INFINITIVE
    if token.role is Role.NOUN and token.meaning is None and can_act and _is_verb_here(token, after, grammar):
        return Role.VERB
    leads_on = after is Role.ARTICLE or (i + 1 < len(tokens) and tokens[i + 1].written in _WHERETO)
    if token.role is Role.ADJECTIVE and before is Role.NOUN and token.written in _VERBS_TOO and leads_on:
        return Role.VERB  # "un ciclista baja por una montaña", but "una mesa baja de madera"
    if token.role is Role.ADJECTIVE and before in (Role.ARTICLE, Role.NUMBER) and not token.is_style:
        is_colour = token.is_of(Sort.COLOUR) and i > 1 and tokens[i - 2].role in (Role.IN, Role.OF)
        ends = after in (Role.END, Role.VERB, Role.IN, Role.ON, Role.PREPOSITION, Role.RELATIVE, Role.COPULA, Role.OF)
        ends = (
            ends or (i + 1 < len(tokens) and _do_next(token, tokens[i + 1], grammar)) or _does_next(tokens, i, grammar)
        )
        if ends and token.is_of(Sort.AGE):
            token.meaning = Meaning("person", Sort.PERSON)  # "un joven camina"
        return Role.NOUN if ends and not is_colour else token.role
    if token.role is not Role.NOUN or token.is_name:
        return token.role
    is_french_form = grammar.language == "fr" and token.written.endswith("ant") and token.text not in grammar.nouns
    if is_french_form and token.meaning is None and before is Role.ARTICLE and tokens[max(0, i - 2)].role is Role.NOUN:
        return Role.VERB  # "un chien le regardant"
    if i and tokens[i - 1].written in _REFLEXIVES and token.meaning is None:
        return Role.VERB  # "el perro se ríe"
    if before in (Role.RELATIVE, Role.OTHER, Role.NOT):
        acts = token.meaning is None and token.written.endswith(grammar.acting_ends)
        return Role.VERB if acts or _is_verb(token, grammar) else token.role
    if before is Role.AND and token.meaning is None and after is Role.ARTICLE and _is_verb(token, grammar):
        return Role.VERB  # "y recorre una ciudad"
    if not follows:
        return token.role
    subject = _subject(tokens, i)
    if token.meaning is not None and token.written in grammar.verbs and after is Role.ARTICLE:
        return Role.VERB  # "un homme sans chapeau lit le journal"
    if token.meaning is not None:
        acts = subject.is_of(Sort.PERSON, Sort.ANIMATE) and after not in (Role.OF, Role.END)
        return Role.VERB if acts and _is_verb(token, grammar) else token.role
    if token.text.endswith(grammar.participle_ends) and token.text not in grammar.nouns:
        return Role.PARTICIPLE if after in (Role.OF, Role.PREPOSITION) else Role.ADJECTIVE
    if token.text in grammar.nouns:
        return token.role
    if _acts_somewhere(token, subject, after, grammar):
        return Role.VERB
    acts = token.written.endswith(grammar.acting_ends) and subject.written.endswith(("s", "x"))
    if acts or _is_verb(token, grammar):
        return Role.VERB
    return Role.ADJECTIVE if token.text.endswith(grammar.adjective_ends) else token.role


def _subject(tokens: Sequence[Token], i: int) -> Token:
    """The noun that a word at i is said of: the horse of "caballo de madera"; the word itself if none stands before."""
    nouns = [k for k in range(i - 1, -1, -1) if tokens[k].role is Role.NOUN]
    if not nouns:
        return tokens[i]
    noun = nouns[0]
    is_of = noun > 1 and tokens[noun - 1].role in (Role.OF, Role.IN) and tokens[noun - 2].role is Role.NOUN
    return tokens[noun - 2] if is_of else tokens[noun]


def _is_compared_next(tokens: Sequence[Token], i: int, after: Role) -> bool:
    """Whether what follows is not there: "más grande que una casa", "disfrazado de león", "déguisé en lion"."""
    if tokens[i].role in (Role.OF, Role.IN):
        return i > 0 and tokens[i - 1].written.startswith(_DISGUISED)
    if tokens[i].written in _TO:
        return i > 0 and tokens[i - 1].written.startswith(_RESEMBLES)
    before = {token.written for token in tokens[max(0, i - _FAR) : i]}
    return tokens[i].written in ("que", "qu'") and after in (Role.ARTICLE, Role.NUMBER) and not before.isdisjoint(_MORE)


_VERBS_TOO = v.word_set("baja limpia seca llena vacía suelta despierta calma")  # adjectives, and what somebody does
_WHERETO = ("por", "hacia", "hasta", "al", "para")
_FAR = 4  # words from "more" to "than"
_MORE = v.word_set(
    "más menos mayor menor mejor peor plus moins meilleur meilleure pire mais maior melhor pior mayores menores maiores"
)
_TO = ("à", "au", "aux", "a", "al", "ao", "com")
_RESEMBLES = ("ressembl", "semblable", "similaire", "parec", "similar", "semejante", "semelhante")
_DISGUISED = ("disfrazad", "disfarçad", "fantasiad", "déguisé", "travesti")


def _do_next(token: Token, after: Token, grammar: Grammar) -> bool:
    """Whether what stands behind a plural is what they do: "las ancianas toman té"."""
    acts = after.role is Role.NOUN and after.meaning is None and after.written.endswith(grammar.acting_ends)
    infinitives = _variants(after.written[:-1], grammar.infinitives)  # toman, toma, tomar
    common = frequency(grammar.language)
    return acts and token.written.endswith(("s", "x")) and any(word in common for word in infinitives)


def _does_next(tokens: Sequence[Token], i: int, grammar: Grammar) -> bool:
    """Whether what stands behind somebody old or young is what they do: "una anciana empieza a bailar"."""
    if i + 2 >= len(tokens) or not tokens[i].is_of(Sort.AGE) or tokens[i + 1].role is not Role.NOUN:
        return False
    is_verb = tokens[i + 1].meaning is None and tokens[i + 1].text not in grammar.nouns
    goes_on = tokens[i + 2].role in (Role.ARTICLE, Role.IN, Role.ON, Role.PREPOSITION)
    goes_on = goes_on or (tokens[i + 2].role is Role.NOUN and tokens[i + 2].text != tokens[i + 2].written)  # "monedas"
    return is_verb and goes_on and _is_verb(tokens[i + 1], grammar)


_BEFORE_INFINITIVE = ("a", "para", "por", "de", "d'", "à", "pour")
_INFINITIVES = ("ar", "er", "ir", "re")


def _is_verb_here(token: Token, after: Role, grammar: Grammar) -> bool:
    """Whether an unknown word is what is to be done ("crear un logo", "de gravir") or happens ("llega una moto")."""
    if token.text.endswith(_INFINITIVES) and token.text not in grammar.nouns:
        return token.text in frequency(grammar.language)
    return after in (Role.ARTICLE, Role.LIKE) and _is_verb(token, grammar)


def _is_said_next(tokens: Sequence[Token], i: int, grammar: Grammar) -> bool:
    said = tokens[i + 1].written if i + 1 < len(tokens) else ""
    return said.endswith((*grammar.participle_ends, *grammar.gerund_ends)) and tokens[i + 1].meaning is None


def _acts_somewhere(token: Token, subject: Token, after: Role, grammar: Grammar) -> bool:
    """Whether an unknown word behind somebody is what they do: "un león ruge en", "cheval galopant sur"."""
    places = (Role.IN, Role.ON, Role.PREPOSITION, Role.ARTICLE, *((Role.NOUN,) if grammar.language != "fr" else ()))
    if after not in places or token.text in grammar.adjectives:
        return False  # "la abuela amasa pan"
    if grammar.language == "fr" and token.text.endswith("ant"):
        return True
    is_form = token.text.endswith(("e", "t") if grammar.language == "fr" else ("a", "e"))
    is_somebody = subject.is_of(Sort.PERSON, Sort.ANIMATE)
    return is_form and is_somebody and not token.text.endswith(grammar.adjective_ends)


def _is_verb(token: Token, grammar: Grammar) -> bool:
    """Whether the word is a form of the present whose infinitive people use."""
    common = frequency(grammar.language)
    if token.text in grammar.verbs:
        return True
    forms = (form for stem in _stems(token.text, grammar) for form in _variants(stem, grammar.infinitives))
    return any(word in common for word in forms)


def _stems(form: str, grammar: Grammar) -> Iterator[str]:
    """A form of the present as it would be if its stem kept its vowel: empieza, empeza (empezar)."""
    yield form
    for broken, vowels in _BROKEN if grammar.language == "es" else ():
        before, found, rest = form.rpartition(broken)
        if found and len(rest) > 1:
            yield from (f"{before}{vowel}{rest}" for vowel in vowels)


_BROKEN = (("ie", ("e",)), ("ue", ("o", "u")))
_REFLEXIVES = ("se", "me", "te", "s'")
