"""From nearest neighbours to donors: which stored entities are the same thing, and which entries cover a prompt best.

Two phrases are the same entity when their similarity reaches `same_threshold`, or when it reaches `head_threshold` and
both are about the same noun. A conflicting word (another colour, number, age or size) forbids the match, because a
sentence embedder puts "white cat" and "black cat" nearer together than "ship" and "boat". docs/cache.md has the
measurements.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

from worker.cache.decisions.types import EntityKind, Extraction, FallbackReason, HitKind, Json, Neighbour
from worker.cache.decisions.vocabulary import CONFLICT_GROUPS


class Veto(StrEnum):
    """Where a conflicting word forbids a match."""

    ALWAYS = "always"  # at every similarity below 1
    BETWEEN = "between"  # only between the two thresholds
    NEVER = "never"  # similarity alone decides


class Verdict(StrEnum):
    """How a stored entity relates to one of the prompt."""

    SAME = "same"  # similar enough
    SAME_HEAD = "same_head"  # a little less similar, but about the same noun
    CONFLICT = "conflict"  # similar enough, but another colour, number, age or size
    RELATED = "related"  # worth showing, not worth reusing
    DIFFERENT = "different"

    @property
    def is_match(self) -> bool:
        """Whether the stored entity may stand in for the prompt's."""
        return self in (Verdict.SAME, Verdict.SAME_HEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings:
    """What counts as the same entity and which donor wins. Similarities are cosines of the default embedder."""

    same_threshold: float = 0.80
    head_threshold: float = 0.70  # with the same head noun
    related_threshold: float = 0.55  # shown to people, never reused
    foreign_threshold: float = 0.95  # for whole prompts in a language that the embedder does not know
    veto: Veto = Veto.ALWAYS
    object_weight: float = 1.0  # how much covering an object counts when donors are compared
    scene_weight: float = 1.0
    max_donors: int = 1  # more: further entries for what the first does not cover
    neighbours_per_entity: int = 16  # how many stored entities the look-up fetches for each of the prompt's

    def __post_init__(self) -> None:
        if not 0 <= self.related_threshold <= self.head_threshold <= self.same_threshold <= 1:
            raise ValueError(
                "thresholds must rise from 0 to 1 in the order related, head, same; "
                f"got {self.related_threshold}, {self.head_threshold}, {self.same_threshold}"
            )
        if not 0 <= self.foreign_threshold <= 1:
            raise ValueError(f"foreign_threshold is {self.foreign_threshold}; it must lie between 0 and 1")
        for name in ("object_weight", "scene_weight"):
            weight = getattr(self, name)
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"{name} is {weight}; it must be a positive number")
        for name in ("max_donors", "neighbours_per_entity"):
            count = getattr(self, name)
            if count < 1:
                raise ValueError(f"{name} is {count}; it must be at least 1")

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

    def weight(self, kind: EntityKind) -> float:
        """What covering an entity of this kind is worth."""
        return self.scene_weight if kind is EntityKind.SCENE else self.object_weight


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
    for group in CONFLICT_GROUPS.values():
        a = {group[word] for word in ours if word in group}
        b = {group[word] for word in theirs if word in group}
        if a and b and a.isdisjoint(b):
            return True
    a, b = ({word for word in words if word.isdigit()} for words in (ours, theirs))
    return bool(a and b and a.isdisjoint(b))


def compare(extraction: Extraction, neighbour: Neighbour, settings: MatchSettings) -> Verdict:
    """How a stored entity relates to the prompt's entity that it was found for."""
    entity = extraction.entities[neighbour.query]
    similarity = neighbour.similarity
    if (entity.kind is EntityKind.PROMPT) != (neighbour.kind is EntityKind.PROMPT):
        return Verdict.DIFFERENT  # a whole prompt is no thing in another's picture
    if extraction.fallback_reason is FallbackReason.NOT_ENGLISH:
        return Verdict.SAME if similarity >= settings.foreign_threshold else Verdict.DIFFERENT
    is_same = similarity >= settings.same_threshold
    if is_same or (similarity >= settings.head_threshold and entity.head == neighbour.head):
        vetoed = settings.veto is Veto.ALWAYS or (settings.veto is Veto.BETWEEN and not is_same)
        if vetoed and entity.text != neighbour.text and has_conflict(entity.stored_attributes, neighbour.attributes):
            return Verdict.CONFLICT
        return Verdict.SAME if is_same else Verdict.SAME_HEAD
    return Verdict.RELATED if similarity >= settings.related_threshold else Verdict.DIFFERENT


def look_up(extraction: Extraction, neighbours: Sequence[Neighbour], settings: MatchSettings) -> Hit:
    """The donors that cover the prompt best.

    Entries are compared by the weighted similarity of what they cover; equal ones by age, younger first, then by id.
    The order of `neighbours` does not matter.
    """
    matches = _matches_by_entry(extraction, neighbours, settings)
    created = {neighbour.entry_id: neighbour.created for neighbour in neighbours}

    def rank(entry_id: str, wanted: set[int]) -> tuple[float, float, str]:
        value = sum(
            settings.weight(match.kind) * match.similarity for q, match in matches[entry_id].items() if q in wanted
        )
        return (-value, -created[entry_id], entry_id)

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
    top = max(neighbours, key=lambda n: (n.similarity, n.created, n.entry_id), default=None)
    return Hit(
        kind=_hit_kind(extraction, chosen),
        matched=tuple(chosen),
        coverage=_coverage(extraction, chosen, settings),
        candidates=tuple(candidates),
        nearest=None if top is None else top.similarity,
        nearest_verdict=None if top is None else compare(extraction, top, settings),
    )


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


def _coverage(extraction: Extraction, matched: Sequence[MatchedEntity], settings: MatchSettings) -> float:
    total = sum(settings.weight(entity.kind) for entity in extraction.entities)
    return sum(settings.weight(match.kind) * match.similarity for match in matched) / total if total else 0.0
