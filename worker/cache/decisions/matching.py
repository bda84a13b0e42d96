"""From nearest neighbours to donors: which stored entities are the same thing, and which entries cover a prompt best.

Two phrases are the same entity when their similarity reaches `same_threshold`, or when it reaches `head_threshold` and
both are about the same noun. A conflicting word (another colour, number, age or size) forbids the match, because a
sentence embedder puts "white cat" and "black cat" nearer together than "ship" and "boat". docs/cache.md has the
measurements.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self

from worker.cache.decisions import salience, style_classes
from worker.cache.decisions.languages import CHINESE, ENGLISH
from worker.cache.decisions.readers import lexicon
from worker.cache.decisions.salience import PERSON
from worker.cache.decisions.spelling import zipf
from worker.cache.decisions.types import (
    LANGUAGE,
    LOOKS,
    MOTION,
    OPAQUE,
    STYLE,
    THINGS,
    WITH,
    WITHOUT,
    Entity,
    EntityKind,
    Extraction,
    FallbackReason,
    HitKind,
    Json,
    Neighbour,
)
from worker.cache.decisions.vocabulary import (
    ADJECTIVES,
    ANIMATE,
    COMPOUNDS,
    CONFLICT_GROUPS,
    COUNTS,
    HEAD_GROUPS,
    NATURES,
    NOUN_SYNONYMS,
    PERSONS,
    TIMES,
)


class Veto(StrEnum):
    """Where a conflicting word forbids a match."""

    ALWAYS = "always"  # at every similarity below 1
    BETWEEN = "between"  # only between the two thresholds
    NEVER = "never"  # similarity alone decides


class Verdict(StrEnum):
    """How a stored entity relates to one of the prompt."""

    SAME = "same"  # similar enough
    SAME_HEAD = "same_head"  # a little less similar, but the same noun, described by known synonyms
    CONFLICT = "conflict"  # similar enough, but another colour, number ...; or the two prompts contradict each other
    RELATED = "related"  # worth showing, not worth reusing
    DIFFERENT = "different"

    @property
    def is_match(self) -> bool:
        """Whether the stored entity may stand in for the prompt's."""
        return self in (Verdict.SAME, Verdict.SAME_HEAD)


# Cosines from which on phrases are the same, of each embedder: same, head, related, whole prompts of other languages.
# Measured on labelled pairs with `chai lab entities`; docs/cache.md has the tables.
THRESHOLDS: Mapping[str, tuple[float, float, float, float]] = {
    "all-MiniLM-L6-v2": (0.80, 0.70, 0.55, 0.95),
    "use-multilingual-v3": (0.80, 0.60, 0.50, 0.97),
}
THRESHOLD_NAMES = ("same_threshold", "head_threshold", "related_threshold", "foreign_threshold")
_UNMEASURED = (0.9999, 0.9999, 0.9999, 0.9999)  # equal texts only

# What settings meant before they existed: recorded decisions are taken again under these.
_BEFORE = {
    "min_coverage": 0.0,
    "min_weight": 0.0,
    "by_rarity": False,
    "style_conflicts": False,
    "look_conflicts": False,
    "heads_need_synonyms": False,
    "other_noun_margin": 0.0,
    "min_person_coverage": 1.0,
    "max_uses": 0,
    "shared_description": False,
    "closer_donors": False,
    "min_donor_share": 0.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings:
    """What counts as the same entity and which donor wins. Similarities are cosines of the namespace's embedder."""

    same_threshold: float = 0.80
    head_threshold: float = 0.70  # with the same head noun
    related_threshold: float = 0.55  # shown to people, never reused
    foreign_threshold: float = 0.95  # for whole prompts in a language that is not taken apart
    veto: Veto = Veto.ALWAYS
    object_weight: float = 1.0  # how much covering an object counts when donors are compared
    scene_weight: float = 1.0
    max_donors: int = 1  # more: further entries for what the first does not cover
    neighbours_per_entity: int = 16  # how many stored entities the look-up fetches for each of the prompt's
    min_coverage: float = 0.1  # share of the prompt that a hit must cover, by weight
    min_scene_coverage: float | None = None  # the same for a hit that rests on a scene alone; None: min_coverage
    min_weight: float = 0.5  # what one matched entity at least must be worth: a hand alone is no hit
    by_rarity: bool = True  # an entity that many stored videos show counts less
    style_conflicts: bool = True  # a drawing is no donor for a photograph
    look_conflicts: bool = True  # a thing that both show and that looks otherwise: no donor, whatever else is shared
    heads_need_synonyms: bool = True  # below same_threshold only known synonyms match
    min_person_coverage: float = 0.8  # share that a hit must cover which rests on somebody of whom no more is said
    shared_description: bool = True  # somebody is described by what both prompts say of them, not by one alone
    other_noun_margin: float = 0.06  # how far above same_threshold another noun must lie, unless it is a known synonym
    closer_donors: bool = True  # a donor's thing may be described by more nouns than the prompt's: a theatre stage
    min_donor_share: float = 0.2  # share of the donor's picture that must be in common; more is stricter
    max_uses: int = 20  # videos that one entry lends to; then a full run leaves a fresh one. 0: any number

    def __post_init__(self) -> None:
        if not 0 <= self.related_threshold <= self.head_threshold <= self.same_threshold <= 1:
            raise ValueError(
                "thresholds must rise from 0 to 1 in the order related, head, same; "
                f"got {self.related_threshold}, {self.head_threshold}, {self.same_threshold}"
            )
        shares = ("foreign_threshold", "min_coverage", "min_person_coverage", "min_weight", "other_noun_margin")
        for name in (*shares, "min_donor_share"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; it must lie between 0 and 1")
        if self.min_scene_coverage is not None and not 0 <= self.min_scene_coverage <= 1:
            raise ValueError(f"min_scene_coverage is {self.min_scene_coverage}; it must lie between 0 and 1")
        for name in ("object_weight", "scene_weight"):
            weight = getattr(self, name)
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"{name} is {weight}; it must be a positive number")
        for name, least in (("max_donors", 1), ("neighbours_per_entity", 1), ("max_uses", 0)):
            count = getattr(self, name)
            if count < least:
                raise ValueError(f"{name} is {count}; it must be at least {least}")

    @classmethod
    def of_embedder(cls, embedder: str, row: Mapping[str, Any]) -> Self:
        """Settings with the thresholds of an embedder, for what `row` leaves out; equal texts only if it has none."""
        names = THRESHOLD_NAMES
        values = dict(zip(names, THRESHOLDS.get(embedder, _UNMEASURED), strict=True)) | dict(row)
        for higher, lower in pairwise(names[:3]):  # what is not said gives way to what is
            if lower not in row:
                values[lower] = min(values[lower], values[higher])
        return cls.from_dict(values)

    @classmethod
    def recorded(cls, row: Mapping[str, Any]) -> Self:
        """The settings of a recorded decision: what did not exist then is off."""
        return cls.from_dict(_BEFORE | dict(row))

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """Settings from JSON; what is missing takes its default. Raises ValueError for a name that is no setting."""
        known = [field.name for field in fields(cls)]
        for name in row:
            if name not in known:
                raise ValueError(f"{name} is not a match setting; there are {', '.join(known)}")
        values = dict(row)
        if "veto" in values:
            values["veto"] = Veto(values["veto"])
        return cls(**values)

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**asdict(self), "veto": self.veto.value}

    @property
    def by_looks(self) -> bool:
        """Whether a thing that looks otherwise makes another prompt no donor."""
        return self.look_conflicts and self.veto is Veto.ALWAYS

    def weight(self, entity: Entity) -> float:
        """What covering an entity is worth."""
        of_kind = self.scene_weight if entity.kind is EntityKind.SCENE else self.object_weight
        return of_kind * entity.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedEntity:
    """An entity of the prompt and the stored one that stands in for it."""

    query: int  # index in the Extraction
    text: str  # of the prompt
    kind: EntityKind  # in the prompt
    entry_id: str
    donor_text: str
    similarity: float

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The match that `to_dict` wrote."""
        return cls(**{**row, "kind": EntityKind(row["kind"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What stored entries share with a prompt."""

    kind: HitKind
    matched: tuple[MatchedEntity, ...] = ()  # the first donor's first, each donor's in the prompt's order
    coverage: float = 0.0  # 0 to 1: similarity by weight over all entities of the prompt
    candidates: tuple[str, ...] = ()  # every entry with a matching entity, best first
    nearest: float | None = None  # highest similarity seen, matching or not
    nearest_verdict: Verdict | None = None
    is_too_little: bool = False  # something matches, but it is too little of the picture to be a hit
    is_worn: bool = False  # only entries that have lent too often make a hit: a full run is to leave a fresh one
    shares_layout: bool = False  # the first donor shows such things, as many of them, and moves them alike

    @property
    def donors(self) -> tuple[str, ...]:
        """The entries chosen, best first."""
        return tuple(dict.fromkeys(match.entry_id for match in self.matched))

    @property
    def similarity(self) -> float | None:
        """The weakest of the matches that the hit rests on."""
        return min((match.similarity for match in self.matched), default=None)


@lru_cache(maxsize=1 << 16)
def has_conflict(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether both name a colour (number, age, size ...) and no name is common to both."""
    ours, theirs = (tuple(map(_shade_as_colour, words)) for words in (ours, theirs))
    for group in CONFLICT_GROUPS.values():
        a, b = ({group[word] for word in words if word in group} for words in (ours, theirs))
        if a and b and a.isdisjoint(b):
            return True
    return _are_other_numbers(ours, theirs) or _is_skin(ours, theirs) or _is_skin(theirs, ours)


def _are_other_numbers(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether both name a number in digits, or one does so and the other in a word (15 birds, two birds)."""
    a, b = ({word for word in words if word.isdecimal() and word not in _NUMBERS} for words in (ours, theirs))
    if a and b:
        return a.isdisjoint(b)
    said = {_NUMBERS[word] for word in (theirs if a else ours) if word in _NUMBERS}
    return bool((a or b) and said and "many" not in said)


_NUMBERS = CONFLICT_GROUPS["number"]


def _is_skin(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one names the colour of somebody's clothes alone, the other that of the skin: a man in black."""
    a, b = (
        {name for name in ("colour", "dress") for w in words if w in CONFLICT_GROUPS[name]} for words in (ours, theirs)
    )
    return a == {"dress"} and b == {"colour"}


def _shade_as_colour(word: str) -> str:
    """The colour of a shade that is one word: sky-blue, dark-red."""
    _, _, last = word.rpartition("-")
    return last if last in CONFLICT_GROUPS["colour"] and word not in CONFLICT_GROUPS["colour"] else word


@lru_cache(maxsize=1 << 16)
def has_other_nature(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether the nouns themselves, or what they are made into, exclude each other: king and queen, dog and toy dog."""
    for name in HEAD_GROUPS:
        group = CONFLICT_GROUPS[name]
        a = {group[word] for word in ours if word in group}
        b = {group[word] for word in theirs if word in group}
        if a and b and a.isdisjoint(b):
            return True
    return _compounds(ours) != _compounds(theirs) or _natures(ours) != _natures(theirs)


def _natures(words: tuple[str, ...]) -> frozenset[str]:
    """What a phrase makes of its noun: a toy, a ruin; a being of wood or ice is an image of it."""
    *described, noun = words
    is_made = noun in ANIMATE and noun not in NATURES and any(word in CONFLICT_GROUPS["material"] for word in described)
    found = {NATURES[word] for word in described if word in NATURES}
    return frozenset(found | {"image"} if is_made else found)


def _words(phrase: Entity | Neighbour) -> tuple[str, ...]:
    """The words of a phrase without its marks, the noun last; in English where their English word is known."""
    return (*(word for word in phrase.attributes if ":" not in word), phrase.head)


def _compounds(words: tuple[str, ...]) -> frozenset[str]:
    """The fixed pairs of words at its end, of which the first makes another thing: a black hole, a hot dog."""
    return frozenset(pair for pair in (" ".join(words[-2:]),) if pair in COMPOUNDS)


@lru_cache(maxsize=1 << 16)
def contradict(ours: tuple[str, ...], theirs: tuple[str, ...], *, by_style: bool, by_looks: bool) -> bool:
    """Whether one prompt shows what the other excludes, or both name looks that exclude each other (`context`).

    Looks of the whole, its style, or of one thing that both show: a red jeep and a blue one in the same desert.
    """
    if marked(WITHOUT, ours) & marked(WITH, theirs) or marked(WITH, ours) & marked(WITHOUT, theirs):
        return True
    if by_style and style_classes.exclude(marked(STYLE, ours), marked(STYLE, theirs)):
        return True
    looks, others = looks_of(ours), looks_of(theirs)
    if by_looks and any(a.isdisjoint(b) for a, b in _times(ours, theirs)):
        return True
    return by_looks and any(has_conflict(looks[noun], others[noun]) for noun in looks.keys() & others.keys())


def _times(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """What two prompts say of day or night and of winter or summer, where both say it: other light, another ground."""
    a, b = marked(WITH, ours), marked(WITH, theirs)
    for names in TIMES:
        said = tuple(frozenset(names[word] for word in words if word in names) for words in (a, b))
        if all(said):
            yield said[0], said[1]


@lru_cache(maxsize=1 << 16)
def looks_of(marks: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return by noun, one for synonyms, everything that a prompt says of how such things look."""
    found: dict[str, tuple[str, ...]] = {}
    for mark in marks:
        if mark.startswith(LOOKS):
            noun, word = mark.removeprefix(LOOKS).rsplit(":", 1)
            noun = NOUN_SYNONYMS.get(noun, noun)
            found[noun] = (*found.get(noun, ()), word)
    return found


def marked(mark: str, words: tuple[str, ...]) -> frozenset[str]:
    """Return what stands behind a mark; every kind of person is a person."""
    found = (word.removeprefix(mark) for word in words if word.startswith(mark))
    return frozenset("person" if word in PERSONS else word for word in found)


def compare(extraction: Extraction, neighbour: Neighbour, settings: MatchSettings) -> Verdict:
    """How a stored entity relates to the prompt's entity that it was found for."""
    entity = extraction.entities[neighbour.query]
    if (entity.kind is EntityKind.PROMPT) != (neighbour.kind is EntityKind.PROMPT):
        return Verdict.DIFFERENT  # a whole prompt is no thing in another's picture
    if (entity.is_opaque or OPAQUE in neighbour.attributes) and entity.text != neighbour.text:
        return Verdict.DIFFERENT  # unknown words all have one vector
    if not _can_be_the_same(entity, neighbour):
        return Verdict.DIFFERENT
    verdict = _by_similarity(extraction, entity, neighbour, settings)
    marks = entity.context, neighbour.attributes
    if verdict.is_match and contradict(*marks, by_style=settings.style_conflicts, by_looks=settings.by_looks):
        return Verdict.CONFLICT
    return verdict


def _can_be_the_same(entity: Entity, neighbour: Neighbour) -> bool:
    """Whether phrases of two languages can be one thing: the English word of both is known and the same.

    What is spelled alike need not be (French "lit" is a bed), and an embedder has such words in one place. Chinese has
    no English words; there the embedder alone decides.
    """
    ours, theirs = language_of(entity.context), language_of(neighbour.attributes)
    if ours == theirs or CHINESE in (ours, theirs) or entity.kind is EntityKind.PROMPT:
        return True
    return entity.head == neighbour.head and entity.head in lexicon.known_nouns()


def language_of(marks: Sequence[str]) -> str:
    """The language that a phrase is in, by the marks of its prompt."""
    return next((mark.removeprefix(LANGUAGE) for mark in marks if mark.startswith(LANGUAGE)), ENGLISH)


def _by_similarity(extraction: Extraction, entity: Entity, neighbour: Neighbour, settings: MatchSettings) -> Verdict:
    similarity = neighbour.similarity
    is_foreign = extraction.fallback_reason is FallbackReason.NOT_ENGLISH
    if is_foreign and similarity < settings.foreign_threshold:
        return Verdict.DIFFERENT
    is_equal = entity.text == neighbour.text
    is_same = similarity >= settings.same_threshold
    is_strict = settings.other_noun_margin > 0 and not is_equal
    is_same_noun = entity.head == neighbour.head or (is_strict and are_synonyms(entity.head, neighbour.head))
    if is_same or (similarity >= settings.head_threshold and is_same_noun):
        vetoed = settings.veto is Veto.ALWAYS or (settings.veto is Veto.BETWEEN and not is_same)
        if vetoed and (
            has_other_nature(_words(entity), _words(neighbour)) if is_equal else _excludes(entity, neighbour)
        ):
            return Verdict.CONFLICT
        is_doubtful = is_strict and _is_doubtful(entity, neighbour, settings, is_same_noun=is_same_noun)
        if is_same and not is_doubtful and not (settings.heads_need_synonyms and _is_about_another(entity, neighbour)):
            return Verdict.SAME
        is_alike = _describes_alike(entity.attributes, neighbour.attributes)
        if is_strict and not is_alike and similarity >= (settings.head_threshold + settings.same_threshold) / 2:
            is_alike = _are_described(entity.attributes, neighbour.attributes) or (
                settings.closer_donors and _says_more(neighbour.attributes, entity.attributes)
            )
        if not settings.heads_need_synonyms or is_alike:
            return Verdict.SAME_HEAD if is_same_noun or not is_strict else Verdict.RELATED
    return Verdict.RELATED if similarity >= settings.related_threshold else Verdict.DIFFERENT


def _is_doubtful(entity: Entity, neighbour: Neighbour, settings: MatchSettings, *, is_same_noun: bool) -> bool:
    """Whether two phrases that are similar enough may well be two things: another noun, or another kind of it.

    An embedder knows rare words by their letters only, puts a word near to those that it contains (handshake, hand),
    and a thing near to what goes with it (coffee, cafe).
    """
    if entity.kind is EntityKind.PROMPT:
        return False
    if not (entity.head + neighbour.head).isascii():  # 風船, a balloon, and 風車, a windmill
        shares = not is_same_noun and not set(entity.head).isdisjoint(neighbour.head)
        return shares and neighbour.similarity < settings.same_threshold + settings.other_noun_margin
    is_near = neighbour.similarity < settings.same_threshold + settings.other_noun_margin
    if is_same_noun:
        return is_near and _are_two_kinds(entity.attributes, neighbour.attributes)
    if _without_joints(entity.text) == _without_joints(neighbour.text):
        return False  # space ship, spaceship
    heads = sorted((entity.head, neighbour.head), key=len)
    is_contained = heads[0] in heads[1]
    return is_near or is_contained or any(len(head) < _SHORTEST or zipf(head) < _HEARD_OF for head in heads)


_SHORTEST, _HEARD_OF = 4, 3.0


def _without_joints(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


@lru_cache(maxsize=1 << 16)
def _are_two_kinds(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether each has a word that makes another kind of thing: a barbie doll and a ken doll."""
    a, b = _canonical(ours), _canonical(theirs)
    return all(any(not _is_adjective(word) for word in more) for more in (a - b, b - a))


def are_synonyms(head: str, other: str) -> bool:
    """Whether two nouns name the same thing."""
    return NOUN_SYNONYMS.get(head, head) == NOUN_SYNONYMS.get(other, other)


def _is_about_another(entity: Entity, neighbour: Neighbour) -> bool:
    """Whether one names in passing what the other is about: a basketball and a basketball court."""
    if entity.head == neighbour.head or EntityKind.PROMPT is entity.kind:
        return False
    return entity.head in neighbour.text.split()[:-1] or neighbour.head in entity.text.split()[:-1]


def _excludes(entity: Entity, neighbour: Neighbour) -> bool:
    is_prompt = entity.kind is EntityKind.PROMPT
    return has_conflict(entity.attributes, neighbour.attributes) or (
        not is_prompt and has_other_nature(_words(entity), _words(neighbour))
    )


@lru_cache(maxsize=1 << 16)
def _describes_alike(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether a noun is described by the same words or known synonyms, or merely more closely; counts aside.

    A snowy jungle is a jungle. What a noun adds is another thing: a bonsai tree, a desert road, a fire torch.
    """
    a, b = _canonical(ours), _canonical(theirs)
    return (a <= b or b <= a) and all(_is_adjective(word) for word in a ^ b)


@lru_cache(maxsize=1 << 16)
def _are_described(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether adjectives alone tell two things of one noun apart: a dark forest and an enchanted forest."""
    a, b = _canonical(ours), _canonical(theirs)
    is_plain_to_see = (any(_is_seen(word) for word in more) for more in (a - b, b - a))
    return all(_is_adjective(word) for word in a ^ b) and not all(is_plain_to_see)  # a brown dog, a small dog


@lru_cache(maxsize=1 << 16)
def _says_more(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one is described as the other is, and more closely: who wants a stage may have a theatre stage."""
    return _canonical(ours) > _canonical(theirs)


def _is_seen(word: str) -> bool:
    return any(word in CONFLICT_GROUPS[name].values() for name in _ADJECTIVE_GROUPS)


_ADJECTIVE_GROUPS = tuple(
    name for name in CONFLICT_GROUPS if name not in ("shape", "species", "ages", "gender", "hour")
)
_ADJECTIVE_ENDS = ("ful", "ous", "ish", "ic", "ive", "less", "ern", "ing", "ed", "y")


def _is_adjective(word: str) -> bool:
    return (
        word in ADJECTIVES
        or any(word in CONFLICT_GROUPS[name] for name in _ADJECTIVE_GROUPS)
        or (len(word) > 5 and word.endswith(_ADJECTIVE_ENDS))
    )


def _canonical(words: tuple[str, ...]) -> frozenset[str]:
    plain = (word for word in words if ":" not in word and word not in COUNTS)
    return frozenset(next((group[word] for group in CONFLICT_GROUPS.values() if word in group), word) for word in plain)


def look_up(extraction: Extraction, neighbours: Sequence[Neighbour], settings: MatchSettings) -> Hit:
    """The donors that cover the prompt best.

    Entries are compared by the weighted similarity of what they cover; equal ones by how much of the rest of their
    prompts is common, then by age, younger first, then by id. The order of `neighbours` does not matter. One that has
    lent to `max_uses` videos is passed over.
    """
    worn = {near.entry_id for near in neighbours if settings.max_uses and near.uses >= settings.max_uses}
    hit = _look_up(extraction, neighbours, settings, without=worn)
    if hit.matched or not worn:
        return hit
    return replace(hit, is_worn=bool(_look_up(extraction, neighbours, settings).matched))


def _look_up(
    extraction: Extraction, neighbours: Sequence[Neighbour], settings: MatchSettings, *, without: Container[str] = ()
) -> Hit:
    found = _matches_by_entry(extraction, neighbours, settings)
    weights = _weights(extraction, found, settings)
    matches = {entry_id: of for entry_id, of in found.items() if entry_id not in without}
    created = {neighbour.entry_id: neighbour.created for neighbour in neighbours}
    alike = _likeness(extraction, neighbours)

    def rank(entry_id: str, wanted: set[int]) -> tuple[float, float, float, str]:
        value = sum(weights[q] * match.similarity for q, match in matches[entry_id].items() if q in wanted)
        return (-value, -alike[entry_id], -created[entry_id], entry_id)

    everything = set(range(len(extraction.entities)))
    candidates = sorted(matches, key=lambda entry_id: rank(entry_id, everything))
    chosen: list[MatchedEntity] = []
    open_queries = set(everything)
    for _ in range(settings.max_donors):
        useful = [entry_id for entry_id in candidates if open_queries & matches[entry_id].keys()]
        if not useful:
            break
        best = min(useful, key=lambda entry_id: rank(entry_id, open_queries))
        taken = sorted(open_queries & matches[best].keys())
        chosen += [matches[best][q] for q in taken]
        open_queries -= set(taken)
    coverage = _coverage(weights, chosen)
    shared = [(match.query, match.donor_text) for match in chosen]
    marks = {neighbour.entry_id: neighbour.attributes for neighbour in neighbours}
    theirs = marks[chosen[0].entry_id] if chosen else ()
    too_little = bool(chosen) and is_too_little(extraction, shared, coverage, settings, theirs)
    kind = HitKind.NONE if too_little else _hit_kind(extraction, chosen)
    top = max(neighbours, key=lambda n: (n.similarity, n.created, n.entry_id), default=None)
    return Hit(
        kind=kind,
        matched=() if too_little else tuple(chosen),
        coverage=coverage,
        candidates=() if too_little else tuple(candidates),
        nearest=None if top is None else top.similarity,
        nearest_verdict=None if top is None else compare(extraction, top, settings),
        is_too_little=too_little,
        shares_layout=bool(chosen) and shares_layout(kind, extraction.entities, theirs),
    )


def shares_layout(kind: HitKind, entities: Sequence[Entity], theirs: Sequence[str]) -> bool:
    """Whether a prompt may take the layout of a donor that it hits, whose prompt has the marks `theirs`.

    Both name as many things and the same motion; where neither names any, nothing says that things go the same way.
    Where the scene is all that matches, the donor's things bear the same nouns: a blue ball in place of a red one.
    """
    if kind not in (HitKind.OBJECT, HitKind.BOTH, HitKind.SCENE):
        return False
    a, b = (_layout(marks) for marks in (entities[0].context, theirs))
    if a != b or not any(mark.startswith(MOTION) for mark in a):
        return False
    things = {entity.head for entity in entities if entity.kind is EntityKind.OBJECT}
    return kind is not HitKind.SCENE or _without_synonyms(things) <= _without_synonyms(_named(theirs))


def _layout(marks: Sequence[str]) -> frozenset[str]:
    return frozenset(mark for mark in marks if mark.startswith((THINGS, MOTION)))


def _named(marks: Sequence[str]) -> set[str]:
    return {mark.removeprefix(WITH) for mark in marks if mark.startswith(WITH)}


def _without_synonyms(nouns: Collection[str]) -> set[str]:
    return {NOUN_SYNONYMS.get(noun, noun) for noun in nouns}


def is_too_little(
    extraction: Extraction,
    shared: Sequence[tuple[int, str]],
    coverage: float,
    settings: MatchSettings,
    theirs: Sequence[str],
) -> bool:
    """Whether what is shared is no picture: a hand, a person among much else, one thing of a dozen.

    `shared` has the number of each entity that a donor covers and the donor's text for it, `theirs` the donor's marks.
    """
    if settings.min_donor_share and _donor_share(extraction, shared, theirs) < settings.min_donor_share:
        return True
    is_scene = all(extraction.entities[query].kind is EntityKind.SCENE for query, _ in shared)
    least = settings.min_scene_coverage if is_scene else settings.min_coverage
    if coverage < (settings.min_coverage if least is None else least):
        return True
    most = max(_shared_weight(extraction.entities[query], text, settings) for query, text in shared)
    return most < settings.min_weight and (most < PERSON or coverage <= settings.min_person_coverage)


def _donor_share(extraction: Extraction, shared: Sequence[tuple[int, str]], theirs: Sequence[str]) -> float:
    """How much of the donor's picture is shared, by what its things are worth as bare nouns: a book in a bag is not."""
    shown = sum(salience.weight(noun, ()) for noun in _named(theirs))
    common = sum(extraction.entities[query].weight for query, _ in shared)
    return min(1.0, common / shown) if shown else 1.0


def _shared_weight(entity: Entity, donor_text: str, settings: MatchSettings) -> float:
    """How much of a picture two phrases have in common: a young man and any other man are just a man."""
    is_somebody = settings.shared_description and entity.head in PERSONS and language_of(entity.context) == ENGLISH
    if not is_somebody or entity.text == donor_text:
        return entity.weight
    theirs = _canonical(tuple(donor_text.split()))
    return min(entity.weight, salience.weight(entity.head, sorted(_canonical(entity.attributes) & theirs)))


def _weights(
    extraction: Extraction, matches: Mapping[str, Mapping[int, MatchedEntity]], settings: MatchSettings
) -> list[float]:
    """What covering each entity of the prompt is worth: less, the more of the stored videos near to it show it."""
    shown = Counter(query for found in matches.values() for query in found)
    weights = [settings.weight(entity) for entity in extraction.entities]
    if not settings.by_rarity:
        return weights
    return [weight / math.sqrt(1 + math.log2(max(1, shown[query]))) for query, weight in enumerate(weights)]


def _likeness(extraction: Extraction, neighbours: Sequence[Neighbour]) -> dict[str, float]:
    """For each entry, the share of what its prompt and this one name that both name."""
    ours = marked(WITH, extraction.entities[0].context) if extraction.entities else frozenset()
    theirs = {neighbour.entry_id: marked(WITH, neighbour.attributes) for neighbour in neighbours}
    return {entry_id: len(ours & named) / max(1, len(ours | named)) for entry_id, named in theirs.items()}


def _matches_by_entry(
    extraction: Extraction, neighbours: Sequence[Neighbour], settings: MatchSettings
) -> dict[str, dict[int, MatchedEntity]]:
    """For each entry, its best match for each entity of the prompt that it covers."""
    best: dict[str, dict[int, MatchedEntity]] = defaultdict(dict)
    near = [neighbour for neighbour in neighbours if neighbour.similarity >= settings.head_threshold]
    for neighbour in sorted(near, key=lambda n: (-n.similarity, n.text)):
        if neighbour.query in best.get(neighbour.entry_id, {}):
            continue
        if compare(extraction, neighbour, settings).is_match:
            entity = extraction.entities[neighbour.query]
            best[neighbour.entry_id][neighbour.query] = MatchedEntity(
                query=neighbour.query,
                text=entity.text,
                kind=entity.kind,
                entry_id=neighbour.entry_id,
                donor_text=neighbour.text,
                similarity=neighbour.similarity,
            )
    return dict(best)


def _hit_kind(extraction: Extraction, matched: Sequence[MatchedEntity]) -> HitKind:
    kinds = {match.kind for match in matched}
    if EntityKind.PROMPT in kinds:
        return HitKind.PROMPT
    if kinds == {EntityKind.SCENE, EntityKind.OBJECT} and len(matched) == len(extraction.entities):
        return HitKind.BOTH
    if EntityKind.SCENE in kinds:
        return HitKind.SCENE
    return HitKind.OBJECT if kinds else HitKind.NONE


def _coverage(weights: Sequence[float], matched: Sequence[MatchedEntity]) -> float:
    total = sum(weights)
    return sum(weights[match.query] * match.similarity for match in matched) / total if total else 0.0
