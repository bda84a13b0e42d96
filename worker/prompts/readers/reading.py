"""What a reader makes of a text, and how its phrases become entities."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.prompts import salience
from worker.prompts.readers.lexicon import Meaning, Sort
from worker.prompts.types import Entity, EntityKind
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.invisible import EMPTY_WHEN_BARE
from worker.prompts.vocabulary.lists import word_set

TWO_COLOURS = "black-and-white"  # of a thing if one is named, else of the whole picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a text names."""

    entities: tuple[Entity, ...]
    excluded: tuple[Entity, ...] = ()
    style: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()  # the words of its style in English, as far as they are known


@dataclass(slots=True)
class Found:
    """What has been read so far, in order."""

    seen: dict[str, Entity] = field(default_factory=dict)
    excluded: dict[str, Entity] = field(default_factory=dict)
    style: dict[str, None] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)

    def add(self, entity: Entity | None, *, is_excluded: bool = False) -> None:
        """Add an entity, unless one with its text is there."""
        if entity is not None:
            (self.excluded if is_excluded else self.seen).setdefault(entity.text, entity)

    def add_style(self, text: str, looks: Iterable[str]) -> None:
        """Add style, in the words of the prompt and in English."""
        self.style[text] = None
        self.looks.append(" ".join(looks))

    def add_nobody(self, word: str) -> None:
        """Note that no person is seen, by the language's word for a person."""
        self.add(entity(Said(word, Meaning("person", Sort.PERSON)), word, ()), is_excluded=True)

    def reading(self) -> Reading:
        """All of it; what is excluded is not seen."""
        return Reading(
            entities=tuple(self.seen.values()),
            excluded=tuple(self.excluded.values()),
            style=tuple(self.style),
            looks=tuple(self.looks),
        )


@dataclass(frozen=True, slots=True)
class Said:
    """A word as it stands in an entity."""

    text: str  # in the form in which it is shown
    meaning: Meaning | None = None

    @property
    def english(self) -> str:
        """The English word, or the word itself if the lexicon does not have it."""
        return self.meaning.english if self.meaning else self.text


class Worded:
    """What the tokens of all languages have besides their role."""

    __slots__ = ()
    text: str
    meaning: Meaning | None

    @property
    def said(self) -> Said:
        """The word as part of an entity."""
        return Said(self.text, self.meaning)

    def is_of(self, *sorts: Sort) -> bool:
        """Whether the word is of one of these sorts."""
        return self.meaning is not None and self.meaning.sort in sorts

    @property
    def is_stuff(self) -> bool:
        """Whether things are made of what the word names."""
        return self.is_of(Sort.MATERIAL) or self.said.english in _STUFF


_STUFF = CONFLICT_GROUPS["material"].keys() | word_set(
    "tree rock plush lego gold silver fire water cloud smoke chocolate flower leaf candy"
)


def entity(
    head: Said,
    text: str,
    described: Sequence[Said],
    *,
    counts: Sequence[str] = (),
    is_single: bool = False,
    is_place: bool = False,
) -> Entity | None:
    """The entity of a phrase; None if it names nothing that is seen.

    `text` is the phrase as shown, `is_single` whether an article says that it is one, `is_place` whether the words
    around it say that something is in or on it.
    """
    sort = head.meaning.sort if head.meaning else None
    if sort is Sort.NOTHING or sort is Sort.STYLE:
        return None
    *more, noun = head.english.split()
    if not described and not more and noun in EMPTY_WHEN_BARE:
        return None
    attributes = tuple(dict.fromkeys((*counts, *(word.english for word in described), *more)))
    is_scene = sort is Sort.SCENE or (is_place and not (head.meaning and head.meaning.is_object))
    return Entity(
        text=text,
        head=noun,
        attributes=attributes,
        kind=EntityKind.SCENE if is_scene else EntityKind.OBJECT,
        weight=salience.weight(noun, attributes),
        is_single=is_single,
    )
