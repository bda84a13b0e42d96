"""Rules that correct a lexicon's tags for what captions do: verbs in -ing and -s that it takes for nouns, and more."""

import re
from collections.abc import Iterator, Sequence
from functools import cache

from worker.cache.decisions import vocabulary as v
from worker.cache.decisions.english_lexicon import FINITE, is_first_name, is_in_lexicon, tag_in_lexicon
from worker.cache.decisions.spelling import is_known, zipf
from worker.cache.decisions.words import ADJECTIVE, NOUN

_NUMBER = re.compile(r"[\d.,:]+(st|nd|rd|th)?")
_DECADE = re.compile(r"(?:1\d|20)?\d0'?s")
_TYPE_NUMBER = re.compile(r"(?!(?:mid|pre|post|late|early)-)[a-z]+\d*-\d[a-z\d]*(?<!\ds)|[a-z]+\d+-[a-z]+\d*")  # bb-8
_LONGEST_NAME_IN_ING = 4  # letters
_GUESSED = re.compile(r"\w+(?<!ic|on|in|nt|rn|ur|or|id|iv)(?<!i)al")
_HEARD_OF = 3.6  # Zipf value
_DECADES = v.word_set("twenties thirties forties fifties sixties seventies eighties nineties")
_PERIOD = "PERIOD"
_CONTRACTED = re.compile(r"'(?:ve|re|ll|m|d)$|n't$")
_STARTS_OBJECT = ("DT", "PRP$", "IN", "RB", "PRP", "TO", "CD")


def correct(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """The lexicon's tags, corrected for captions; `words` in the case that they were written in."""
    lower = [word.lower() for word in words]
    fixed = [_by_word(word, original, tag) for word, original, tag in zip(lower, words, tags, strict=True)]
    named = set(_people(lower))
    for i in named:
        fixed[i] = "NNP"
    for i in range(len(fixed)):
        before = fixed[i - 1] if i else ","
        after = fixed[i + 1] if i + 1 < len(fixed) else "."
        if i not in named:
            fixed[i] = _by_context(lower, fixed, i, before, after)
    return fixed


def _people(lower: Sequence[str]) -> Iterator[int]:
    """The places of words that are somebody's name, though they are ordinary words: bruno mars, will smith."""
    for i, word in enumerate(lower):
        for name in v.PEOPLE_BY_FIRST_WORD.get(word, ()):
            if tuple(lower[i : i + len(name)]) == name:
                yield from range(i, i + len(name))
        if word in _TITLES and lower[i + 1 : i + 2] and lower[i + 1].isalpha() and lower[i + 1] not in v.FUNCTION_TAGS:
            yield from range(i, i + 2)  # "dr strange"
        if lower[i + 1 : i + 2] == ["the"] and not _BEINGS.isdisjoint(lower[i + 2 : i + 3]) and _is_nobodys_word(word):
            yield from range(i, i + 3)  # "pepe the frog"


_TITLES = v.word_set("dr mr mrs ms")
_BEINGS = v.ANIMATE | v.SOMEBODY


def _is_nobodys_word(word: str) -> bool:
    is_word = is_known(word) or is_in_lexicon(word) or word in FINITE or word in v.FUNCTION_TAGS
    return word.isalpha() and not is_word and not word.endswith(("s", "ed"))


def _by_word(word: str, original: str, tag: str) -> str:
    """A tag that the word alone decides."""
    if word in v.FUNCTION_TAGS:
        return v.FUNCTION_TAGS[word]
    if not word[:1].isalnum():
        return tag if tag in ("POS", "CC") else "."
    if _NUMBER.fullmatch(word):
        return "CD"
    if _DECADE.fullmatch(word) or word in _DECADES:
        return _PERIOD
    if _CONTRACTED.search(word):
        return "VB"
    if original[0].isupper() and tag in ("NNP", "NNPS"):
        return "NNP"
    for tag_of_list, words in _LISTS:
        if word in words:
            return "NNS" if tag_of_list == "NN" and _is_plural(word) else tag_of_list
    if original.islower() and not word.endswith(("ing", "ly")) and (of_parts := _by_parts(word)):
        return of_parts
    if tag in ("NNP", "NNPS", "FW", "UH", "SYM", "LS", "MD", "EX"):
        return "NN"
    is_verb = tag in ("VB", "VBP", "VBZ", "VBD")
    if is_verb and word not in FINITE and not is_in_lexicon(word) and is_in_lexicon(word.capitalize()):
        return "NN"  # lake louise: the lexicon guesses by the ending
    if tag == "RB" and word.endswith("ly") and not is_in_lexicon(word) and is_in_lexicon(word.capitalize()):
        return "NN"  # billy
    if tag == "VBG" and len(word) <= _LONGEST_NAME_IN_ING and not is_in_lexicon(word):
        return "NN"  # ming
    if tag == "JJ" and _GUESSED.fullmatch(word) and not is_in_lexicon(word) and zipf(word) < _HEARD_OF:
        return "NN"  # mohanlal, taj mahal: the lexicon takes any unknown word in -al for an adjective
    if _TYPE_NUMBER.fullmatch(word):
        return "NN"
    if "-" in word and word.endswith("s") and tag not in NOUN:
        return "NNS"
    if "-" in word and not word.endswith("s"):
        return "JJ" if tag not in NOUN or word.endswith(("ed", "ing")) else tag
    return tag if tag[:1].isalpha() else "NN"


@cache
def _by_parts(word: str) -> str | None:
    """The tag of a word that nobody lists but whose parts are words: anglerfish, ultrafine, grungy; else None."""
    if not word.isalpha() or is_known(word) or is_in_lexicon(word) or is_in_lexicon(word.capitalize()):
        return None
    if word.endswith("y") and "NN" in (_tag_in_lists(word[:-1]), _tag_in_lists(f"{word[:-1]}e")):
        return "JJ"
    for i in range(_SHORTEST_PART, len(word) - _SHORTEST_END + 1):
        tag, has_prefix = _tag_in_lists(word[i:]), word[:i] in _PREFIXES
        if (tag == "JJ" and has_prefix) or (tag in ("NN", "NNS") and (has_prefix or _tag_in_lists(word[:i]))):
            return tag
    return None


def _tag_in_lists(word: str) -> str | None:
    """The tag of a word of four letters or more by the lists and the lexicon; None if neither has it."""
    if len(word) < _SHORTEST_END:
        return None
    listed = next((tag for tag, words in _LISTS if word in words), None)
    return listed or tag_in_lexicon(word)


_SHORTEST_PART, _SHORTEST_END = 3, 4  # letters
_PREFIXES = v.word_set("alter anti hyper mega micro mini multi neo over post semi sub super tri ultra uni")


def _is_plural(word: str) -> bool:
    return word.endswith("s") and v.SINGULARS.get(word) != word and not word.endswith(("ss", "us", "is"))


_LISTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("CD", v.COUNTS),
    ("JJ", v.ADJECTIVES),
    ("NN", v.NOUNS | v.SCENE_NOUNS | v.PLACE_NOUNS),
    ("RB", v.ADVERBS),
)


def _by_context(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> str:
    """A tag that the neighbours decide; `tags` are corrected up to i."""
    word, tag = lower[i], tags[i]
    if (word == "like" and _likens(lower, tags, i)) or (after == "IN" and _likens(lower, tags, i + 1)):
        return "JJ"  # "a jellyfish like creature"
    if (
        tag == "JJ"
        and word in v.FRUITS
        and _is_one(lower, i)
        and after in ("IN", ".", "NNS", "VB", "VBZ", "RB", "WRB", "TO")
    ):
        return "NN"  # "an orange on a table"; what looks like a plural behind "an orange" is a verb
    if tag == "NNS" and before in ("NN", "NNP") and is_first_name(lower[i - 1]) and not _has_singular(word):
        return "NNP"  # "christina hendricks"
    if tag == _PERIOD:
        return "JJ" if after in NOUN else "."  # "a 1950s diner"; a decade alone is no thing
    if word in ("take", "takes", "taking", "took", "place") and _takes_place(lower, i):
        return "VB"
    if word in FINITE and word not in _BASES and i and lower[i - 1] in ("this", "that"):
        return "VB"  # "this shows": no plural stands behind "this"
    if word == "half" and before in NOUN and after in ("VBN", "VBD", "JJ"):
        return "RB"  # "pyramids half built"
    if FINITE.get(word) in v.VERBS_OR_NOUNS and before in (",", ".", "CC") and after in ("DT", "PRP$"):
        return "VB"  # "craft a visual", "and waves her hand"
    if word.endswith("s") and word in FINITE and _is_joined_verb(lower, tags, i, before, after):
        return "VB"  # "looks at the camera and smiles"
    if word in _TURNS and i + 1 < len(lower) and lower[i + 1] in v.CONFLICT_GROUPS["colour"]:
        return "VB"  # "the leaf that was green turns yellow"
    if word in _REQUESTS and (i == 0 or before == ".") and after in _STARTS_THING:
        return "VB"  # "animate the girl"
    if word in FINITE and i and lower[i - 1] in _BEING and lower[i + 1 : i + 2] == ["by"]:
        return "VBN"  # "is being attack by a kraken"
    if i + 1 < len(lower) and f"{word} {lower[i + 1]}" in v.COMPOUNDS and after in NOUN:
        return tag if tag == "JJ" else "NN"
    if i and f"{lower[i - 1]} {word}" in v.COMPOUNDS and before in NOUN:
        return "NN"  # "a food stand"
    is_noun_too = FINITE.get(word) in v.VERBS_OR_NOUNS or word == "flies"
    if before == "VBG" and is_noun_too and lower[i - 1] in v.TRANSITIVE_ING:
        return "NNS" if word.endswith("s") else "NN"  # "catching flies"
    if word in v.POINTS_OF_THE_COMPASS and tag == "RB" and after in NOUN:
        return "NN"  # "south africa"
    if word == "super" and after in NOUN:
        return "JJ"  # "a super villain", but "a super cute cat"
    if word == "well" and before in ("DT", "PRP$") and after not in ("JJ", "VBN", "VBD", *NOUN):
        return "NN"  # "out of a well"
    if word == "set" and before in NOUN and (after in (".", "CC") or _is_object_set(lower, i, after)):
        return "NN"  # "a film set", "a lego set with a box"
    if word == "saw" and before in (*NOUN, "PRP") and after in ("DT", "PRP$", "PRP"):
        return "VB"
    if i and lower[i - 1] in _MODALS and (word in FINITE or tag == "VB"):
        return "VB"  # "they would stage a mock trial"
    if word in v.MODIFIER_NOUNS and after == "JJ":
        return "JJ"  # "a porcelain old woman"
    is_bare = before == "IN" and lower[i - 1] in ("with", "of") and tag == "NN" and after == "JJ"
    if is_bare and word in _KINDS and tags[i + 2 : i + 3] and tags[i + 2] in NOUN:
        return "JJ"  # "with human blue eyes"
    if word in _NOUNS_TOO and (found := _noun_too(lower, tag, i, before, after)):
        return found
    if word.endswith("ing") and i + 1 < len(lower) and (found := _ing_before_noun(lower, i, before, after)):
        return found
    if word in v.ING_NOUNS and word.removesuffix("ing") in _BASES and before in (",", ".") and after in ("DT", "PRP$"):
        return "VBG"  # ", offering a view"
    acts = before == "NNS" and lower[i - 1] not in v.PLURAL_MODIFIERS  # "clouds gathering"
    if word in v.ING_NOUNS and tag == "VBG" and before in (*NOUN, "JJ", "DT") and not acts:
        return "NN"  # "a zebra crossing"
    if word.endswith("ing") and word not in v.ING_NOUNS and len(word) > 4 and tag not in ("NNP", "IN"):
        return _ing(lower, i, before, after)
    if word in _FRUITS and before == "DT" and after == "CC" and _starts_thing(tags, i + 2):
        return "NN"  # "half a lemon and two eggs"
    if word in v.COLOURS_OF_HAIR and before in ("DT", "JJ", "PRP$", "CD") and after not in (*NOUN, *ADJECTIVE, "CC"):
        return "NN"  # "a gorgeous blonde"
    if word in v.CONFLICT_GROUPS["colour"] and (after in (*NOUN, "JJ", "CC") or tag not in NOUN):
        return "JJ"
    if _is_in_shade_of_two(lower, i):
        return "JJ"
    if (
        word.endswith("s")
        and word in FINITE
        and before == "NN"
        and after in _BEHIND_VERB
        and _is_of_subject(lower, tags, i)
    ):
        return "VB"  # "a woman with red hair smiles"
    if (word in v.COLOUR_NOUNS and _is_shade(lower, tags, i)) or _is_before_colour(lower, tags, i):
        return "JJ"
    if word == "neon" and lower[i + 1 : i + 2] and lower[i + 1] in v.CONFLICT_GROUPS["colour"]:
        return "JJ"
    if lower[i + 1 : i + 2] == ["lit"] and tag in NOUN and after not in NOUN:
        return "JJ"  # "a room that is candle lit"
    if (
        word in v.SUFFIX_ADJECTIVES
        and before in ("NN", "JJ")
        and (after in (*NOUN, "JJ") or (after == "VBG" and tags[i + 2 : i + 3] and tags[i + 2] in (*NOUN, "JJ")))
    ):
        return "JJ"  # "dew covered blooming flower"
    if i and lower[i - 1] in ("to", "that", "who", "which") and word in FINITE and after != "IN":
        return "VB"
    if i > 1 and lower[i - 1] == "to" and lower[i - 2] in _LEADS_TO_VERB and tag in (*NOUN, "VB", "VBP"):
        return "VB"  # "about to fall on", "used to ravage"
    is_thing = tag in ("VB", "VBP", "VBZ") and after not in (*ADJECTIVE, "RB") and word not in _ONLY_VERBS
    if before == "IN" and lower[i - 1] in _BEFORE_THINGS and is_thing:
        return "NNS" if tag == "VBZ" else "NN"  # "cleaning the house with mop", "a portrait with ram skull"
    if before == "CC" and after == "." and word.endswith("s") and tag in ("VBZ", "NNS") and _is_listed(lower, tags, i):
        return "NNS"  # "lines and sparkles, roots"
    if tag in NOUN and word.endswith("s") and _is_done(lower, tags, i, before, after):
        return "VB"  # "a man steps out", "the being that controls"
    if before == "PRP" and lower[i - 1] in _SUBJECTS and (word in FINITE or tag in ("VBN", "VBD")):
        return "VB"
    if i and lower[i - 1] in _ANYBODY and (word in FINITE or tag == "NNS"):
        return "VB"  # "the car that everyone dreams of"
    if word in _CALLED and before in (*NOUN, "VBG", ",", "."):
        return "VB"
    if word in v.VERBS_OR_NOUNS and before in NOUN and (after in ("DT", "PRP$") or lower[i + 1 : i + 2] == ["each"]):
        return "VB"  # "an elephant at forest fight a tiger"
    is_pure = word.endswith("s") and FINITE.get(word, "") in v.VERBS - v.VERBS_OR_NOUNS
    if is_pure and tag == "VBZ" and before == "JJ" and after in ("IN", "DT", "PRP$", "RB"):
        return "VB"  # "optimus prime transforms in"
    if word in FINITE and _acts(lower, tags, i, before, after):
        return "VB"
    if tag in ("VBN", "VBD") or (tag == "JJ" and word.endswith("ed")):
        return "JJ" if after in (*NOUN, "JJ") and before not in NOUN else "VBN"
    if word in FINITE and before in (*NOUN, "RB", "PRP", "WRB", "CC", "VB"):
        return _finite(lower, tags, i, before, after)
    if tag in ("VB", "VBP", "VBZ") and before in ("DT", "JJ", "PRP$", "CD") and word not in v.FUNCTION_TAGS:
        return "NN"
    if tag in ("VB", "VBP", "VBZ") and word not in FINITE and word not in v.FUNCTION_TAGS and before in (",", "."):
        return tag if after in _STARTS_OBJECT else "NNS" if word.endswith("s") else "NN"
    if tag == "JJ" and word in v.ANIMATE and before == "DT" and after not in (*NOUN, *ADJECTIVE, "CC"):
        return "NN"  # "a fairy riding a heron"
    if tag == "JJ" and after not in (*NOUN, "JJ", "CC") and before in ("DT", "JJ", "PRP$", "CD") and _is_thing(word):
        return "NN"  # "a brown bulldog", "a treeless plain"
    if tag == "JJ" and after in _ENDS_PHRASE and _is_object(tags, i) and _has_plural(lower, i):
        return "NN"  # "a rainbow appears"
    if tag == "JJ" and before == "DT" and not is_in_lexicon(word) and _starts_next_thing(lower, i + 1):
        return "NN"  # "a barge, a sundial, a tractor": guessed by its ending
    is_compound = tag == "JJ" and "-" in word and _ends_in_noun(word)
    if is_compound and before in ("DT", "JJ", "PRP$", "CD") and after in _ENDS_PHRASE:
        return "NN"  # "a black eye-patch"
    if tag == "JJ" and before in ("DT", "PRP$") and after in (".", "IN", "WRB") and lower[i + 1 : i + 2] != [","]:
        return "NN"  # "his net"
    if tag == "NNS" and before in ("NN", "NNP") and after in ("DT", "PRP$"):
        return "VBZ"
    return tag


def _likens(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether "like" at i joins two nouns to one: no article stands behind it, and one before the first."""
    if lower[i : i + 1] != ["like"] or i < 1 or lower[i + 1 : i + 2] == [] or tags[i - 1] not in ("NN", "JJ"):
        return False
    start = next((k for k in range(i - 2, -1, -1) if tags[k] not in ("NN", *ADJECTIVE)), -1)
    return lower[i + 1] in _LIKENED and (start < 0 or tags[start] in ("DT", "."))


_LIKENED = v.ANIMATE | v.GENERIC | v.PERSONS


def _has_singular(word: str) -> bool:
    return any(is_known(form) or is_in_lexicon(form) for form in (word, word[:-1]))


_ONLY_VERBS = (v.VERBS - v.VERBS_OR_NOUNS) | v.FUNCTION_TAGS.keys()
_BEFORE_THINGS = v.word_set("with without of from by into under behind near beside between against")


def _is_done(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> bool:
    """Whether a noun in -s is the verb that its form may be, for what stands before it does something."""
    if not _may_be_verb(lower[i]):
        return False
    if lower[i - 1] in ("that", "who", "which", "it", "he", "she"):
        return after not in ("VB", "VBZ", "VBP")
    is_somebody = before == "NN" and lower[i - 1] in v.ANIMATE and i > 1 and tags[i - 2] in ("DT", "JJ", "PRP$")
    return is_somebody and (after in ("DT", "PRP$", "TO") or lower[i + 1 : i + 2] in _PARTICLES)


@cache
def _may_be_verb(word: str) -> bool:
    """Whether the lexicon has the participles of a word without its -s or -es: stepping and stepped for steps."""
    stems = [word[:-1], *([word[:-2]] if word.endswith("es") else [])]
    participles = (
        (f"{stem}ing", f"{stem}ed") for base in stems for stem in (base, base.removesuffix("e"), base + base[-1:])
    )
    return any(tag_in_lexicon(ing) == "VBG" and tag_in_lexicon(ed) in ("VBN", "VBD") for ing, ed in participles)


_PARTICLES = [[particle] for particle in ("out", "up", "down", "off", "away", "into", "onto", "through", "over")]


def _is_listed(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether "and" joins what stands at i to a thing in the plural, of which no verb in -s is said."""
    is_thing = i > 1 and tags[i - 2] == "NNS"
    return is_thing and (lower[i - 2] not in FINITE or (i > 2 and tags[i - 3] in ("DT", "JJ", "CD", "PRP$")))


def _starts_next_thing(lower: Sequence[str], i: int) -> bool:
    """Whether a comma and an article stand at i: what stands before is a thing of a list."""
    return lower[i : i + 1] == [","] and lower[i + 1 : i + 2] in (["a"], ["an"], ["the"])


def _ends_in_noun(word: str) -> bool:
    """Whether the last part of a compound is nothing but a noun: eye-patch, but not blue-eyed or low-key."""
    last = word.rpartition("-")[2]
    return tag_in_lexicon(last) == "NN" or last in v.NOUNS | v.SCENE_NOUNS | v.PLACE_NOUNS


_ENDS_PHRASE = ("VBZ", "IN", "WRB", ".")
_USED = 2.5  # Zipf value of a plural that the lexicon lacks


def _is_object(tags: Sequence[str], i: int) -> bool:
    """Whether an article and no noun stands before i: "a large giant", but not "crazy hot"."""
    while i > 0 and tags[i - 1] == "JJ":
        i -= 1
    return i > 0 and tags[i - 1] in ("DT", "PRP$")


def _has_plural(lower: Sequence[str], i: int) -> bool:
    """Whether people use a plural of the word at i, and no comma stands behind it: "a light, airy room"."""
    plural = f"{lower[i]}s"
    is_used = tag_in_lexicon(plural) in ("NNS", None) and zipf(plural) >= _USED
    is_listed = lower[i] in v.ADJECTIVES and lower[i] not in v.NOUNS
    return is_used and not is_listed and lower[i + 1 : i + 2] != [","]


_DESCRIBING_ENDS = (
    *("ed", "ing", "ful", "ous", "ish", "ic", "ive", "less", "able", "ible", "al", "y", "ern", "ant", "ent", "like"),
    *("er", "est", "ile", "ary", "ory", "ane", "ine", "ese", "ian"),
)


def _is_joined_verb(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> bool:
    """Whether a word in -s is what somebody does next: "enters a bar, orders whiskey and lights a cigarette"."""
    if before not in ("CC", "."):
        return False
    start = next((k + 1 for k in range(i - 1, -1, -1) if lower[k] in _SENTENCE_ENDS), 0)
    acts = [k for k in range(start, i - 1) if tags[k] == "VB" and lower[k].endswith("s") and lower[k] in FINITE]
    if not acts:
        return False
    is_next = lower[i - 1] in ("and", "then") or (lower[i - 1] == "," and after in (*_STARTS_OBJECT, "JJ", *NOUN))
    if after in (*_STARTS_OBJECT, "VBG"):
        return is_next
    if after in (*NOUN, "JJ"):
        return is_next and tags[i - 2] not in ("NNS", "JJ")  # no noun in the plural stands before another
    done = tags[acts[-1] + 1 : i - 1]  # what the verb before does it to: one thing, not the first of a list
    is_one_thing = not done or (tags[i - 2] in ("RB", "NN", "NNP", "PRP") and not _ONE.isdisjoint(done))
    return is_next and is_one_thing and after == "."


_ONE = frozenset(("DT", "PRP$", "PRP", "RB"))
_SENTENCE_ENDS = (".", ";", "!", "?")


def _is_one(lower: Sequence[str], i: int) -> bool:
    """Whether "a" stands before a word, or before what is said of its size or of how it was cut."""
    said = lower[i - 1] in v.CONFLICT_GROUPS["size"] or lower[i - 1] in v.OF_FRUITS
    return lower[i - 1 - said] in ("a", "an") if i > said else False


def _is_thing(word: str) -> bool:
    """Whether a word that the lexicon lacks, and takes for an adjective, does not end like one."""
    if word in v.SCENE_NOUNS:
        return True
    is_listed = word in _LISTED or is_in_lexicon(word) or "-" in word
    return not is_listed and not word.endswith(_DESCRIBING_ENDS)


def _is_object_set(lower: Sequence[str], i: int, after: str) -> bool:
    """Whether "set" before a preposition is a thing: "a chess set on a table", but not "a story set in rome"."""
    return after == "IN" and (lower[i + 1] in ("with", "of") or lower[i - 1] in v.NOUNS)


def _takes_place(lower: Sequence[str], i: int) -> bool:
    pairs = (tuple(lower[i : i + 2]), tuple(lower[max(0, i - 1) : i + 1]))
    return any(len(pair) == 2 and pair[0].startswith(("tak", "took")) and pair[1] == "place" for pair in pairs)


_LEADS_TO_VERB = v.word_set(
    "about able ready used supposed try tries tried trying want wants wanted wanting begin begins began begun "
    "beginning start starts started starting continue continues continued need needs needed have has had learn learns "
    "learned learning decide decides decided refuse refuses refused attempt attempts attempting fail fails failed"
)
_REQUESTS = v.word_set(
    "create generate animate make show imagine draw visualize visualise depict illustrate craft produce "
    "showcase incorporate highlight feature capture include emphasize emphasise convey portray describe write add"
)
_TURNS = v.word_set("turn turns become becomes")
_BEING = frozenset(("being", "is", "are", "was", "get", "gets", "getting"))
_STARTS_THING = ("DT", "PRP$", "CD", "JJ", "VBG", "VBN", *NOUN)
_MODALS = v.word_set("would will could should must might may shall cannot can't cant don't dont doesn't doesnt")
_NOUNS_TOO = v.word_set("can uniform head pretty opening alien human robot android zombie skeleton chinese male female")
_CALLED = v.word_set("named called titled entitled known nicknamed")
_AGENTS = ("man", "woman", "ist", "boy", "girl")
_ANYBODY = v.word_set("everyone everybody someone somebody nobody anyone anybody everything something nothing")
_SUBJECTS = v.word_set("he she it they who i we you")


def _noun_too(lower: Sequence[str], tag: str, i: int, before: str, after: str) -> str | None:
    """The tag of a word with a second life: a can, a head, pretty girl, a lid opening; None where the rest decides."""
    word = lower[i]
    is_last = after in (".", ",", "IN", "CC", "VBG", "VB", "VBZ", "WRB", "RB")
    if word == "can":
        is_verb = lower[i + 1 : i + 2] == ["be"]
        return "NN" if before in ("DT", "JJ", "NN", "CD") and is_last and not is_verb else None
    if word == "head":
        return None if after in ("IN", "TO") and before in ("PRP", "NNS", "VB") else "NN"
    if word == "pretty":
        return "JJ" if after in (*NOUN, "JJ", "VBN", "VBD", "VBG") else tag
    if word == "opening":
        return "VBG" if before in ("NN", "NNP", "NNS", "VB") else None
    return "NN" if is_last and before in ("DT", "JJ", "IN", "CD", "PRP$", ",", ".", "CC") else None


def _acts(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> bool:
    """Whether what stands before a word does what the word says: "pikachu fights", "a girl feed a cat"."""
    if before not in ("NN", "NNP"):
        return False
    who = lower[i - 1]
    is_somebody = who in v.ANIMATE or not (who in _LISTED or (is_in_lexicon(who) and not who.endswith(_AGENTS)))
    if not is_somebody or (after in ("NNS", "NN") and lower[i] in _BASES and "and" not in lower[max(0, i - 4) : i]):
        return False
    if lower[i] in _BASES:
        if who not in v.ANIMATE and _is_object_of(tags, i - 1, lower):
            return False  # "with a yellow popper flower in its lapel"
        if after in ADJECTIVE and who in v.ANIMATE and tags[i + 2 : i + 3] and tags[i + 2] not in (".", "CC"):
            return True  # "a man walk slow on the beach"
        return after in ("DT", "PRP$", "IN", "RB") or (
            "and" in lower[max(0, i - 4) : i] and after in (*NOUN, "IN", "JJ", ".", ",")
        )
    ends = ("DT", "PRP$", "IN", "RB", "JJ", "PRP", "CD", "WRB", ".", ",", *NOUN)
    return after in ends and not _starts_compound(tags, i)


_CAUSES = v.word_set("make makes let lets see sees watch watches help helps have has")  # make napoleon walk


def _is_object_of(tags: Sequence[str], i: int, lower: Sequence[str]) -> bool:
    """Whether what ends at i is what somebody does something to, or what stands with it."""
    while i > 0 and tags[i] in (*NOUN, "JJ", "CD", "DT", "PRP$"):
        i -= 1
    does = (tags[i] == "VBG" and lower[i] in v.TRANSITIVE_ING) or (
        tags[i] == "VB" and lower[i] in FINITE.keys() - _CAUSES
    )
    return tags[i] == "IN" or does


def _starts_compound(tags: Sequence[str], i: int) -> bool:
    return i + 1 < len(tags) and tags[i + 1] in NOUN and i > 1 and tags[i - 2] == "NNP"


_KINDS = v.ANIMATE | v.CONFLICT_GROUPS["species"].keys()
_FRUITS = v.word_set("lemon lime olive orange tangerine rose violet lavender chestnut")
_BEHIND_VERB = (".", "IN", "RB", "DT", "PRP$", "TO", "CC")
_WORN = v.BODY_PARTS | v.CLOTHES
_REACH = 9  # words from what somebody wears back to "with" or "in"


def _starts_thing(tags: Sequence[str], i: int) -> bool:
    return i < len(tags) and tags[i] in ("DT", "CD", "PRP$")


def _is_in_shade_of_two(lower: Sequence[str], i: int) -> bool:
    """Whether a word is one of two that name a shade of the colour behind them: "a fire engine red lipstick"."""
    return any(
        " ".join(lower[k : k + 2]) in v.SHADES_OF_TWO
        and lower[k + 2 : k + 3]
        and lower[k + 2] in v.CONFLICT_GROUPS["colour"]
        for k in (i - 1, i)
        if k >= 0
    )


def _is_of_subject(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether what stands before i is part of somebody, or worn, who is the subject of a verb at i."""
    if lower[i - 1] not in _WORN:
        return False
    for joint in range(i - 2, max(0, i - _REACH), -1):
        if lower[joint] not in ("with", "in", "wearing") and tags[joint] not in (*_IN_PHRASE, "IN"):
            return False
        if lower[joint] in ("with", "in", "wearing") and tags[joint - 1] in NOUN and lower[joint - 1] in v.ANIMATE:
            return True
    return False


_IN_PHRASE = (*NOUN, *ADJECTIVE, "DT", "PRP$", "CD")
_SHADED = v.CONFLICT_GROUPS["colour"].keys() | v.CONFLICT_GROUPS["hair"].keys()


def _is_shade(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether a noun names the shade of the colour behind it: "a sky blue kettle"."""
    if not (i + 1 < len(lower) and lower[i + 1] in _SHADED):
        return False
    return i + 2 < len(lower) and tags[i + 2] in (*NOUN, "JJ")


def _is_before_colour(lower: Sequence[str], tags: Sequence[str], i: int) -> bool:
    """Whether an article, a noun, a colour and a noun are one phrase: "a peacock blue sari", "a judo white belt"."""
    if not (tags[i] == "NN" and i and lower[i - 1] in ("a", "an") and i + 2 < len(lower)):
        return False
    is_coloured = lower[i + 1] in v.CONFLICT_GROUPS["colour"] and tags[i + 2] in ("NN", "NNS")
    return is_coloured and lower[i] not in _NO_SHADES and lower[i + 2] not in ("background", "backdrop")


_NO_SHADES = v.ANIMATE | v.PLACE_NOUNS | v.SCENE_NOUNS | v.STYLE_WORDS


def _ing_before_noun(lower: Sequence[str], i: int, before: str, after: str) -> str | None:
    """The tag of a word in -ing that the noun behind it decides: a skipping rope, somebody lighting a candle."""
    following = lower[i + 1]
    is_doing = before in NOUN and lower[i - 1] in v.ANIMATE  # "a woman shopping clothes"
    if after in NOUN and ((lower[i] in v.ATTRIBUTIVE_ING and not is_doing) or _makes_one_thing(lower[i], following)):
        return "NN"
    if lower[i] in v.ING_NOUNS and before in NOUN and after in ("DT", "PRP$"):
        return "VBG"
    return None


def _makes_one_thing(word: str, noun: str) -> bool:
    return any((word, form) in v.ING_COMPOUNDS for form in (noun, noun.removesuffix("s"), noun.removesuffix("es")))


def _ing(lower: Sequence[str], i: int, before: str, after: str) -> str:
    """A word in -ing: a description before a noun ("flying cars"), else what the thing does."""
    if before == "CD" and after not in (*NOUN, "JJ"):
        return "VBG"  # "both laughing"
    if before == "JJ" and after in (",", ".") and lower[i] not in v.ING_NOUNS:
        return "VBG"  # "a dress white glittering,"
    if before == "JJ" and after in ("PRP", "DT", "PRP$", "IN", "WRB", "TO"):
        return "VBG"  # "a wounded elderly walking through snow"
    if lower[i - 1 : i] in (["more"], ["most"], ["less"], ["least"]) and after in NOUN:
        return "JJ"  # "the most amazing sword"
    if before in ("DT", "PRP$", "JJ", "CD"):
        return "JJ" if after in (*NOUN, "JJ", "VBG", "VBN", "VBD", "CD") else "NN"
    if lower[i] in v.TRANSITIVE_ING and before == "JJ" and lower[i - 1].endswith("-old"):
        return "VBG"
    follows_thing = before in (*NOUN, "WRB", "CC", "RB", "VBG", "VB", "PRP")
    if follows_thing or lower[i] in v.TRANSITIVE_ING or after not in (*NOUN, "JJ"):
        return "VBG"
    return "JJ"


def _finite(lower: Sequence[str], tags: Sequence[str], i: int, before: str, after: str) -> str:
    """A word that can be a verb in the present tense, after something that can be its subject."""
    word, tag = lower[i], tags[i]
    if word not in _BASES and (before == "NNP" or (lower[i - 1] in v.ANIMATE and before == "NN")):
        return "VB"
    is_plural_form = word in _BASES
    is_thing_too = FINITE[word] in v.VERBS_OR_NOUNS and not is_plural_form and word not in v.FUNCTION_TAGS
    if is_thing_too and before == "NN" and (after == "VBG" or (after not in _STARTS_OBJECT[:2] and _is_bare(tags, i))):
        return "NNS"  # "railway tracks going", "sparkles of water drops"
    if is_plural_form and before == "NNS" and lower[i - 1] not in v.PLURAL_MODIFIERS:
        return "VB"
    is_joined = is_plural_form and "and" in lower[max(0, i - 6) : i]
    plural_subject = (before == "NNS" and is_in_lexicon(lower[i - 1][:-1])) or is_joined
    plural_subject = plural_subject or (word in v.VERBS - v.VERBS_OR_NOUNS and _are_several(tags, i))
    if before == "NNS" and not is_plural_form and after in _STARTS_OBJECT and lower[i - 1] not in v.PLURAL_MODIFIERS:
        return "VB"  # "his eyes cries under the rain"
    if before == "RB" and lower[i - 1] in _HOW_OFTEN:
        return "VB"  # "a couple who always fights"
    if before in ("RB", "CC", "WRB", "VB", "PRP") and tag in NOUN and FINITE[word] in v.VERBS_OR_NOUNS:
        return "VB" if after in ("DT", "PRP$", "RB", "IN") and before in ("RB", "PRP") else tag
    if word in v.VERBS - v.VERBS_OR_NOUNS and after == "IN" and lower[i + 1] in _WHERETO and before == "NN":
        return "VB"  # "smoke flow out of a sphere"
    if before in NOUN and is_plural_form != plural_subject and word not in _BOTH_FORMS:
        return tag if tag in NOUN else "NN" if word in v.VERBS_OR_NOUNS else "VB"
    if FINITE[word] in v.VERBS_OR_NOUNS and after not in _STARTS_OBJECT:
        return tag if before in NOUN and tag in NOUN else "VB"
    if FINITE[word] in v.VERBS_OR_NOUNS and after == "IN" and lower[i] in v.SCENE_NOUNS | v.PLACE_NOUNS:
        return tag
    return "VB"


def _is_bare(tags: Sequence[str], i: int) -> bool:
    """Whether nouns and adjectives before i stand behind a preposition or a verb, without an article."""
    start = next((k for k in range(i - 1, -1, -1) if tags[k] not in ("NN", *ADJECTIVE)), -1)
    return start >= 0 and tags[start] in ("IN", "VBG")


_WHERETO = v.word_set("out through into onto over across down from off away towards toward")
_HOW_OFTEN = v.word_set("always never often sometimes usually constantly slowly quickly suddenly")


def _are_several(tags: Sequence[str], i: int) -> bool:
    """Whether the subject of what stands at i is a plural before a preposition: "the toys in the shop wake up"."""
    k = i - 1
    while k > 0 and tags[k] in ("NN", "JJ", "DT", "PRP$"):
        k -= 1
    return k > 0 and k < i - 2 and tags[k] == "IN" and tags[k - 1] == "NNS"


_BASES = v.VERBS | v.VERBS_OR_NOUNS
_LISTED = v.NOUNS | v.SCENE_NOUNS | v.PLACE_NOUNS | v.ADJECTIVES
_BOTH_FORMS = frozenset({"has", "have"})
