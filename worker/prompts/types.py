"""What a prompt is about: entities, what is excluded, style. Recorded as JSON and back (`to_dict`, `from_dict`)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from worker.prompts.vocabulary.groups import COLOURED_PARTS, COLOURS_OF_HAIR, CONFLICT_GROUPS, CROWDED, SYNONYMS
from worker.prompts.vocabulary.people import PERSONS

Json = dict[str, Any]  # Any: decoded JSON

WITH, WITHOUT, STYLE = "with:", "without:", "style:"  # marks of a prompt that each of its entities carries
LOOKS = "looks:"  # how its things look, "looks:jeep:red"; contradicted by another look of the same noun
LANGUAGE = "language:"  # mark of entities of a prompt in a language other than English
MOTION, THINGS = "motion:", "things:"  # marks of its layout: what moves how, the number of things,
SCENE_COLOUR = "scene-colour:"  # and the colours of its scene
OPAQUE = "opaque:"  # mark of an entity whose words its embedder does not know
MAX_MARKS = 32
LEAST_SEEN = 0.5  # least weight of a thing whose looks can tell two pictures apart
_COLOURS = CONFLICT_GROUPS["colour"].keys() | COLOURS_OF_HAIR.keys()
_LOOKS = frozenset(word for group in CONFLICT_GROUPS.values() for word in group)
NUMBERS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}


class EntityKind(StrEnum):
    """What part of the picture an entity is."""

    OBJECT = "object"  # a thing that acts or stands in the foreground
    SCENE = "scene"  # the place, background, weather or time of day
    PROMPT = "prompt"  # the whole prompt: no entity was found in it, or whole prompts are compared


class FallbackReason(StrEnum):
    """Why the whole prompt stands in for its entities."""

    NO_NOUNS = "no_nouns"  # nothing in it names a thing or a place
    NOT_ENGLISH = "not_english"  # a language without a reader
    EMPTY = "empty"  # no words at all
    UNREAD = "unread"  # the model's text encoder receives none of its words


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A thing or place that a prompt names."""

    text: str  # lower case, no determiner, no count, head in the singular: "red sports car"
    head: str  # the noun that the phrase is about, in English if its English word is known: "car"
    attributes: tuple[str, ...] = ()  # the other words, and the count that `text` dropped: ("two", "red", "sports")
    kind: EntityKind = EntityKind.OBJECT
    context: tuple[str, ...] = ()  # marks of the whole prompt: "with:beach", "without:person", "language:fr"
    weight: float = 1.0  # how much of a picture it is, 0 to 1: a hand, a person, a hope are little of it
    is_opaque: bool = False  # the embedder does not know its words: it matches equal text only
    is_single: bool = False  # an article says that there is one: "a bird", "un pájaro", 一只鸟

    @property
    def count(self) -> int:
        """How many of it there are if a number says so, else one; so is a crowd without a number."""
        numbers = (NUMBERS.get(word, word) for word in self.attributes)
        return next((int(number) for number in numbers if number.isascii() and number.isdigit()), 1)

    @property
    def noun(self) -> str:
        """Its head without a colour that is part of the same word: 黑猫, a black cat, is a cat (猫)."""
        signs = {word[0] for word in self.attributes if not word.isascii()}
        return self.head[1:] if len(self.head) > 1 and self.head[0] in signs else self.head

    @property
    def looks(self) -> tuple[str, ...]:
        """What contradicts another look of the same thing: its colour, number, age. Empty for a hand."""
        if self.head in COLOURED_PARTS:
            return tuple(COLOURS_OF_HAIR.get(word, word) for word in self.attributes if word in _COLOURS)
        is_seen = self.weight >= LEAST_SEEN or self.head in PERSONS
        if self.kind is not EntityKind.OBJECT or not is_seen:
            return ()
        looks = tuple(word for word in self.attributes if word in _LOOKS or word.isdigit())
        return (*looks, "1") if self.is_single else looks

    @property
    def stored_attributes(self) -> tuple[str, ...]:
        """What is stored besides text and head: attributes and marks."""
        return (*self.attributes, *self.context, *((OPAQUE,) if self.is_opaque else ()))

    @property
    def lookup_text(self) -> str:
        """What is embedded: the text, in English with one word for all synonyms of a colour, size, age or pattern."""
        if any(mark.startswith(LANGUAGE) for mark in self.context):
            return self.text
        return " ".join(SYNONYMS.get(word, word) for word in self.text.split())

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The entity that `to_dict` wrote."""
        return cls(
            text=row["text"],
            head=row["head"],
            attributes=tuple(row["attributes"]),
            kind=EntityKind(row["kind"]),
            context=tuple(row.get("context", ())),
            weight=row.get("weight", 1.0),
            is_opaque=row.get("is_opaque", False),
            is_single=row.get("is_single", False),
        )

    def to_dict(self) -> Json:
        """Plain JSON."""
        row: Json = {
            "text": self.text,
            "head": self.head,
            "attributes": list(self.attributes),
            "kind": self.kind.value,
        }
        more: Json = {
            "context": list(self.context),
            "weight": self.weight,
            "is_opaque": self.is_opaque,
            "is_single": self.is_single,
        }
        usual: Json = {"context": [], "weight": 1.0, "is_opaque": False, "is_single": False}
        return row | {name: value for name, value in more.items() if value != usual[name]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What a prompt is about, and how it wants to look."""

    entities: tuple[Entity, ...]
    style: tuple[str, ...] = ()  # camera, style and quality words; never looked up
    fallback_reason: FallbackReason | None = None  # set: the only entity is the whole prompt
    excluded: tuple[Entity, ...] = ()  # what must not be seen: never lends, never matches
    unread: tuple[str, ...] = ()  # words that the text encoder does not receive: cleaned away, or past its limit
    language: str = "en"
    motion: tuple[str, ...] = ()  # what moves how, one word for each: "go", "left"; part of the layout

    def knowing(self, is_known: Sequence[bool]) -> Self:
        """The extraction with each entity marked whose words the embedder does not know."""
        pairs = zip(self.entities, is_known, strict=True)
        return replace(self, entities=tuple(replace(entity, is_opaque=not known) for entity, known in pairs))

    def with_context(self, style_classes: Collection[str]) -> Self:
        """The extraction with the marks of the whole prompt on each of its entities."""
        marks = (
            *((f"{LANGUAGE}{self.language}",) if self.language != "en" else ()),
            *self._layout_marks(),
            *(f"{STYLE}{name}" for name in sorted(style_classes)),
            *(f"{WITHOUT}{entity.head}" for entity in self.excluded),
            *(f"{WITH}{entity.head}" for entity in self.entities if entity.kind is not EntityKind.PROMPT),
            *(f"{WITH}person" for entity in self.entities if not CROWDED.isdisjoint(entity.attributes)),
            *(f"{LOOKS}{entity.noun}:{word}" for entity in self.entities for word in entity.looks),
        )
        context = tuple(dict.fromkeys(marks))[:MAX_MARKS]
        return replace(self, entities=tuple(replace(entity, context=context) for entity in self.entities))

    def _layout_marks(self) -> tuple[str, ...]:
        """How many things there are, how they move, and colours of the scene: what prompts of one layout share."""
        things = [entity for entity in self.entities if entity.kind is EntityKind.OBJECT]
        if not things or self.language != "en":  # the only one whose verbs are read
            return ()
        scenes = (word for entity in self.entities if entity.kind is EntityKind.SCENE for word in entity.attributes)
        return (
            f"{THINGS}{sum(entity.count for entity in things)}",
            *(f"{MOTION}{word}" for word in self.motion),
            *(f"{SCENE_COLOUR}{colour}" for word in scenes if (colour := CONFLICT_GROUPS["colour"].get(word))),
        )

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The extraction that `to_dict` wrote."""
        reason = row["fallback_reason"]
        return cls(
            entities=tuple(Entity.from_dict(entity) for entity in row["entities"]),
            style=tuple(row["style"]),
            fallback_reason=None if reason is None else FallbackReason(reason),
            excluded=tuple(Entity.from_dict(entity) for entity in row.get("excluded", ())),
            unread=tuple(row.get("unread", ())),
            language=row.get("language", "en"),
            motion=tuple(row.get("motion", ())),
        )

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {
            "entities": [entity.to_dict() for entity in self.entities],
            "style": list(self.style),
            "fallback_reason": None if self.fallback_reason is None else self.fallback_reason.value,
            "excluded": [entity.to_dict() for entity in self.excluded],
            "unread": list(self.unread),
            "language": self.language,
            **({"motion": list(self.motion)} if self.motion else {}),
        }
