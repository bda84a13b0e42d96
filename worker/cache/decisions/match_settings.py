"""What counts as the same entity: similarity thresholds, weights and gates, as a namespace stores them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

from worker.prompts.types import Entity, EntityKind, Json


class Veto(StrEnum):
    """Where a conflicting word forbids a match."""

    ALWAYS = "always"  # at every similarity below 1
    BETWEEN = "between"  # only between the two thresholds
    NEVER = "never"  # similarity alone decides


THRESHOLDS: Mapping[str, tuple[float, float, float, float]] = {
    "all-MiniLM-L6-v2": (0.80, 0.70, 0.55, 0.95),
    "use-multilingual-v3": (0.80, 0.60, 0.50, 0.97),
}
THRESHOLD_NAMES = ("same_threshold", "head_threshold", "related_threshold", "foreign_threshold")
MOST_ROWS = 2**31 - 1  # that a look-up can fetch: the database takes no larger number
_UNMEASURED = (0.9999, 0.9999, 0.9999, 0.9999)  # equal texts only

# What applied before these settings existed: recorded decisions are replayed under it.
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
    foreign_threshold: float = 0.95  # for whole prompts in a language without a reader
    veto: Veto = Veto.ALWAYS
    object_weight: float = 1.0  # how much it counts to cover an object when donors are compared
    scene_weight: float = 1.0
    max_donors: int = 1  # above 1: further entries for what the first does not cover
    neighbours_per_entity: int = 16  # how many stored entities the look-up fetches for each of the prompt's
    min_coverage: float = 0.1  # share of the prompt that a hit must cover, by weight
    min_scene_coverage: float | None = None  # the same for a hit on a scene alone; None: min_coverage
    min_weight: float = 0.5  # least weight of one matched entity: a hand alone is no hit
    by_rarity: bool = True  # an entity that many stored videos show counts less
    style_conflicts: bool = True  # a drawing is no donor for a photograph
    look_conflicts: bool = True  # no donor if a thing that both show looks different, whatever else is shared
    heads_need_synonyms: bool = True  # below same_threshold only known synonyms match
    min_person_coverage: float = 0.8  # share that a hit must cover if it rests on somebody who is not described
    shared_description: bool = True  # only what both prompts say of somebody counts as a description
    other_noun_margin: float = 0.06  # how far above same_threshold another noun must lie, unless it is a known synonym
    closer_donors: bool = True  # a donor's thing may be described by more nouns than the prompt's: a theatre stage
    min_donor_share: float = 0.2  # share of the donor's picture that must be in common; more is stricter
    max_uses: int = 20  # videos that an entry may lend to before a full run leaves a fresh one. 0: any number

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
        if self.neighbours_per_entity > MOST_ROWS:
            raise ValueError(f"neighbours_per_entity is {self.neighbours_per_entity}; it must be at most {MOST_ROWS}")

    @classmethod
    def of_embedder(cls, embedder: str, row: Mapping[str, Any]) -> Self:
        """Settings from `row`, with the embedder's thresholds where it has none; equal texts only if none are known."""
        names = THRESHOLD_NAMES
        values = dict(zip(names, THRESHOLDS.get(embedder, _UNMEASURED), strict=True)) | dict(row)
        for higher, lower in pairwise(names[:3]):  # thresholds that are not given yield to those that are
            if lower not in row:
                values[lower] = min(values[lower], values[higher])
        return cls.from_dict(values)

    @classmethod
    def recorded(cls, row: Mapping[str, Any]) -> Self:
        """The settings of a recorded decision: what did not exist then is off."""
        return cls.from_dict(_BEFORE | dict(row))

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """Settings from JSON; what is missing takes its default. Raises ValueError for an unknown name."""
        for name in row:
            if name not in _FIELDS:
                raise ValueError(f"{name} is not a match setting; there are {', '.join(_FIELDS)}")
        values = dict(row)
        if "veto" in values:
            values["veto"] = Veto(values["veto"])
        return cls(**values)

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**{name: getattr(self, name) for name in _FIELDS}, "veto": self.veto.value}  # in every decision

    @property
    def by_looks(self) -> bool:
        """Whether a prompt is no donor if it shows a thing that looks different."""
        return self.look_conflicts and self.veto is Veto.ALWAYS

    def weight(self, entity: Entity) -> float:
        """What it is worth to cover an entity."""
        of_kind = self.scene_weight if entity.kind is EntityKind.SCENE else self.object_weight
        return of_kind * entity.weight


_FIELDS = tuple(field.name for field in fields(MatchSettings))
