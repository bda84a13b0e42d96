"""The role of a Spanish, French or Portuguese word beside its neighbours: the first rule that applies decides."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.prompts.languages import frequency
from worker.prompts.readers.lexicon import Meaning, Sort, nouns
from worker.prompts.readers.prepositions import Role, Token
from worker.prompts.readers.romance_words import Grammar, variants
from worker.prompts.vocabulary.lists import word_set


@dataclass(frozen=True, slots=True)
class _Place:
    """A word among its neighbours; the roles before it are final."""

    tokens: Sequence[Token]
    i: int
    grammar: Grammar

    @property
    def token(self) -> Token:
        """The word itself."""
        return self.tokens[self.i]

    @property
    def last(self) -> Token | None:
        """The word before it."""
        return self.tokens[self.i - 1] if self.i else None

    @property
    def next(self) -> Token | None:
        """The word after it."""
        return self.tokens[self.i + 1] if self.i + 1 < len(self.tokens) else None

    @property
    def before(self) -> Role:
        """The role of the word before it; END if there is none."""
        return self.last.role if self.last else Role.END

    @property
    def after(self) -> Role:
        """What the next word is by itself; END if there is none."""
        return self.next.role if self.next else Role.END

    def is_next(self, words: Sequence[str] | frozenset[str]) -> bool:
        """Whether one of these is written after it."""
        return self.next is not None and self.next.written in words

    def is_last(self, words: Sequence[str] | frozenset[str]) -> bool:
        """Whether one of these is written before it."""
        return self.last is not None and self.last.written in words


def role_in_context(tokens: Sequence[Token], i: int, grammar: Grammar) -> Role:
    """Return the role of the word at i; what somebody old or young is called gets its meaning as well."""
    at = _Place(tokens, i, grammar)
    return next((role for rule in _RULES if (role := rule(at)) is not None), at.token.role)


def _thing_that_is_done(at: _Place) -> Role | None:
    """A word that is a verb by itself but stands where a noun does: "la danse"."""
    is_thing = at.token.role is Role.VERB and at.before in (Role.ARTICLE, Role.NUMBER, Role.OF)
    return Role.NOUN if is_thing else None


def _copula_without_accent(at: _Place) -> Role | None:
    """An "esta" that says what somebody does: "un perro esta corriendo"."""
    if at.token.role is not Role.ARTICLE or at.token.text not in ("esta", "estas") or at.next is None:
        return None
    is_said = at.next.written.endswith((*at.grammar.participle_ends, *at.grammar.gerund_ends))
    return Role.COPULA if is_said and at.next.meaning is None else None


def _comparison(at: _Place) -> Role | None:
    """What leads to something that is not there: "más grande que una casa", "disfrazado de león", "déguisé en lion"."""
    if at.token.role is Role.COPULA:
        is_likeness = at.token.written.startswith(_SEEMS) and at.after in (Role.ARTICLE, Role.NUMBER)
    elif at.token.role in (Role.OF, Role.IN):
        is_likeness = at.last is not None and at.last.written.startswith(_DISGUISED)
    elif at.token.written in _TO:
        is_likeness = at.last is not None and at.last.written.startswith(_RESEMBLES)
    else:
        before = {token.written for token in at.tokens[max(0, at.i - _FAR) : at.i]}
        is_than = at.token.written in ("que", "qu'", "quanto") and at.after in (Role.ARTICLE, Role.NUMBER)
        is_likeness = is_than and not before.isdisjoint(_MORE)
    return Role.LIKE if is_likeness else None


def _lack(at: _Place) -> Role | None:
    """An "of" after what is without something: "un parque vacío de gente", "dépourvu de meubles"."""
    if at.token.role is not Role.OF or at.last is None or not _LACKING.fullmatch(at.last.written):
        return None
    is_book = at.before is Role.NOUN and at.last.written.startswith("livr")  # "un livre de cuisine"
    return None if is_book or _leads_to_place(at) else Role.NEGATION


def _leads_to_place(at: _Place) -> bool:
    """Whether what an "of" leads to is where something is: "una calle vacía de Madrid", but "vacía de nieve"."""
    rest = (token for token in at.tokens[at.i + 1 :] if token.role is not Role.ARTICLE)
    place = next(rest, at.token)
    is_weather = place.meaning is not None and place.meaning.english in _WEATHER
    return place.is_name or (place.is_of(Sort.SCENE) and not is_weather)


def _resemblance(at: _Place) -> Role | None:
    """What is said to be alike: "una nube parecida a un dragón"."""
    return Role.OTHER if at.token.written.startswith(_RESEMBLES) and at.is_next(_TO) else None


def _unknown_verb(at: _Place) -> Role | None:
    """An unknown word that is an infinitive ("crear un logo", "de gravir") or begins a sentence ("llega una moto")."""
    token, grammar = at.token, at.grammar
    can_act = at.before in (Role.END, Role.VERB) or at.is_last(_BEFORE_INFINITIVE)
    if token.role is not Role.NOUN or token.meaning is not None or not can_act:
        return None
    if token.text.endswith(_INFINITIVES) and token.text not in grammar.nouns:
        is_goal = at.is_last(_TOWARDS) and not token.text.endswith("ier")  # "a tricotar", "un sapin à décorer"
        acts = is_goal or token.text in frequency(grammar.language)
    else:
        acts = at.after in (Role.ARTICLE, Role.LIKE) and _is_verb(token, grammar)
    return Role.VERB if acts else None


def _verb_that_describes_too(at: _Place) -> Role | None:
    """An adjective that leads on: "un ciclista baja por una montaña", but "una mesa baja de madera"."""
    is_both = at.token.role is Role.ADJECTIVE and at.before is Role.NOUN and at.token.written in _VERBS_TOO
    return Role.VERB if is_both and (at.after is Role.ARTICLE or at.is_next(_WHERETO)) else None


def _look_that_is_a_thing(at: _Place) -> Role | None:
    """A word that is a look by itself but a thing here: "arroz e laranja", but "rojo y naranja"."""
    token = at.token
    noun = nouns(at.grammar.language).get(token.text)
    is_thing = token.role is Role.ADJECTIVE and noun is not None and noun.is_object and noun is not token.meaning
    starts = at.before in (Role.END, Role.PREPOSITION, Role.NEGATION)
    starts = starts or (at.before is Role.AND and at.i > 1 and at.tokens[at.i - 2].role not in _DESCRIBES)
    if not (is_thing and starts and at.after in (*_ENDS, Role.AND)) or at.after is Role.VERB:
        return None
    token.meaning = noun
    return Role.NOUN


def _adjective_that_is_a_thing(at: _Place) -> Role | None:
    """An adjective after an article with no noun to come: "un joven camina"."""
    token = at.token
    starts = at.before is Role.END and at.after in (Role.RELATIVE, Role.VERB) and token.is_of(Sort.AGE)  # "anciano que"
    if token.role is not Role.ADJECTIVE or token.is_style:
        return None
    if at.before not in (Role.ARTICLE, Role.NUMBER) and not starts:
        return None
    if at.after not in _ENDS and not _do_next(at) and not _does_next(at):
        return token.role
    if token.is_of(Sort.AGE):
        token.meaning = Meaning(f"{token.said.english} person", Sort.PERSON)
    is_colour = token.is_of(Sort.COLOUR) and at.i > 1 and at.tokens[at.i - 2].role in (Role.IN, Role.OF)
    return token.role if is_colour else Role.NOUN


def _no_common_noun(at: _Place) -> Role | None:
    """Names, and all other words that are no noun: they keep the role that they have by themselves."""
    return at.token.role if at.token.role is not Role.NOUN or at.token.is_name else None


def _verb_behind_object(at: _Place) -> Role | None:
    """A French verb after a pronoun that looks like an article: "un chien le regardant"."""
    token, grammar = at.token, at.grammar
    is_form = grammar.language == "fr" and token.written.endswith("ant") and token.text not in grammar.nouns
    is_behind_noun = at.before is Role.ARTICLE and at.tokens[max(0, at.i - 2)].role is Role.NOUN
    return Role.VERB if is_form and token.meaning is None and is_behind_noun else None


def _painted(at: _Place) -> Role | None:
    """A participle that looks like a verb before a colour: "un bateau peint en blanc"."""
    colour = at.tokens[at.i + 2] if at.i + 2 < len(at.tokens) else None
    is_said = at.token.role is Role.VERB and at.before is Role.NOUN and at.is_next(("en", "de", "em"))
    return Role.PARTICIPLE if is_said and colour is not None and colour.is_of(Sort.COLOUR) else None


def _reflexive_verb(at: _Place) -> Role | None:
    """What somebody does to themselves: "el perro se ríe"."""
    return Role.VERB if at.is_last(_REFLEXIVES) and at.token.meaning is None else None


def _verb_of_clause(at: _Place) -> Role | None:
    """What is done after "que", "no" or an adverb."""
    if at.before not in (Role.RELATIVE, Role.OTHER, Role.NOT):
        return None
    ends = at.grammar.acting_ends if at.before is not Role.RELATIVE else at.grammar.clause_ends
    acts = at.token.meaning is None and at.token.written.endswith(ends)
    return Role.VERB if acts or _is_verb(at.token, at.grammar) else at.token.role


def _second_verb(at: _Place) -> Role | None:
    """A second verb: "y recorre una ciudad"."""
    can_act = at.before is Role.AND and at.token.meaning is None and at.after is Role.ARTICLE
    return Role.VERB if can_act and _is_verb(at.token, at.grammar) else None


def _first_of_its_phrase(at: _Place) -> Role | None:
    """A noun, if nothing before could be described by it or be its subject."""
    return None if at.before in (Role.NOUN, Role.ADJECTIVE, Role.PARTICIPLE) else at.token.role


def _known_noun(at: _Place) -> Role | None:
    """A word of known meaning, unless somebody does it: "un homme sans chapeau lit le journal"."""
    if at.token.meaning is None:
        return None
    if at.token.written in at.grammar.verbs and at.after is Role.ARTICLE:
        return Role.VERB
    acts = _subject(at.tokens, at.i).is_of(Sort.PERSON, Sort.ANIMATE) and at.after not in (Role.OF, Role.END)
    return Role.VERB if acts and _is_verb(at.token, at.grammar) else at.token.role


def _participle(at: _Place) -> Role | None:
    """How something is after what was done to it: "vestido de azul", "un mur peint"."""
    if not at.token.text.endswith(at.grammar.participle_ends) or at.token.text in at.grammar.nouns:
        return None
    if at.after in _OBJECTS and _is_verb(at.token, at.grammar):
        return Role.VERB  # "le vendeur nettoie le comptoir"
    return Role.PARTICIPLE if at.after in (Role.OF, Role.PREPOSITION) else Role.ADJECTIVE


def _listed_noun(at: _Place) -> Role | None:
    return at.token.role if at.token.text in at.grammar.nouns else None


def _verb_with_its_place(at: _Place) -> Role | None:
    """An unknown word after somebody that is what they do: "un león ruge en", "cheval galopant sur"."""
    token, grammar, is_french = at.token, at.grammar, at.grammar.language == "fr"
    places = (Role.IN, Role.ON, Role.PREPOSITION, Role.ARTICLE, Role.NUMBER, *(() if is_french else (Role.NOUN,)))
    if at.after not in places or token.text in grammar.adjectives:
        return None  # "la abuela amasa pan"
    if is_french and token.text.endswith("ant"):
        return Role.VERB
    is_form = token.text.endswith(("e", "t", "d") if is_french else ("a", "e"))
    is_somebody = at.after in _OBJECTS or _subject(at.tokens, at.i).is_of(Sort.PERSON, Sort.ANIMATE)
    is_look = _ends_as_adjective(token.text, grammar) and at.after not in _OBJECTS
    return Role.VERB if is_form and is_somebody and not is_look else None  # "un skieur dévale une pente"


def _verb_by_its_form(at: _Place) -> Role | None:
    """What several do ("unos niños juegan"), and what has an infinitive that people use."""
    are_several = _subject(at.tokens, at.i).written.endswith(("s", "x")) or any(
        token.role is Role.AND for token in at.tokens[max(0, at.i - _FAR) : at.i]
    )
    acts = at.token.written.endswith(at.grammar.acting_ends) and are_several
    return Role.VERB if acts or _is_verb(at.token, at.grammar) else None


def _adjective(at: _Place) -> Role | None:
    word = at.token.text
    is_plural = word.endswith("s") and _ends_as_adjective(word[:-1], at.grammar)  # "vacillantes", which nobody counts
    return Role.ADJECTIVE if is_plural or _ends_as_adjective(word, at.grammar) else None


def _ends_as_adjective(word: str, grammar: Grammar) -> bool:
    """Whether a word ends as adjectives do, and is more than that: "furtiva", not "uiva", who howls."""
    return any(word.endswith(end) and len(word) > len(end) + 1 for end in grammar.adjective_ends)


_RULES = (
    _thing_that_is_done,
    _copula_without_accent,
    _comparison,
    _lack,
    _resemblance,
    _unknown_verb,
    _verb_that_describes_too,
    _look_that_is_a_thing,
    _adjective_that_is_a_thing,
    _painted,
    _no_common_noun,  # so only nouns are left
    _verb_behind_object,
    _reflexive_verb,
    _verb_of_clause,
    _second_verb,
    _first_of_its_phrase,  # so only those are left that follow a noun or its description
    _known_noun,
    _participle,
    _listed_noun,
    _verb_with_its_place,
    _verb_by_its_form,
    _adjective,
)
_OBJECTS = (Role.ARTICLE, Role.NUMBER)  # what one does something to begins so: "le vent soulève un voile"
_DESCRIBES = (Role.ADJECTIVE, Role.PARTICIPLE)
_ENDS = (Role.END, Role.VERB, Role.IN, Role.ON, Role.PREPOSITION, Role.RELATIVE, Role.COPULA, Role.OF)
_VERBS_TOO = word_set(
    "baja limpia limpa solta seca llena vacía suelta despierta calma"
)  # adjectives, and what somebody does
_WHERETO = ("por", "hacia", "hasta", "al", "para")
_FAR = 4  # words from "more" to "than"
_MORE = word_set(
    "aussi tan tão "
    "más menos mayor menor mejor peor plus moins meilleur meilleure pire mais maior melhor pior mayores menores maiores"
)
_TO = ("à", "au", "aux", "a", "al", "ao", "com")
_LACKING = re.compile(
    r"(?:vací[oa]|libre|desprovist[oa]|carente|exent[oa]|vide|dépourvue?|privée?|exempte?|vazi[oa]|livre"
    r"|desprovid[oa]|isent[oa])s?"
)
_WEATHER = word_set("snow rain fog storm")
_SEEMS = ("parec", "sembl")  # "un pastel que parece un coche"
_RESEMBLES = ("ressembl", "semblable", "similaire", "parec", "similar", "semejante", "semelhante")
_DISGUISED = ("disfrazad", "disfarçad", "fantasiad", "déguisé", "travesti")
_BEFORE_INFINITIVE = ("a", "para", "por", "de", "d'", "à", "pour")
_TOWARDS = ("a", "para", "à", "pour")
_INFINITIVES = ("ar", "er", "ir", "re")
_REFLEXIVES = ("se", "me", "te", "s'")


def _subject(tokens: Sequence[Token], i: int) -> Token:
    """The noun that a word at i is said of: the horse of "caballo de madera"; the word itself if there is none."""
    nouns = [k for k in range(i - 1, -1, -1) if tokens[k].role is Role.NOUN]
    if not nouns:
        return tokens[i]
    noun = nouns[0]
    is_of = noun > 1 and tokens[noun - 1].role in (Role.OF, Role.IN) and tokens[noun - 2].role is Role.NOUN
    return tokens[noun - 2] if is_of else tokens[noun]


def _do_next(at: _Place) -> bool:
    """Whether what follows a plural is what they do: "las ancianas toman té"."""
    verb, grammar = at.next, at.grammar
    if verb is None or verb.role is not Role.NOUN or verb.meaning is not None:
        return False
    infinitives = variants(verb.written[:-1], grammar.infinitives)  # toman, toma, tomar
    is_form = verb.written.endswith(grammar.acting_ends) and at.token.written.endswith(("s", "x"))
    return is_form and any(word in frequency(grammar.language) for word in infinitives)


def _does_next(at: _Place) -> bool:
    """Whether what follows somebody old or young is what they do: "una anciana empieza a bailar"."""
    tokens, i = at.tokens, at.i
    if i + 2 >= len(tokens) or not at.token.is_of(Sort.AGE) or tokens[i + 1].role is not Role.NOUN:
        return False
    is_verb = tokens[i + 1].meaning is None and tokens[i + 1].text not in at.grammar.nouns
    goes_on = tokens[i + 2].role in (Role.ARTICLE, Role.IN, Role.ON, Role.PREPOSITION)
    goes_on = goes_on or (tokens[i + 2].role is Role.NOUN and tokens[i + 2].text != tokens[i + 2].written)  # "monedas"
    return is_verb and goes_on and _is_verb(tokens[i + 1], at.grammar)


def _is_verb(token: Token, grammar: Grammar) -> bool:
    """Whether the word is a present-tense form of a verb whose infinitive is in use."""
    common = frequency(grammar.language)
    if token.text in grammar.verbs:
        return True
    if token.written != token.text and token.written.endswith("s"):
        return False  # "hay palomas": whoever does it is no "you"
    forms = (form for stem in _stems(token.text, grammar) for form in variants(stem, grammar.infinitives))
    return any(word in common for word in forms)


def _stems(form: str, grammar: Grammar) -> Iterator[str]:
    """A form of the present as it would be if its stem kept its vowel: empieza, empeza (empezar)."""
    yield form
    for broken, vowels in _BROKEN if grammar.language == "es" else ():
        before, found, rest = form.rpartition(broken)
        if found and len(rest) > 1:
            yield from (f"{before}{vowel}{rest}" for vowel in vowels)


_BROKEN = (("ie", ("e",)), ("ue", ("o", "u")))
