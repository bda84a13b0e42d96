"""Attributes that follow their noun, brought in front of it, so that they are read with it.

    "the zeppelin is red" · "a zeppelin painted red" · "a zeppelin that is red" · "a zeppelin in red"  →  "red zeppelin"
    "a green field with vertical bars"  →  "green barred field"

Only words that change a picture move: colours, patterns, sizes, ages, materials, light. The words must be tagged.
"""

from collections.abc import Sequence
from dataclasses import replace

from worker.prompts.english.lexicon import FINITE, is_first_name, is_heard
from worker.prompts.english.words import ADJECTIVE, NOUN, Word, ignore
from worker.prompts.vocabulary.grammar import SINGULARS
from worker.prompts.vocabulary.groups import (
    CLAD,
    COLOUR_NOUNS,
    CONFLICT_GROUPS,
    PATTERN_DIRECTIONS,
    PATTERN_NOUNS,
)
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import QUANTIFIERS
from worker.prompts.vocabulary.people import PERSONS, SOMEBODY
from worker.prompts.vocabulary.places import CONTAINERS

_COPULA = word_set(
    "is are was were 's looks look appears appear remains stays be being been turns turning turned becomes "
    "glows gleams shines"
)
_CHANGES = word_set("turns turning turned becomes")
_PERFECT = frozenset(("has", "have", "had"))
_SAYS = _COPULA | _PERFECT
_RELATIVE = frozenset(("that", "which", "who"))
_MADE = word_set(
    "made built carved crafted constructed sculpted formed cut completely entirely is are was out which that"
)
_ONLY_MADE = word_set("ice snow sand fur crystal cheese chocolate candy gingerbread")
_MATERIALS = frozenset(CONFLICT_GROUPS["material"]) - _ONLY_MADE | {"gold", "silver"}
_ANY_MATERIALS = _MATERIALS | _ONLY_MADE
_WORKED = word_set("dark light pale old solid polished rough carved weathered stained recycled")
_NEVER_HELD = ("glass", "clay", "wooden", "metal")  # "a vase of glass": its material, not its content
_PAINTED = word_set(
    "painted coloured colored dyed tinted dressed clad tinged all entirely completely mostly glowing shining lit"
)
_COLOUR_NOUNS = frozenset(("color", "colour", "colors", "colours", "coloured", "colored"))
_OWNS = frozenset(("whose", "'s"))
_DEGREES = word_set("very really all so quite completely entirely mostly pure")
_COLOURS = frozenset(CONFLICT_GROUPS["colour"])
_LEADS_TO_COLOURS = _COPULA | _PAINTED | _DEGREES | {"in"}
_LIKENED = _COLOURS | {word for word, light in CONFLICT_GROUPS["light"].items() if light == "dark"}
_ENDS_TAG = frozenset((",", ".", ";"))
_BEFORE_MATERIALS = _COLOURS | _WORKED
_SIZES = CONFLICT_GROUPS["size"].keys() | word_set("tall long short slim thin narrow wide")
_VISUAL = frozenset(
    word for name, group in CONFLICT_GROUPS.items() if name not in ("number", "species", "waking") for word in group
) - {"uniform", "dimly", "brightly"}


def fold(words: list[Word]) -> None:
    """Moves each attribute after a noun to its place in front of it; changes `words`."""
    _lead_with_style(words)
    _turn_round(words)
    _fold_patterns(words)
    _mark_shades(words)
    _join_listed(words)
    _fold_materials(words)
    i = len(words) - 1
    while i >= 0:
        is_last = words[i].tag in NOUN and not (i + 1 < len(words) and words[i + 1].tag in NOUN)
        is_of_thing = i > 0 and words[i].lower in _COLOUR_NOUNS and words[i - 1].lower in _OWNS
        if is_last and words[i].is_plain and not is_of_thing:
            _fold_at(words, i)
        i -= 1


def _lead_with_style(words: list[Word]) -> None:
    """Brings words of style inside a phrase in front of it: "a tall anime boy" is a tall boy, drawn."""
    for noun in range(len(words) - 1, 1, -1):
        style = noun
        while style > 0 and words[style - 1].is_style and words[style - 1].lower[0].isalnum():
            style -= 1
        start = style
        while start > 0 and words[start - 1].tag in ADJECTIVE and words[start - 1].is_plain:
            start -= 1
        if start < style and words[style].lower in _MOVES and words[style - 1].lower in _PACES:
            words[style - 1].is_style = True  # "slow zoom out black android"
        elif start < style < noun and words[noun].is_plain and words[noun].tag in (*NOUN, *ADJECTIVE):
            words[start:noun] = words[style:noun] + words[start:style]


def _turn_round(words: list[Word]) -> None:
    """Turns "white is the jeep" into "the white jeep"."""
    for i in range(len(words) - 3):
        is_first = i == 0 or not words[i - 1].lower[0].isalnum()
        is_said = words[i].lower in _COLOURS and words[i + 1].lower in ("is", "are", "was", "were")
        if is_first and is_said and words[i + 2].tag in ("DT", "PRP$"):
            words[i].tag = "JJ"
            words[i : i + 3] = [words[i + 2], words[i]]


_PACES = word_set("slow fast quick rapid smooth steady gentle gradual")
_MOVES = word_set("zoom pan tilt dolly tracking panning zooming tilting orbit rotation camera motion")


def _join_listed(words: list[Word]) -> None:
    """Takes the commas out of "a tall, thin, bearded man", "a red, white and blue flag"."""
    for i in range(len(words) - 2, 0, -1):
        if words[i].lower == "," and _describes_thing(words, i + 1) and _is_described(words, i):
            del words[i]


def _describes_thing(words: Sequence[Word], i: int) -> bool:
    """Whether adjectives from i on end in a noun: with commas between them or not."""
    end = i
    while end < len(words) and (words[end].tag in (*ADJECTIVE, "VBN") or words[end].lower == "and"):
        end += 1
    return end > i and end < len(words) and words[end].tag in NOUN and words[end].is_plain


def _is_described(words: Sequence[Word], comma: int) -> bool:
    """Whether nothing but adjectives stands between an article and the comma: "a tall,"."""
    i = comma - 1
    while i > 0 and (words[i].tag in ADJECTIVE or words[i].lower == ","):
        i -= 1
    return i < comma - 1 and words[i].tag in ("DT", "PRP$") and words[comma - 1].tag in ADJECTIVE


def _fold_materials(words: list[Word]) -> None:
    """Turns "a bridge made of stone" and "a chair of wood" into "a stone bridge", "a wood chair"."""
    for i in range(len(words) - 1, 1, -1):
        if i >= len(words):
            continue  # words after the last one were removed
        joint = i - 1
        while joint > 0 and words[joint].lower in _BEFORE_MATERIALS:
            joint -= 1  # "built from black basalt"
        if (
            words[i].lower not in _ANY_MATERIALS
            or not words[i].is_plain
            or words[joint].lower not in ("of", "from", "in")
        ):
            continue
        if i + 1 < len(words) and (words[i + 1].tag in (*NOUN, *ADJECTIVE) or words[i + 1].lower == "and"):
            continue
        noun = joint - 1
        while noun > 0 and words[noun].lower in _MADE:
            noun -= 1
        is_made = noun < joint - 1
        is_of = words[joint].lower == "of" and words[i].lower not in _ONLY_MADE  # not "a field of snow"
        if words[noun].tag in NOUN and words[noun].is_plain and (is_made or is_of):
            is_coloured = joint < i - 1 and CONFLICT_GROUPS["material"].get(words[i].lower) in _NEVER_HELD
            is_held = words[noun].lower in CONTAINERS and not is_coloured  # but "a vase of blue glass"
            if not is_made and (is_held or words[noun].lower in QUANTIFIERS):
                continue
            material = words[joint + 1 : i + 1]
            for word in material:
                word.tag = "JJ"
            del words[noun + 1 : i + 1]
            while noun > 0 and words[noun - 1].tag in NOUN:
                noun -= 1
            words[noun:noun] = material


def _mark_shades(words: Sequence[Word]) -> None:
    """Tags "sky" in "the kettle is sky blue" as the shade that it is; a shade between commas shows nothing."""
    for i in range(len(words) - 1):
        if not _is_shade(words, i):
            continue
        before = words[i - 1].lower if i else ","
        is_aside = i > 1 and words[i - 2].is_noun and words[i - 2].is_plain  # "a truck, bright red, parked outside"
        if before in _LEADS_TO_COLOURS:
            words[i].tag = words[i + 1].tag = "JJ"
        elif (
            before == ","
            and not is_aside
            and ((stop := _attributes_end(words, i)) == len(words) or words[stop].lower in _ENDS_TAG)
        ):
            ignore(words, i, stop)  # "cyberpunk, mint green and yellow,": a palette


def _fold_at(words: list[Word], noun: int) -> None:
    """Moves what is said after the noun at this place in front of it, if it is an attribute."""
    start, is_sentence = _said(words, noun + 1)
    stop = _attributes_end(words, start)
    if stop == start or _describes_next(words, stop):
        return
    said = {word.lower for word in words[start:stop]} - {"and"}
    if start == noun + 1 and _is_in_name(words, noun):
        if stop == start + 1 and is_first_name(words[noun].lower):
            words[start].tag = "NNP"  # "claudia black", "walter white"
        return
    if start == noun + 1 and not said <= _COLOURS:
        return  # "a jeep red" is a red jeep; "a wall old ..." begins something else
    subject = _subject(words, noun) if is_sentence else noun
    if words[start - 1].lower in _CHANGES and _COLOURS & said and _has_colour(words, subject):
        return  # "a blue sky that turns purple" is blue at first
    end = stop + 1 if stop < len(words) and words[stop].lower in _COLOUR_NOUNS else stop
    if words[stop : stop + 2] and [word.lower for word in words[stop : stop + 2]] in (
        ["in", "color"],
        ["in", "colour"],
    ):
        end = stop + 2
    while words[noun + 1].lower in (",", "as") and end < len(words) and words[end].is_ignored:
        end += 1  # ", black as night,"
    if words[noun + 1].lower == "," and end < len(words) and words[end].lower == ",":
        end += 1
        if end < len(words) and words[end].lower in FINITE:
            words[end].tag = "VB"  # "the car, which is silver, speeds"
    is_worn = _is_worn_by(words[subject], words[noun + 1 : start])
    if is_worn and said & _MATERIALS:
        return  # "a woman in black leather": the leather is a thing
    moved = words[start:stop]
    for word in moved:
        word.tag = word.tag if word.lower == "and" else "JJ"
    if is_worn:
        moved = [_as_dress(word) for word in moved if word.lower != "and"]
    del words[noun + 1 : end]
    place = subject
    while place > 0 and words[place - 1].tag in NOUN and not words[place - 1].is_name:
        place -= 1
    words[place:place] = moved


_SOMEBODY = SOMEBODY | PERSONS
_WEARS = frozenset(("in", "wearing", "dressed", "clad"))


def _is_worn_by(who: Word, joint: Sequence[Word]) -> bool:
    """Whether a colour after somebody is that of their clothes, by the words between: a man in black is not black."""
    return _is_somebody(who.lower) and not _WEARS.isdisjoint(word.lower for word in joint)


def _may_wear(word: str) -> bool:
    """Whether a word may precede "in" and what is worn: a man in, dressed entirely in."""
    return word in _BEFORE_LOOKS or _is_somebody(word)


def _is_somebody(word: str) -> bool:
    bare = SINGULARS.get(word, word.removesuffix("s"))
    return not {bare, word}.isdisjoint(_SOMEBODY) or bare.endswith(("man", "woman", "men", "women"))


def _as_dress(word: Word) -> Word:
    text = f"{word.lower}{CLAD}" if word.lower in _COLOURS else word.lower
    return replace(word, text=text, lower=text)


def _has_colour(words: Sequence[Word], noun: int) -> bool:
    """Whether a colour stands before the noun."""
    i = noun
    while i > 0 and words[i - 1].tag in (*NOUN, *ADJECTIVE):
        i -= 1
    return any(word.lower in _COLOURS for word in words[i:noun])


def _is_in_name(words: Sequence[Word], noun: int) -> bool:
    """Whether a colour right after a noun is somebody's surname."""
    return words[noun + 1].text[:1].isupper() or not is_heard(words[noun].lower)


def _said(words: Sequence[Word], i: int) -> tuple[int, bool]:
    """Where attributes may begin after a noun, and whether a sentence says them of its subject."""
    start = i
    is_sentence = False
    if i + 2 < len(words) and words[i].lower in _OWNS and words[i + 1].lower in _COLOUR_NOUNS:
        return (i + 3 if words[i + 2].lower in _COPULA else i), False  # "a jeep whose colour is white"
    if i + 1 < len(words) and words[i].lower == "," and _is_aside(words, i + 1):
        i = _lead_end(words, i + 1)
    if i < len(words) and words[i].lower in _RELATIVE:
        i += 1
        if not (i < len(words) and words[i].lower in _SAYS):
            return start, False
    if i + 1 < len(words) and words[i].lower in _PERFECT and words[i + 1].lower == "been":
        i += 1
    if i < len(words) and words[i].lower in _COPULA and (words[i].lower != "'s" or i > start):
        is_sentence = i == start
        i += 1
        if i < len(words) and words[i].lower in ("a", "an"):
            i += 1  # "the curtains are a deep crimson"
    elif i + 2 < len(words) and words[i].lower == "as" and words[i + 1].lower in _LIKENED and words[i + 2].is_ignored:
        i += 1  # "an owl as white as snow", "a cave as dark as ink"
    if i < len(words) and (words[i].lower in _PAINTED or _is_dyed(words, i)):
        i += 1
    if i + 1 < len(words) and words[i].lower in _DEGREES and words[i + 1].lower == "in":
        i += 1  # "dressed entirely in white"
    if i < len(words) and _wears_colour(words, i):
        i += 1
        i += i < len(words) and words[i].lower in ("a", "an")  # "a violin of a golden colour"
    while i < len(words) - 1 and i > start and words[i].lower in _DEGREES and words[i + 1].lower in _VISUAL:
        i += 1
    return i, is_sentence


def _is_dyed(words: Sequence[Word], i: int) -> bool:
    """Whether a participle leads to a colour in which something is done: "glazed in cobalt blue"."""
    is_in = words[i].tag == "VBN" and i + 2 < len(words) and words[i + 1].lower == "in"
    return is_in and _is_colour(words, i + 2, named=False)


def _is_aside(words: Sequence[Word], i: int) -> bool:
    """Whether the words after a comma give the colour of the noun before it: ", which is silver,"."""
    if words[i].lower in _RELATIVE:
        return i + 2 < len(words) and words[i + 1].lower in _COPULA
    i = _lead_end(words, i)
    i += i < len(words) and words[i].lower == "in" and words[i - 1].lower in _BEFORE_LOOKS  # ", dressed in black,"
    stop = _attributes_end(words, i)
    said = {word.lower for word in words[i:stop]}
    if stop == i or words[stop - 1].lower not in _COLOURS or not said <= _COLOURS | COLOUR_NOUNS | {"and"} | _SIZES:
        return False  # "palm trees, white sand"
    while stop < len(words) and words[stop].is_ignored:
        stop += 1
    rest = [word.lower for word in words[stop : stop + 2]]
    if rest[:1] == [","] and _describes_next(words, stop + 1):
        return False  # "a swan, black, grey rocks"
    return not rest or rest[0] in (",", ".", ";") or rest in (["in", "color"], ["in", "colour"])


_BEFORE_LOOKS = _DEGREES | _PAINTED | {"now", "both"}


def _lead_end(words: Sequence[Word], i: int) -> int:
    """The end of the words that lead to a colour in an aside: "its colour a very", "both"."""
    if i + 1 < len(words) and words[i].tag in ("DT", "PRP$", "IN") and words[i + 1].lower in _COLOUR_NOUNS:
        i += 2
        i += i < len(words) and words[i].lower in ("a", "an")
    while i < len(words) and words[i].lower in _BEFORE_LOOKS:
        i += 1
    return i


def _is_colour(words: Sequence[Word], i: int, *, named: bool) -> bool:
    """Whether a colour stands at i; with `named` only one that is called a colour: "of red colour"."""
    if i < len(words) and words[i].lower in _DEGREES:
        i += 1
    if i + 1 < len(words) and words[i].lower in COLOUR_NOUNS and words[i + 1].lower in _COLOURS:
        i += 1
    after = words[i + 1].lower if i + 1 < len(words) else ""
    is_last = not after or not after[0].isalnum() or after in ("and", "in", "on", "at", "with")
    return i < len(words) and words[i].lower in _COLOURS and (not named or after in _COLOUR_NOUNS or is_last)


def _wears_colour(words: Sequence[Word], i: int) -> bool:
    """Whether a colour is given at i: "a nun in white", "a boat of red colour", "a man wearing black"."""
    if words[i].lower == "wearing":
        return _is_worn(words, i + 1)
    if words[i].lower == "of" and i + 3 < len(words) and words[i + 1].lower in ("a", "an"):
        return words[i + 2].lower in _COLOURS and words[i + 3].lower in _COLOUR_NOUNS
    return words[i].lower in ("in", "of") and _is_colour(words, i + 1, named=words[i].lower == "of")


def _is_worn(words: Sequence[Word], i: int) -> bool:
    """Whether colours at i are all that somebody wears: "a man wearing black", but not "wearing black boots"."""
    i += i < len(words) and words[i].lower in _DEGREES  # "wearing all black"
    stop = _attributes_end(words, i)
    after = words[stop] if stop < len(words) else None
    is_last = after is None or not (after.tag in (*NOUN, *ADJECTIVE) or after.lower in _COLOUR_NOUNS)
    return stop > i and is_last and all(word.lower in _COLOURS | {"and"} for word in words[i:stop])


def _attributes_end(words: Sequence[Word], i: int) -> int:
    """Where a row of attributes ends: "red", "sky blue", "red and green"."""
    end = i
    while end < len(words) and words[end].is_plain and not words[end].is_excluded:
        if words[end].lower in _VISUAL:
            end += 1
        elif (end == i and _is_listed_look(words, i)) or _is_shade(words, end):
            end += 2
        elif end > i and words[end].lower == "and" and end + 1 < len(words) and words[end + 1].lower in _VISUAL:
            if _describes_next(words, end + 2):
                is_next = words[i - 1].lower in _WEARS or words[i - 1].tag in NOUN
                return i if is_next else end  # "a man in red and black clothes", "a village red and white garments"
            end += 2
        else:
            break
    return end


def _is_shade(words: Sequence[Word], i: int) -> bool:
    """Whether a noun and the colour that it is a shade of stand at i: sky blue."""
    return words[i].lower in COLOUR_NOUNS and i + 1 < len(words) and words[i + 1].lower in _COLOURS


def _is_listed_look(words: Sequence[Word], i: int) -> bool:
    """Whether any adjective and "and" lead to a word that changes the picture: "long and grey"."""
    after = words[i + 1 : i + 3]
    return words[i].tag == "JJ" and len(after) > 1 and after[0].lower == "and" and after[1].lower in _VISUAL


def _describes_next(words: Sequence[Word], i: int) -> bool:
    """Whether the words before i describe a noun after them: "the sky is red clouds"."""
    if i >= len(words) or words[i].lower in _COLOUR_NOUNS:
        return False
    after = words[i + 1].tag if i + 1 < len(words) else "."
    is_subject = i > 2 and words[i - 2].lower in _WEARS and _may_wear(words[i - 3].lower)
    acts = after in ("IN", "DT", "RB", "PRP$", "TO") or (is_subject and after in (".", "CC", "VBG"))
    if words[i].lower in FINITE and words[i].lower.endswith("s") and acts:
        words[i].tag = "VB"  # "an umbrella which is black stands by the door", "a man in black walks"
        return False
    return words[i].tag in (*NOUN, *ADJECTIVE, "CD") and words[i].is_plain


def _subject(words: Sequence[Word], noun: int) -> int:
    """The noun that a sentence is about: "the roof of the house is red" is about the roof."""
    i = noun
    while i > 0 and words[i - 1].tag in (*NOUN, *ADJECTIVE, "DT", "PRP$", "VBN", "CD"):
        i -= 1
    before = i - 2
    if before > 0 and (words[before].tag in ("VBN", "VBD", "VBG") or words[before].lower in ("standing", "sitting")):
        before -= 1  # "the umbrella held by the nun is scarlet"
    if before >= 0 and words[i - 1].tag == "IN" and words[before].tag in NOUN:
        return _subject(words, before)
    return noun


# --- patterns -------------------------------------------------------------------------------------------------------


def _fold_patterns(words: list[Word]) -> None:
    """Turns "a green field with vertical bars" into "a green barred field"."""
    for i in range(len(words) - 1, 0, -1):
        if words[i].lower == "with" and words[i - 1].tag in NOUN:
            end, pattern = _pattern_after(words, i + 1)
            if pattern:
                del words[i:end]
                words.insert(i - 1, Word(text=pattern, lower=pattern, tag="JJ"))


def _pattern_after(words: Sequence[Word], i: int) -> tuple[int, str]:
    """Where a phrase like "thin stripes" or "a checkered pattern" ends, and its adjective; empty for any other."""
    adjective = ""
    for end in range(i, min(i + 4, len(words))):
        word = words[end].lower
        if word in PATTERN_NOUNS:
            return end + 1, PATTERN_NOUNS[word]
        if word == "pattern" and adjective:
            return end + 1, adjective
        if word in CONFLICT_GROUPS["pattern"]:
            adjective = CONFLICT_GROUPS["pattern"][word]
        elif word not in PATTERN_DIRECTIONS and words[end].tag != "DT":
            break
    return i, ""
