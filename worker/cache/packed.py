"""Recorded neighbours of a decision, in which data common to rows of one entry is written once.

A decision considers some fifty stored entities; written one by one, with names, they would be nine tenths of its row.
Those too far from the prompt to matter are left out. Rows of older versions can be read too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.types import Neighbour
from worker.prompts.types import MOTION, SCENE_COLOUR, STYLE, THINGS, WITH, WITHOUT, EntityKind, Json

LAXER = 0.05  # later replays may use thresholds down to this much below those in force

_MARKS = (WITH, WITHOUT, STYLE, MOTION, THINGS, SCENE_COLOUR)
_KINDS = list(EntityKind)


def pack(neighbours: Iterable[Neighbour]) -> Json:
    """Return plain JSON: entries (id, time made, marks of the prompt, uses), phrases, and rows that refer to both."""
    entries: dict[tuple[str, float, tuple[str, ...], int], int] = {}
    phrases: dict[tuple[str, str, tuple[str, ...], EntityKind], int] = {}
    rows: list[list[float]] = []
    for near in neighbours:
        own, marks = _split(near.attributes)
        entry = entries.setdefault((near.entry_id, near.created, marks, near.uses), len(entries))
        phrase = phrases.setdefault((near.text, near.head, own, near.kind), len(phrases))
        rows.append([near.query, entry, phrase, near.similarity])
    return {
        "entries": [[id_, created, list(marks), uses] for id_, created, marks, uses in entries],
        "phrases": [[text, head, list(own), _KINDS.index(kind)] for text, head, own, kind in phrases],
        "rows": rows,
    }


def telling(neighbours: Sequence[Neighbour], settings: MatchSettings) -> list[Neighbour]:
    """Return the neighbours that matter to a decision under these or laxer settings: the near ones, and the nearest.

    The nearest is chosen as in `look_up`; the decision on these equals the decision on all.
    """
    least = settings.head_threshold - LAXER
    top = max(neighbours, key=lambda near: (near.similarity, near.created, near.entry_id), default=None)
    return [near for near in neighbours if near is top or near.similarity >= least]


def unpack(packed: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[Neighbour, ...]:
    """Return what `pack` was given, or what older rows hold."""
    if not isinstance(packed, Mapping):
        return tuple(Neighbour.from_dict(row) for row in packed)
    found = []
    for query, entry, phrase, similarity in packed["rows"]:
        entry_id, created, marks, *uses = packed["entries"][entry]  # older rows lack the number of uses
        text, head, own, kind = packed["phrases"][phrase]
        found.append(
            Neighbour(
                query=query,
                entry_id=entry_id,
                text=text,
                head=head,
                attributes=(*own, *marks),
                kind=_KINDS[kind],
                similarity=similarity,
                created=created,
                uses=uses[0] if uses else 0,
            )
        )
    return tuple(found)


def _split(attributes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the marks of the phrase itself and those from its prompt, which follow in order."""
    first = next((place for place, word in enumerate(attributes) if word.startswith(_MARKS)), len(attributes))
    return attributes[:first], attributes[first:]
