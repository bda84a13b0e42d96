"""What a phrase names: a thing or a scene, with its attributes and count; or nothing that a picture shows."""

from collections.abc import Sequence

from worker.prompts import salience
from worker.prompts.english.lexicon import is_heard, is_in_lexicon
from worker.prompts.english.noun_rules import OF_TOPS
from worker.prompts.english.phrases import ENDS_OF_STYLE, are_kept, is_day, is_empty
from worker.prompts.english.singulars import singular
from worker.prompts.english.words import Word
from worker.prompts.types import Entity, EntityKind
from worker.prompts.vocabulary.grammar import ADJECTIVES, COMPOUNDS, NOUNS, SINGULARS
from worker.prompts.vocabulary.groups import FRUITS, NATURES
from worker.prompts.vocabulary.invisible import (
    ABSTRACT,
    ABSTRACT_ENDS,
    AIMS,
    CARRIERS,
    EMPTY_WHEN_BARE,
    GENERIC,
    PRAISE,
    SEEN_ALL_THE_SAME,
    SEEN_IN_PLURAL,
    SEEN_WHEN_DESCRIBED,
    UNSEEN,
    VIEWS,
)
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import COUNTS, DURATIONS, MONTHS, NUMERALS, QUANTIFIERS, UNITS
from worker.prompts.vocabulary.people import ANIMATE, PEOPLE_BY_FIRST_WORD, PEOPLES
from worker.prompts.vocabulary.places import (
    BEFORE_NAMES,
    INSIDE,
    MORE_PLACES,
    NOT_PLACES,
    PLACE_NOUNS,
    SCENE_NOUNS,
    SCENE_PREPOSITIONS,
)
from worker.prompts.vocabulary.style import STYLE_HEADS, STYLE_WORDS


def entity_or_style(words: Sequence[Word], start: int, stop: int) -> Entity | None:
    """The entity of a phrase; none when it is style (then its words are marked) or names nothing."""
    phrase = words[start:stop]
    of = next((i for i, word in enumerate(phrase) if word.lower == "of"), len(phrase))
    noun = phrase[of - 1]
    head = singular(noun.lower)
    if noun.is_name and noun.lower not in SINGULARS and not _is_common(phrase[: of - 1], head):
        head = noun.lower
    rest = [word.lower for word in phrase[: of - 1] if word.tag != "DT"]
    counts = [word for i, word in enumerate(rest) if word in COUNTS or (i == 0 and word.isdigit())]
    described = [word for word in rest if word not in counts]
    if counts and head in UNITS:
        return None
    says_little = _SAYS_LITTLE.issuperset(described) or (head in _PICTURES and all(w.tag == "JJ" for w in phrase[:-1]))
    is_of_picture = head in VIEWS and described and (says_little or described[-1] in STYLE_HEADS)
    is_compound = of > 1 and f"{phrase[of - 2].lower} {noun.lower}" in COMPOUNDS  # a paper clip
    if (noun.lower in ENDS_OF_STYLE and not is_compound) or is_of_picture:
        for word in phrase:
            word.is_style = not DURATIONS & {word.lower for word in phrase}
        return None
    is_kept = is_compound or is_day(words, start, stop) or (of > 1 and are_kept(phrase[of - 2], noun))
    is_kept = is_kept or (head == "light" and stop < len(words) and words[stop].tag.startswith("VB"))  # it moves
    is_kept = is_kept or (head == "top" and not OF_TOPS.isdisjoint(described[-1:]))
    is_kept = is_kept or (head in FRUITS and _is_behind_article(words, start))  # "an orange"
    if (
        _is_quantifier(words, stop)
        or _is_part_of_place(words, start, stop)
        or (not is_kept and _names_nothing(noun, head, described))
    ):
        return None
    tail = [word.lower for word in phrase[of:]]
    counts = [NUMERALS.get(word, word) for word in counts] or _count_before(words, start)
    return Entity(
        text=" ".join([*described, head, *tail]),
        head=head,
        attributes=(*counts, *_made_into(words, start), *described),
        kind=EntityKind.OBJECT if tail else _kind(words, start, head, noun),
        weight=salience.weight(head, described),
        is_single=not counts and head == noun.lower and _is_behind_article(words, start),
    )


_PICTURES = word_set("scene view image picture composition look")  # a scary scene: the picture itself
_SAYS_LITTLE = PRAISE | STYLE_WORDS | VIEWS
_EMPTY_WHEN_BARE = EMPTY_WHEN_BARE | SEEN_WHEN_DESCRIBED | (ADJECTIVES - NOUNS - PEOPLES - word_set("male female"))
_MONTHS = MONTHS - {"march", "may"}
_COMMON_NOUNS = SCENE_NOUNS | PLACE_NOUNS | ANIMATE


def _names_nothing(noun: Word, head: str, described: Sequence[str]) -> bool:
    """Whether a noun, at least without a description, is no thing in a picture: a moment, a feeling, a scene."""
    if len(head) == 1 or is_empty(noun.lower) or noun.lower in CARRIERS or head in STYLE_HEADS:
        return True
    is_fruit = noun.lower != head and head in FRUITS  # "vendors sell oranges"
    if not described and not is_fruit and (head in _EMPTY_WHEN_BARE or head in _MONTHS or head[0].isdigit()):
        return True
    return not noun.is_name and noun.lower not in SEEN_IN_PLURAL and _is_unseen(head)


def _is_common(before: Sequence[Word], head: str) -> bool:
    """Whether a noun with a capital is an ordinary one: "board Games", but not "Bill Gates"."""
    if head in _COMMON_NOUNS:
        return True
    return bool(before) and not before[-1].is_name and is_in_lexicon(head)


def _is_unseen(head: str) -> bool:
    """Whether no picture shows what the noun means: happiness, coexistence, music."""
    return head in UNSEEN or (head.endswith(ABSTRACT_ENDS) and head not in SEEN_ALL_THE_SAME)


def _is_quantifier(words: Sequence[Word], stop: int) -> bool:
    nouns = {words[stop - 1].lower, singular(words[stop - 1].lower)}
    return not QUANTIFIERS.isdisjoint(nouns) and stop < len(words) and words[stop].lower == "of"


def _is_part_of_place(words: Sequence[Word], start: int, stop: int) -> bool:
    """Whether a phrase says where in the next one something is: "at the foot of a volcano"."""
    is_part = words[stop - 1].lower in _PARTS_WITH_NAMES and [word.lower for word in words[stop : stop + 1]] == ["of"]
    return (
        is_part and start > 1 and words[start - 1].lower == "the" and words[start - 2].lower in ("at", "to", "in", "on")
    )


def _made_into(words: Sequence[Word], start: int) -> list[str]:
    """What a thing is seen as: the horse of "a statue of a horse" is no horse, nor is a wolf whose shadow is seen."""
    of = start - 1
    while of > 0 and words[of].tag in ("DT", "CD", "PRP$"):
        of -= 1
    is_of = of > 0 and words[of].lower == "of" and words[of - 1].is_plain
    image = singular(words[of - 1].lower) if is_of else ""
    return [image] if NATURES.get(image) in _MADE else []


_MADE = frozenset(("image", "trace", "undead", "toy"))


def _is_behind_article(words: Sequence[Word], start: int) -> bool:
    """Whether "a" stands before a phrase: a bird, a very big bird."""
    article = start - 1
    while article > 0 and words[article].tag == "RB":
        article -= 1
    return article >= 0 and words[article].lower in ("a", "an")


def _count_before(words: Sequence[Word], start: int) -> list[str]:
    """The count of "two of ...", "a pair of ...": the counting noun before "of"."""
    if start >= 2 and words[start - 1].lower == "of" and words[start - 2].lower in QUANTIFIERS:
        noun = words[start - 2].lower
        if noun in ("pair", "pairs", "couple", "trio"):
            return ["three" if noun == "trio" else "two"]
        return [noun if noun in COUNTS else "many"] if noun not in ("kind", "type", "sort") else []
    return []


_PARTS_WITH_NAMES = frozenset(("foot", "base", "heart", "brink", "outskirts", "tip"))
_PARTS_OF_PLACES = word_set("front middle center centre edge foot base heart outskirts bottom top end side mouth brink")
_ENDS_OF_CLOTHES = ("wear", "mask", "coat", "dres", "shirt", "skirt", "jacket", "pants", "boot", "shoe", "gown")
_NO_PLACES = {"top"} | NOT_PLACES | ANIMATE | GENERIC | ABSTRACT


def _kind(words: Sequence[Word], start: int, head: str, noun: Word) -> EntityKind:
    """Scene for places, weather and times of day; for surfaces after "on", "over" ...; for most after "in"."""
    if _is_person(words, start, noun):
        return EntityKind.OBJECT
    if head in SCENE_NOUNS or head in ("day", "weather") or _is_named_place(words, start, noun):
        return EntityKind.SCENE
    before = start - 1
    while before >= 0 and words[before].tag in ("DT", "PRP$", "CD", "JJ", "RB"):
        before -= 1
    in_front = before >= 1 and words[before].lower == "of" and words[before - 1].lower in _PARTS_OF_PLACES
    after_place = in_front or (before >= 0 and words[before].lower in SCENE_PREPOSITIONS)
    if after_place and noun.is_name and words[before].lower in ("in", "through", "across"):
        return EntityKind.SCENE
    if after_place and (head in PLACE_NOUNS or head in MORE_PLACES):
        return EntityKind.SCENE
    is_inside = before >= 0 and words[before].lower in INSIDE and not _is_looked_at(words, before)
    names_place = not (_NO_PLACES & {head, noun.lower} or head.removesuffix("s").endswith(_ENDS_OF_CLOTHES))
    return EntityKind.SCENE if is_inside and names_place else EntityKind.OBJECT


def _is_named_place(words: Sequence[Word], start: int, noun: Word) -> bool:
    """Whether a phrase is a name that follows its kind of place: lake louise, mount rainier."""
    is_name = noun.is_name or not is_heard(noun.lower)
    return words[start].lower in BEFORE_NAMES and words[start + 1 : start + 2] == [noun] and is_name


def _is_person(words: Sequence[Word], start: int, noun: Word) -> bool:
    """Whether a phrase is somebody's name that ends in a word for a place: bruno mars, captain america."""
    lower = tuple(word.lower for word in words[start : start + 4])
    return noun.is_name and any(lower[: len(name)] == name for name in PEOPLE_BY_FIRST_WORD.get(lower[0], ()))


def _is_looked_at(words: Sequence[Word], i: int) -> bool:
    """Whether "at" at i belongs to a verb: "looking at a bakery", "throws tomatoes at a judge"."""
    return words[i].lower == "at" and any(word.lower in AIMS for word in words[max(0, i - 3) : i])
