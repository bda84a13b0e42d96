"""Rules for nouns and adjectives that the lexicon mistags, by the words beside them.

Each returns the tag of the word at a place, or None if it does not apply.
"""

from worker.prompts.english.lexicon import FINITE, is_first_name, is_heard, is_in_lexicon, tag_in_lexicon
from worker.prompts.english.neighbours import BASES, KNOWN_VERBS, LISTED, ONLY_VERBS, Place
from worker.prompts.english.spelling import is_known, zipf
from worker.prompts.english.words import ADJECTIVE, NOUN
from worker.prompts.vocabulary.grammar import (
    ADJECTIVES,
    COMPOUNDS,
    FUNCTION_TAGS,
    MODIFIER_NOUNS,
    NOUNS,
    SUFFIX_ADJECTIVES,
    TRANSITIVE_ING,
    VERBS_OR_NOUNS,
)
from worker.prompts.vocabulary.groups import (
    COLOUR_NOUNS,
    COLOURS_OF_HAIR,
    CONFLICT_GROUPS,
    FRUITS,
    OF_FRUITS,
    SHADES_OF_TWO,
)
from worker.prompts.vocabulary.invisible import GENERIC
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import MEASURED, MONTHS
from worker.prompts.vocabulary.people import ANIMATE, BODY_PARTS, PEOPLES, PERSONS
from worker.prompts.vocabulary.places import PLACE_NOUNS, POINTS_OF_THE_COMPASS, SCENE_NOUNS
from worker.prompts.vocabulary.style import STYLE_WORDS

PERIOD = "PERIOD"  # a decade or a century
_NO_THINGS = ONLY_VERBS | FUNCTION_TAGS.keys()
_BEFORE_THINGS = word_set("with without of from by into under behind near beside between against")
_KINDS = ANIMATE | CONFLICT_GROUPS["species"].keys()
_DOWNY = word_set("goose duck eider")
_MANY_ALIKE = word_set("sheep fish deer moose bison shrimp squid salmon aircraft spacecraft")  # no -s for several
_SEVERAL = word_set("many several few some these those")
_FRUITS = word_set("lemon lime olive orange tangerine rose violet lavender chestnut")
_NOUNS_TOO = word_set(
    "can uniform head pretty opening giant alien human robot android zombie skeleton chinese male female teen"
)
_COLOURS = CONFLICT_GROUPS["colour"].keys()
_CUTS = word_set("tank crop halter tube bikini tight sleeveless")
OF_TOPS = _COLOURS | CONFLICT_GROUPS["material"].keys() | CONFLICT_GROUPS["pattern"].keys() | _CUTS  # that are worn


def name_or_fruit(at: Place) -> str | None:
    """Comparisons ("jellyfish like"), an orange, last names, decades."""
    if at.word == "w" and len(at.last) == 1 and at.last.isalpha() and at.last not in ("a", "i"):
        return "NNP"  # "j m w turner"; else it is "with"
    if (at.word == "like" and _likens(at, 0)) or (at.after == "IN" and _likens(at, 1)):
        return "JJ"  # "a jellyfish like creature"
    ends = ("IN", ".", "NNS", "VB", "VBZ", "RB", "WRB", "TO")
    if at.tag == "JJ" and at.word in FRUITS and _is_one(at) and at.after in ends:
        return "NN"  # "an orange on a table"; what looks like a plural after "an orange" is a verb
    if at.tag == "NNS" and at.before in ("NN", "NNP") and _is_first_of_name(at) and not _has_singular(at.word):
        return "NNP"  # "christina hendricks"
    if at.before == "NN" and is_first_name(at.last) and _is_surname(at):
        return "NNP"  # "a portrait of karl urban"
    if at.tag == "JJ" and _is_between_names(at):
        return "NNP"  # "obi wan kenobi"
    if "-" in at.word and at.last in ("named", "called", "nicknamed"):
        return "NNP"  # "a robot named WALL-E rolls through a junkyard"
    if at.tag == PERIOD:
        return "JJ" if at.after in NOUN else "."  # "a 1950s diner"; a decade alone is no thing
    return None


def _is_between_names(at: Place) -> bool:
    """Whether a word that is no look of these lists stands between two that are no words."""
    is_look = at.word in ADJECTIVES or is_known(at.word) or zipf(at.word) > _OFTEN or not at.word.isalpha()
    return not is_look and all(word.isalpha() and not is_heard(word) for word in (at.last, at.next))


def _is_surname(at: Place) -> bool:
    """Whether a word after a first name says neither what the person is like nor what they do."""
    if at.tag_at(-2) in NOUN or at.word in _COLOURS:
        return False
    if at.tag == "JJ":
        is_name_too = tag_in_lexicon(at.word.capitalize()) == "NNP" and at.word not in ADJECTIVES
        return is_name_too and (at.after == "." or at.next in ("as", "in", "and", "with"))
    return at.tag in ("VB", "VBP") and at.word in BASES and at.after in ("VBN", "VBG")  # "sadie sink dressed as"


def part_of_compound(at: Place) -> str | None:
    """Pairs of words that make one thing, and words that are a thing beside certain others."""
    word, before, after = at.word, at.before, at.after
    if after in NOUN and f"{word} {at.next}" in COMPOUNDS:
        return at.tag if at.tag == "JJ" else "NN"
    if before in NOUN and f"{at.last} {word}" in COMPOUNDS:
        return "NN"  # "a food stand"
    is_noun_too = FINITE.get(word) in VERBS_OR_NOUNS or word == "flies"
    if before == "VBG" and is_noun_too and at.last in TRANSITIVE_ING:
        return "NNS" if word.endswith("s") else "NN"  # "catching flies"
    is_plural = word.endswith("s") and word in FINITE and word not in BASES
    if at.next == "of" and before in ("NN", "JJ") and is_plural and FINITE[word] not in _OF:
        return "NNS"  # "rainbow sparkles of water", "energy flows of fire"
    if before == "VBG" and at.tag == "VBZ" and after in ("IN", ".", "CC"):
        return "NNS"  # "opening presents under a tree"
    if word in POINTS_OF_THE_COMPASS and at.tag == "RB" and after in NOUN:
        return "NN"  # "south africa"
    if word == "may" and after in ("NNS", "VB", "VBZ") and at.next.endswith("s") and at.next not in FUNCTION_TAGS:
        return "NN"  # no verb in -s follows what may be
    if at.last in MONTHS and before == "NN" and word.endswith("s") and at.tag in ("NNS", "VB", "VBZ"):
        return "NNS"  # "april showers"
    if word == "down" and at.last in _DOWNY and after in NOUN:
        return "NN"  # "a goose down jacket"
    if word in _MANY_ALIKE and at.tag == "NN" and (at.last in _SEVERAL or (before == "CD" and at.last != "one")):
        return "NNS"  # "five sheep jump"
    if word == "round" and before in ("VB", "VBG", "VBZ", *NOUN) and (after == "DT" or at.next == "of"):
        return "IN"  # "zombies standing round a table"
    if word in ("post", "semi", "retro", "fair") and at.tag == "NN" and (after == "JJ" or at.next == "looking"):
        return "JJ"  # "post apocalyptic background", "a fair young man"
    if word == "lighter" and before in ("DT", "JJ", "NN") and at.next != "than" and after in ("IN", ".", "CC", "VBG"):
        return "NN"  # "a windproof lighter on a table"
    if (
        word in ("foreground", "background", "distance", "beginning")
        and at.last == "the"
        and at.word_at(-2) == "in"
        and after in NOUN
    ):
        return "RB"  # "in the foreground saint petersburg"
    if word == "super" and after in NOUN:
        return "JJ"  # "a super villain", but "a super cute cat"
    if word == "well" and before in ("DT", "PRP$") and after not in ("JJ", "VBN", "VBD", *NOUN):
        return "NN"  # "out of a well"
    if word == "top" and at.last in OF_TOPS and after not in (*NOUN, *ADJECTIVE):
        return "NN"  # "a white top and jeans"
    if word == "set" and before in NOUN and (after in (".", "CC") or _is_object_set(at)):
        return "NN"  # "a film set", "a lego set with a box"
    return None


_OF = word_set("dream think smell speak tell die taste approve consist beware learn hear sing talk boast warn remind")


def kind_or_second_life(at: Place) -> str | None:
    """Nouns that describe the one after them, and words that are a thing or a look: a can, pretty."""
    if at.word in MODIFIER_NOUNS and at.after == "JJ":
        return "JJ"  # "a porcelain old woman"
    is_pair = at.next == "and" and at.tag_at(2) == "JJ" and at.tag_at(3) in NOUN
    if at.tag == "NN" and at.word.endswith("ic") and is_pair and not is_in_lexicon(at.word) and at.word not in LISTED:
        return "JJ"  # "masonic and kabbalistic symbols"
    is_inside = at.tag == "NN" and at.before in ("DT", "JJ") and at.after == "JJ" and at.tag_at(2) in NOUN
    if is_inside and at.word.endswith(_DESCRIBING_ENDS) and at.word not in LISTED and not is_heard(at.word):
        return "JJ"  # "a cute anthromorphic white rabbit"
    is_bare = at.before == "IN" and at.last in ("with", "of") and at.tag == "NN" and at.after == "JJ"
    if is_bare and at.word in _KINDS and at.tag_at(2) in NOUN:
        return "JJ"  # "with human blue eyes"
    return _noun_too(at) if at.word in _NOUNS_TOO else None


def colour(at: Place) -> str | None:
    """Colours, their shades and words that look like one; words before "lit" and "covered"."""
    word, after = at.word, at.after
    if word in _FRUITS and at.before == "DT" and after == "CC" and at.tag_at(2) in ("DT", "CD", "PRP$"):
        return "NN"  # "half a lemon and two eggs"
    ends_thing = after not in (*NOUN, *ADJECTIVE, "CC")
    if word in COLOURS_OF_HAIR and at.before in ("DT", "JJ", "PRP$", "CD") and ends_thing:
        return "NN"  # "a gorgeous blonde"
    if word in _COLOURS and (after in (*NOUN, "JJ", "CC") or at.tag not in NOUN):
        return "JJ"
    if _is_in_shade_of_two(at):
        return "JJ"
    if (word in COLOUR_NOUNS and _is_shade(at)) or _is_before_colour(at):
        return "JJ"
    if word == "neon" and at.next in _COLOURS:
        return "JJ"
    if at.next == "lit" and at.tag in NOUN and after not in NOUN:
        return "JJ"  # "a room that is candle lit"
    is_done = at.tag == "VBN" and at.last not in _DOERS and word not in _CALLED
    if is_done and after in ("NN", "NNS") and at.before == "NN" and _is_behind_one(at):
        return "JJ"  # "a battery powered toy"
    if word in MEASURED and at.last in BODY_PARTS and after in (*NOUN, "JJ"):
        return "JJ"  # "thigh high leather boots"
    describes = after in (*NOUN, "JJ") or (after == "VBG" and at.tag_at(2) in (*NOUN, "JJ"))
    if word in SUFFIX_ADJECTIVES and at.before in ("NN", "JJ") and describes:
        return "JJ"  # "dew covered blooming flower"
    return None


_DOERS = ANIMATE | BODY_PARTS | SCENE_NOUNS
_CALLED = word_set("named called titled entitled nicknamed dressed aged left")


def thing_of_one_kind(at: Place) -> str | None:
    """The noun that ends a compound, after the one that says of which kind: a dog house, a monkey wrench.

    A single subject takes no verb in its plain form, and a verb that needs an object has one after it. What people
    write nevertheless, as in "a girl dance on the beach", stays a verb.
    """
    word, after = at.word, at.after
    if word in _LOOKS_TOO and at.tag == "JJ" and at.before in ("NN", "JJ") and after in ("IN", ".", "CC", "VBZ", "VBG"):
        is_listed = at.next == "," and at.tag_at(2) in ADJECTIVE
        return "NN" if not is_listed and (at.before == "NN" or _is_behind_one(at)) else None
    if at.tag == "JJR" and at.before == "NN" and at.next != "than" and _is_doer(word) and _is_behind_one(at):
        return "NN"  # "a lion tamer"
    is_bare = at.tag in ("VB", "VBP") and word not in KNOWN_VERBS and word not in _ONLY_DONE
    is_end = after in ("IN", ".", "CC", "VBZ", "VBG") or FINITE.get(at.next, at.next) != at.next
    is_thing = is_bare or (word in _NEED_OBJECTS and at.last in ANIMATE)
    return "NN" if is_thing and at.before == "NN" and is_end and _is_behind_one(at) else None


def _is_doer(word: str) -> bool:
    """Whether a word that may be a comparative is instead a person who does what its stem says: tamer."""
    return word.endswith("er") and tag_in_lexicon(f"{word[:-2]}ing") == "VBG"


_ONLY_DONE = word_set("live stay know want find hear feel win lose fail obtain rely complain recover happen")
_ONE = word_set("a an one another each")
# only looks in the lexicon, but after a noun a thing or a person: a horse stable, a navy seal captive
_LOOKS_TOO = word_set(
    "stable general private chief senior junior native republican communist savage cardinal missionary auxiliary "
    "plush mercenary convertible orderly professional civilian sovereign intellectual captive inferno net"
)
_NEED_OBJECTS = word_set("house plant trap tower pack box sled cover frame park toy bed collar tag track crossing")


def _is_behind_one(at: Place) -> bool:
    """Whether nouns and adjectives stand before a word, and before them an article."""
    i = at.i - 1
    while i >= 0 and at.tags[i] in ("NN", "JJ"):
        i -= 1
    return i >= 0 and at.words[i] in _ONE


def thing_of_phrase(at: Place) -> str | None:
    """What stands bare after a preposition, or last in a list."""
    is_thing = at.tag in ("VB", "VBP", "VBZ") and at.after not in (*ADJECTIVE, "RB") and at.word not in _NO_THINGS
    is_handed_out = at.last == "out" and at.tag_at(-2) in ("VB", "VBZ")
    if at.before == "IN" and (at.last in _BEFORE_THINGS or is_handed_out) and is_thing:
        return "NNS" if at.tag == "VBZ" else "NN"  # "cleaning the house with mop", "a portrait with ram skull"
    ends_list = at.before == "CC" and at.after == "."
    if ends_list and at.word.endswith("s") and at.tag in ("VBZ", "NNS") and _is_listed(at):
        return "NNS"  # "lines and sparkles, roots"
    return None


def adjective_that_is_a_thing(at: Place) -> str | None:
    """What the lexicon takes for an adjective, often by its ending, though no noun follows."""
    if at.tag != "JJ":
        return None
    word, before, after = at.word, at.before, at.after
    is_bare = before in (".", ",", "CC") and after in ("IN", "VBG", "VBZ", "VB") and at.i + 1 < len(at.words)
    if word in PEOPLES and is_bare:
        return "NN"  # ", italian with scary masks"
    if word in ANIMATE and before == "DT" and after not in (*NOUN, *ADJECTIVE, "CC"):
        return "NN"  # "a fairy riding a heron"
    begins_thing = before in ("DT", "JJ", "PRP$", "CD")
    if word in _LOOKS_TOO and before in ("DT", "PRP$") and after in _ENDS_PHRASE and at.tag_at(2) not in ADJECTIVE:
        return "NN"  # "kept in a stable, in the air"
    if after not in (*NOUN, "JJ", "CC") and begins_thing and _is_thing(word):
        return "NN"  # "a brown bulldog", "a treeless plain"
    if after in _ENDS_PHRASE and _is_object(at) and _has_plural(at):
        return "NN"  # "a rainbow appears"
    if before == "DT" and not is_in_lexicon(word) and at.next == "," and at.word_at(2) in ("a", "an", "the"):
        return "NN"  # "a barge, a sundial, a tractor": guessed by its ending, one of a list
    if "-" in word and _ends_in_noun(word) and begins_thing and after in _ENDS_PHRASE:
        return "NN"  # "a black eye-patch"
    if before in ("DT", "PRP$") and after in (".", "IN", "WRB") and at.next != "," and at.last not in ("all", "both"):
        return "NN"  # "his net", but "all messy after a fight"
    return None


def _likens(at: Place, distance: int) -> bool:
    """Whether "like" at a distance joins two nouns to one: none but the first has an article.

    The second noun may itself have a noun in front: "fever like dream creature".
    """
    i = at.i + distance
    if at.word_at(distance) != "like" or i < 1 or at.tags[i - 1] not in ("NN", "JJ"):
        return False
    start = next((k for k in range(i - 2, -1, -1) if at.tags[k] not in ("NN", *ADJECTIVE)), -1)
    likened = at.word_at(distance + 1 + (at.tag_at(distance + 1) == "NN" and at.tag_at(distance + 2) == "NN"))
    return likened in _LIKENED and (start < 0 or at.tags[start] in ("DT", "."))


_LIKENED = ANIMATE | GENERIC | PERSONS


def _is_first_of_name(at: Place) -> bool:
    """Whether the word before is a first name, or one that is no word and begins a phrase: "melina kanakaredes"."""
    begins = at.tag_at(-2) not in (*NOUN, *ADJECTIVE)
    is_no_word = at.last.isalpha() and not is_heard(at.last) and not is_in_lexicon(at.last.capitalize())
    return is_first_name(at.last) or (begins and is_no_word)


def _has_singular(word: str) -> bool:
    return any(is_heard(form) for form in (word, word[:-1]))


def _is_listed(at: Place) -> bool:
    """Whether "and" joins a word to a plural noun, which takes no verb in -s."""
    is_thing = at.tag_at(-2) == "NNS"
    return is_thing and (at.word_at(-2) not in FINITE or at.tag_at(-3) in ("DT", "JJ", "CD", "PRP$"))


def _ends_in_noun(word: str) -> bool:
    """Whether the last part of a compound is nothing but a noun: eye-patch, but not blue-eyed or low-key."""
    last = word.rpartition("-")[2]
    return tag_in_lexicon(last) == "NN" or last in _LISTED_NOUNS


_LISTED_NOUNS = NOUNS | SCENE_NOUNS | PLACE_NOUNS
_ENDS_PHRASE = ("VBZ", "IN", "WRB", ".")
_OFTEN = 4.0  # Zipf value of an adjective that stands beside any word
_USED = 2.5  # Zipf value of a plural that the lexicon lacks


def _is_object(at: Place) -> bool:
    """Whether an article and no noun stands before a word: "a large giant", but not "crazy hot"."""
    i = at.i
    while i > 0 and at.tags[i - 1] == "JJ":
        i -= 1
    return i > 0 and at.tags[i - 1] in ("DT", "PRP$")


def _has_plural(at: Place) -> bool:
    """Whether people use a plural of a word, and no comma follows it: "a light, airy room"."""
    plural = f"{at.word}s"
    is_used = tag_in_lexicon(plural) in ("NNS", None) and zipf(plural) >= _USED
    is_listed = at.word in ADJECTIVES and at.word not in NOUNS
    return is_used and not is_listed and at.next != ","


_DESCRIBING_ENDS = (
    *("ed", "ing", "ful", "ous", "ish", "ic", "ive", "less", "able", "ible", "al", "y", "ern", "ant", "ent", "like"),
    *("er", "est", "ile", "ary", "ory", "ane", "ine", "ese", "ian"),
)


def _is_one(at: Place) -> bool:
    """Whether "a" stands before a word, or before what is said of its size or of how it was cut."""
    is_said = at.last in CONFLICT_GROUPS["size"] or at.last in OF_FRUITS
    return at.word_at(-2 if is_said else -1) in ("a", "an")


def _is_thing(word: str) -> bool:
    """Whether a word that the lexicon lacks, and takes for an adjective, does not end like one."""
    if word in SCENE_NOUNS:
        return True
    is_listed = word in LISTED or is_in_lexicon(word) or "-" in word
    return not is_listed and not word.endswith(_DESCRIBING_ENDS)


def _is_object_set(at: Place) -> bool:
    """Whether "set" before a preposition is a thing: "a chess set on a table", but not "a story set in rome"."""
    return at.after == "IN" and (at.next in ("with", "of") or at.last in NOUNS)


def _noun_too(at: Place) -> str | None:
    """The tag of a word with a second life: a can, a head, pretty girl, a lid opening; None where the rest decides."""
    before, after = at.before, at.after
    is_last = after in (".", ",", "IN", "CC", "VBG", "VB", "VBZ", "WRB", "RB")
    if at.word == "can":
        return "NN" if before in ("DT", "JJ", "NN", "CD") and is_last and at.next != "be" else None
    if at.word == "head":
        return None if after in ("IN", "TO") and before in ("PRP", "NNS", "VB") else "NN"
    if at.word == "pretty":
        return "JJ" if after in (*NOUN, "JJ", "VBN", "VBD", "VBG") else at.tag
    if at.word == "opening":
        return "VBG" if before in ("NN", "NNP", "NNS", "VB", "RB") else None
    if at.next in ("and", "or") and at.word_at(2) in _NOUNS_TOO and at.tag_at(3) in NOUN:
        return None  # "male and female dancers"
    is_last = is_last or (after == "VBN" and at.tag_at(2) == "IN")  # "a female dressed in red"
    return "NN" if is_last and before in ("DT", "JJ", "IN", "CD", "PRP$", ",", ".", "CC") else None


def _is_in_shade_of_two(at: Place) -> bool:
    """Whether a word is one of two that name a shade of the colour after them: "a fire engine red lipstick"."""
    return (at.next in _COLOURS and f"{at.last} {at.word}" in SHADES_OF_TWO) or (
        at.word_at(2) in _COLOURS and f"{at.word} {at.next}" in SHADES_OF_TWO
    )


_SHADED = _COLOURS | CONFLICT_GROUPS["hair"].keys()


def _is_shade(at: Place) -> bool:
    """Whether a noun names the shade of the colour after it: "a sky blue kettle"."""
    return at.next in _SHADED and at.tag_at(2) in (*NOUN, "JJ")


def _is_before_colour(at: Place) -> bool:
    """Whether an article, a noun, a colour and a noun are one phrase: "a peacock blue sari", "a judo white belt"."""
    is_coloured = at.next in _COLOURS and at.tag_at(2) in ("NN", "NNS")
    is_phrase = at.tag == "NN" and at.last in ("a", "an") and is_coloured
    return is_phrase and at.word not in _NO_SHADES and at.word_at(2) not in ("background", "backdrop")


_NO_SHADES = ANIMATE | PLACE_NOUNS | SCENE_NOUNS | STYLE_WORDS
