"""The plain values that decisions are made of.

The service fills them from the database, a simulator from recorded rows; both call the same functions with them. Each
value that is recorded goes through JSON and back unchanged (`to_dict`, `from_dict`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from worker.prompts.types import Entity, EntityKind, Json


class HitKind(StrEnum):
    """Which part of a prompt stored entries share."""

    NONE = "none"  # nothing
    SCENE = "scene"  # the scene; some or all objects are new
    OBJECT = "object"  # one or more objects, not the scene
    BOTH = "both"  # scene and objects: every entity of the prompt
    PROMPT = "prompt"  # the prompt as a whole


class EventKind(StrEnum):
    """What happened to an entry."""

    INSERT = "insert"  # became resident
    HIT = "hit"  # shaped a video
    EVICT = "evict"  # removed by a policy to make room
    QUARANTINE = "quarantine"  # its file was broken; also used for a purge


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A stored entity near an entity of the prompt."""

    query: int  # index of the prompt's entity in its Extraction
    entry_id: str
    text: str
    head: str
    attributes: tuple[str, ...]
    kind: EntityKind
    similarity: float  # cosine, -1 to 1
    created: float  # seconds since 1970: when the entry became resident
    uses: int = 0  # videos that the entry has lent to

    @classmethod
    def of(cls, entity: Entity, *, query: int, entry_id: str, similarity: float, created: float, uses: int = 0) -> Self:
        """An entity of another prompt, as the look-up finds it stored."""
        return cls(
            query=query,
            entry_id=entry_id,
            text=entity.text,
            head=entity.head,
            attributes=entity.stored_attributes,
            kind=entity.kind,
            similarity=similarity,
            created=created,
            uses=uses,
        )

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The neighbour that `to_dict` wrote."""
        return cls(**{**row, "attributes": tuple(row["attributes"]), "kind": EntityKind(row["kind"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**asdict(self), "attributes": list(self.attributes), "kind": self.kind.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A resident entry, as eviction sees it."""

    id: str
    num_bytes: int
    seconds_saved: float  # GPU seconds that one hit saves, from measured runs of the namespace
    created: float  # seconds since 1970
    last_hit: float | None = None  # seconds since 1970
    hits: int = 0
    entities: tuple[Entity, ...] = ()
    tenant: str | None = None  # whose it is

    @property
    def last_used(self) -> float:
        """When it was last hit or, if never, made."""
        return self.created if self.last_hit is None else self.last_hit

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The entry that `to_dict` wrote."""
        return cls(**{**row, "entities": tuple(Entity.from_dict(entity) for entity in row["entities"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**asdict(self), "entities": [entity.to_dict() for entity in self.entities]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an entry; the history of a namespace is a list of these, oldest first."""

    kind: EventKind
    entry_id: str
    at: float  # seconds since 1970
    num_bytes: int = 0  # insert: size of the entry
    seconds_saved: float = 0.0  # insert: what one hit saves
    covers: tuple[str, ...] = ()  # hit: every entry that could have served it, the chosen one among them
    entities: tuple[str, ...] = ()  # insert: texts of its entities
    policy: str | None = None  # evict: which one chose it
    tenant: str | None = None  # insert: whose it is

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The event that `to_dict` wrote."""
        lists = {"covers": tuple(row["covers"]), "entities": tuple(row["entities"])}
        return cls(**{**row, **lists, "kind": EventKind(row["kind"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        lists = {"covers": list(self.covers), "entities": list(self.entities)}
        return {**asdict(self), **lists, "kind": self.kind.value}
