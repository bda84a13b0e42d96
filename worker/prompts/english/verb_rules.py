"""Rules for verbs that the lexicon tags as nouns, and for words in -ing, -s and -ed, by the words beside them.

Each returns the tag of the word at a place, or None if it does not apply.
"""

from functools import lru_cache

from worker.prompts.english.lexicon import FINITE, is_in_lexicon, tag_in_lexicon
from worker.prompts.english.neighbours import BASES, KNOWN_VERBS, LISTED, ONLY_VERBS, STARTS_OBJECT, Place
from worker.prompts.english.words import ADJECTIVE, NOUN
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.vocabulary.grammar import (
    ATTRIBUTIVE_ING,
    FUNCTION_TAGS,
    ING_COMPOUNDS,
    ING_NOUNS,
    PLURAL_MODIFIERS,
    TRANSITIVE_ING,
    VERBS_OR_NOUNS,
)
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import ANIMATE, BODY_PARTS, CLOTHES
from worker.prompts.vocabulary.places import PLACE_NOUNS, SCENE_NOUNS

_REQUESTS = word_set(
    "create generate animate make show imagine draw visualize visualise depict illustrate craft produce "
    "showcase incorporate highlight feature capture include emphasize emphasise convey portray describe write add"
)
_LEADS_TO_VERB = word_set(
    "about able ready used supposed try tries tried trying want wants wanted wanting begin begins began begun "
    "beginning start starts started starting continue continues continued need needs needed have has had learn learns "
    "learned learning appear appears appeared appearing seem seems seemed how love loves threaten threatens manage "
    "manages struggle struggles struggling "
    "decide decides decided refuse refuses refused attempt attempts attempting fail fails failed"
)
_PRETERITES = word_set(
    "came went took began ran sang swam drew flew grew knew threw wrote drove rode ate gave spoke chose shook stole "
    "sank"
)
_CUT_TO = word_set("half halves two pieces slices quarters thin small")
_TURNS = word_set("turn turns become becomes")
_BEING = frozenset(("being", "is", "are", "was", "get", "gets", "getting"))
_STARTS_THING = ("DT", "PRP$", "CD", "JJ", "VBG", "VBN", *NOUN)
_MODALS = word_set("would will could should must might may shall cannot can't cant don't dont doesn't doesnt")
_CALLED = word_set("named called titled entitled known nicknamed christened dubbed")
_ANYBODY = word_set("everyone everybody someone somebody nobody anyone anybody everything something nothing")
_SUBJECTS = word_set("he she it they who i we you")


def verb_by_its_words(at: Place) -> str | None:
    """Verbs that the words beside them give away: takes place, this shows, turns yellow, is being attacked by."""
    word, before, after = at.word, at.before, at.after
    if word in ("take", "takes", "taking", "took", "place") and _takes_place(at):
        return "VB"
    if word in FINITE and word not in BASES and at.last in ("this", "that"):
        return "VB"  # "this shows": no plural follows "this"
    if word in _PRETERITES and before not in ("DT", "PRP$", "JJ", "CD", "IN"):
        return "VB"  # the lexicon's VBD is a look before a noun: "suddenly came heart attack"
    if (
        word == "cut"
        and before in NOUN
        and ((at.next in ("in", "into") and at.word_at(2) in _CUT_TO) or at.next == "open")
    ):
        return "VBN"  # "a dragon fruit cut in half"
    if word in FINITE and before in (",", ".") and at.i and at.next in ("out", "away") and at.word_at(2) != "of":
        return "VB"  # ", spread out around the room"
    if at.last == "to" and at.tag == "NN" and after in ("DT", "PRP$") and at.word_at(-2) not in _NEAR:
        return "VB"  # "looking to date a guy"
    if before in ("NN", "NNP") and at.tag == "NNS" and _leads_on(at) and _may_be_verb(word):
        return "VB"  # "the comet streaks across the sky", "putin teams up with a cat"
    if word == "half" and before in NOUN and after in ("VBN", "VBD", "JJ"):
        return "RB"  # "pyramids half built"
    if FINITE.get(word) in VERBS_OR_NOUNS and before in (",", ".", "CC") and after in ("DT", "PRP$"):
        return "VB"  # "craft a visual", "and waves her hand"
    if word.endswith("s") and word in FINITE and _is_joined(at):
        return "VB"  # "looks at the camera and smiles"
    if word in _TURNS and at.next in CONFLICT_GROUPS["colour"]:
        return "VB"  # "the leaf that was green turns yellow"
    if word in _REQUESTS and (at.i == 0 or before == ".") and after in _STARTS_THING:
        return "VB"  # "animate the girl"
    if word in FINITE and at.last in _BEING and at.next == "by":
        return "VBN"  # "is being attack by a kraken"
    return None


_NEAR = word_set("next close due according up")
_ACROSS = word_set("across onto into toward towards")


def _leads_on(at: Place) -> bool:
    if at.next == "up":
        return at.word_at(2) in ("with", "to", "against", "and")
    start = next((k for k in range(at.i - 1, -1, -1) if at.tags[k] not in (*NOUN, *ADJECTIVE)), -1)
    return at.next in _ACROSS and start >= 0 and at.words[start] in ("a", "an", "the")


def thing_that_was_done_to(at: Place) -> str | None:
    """What looks like a verb in its plain form before a participle: a monitor turned sideways."""
    is_thing = (
        at.tag in ("VB", "VBP")
        and at.word not in KNOWN_VERBS
        and at.before == "NN"
        and at.after in ("VBN", "VBD")
        and at.next.endswith("ed")
    )
    return "NN" if is_thing and at.last not in ANIMATE else None


def verb_behind_modal(at: Place) -> str | None:
    """The verb "saw", and what somebody would or could do."""
    if at.word == "saw" and at.before in (*NOUN, "PRP") and at.after in ("DT", "PRP$", "PRP"):
        return "VB"
    if at.last in _MODALS and (at.word in FINITE or at.tag == "VB"):
        return "VB"  # "they would stage a mock trial"
    return None


def word_in_ing(at: Place) -> str | None:
    """A word in -ing: what a thing does, what it is like, or a thing itself."""
    word, before, after = at.word, at.before, at.after
    if (at.last == "its" and word in _WEATHER) or (at.next == "home" and word in _RETURNS and before != "DT"):
        return "VBG"  # "its raining outside", ", coming home from school"
    if word in _SPORTS.get(at.next, ()) and before in (*NOUN, "PRP", ",", "."):
        return "RB"  # "a man rock climbing on a cliff"
    if word.endswith("ing") and at.next and (found := _ing_before_noun(at)):
        return found
    is_noun_too = word in ING_NOUNS
    if is_noun_too and word.removesuffix("ing") in BASES and before in (",", ".") and after in ("DT", "PRP$"):
        return "VBG"  # ", offering a view"
    acts = before == "NNS" and at.last not in PLURAL_MODIFIERS  # "clouds gathering"
    if is_noun_too and at.tag == "VBG" and before in (*NOUN, "JJ", "DT") and not acts:
        return "NN"  # "a zebra crossing"
    if word.endswith("ing") and not is_noun_too and len(word) > 4 and at.tag not in ("NNP", "IN"):
        return _ing(at)
    return None


_WEATHER = word_set("raining snowing hailing storming")
_RETURNS = word_set("coming going walking returning running riding flying heading driving arriving")
_SPORTS = {  # and what stands before their name, which nobody sees
    "boxing": word_set("shadow kick thai"),
    "wrestling": word_set("arm sumo mud"),
    "climbing": word_set("rock ice mountain cliff"),
    "dancing": word_set("ballroom belly tap line break pole ballet"),
    "diving": word_set("scuba sky cliff"),
    "fishing": word_set("fly ice"),
    "jumping": word_set("bungee base show"),
    "lifting": word_set("weight"),
    "riding": word_set("horse horseback bull"),
    "skating": word_set("ice roller figure inline speed"),
    "surfing": word_set("wind kite"),
}


def verb_of_clause(at: Place) -> str | None:
    """The verb of a subject that is described, or after "who" and "to"."""
    is_form = at.word.endswith("s") and at.word in FINITE
    if is_form and at.before == "NN" and at.after in _BEHIND_VERB and _is_of_subject(at):
        return "VB"  # "a woman with red hair smiles"
    if at.last == "to" and at.word.endswith("s") and at.word in FINITE and at.word not in BASES:
        return "NNS"  # "looking to stars"
    if at.last in ("to", "that", "who", "which") and at.word in FINITE and at.after != "IN":
        return "VB"
    if at.last == "to" and at.word_at(-2) in _LEADS_TO_VERB and at.tag in (*NOUN, "VB", "VBP"):
        return "VB"  # "about to fall on", "used to ravage"
    return None


def verb_of_subject(at: Place) -> str | None:
    """The verb of the thing or person before it."""
    word, tag, before, after = at.word, at.tag, at.before, at.after
    if tag in NOUN and word.endswith("s") and _is_done(at):
        return "VB"  # "a man steps out", "the being that controls"
    if before == "PRP" and at.last in _SUBJECTS and (word in FINITE or tag in ("VBN", "VBD")):
        return "VB"
    if at.last in _ANYBODY and (word in FINITE or tag == "NNS"):
        return "VB"  # "the car that everyone dreams of"
    if word in _CALLED and before in (*NOUN, "VBG", ",", "."):
        return "VB"
    if word.endswith("s") and before == "NNP" and at.next in _PARTICLES and _may_be_verb(word):
        return "VB"  # "santa claus hands out presents"
    if word in VERBS_OR_NOUNS and before in NOUN and (after in ("DT", "PRP$") or at.next == "each"):
        return "VB"  # "an elephant at forest fight a tiger"
    is_pure = word.endswith("s") and FINITE.get(word, "") in ONLY_VERBS
    if is_pure and tag == "VBZ" and before == "JJ" and after in ("IN", "DT", "PRP$", "RB"):
        return "VB"  # "optimus prime transforms in"
    return "VB" if word in FINITE and _acts(at) else None


def participle(at: Place) -> str | None:
    """A word in -ed: a look before a noun, else what was done."""
    if at.tag in ("VBN", "VBD") or (at.tag == "JJ" and at.word.endswith("ed")):
        return "JJ" if at.after in (*NOUN, "JJ") and at.before not in NOUN else "VBN"
    return None


def present_tense(at: Place) -> str | None:
    """A verb by its form; a thing where an article stands before it or nothing shows that it is a verb."""
    if at.word in FINITE and at.before in (*NOUN, "RB", "PRP", "WRB", "CC", "VB"):
        return _finite(at)
    if at.tag not in ("VB", "VBP", "VBZ") or at.word in FUNCTION_TAGS or "'" in at.word:
        return None
    if at.before in ("DT", "JJ", "PRP$", "CD"):
        return "NN"
    if at.word not in FINITE and at.before in (",", "."):
        return at.tag if at.after in STARTS_OBJECT else "NNS" if at.word.endswith("s") else "NN"
    return None


def noun_that_is_a_verb(at: Place) -> str | None:
    """A verb between its subject and its object: with an -s for one subject, without for several."""
    if at.after not in ("DT", "PRP$"):
        return None
    if at.tag == "NNS" and at.before in ("NN", "NNP"):
        return "VBZ"
    is_done = at.tag == "NN" and at.before == "NNS" and at.last not in PLURAL_MODIFIERS
    return "VB" if is_done and _may_be_verb(f"{at.word}s") else None  # "people respect the lions"


def _is_done(at: Place) -> bool:
    """Whether a noun in -s is a verb after all, since the word before it is its subject."""
    if not _may_be_verb(at.word):
        return False
    if at.last in ("that", "who", "which", "it", "he", "she"):
        return at.after not in ("VB", "VBZ", "VBP")
    is_somebody = at.before == "NN" and at.last in ANIMATE and at.tag_at(-2) in ("DT", "JJ", "PRP$")
    return is_somebody and (at.after in ("DT", "PRP$", "TO") or at.next in _PARTICLES)


@lru_cache(maxsize=MOST_REMEMBERED)
def _may_be_verb(word: str) -> bool:
    """Whether the lexicon has the participles of a word without its -s or -es: stepping and stepped for steps."""
    stems = [word[:-1], *([word[:-2]] if word.endswith("es") else [])]
    participles = (
        (f"{stem}ing", f"{stem}ed") for base in stems for stem in (base, base.removesuffix("e"), base + base[-1:])
    )
    return any(tag_in_lexicon(ing) == "VBG" and tag_in_lexicon(ed) in ("VBN", "VBD") for ing, ed in participles)


_PARTICLES = word_set("out up down off away into onto through over")


def _is_joined(at: Place) -> bool:
    """Whether a word in -s is what somebody does next: "enters a bar, orders whiskey and lights a cigarette"."""
    if at.before not in ("CC", "."):
        return False
    start = next((k + 1 for k in range(at.i - 1, -1, -1) if at.words[k] in _SENTENCE_ENDS), 0)
    acts = [
        k for k in range(start, at.i - 1) if at.tags[k] == "VB" and at.words[k].endswith("s") and at.words[k] in FINITE
    ]
    if not acts:
        return False
    is_next = at.last in ("and", "then") or (at.last == "," and at.after in (*STARTS_OBJECT, "JJ", *NOUN))
    if at.after in (*STARTS_OBJECT, "VBG"):
        return is_next
    if at.after in (*NOUN, "JJ"):
        return is_next and at.tag_at(-2) not in ("NNS", "JJ")  # no noun in the plural stands before another
    done = at.tags[acts[-1] + 1 : at.i - 1]  # what the verb before does it to: one thing, not the first of a list
    is_one_thing = not done or (at.tag_at(-2) in ("RB", "NN", "NNP", "PRP") and not _ONE.isdisjoint(done))
    return is_next and is_one_thing and at.after == "."


_ONE = frozenset(("DT", "PRP$", "PRP", "RB"))
_SENTENCE_ENDS = (".", ";", "!", "?")


def _takes_place(at: Place) -> bool:
    pairs = ((at.word, at.next), (at.last, at.word))
    return any(verb.startswith(("tak", "took")) and what == "place" for verb, what in pairs)


_AGENTS = ("man", "woman", "ist", "boy", "girl")


def _acts(at: Place) -> bool:
    """Whether the word before is the subject of this one: "pikachu fights", "a girl feed a cat"."""
    if at.before not in ("NN", "NNP"):
        return False
    who, after = at.last, at.after
    is_somebody = who in ANIMATE or not (who in LISTED or (is_in_lexicon(who) and not who.endswith(_AGENTS)))
    is_joined = "and" in at.words[max(0, at.i - 4) : at.i]
    if not is_somebody or (after in ("NNS", "NN") and at.word in BASES and not is_joined):
        return False
    if at.word in BASES:
        if who not in ANIMATE and _is_object(at):
            return False  # "with a yellow popper flower in its lapel"
        if after in ADJECTIVE and who in ANIMATE and at.tag_at(2) not in ("", ".", "CC"):
            return True  # "a man walk slow on the beach"
        return after in ("DT", "PRP$", "IN", "RB") or (is_joined and after in (*NOUN, "IN", "JJ", ".", ","))
    starts_compound = at.tag_at(1) in NOUN and at.tag_at(-2) == "NNP"
    return after in ("DT", "PRP$", "IN", "RB", "JJ", "PRP", "CD", "WRB", ".", ",", *NOUN) and not starts_compound


_CAUSES = word_set("make makes let lets see sees watch watches help helps have has")  # make napoleon walk
_DEEDS = FINITE.keys() - _CAUSES


def _is_object(at: Place) -> bool:
    """Whether the word before this one is part of the object of a verb or preposition."""
    i = at.i - 1
    while i > 0 and at.tags[i] in (*NOUN, "JJ", "CD", "DT", "PRP$"):
        i -= 1
    is_doing = at.tags[i] == "VBG" and at.words[i] in TRANSITIVE_ING
    return at.tags[i] == "IN" or is_doing or (at.tags[i] == "VB" and at.words[i] in _DEEDS)


_BEHIND_VERB = (".", "IN", "RB", "DT", "PRP$", "TO", "CC")
_WORN = BODY_PARTS | CLOTHES
_REACH = 9  # words back from what somebody wears to "with" or "in"


def _is_of_subject(at: Place) -> bool:
    """Whether the word before a verb names a part of its subject, or what that wears."""
    if at.last not in _WORN:
        return False
    for k in range(at.i - 2, max(0, at.i - _REACH), -1):
        is_joint = at.words[k] in ("with", "in", "wearing")
        if not is_joint and at.tags[k] not in (*_IN_PHRASE, "IN"):
            return False
        if is_joint and at.tags[k - 1] in NOUN and at.words[k - 1] in ANIMATE:
            return True
    return False


_IN_PHRASE = (*NOUN, *ADJECTIVE, "DT", "PRP$", "CD")


def _ing_before_noun(at: Place) -> str | None:
    """The tag of a word in -ing that the noun after it decides: a skipping rope, somebody lighting a candle."""
    is_doing = at.before == "RB" or (at.before in NOUN and at.last in ANIMATE)  # "a woman shopping clothes"
    is_kind = at.word in ATTRIBUTIVE_ING and not is_doing
    if at.after in NOUN and (is_kind or _makes_one_thing(at.word, at.next)):
        return "NN"
    does_many = at.after == "JJ" and at.tag_at(2) == "NNS"  # "an agency offering digital services"
    if at.word in ING_NOUNS and at.before in NOUN and (at.after in ("DT", "PRP$") or does_many):
        return "VBG"
    return None


def _makes_one_thing(word: str, noun: str) -> bool:
    return any((word, form) in ING_COMPOUNDS for form in (noun, noun.removesuffix("s"), noun.removesuffix("es")))


def _ing(at: Place) -> str:
    """A word in -ing: a description before a noun ("flying cars"), else what the thing does."""
    before, after = at.before, at.after
    if before == "CD" and after not in (*NOUN, "JJ"):
        return "VBG"  # "both laughing"
    if before == "JJ" and after in (",", ".") and at.word not in ING_NOUNS:
        return "VBG"  # "a dress white glittering,"
    if before == "JJ" and after in ("PRP", "DT", "PRP$", "IN", "WRB", "TO"):
        return "VBG"  # "a wounded elderly walking through snow"
    if at.last in ("more", "most", "less", "least") and after in NOUN:
        return "JJ"  # "the most amazing sword"
    if before == "DT" and at.next == "," and at.tag_at(2) in ADJECTIVE:
        return "JJ"  # "a terrifying, evil dragon"
    is_there = at.last in ("is", "are", "was", "were") and at.word_at(-2) == "there"
    if (at.last in _TURNS or is_there) and after in NOUN:
        return "JJ"  # "becomes dancing people"
    if before in ("DT", "PRP$", "JJ", "CD"):
        return "JJ" if after in (*NOUN, "JJ", "VBG", "VBN", "VBD", "CD") else "NN"
    follows_thing = before in (*NOUN, "WRB", "CC", "RB", "VBG", "VB", "PRP")
    if follows_thing or at.word in TRANSITIVE_ING or after not in (*NOUN, "JJ"):
        return "VBG"
    return "JJ"


def _finite(at: Place) -> str:
    """A word that can be a verb in the present tense, after something that can be its subject."""
    word, tag, before, after = at.word, at.tag, at.before, at.after
    is_plural_form = word in BASES
    if not is_plural_form and (before == "NNP" or (at.last in ANIMATE and before == "NN")):
        return "VB"
    is_noun_too, follows_many = FINITE[word] in VERBS_OR_NOUNS, before == "NNS"
    is_thing_too = is_noun_too and not is_plural_form and word not in FUNCTION_TAGS
    if is_thing_too and before == "NN" and (after == "VBG" or (after not in STARTS_OBJECT[:2] and _is_bare(at))):
        return "NNS"  # "railway tracks going", "sparkles of water drops"
    if is_plural_form and follows_many and at.last not in PLURAL_MODIFIERS:
        return "VB"
    is_joined = is_plural_form and "and" in at.words[max(0, at.i - 6) : at.i]
    plural_subject = (follows_many and is_in_lexicon(at.last[:-1])) or is_joined
    plural_subject = plural_subject or (word in ONLY_VERBS and _are_several(at))
    if follows_many and not is_plural_form and after in STARTS_OBJECT and at.last not in PLURAL_MODIFIERS:
        return "VB"  # "his eyes cries under the rain"
    if before == "RB" and at.last in _HOW_OFTEN:
        return "VB"  # "a couple who always fights"
    if before in ("RB", "CC", "WRB", "VB", "PRP") and tag in NOUN and is_noun_too:
        return "VB" if after in ("DT", "PRP$", "RB", "IN") and before in ("RB", "PRP") else tag
    if word in ONLY_VERBS and after == "IN" and at.next in _WHERETO and before == "NN":
        return "VB"  # "smoke flow out of a sphere"
    if before in NOUN and is_plural_form != plural_subject and word not in _BOTH_FORMS:
        return tag if tag in NOUN else "NN" if word in VERBS_OR_NOUNS else "VB"
    if is_noun_too and after not in STARTS_OBJECT:
        return tag if before in NOUN and tag in NOUN else "VB"
    if is_noun_too and after == "IN" and (word in SCENE_NOUNS or word in PLACE_NOUNS):
        return tag
    return "VB"


def _is_bare(at: Place) -> bool:
    """Whether nouns and adjectives before a word follow a preposition or a verb, without an article."""
    start = next((k for k in range(at.i - 1, -1, -1) if at.tags[k] not in ("NN", *ADJECTIVE)), -1)
    return start >= 0 and at.tags[start] in ("IN", "VBG")


_WHERETO = word_set("out through into onto over across down from off away towards toward")
_HOW_OFTEN = word_set("always never often sometimes usually constantly slowly quickly suddenly")
_BOTH_FORMS = frozenset({"has", "have"})


def _are_several(at: Place) -> bool:
    """Whether the subject of a word is a plural before a preposition: "the toys in the shop wake up"."""
    k = at.i - 1
    while k > 0 and at.tags[k] in ("NN", "JJ", "DT", "PRP$"):
        k -= 1
    return 0 < k < at.i - 2 and at.tags[k] == "IN" and at.tags[k - 1] == "NNS"
