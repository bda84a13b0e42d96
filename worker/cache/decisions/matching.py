"""From nearest neighbours to donors: which entries cover a prompt best, and whether that is enough to be a hit."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from worker.cache.decisions.comparison import Verdict, canonical, compare, language_of
from worker.cache.decisions.conflicts import marked
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.types import HitKind, Neighbour
from worker.prompts import salience
from worker.prompts.languages import ENGLISH
from worker.prompts.salience import PERSON
from worker.prompts.types import MOTION, SCENE_COLOUR, THINGS, WITH, Entity, EntityKind, Extraction, Json
from worker.prompts.vocabulary.groups import NOUN_SYNONYMS
from worker.prompts.vocabulary.people import PERSONS


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedEntity:
    """An entity of the prompt and the stored one that stands in for it."""

    query: int  # index in the Extraction
    text: str  # in the prompt
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
        return {
            "query": self.query,
            "text": self.text,
            "kind": self.kind.value,
            "entry_id": self.entry_id,
            "donor_text": self.donor_text,
            "similarity": self.similarity,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What stored entries share with a prompt."""

    kind: HitKind
    matched: tuple[MatchedEntity, ...] = ()  # by donor, then in the prompt's order
    coverage: float = 0.0  # 0 to 1: similarity weighted over all entities of the prompt
    candidates: tuple[str, ...] = ()  # every entry with a matching entity, best first
    nearest: float | None = None  # highest similarity seen, matching or not
    nearest_verdict: Verdict | None = None
    is_too_little: bool = False  # something matches, but too little of the picture for a hit
    is_worn: bool = False  # the only hits are entries that have lent too often: a full run leaves a fresh one
    shares_layout: bool = False  # the first donor shows as many such things, with the same motion

    @property
    def donors(self) -> tuple[str, ...]:
        """The entries chosen, best first."""
        return tuple(dict.fromkeys(match.entry_id for match in self.matched))

    @property
    def similarity(self) -> float | None:
        """The weakest of the matches that the hit rests on."""
        return min((match.similarity for match in self.matched), default=None)


def look_up(extraction: Extraction, neighbours: Sequence[Neighbour], settings: MatchSettings) -> Hit:
    """The donors that cover the prompt best.

    Entries are compared by the weighted similarity of what they cover; equal ones by how much else their prompts have
    in common with this one, then by age, younger first, then by id. The order of `neighbours` does not matter. Entries
    that have lent to `max_uses` videos are passed over.
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
    """Whether a prompt may take the layout of the donor that it hits, whose prompt has the marks `theirs`.

    Both must name as many things and the same motion; if neither names a motion, things may go different ways.
    If only the scene matches, the donor's things must have the same nouns: a blue ball in place of a red one.
    If the scene does not match, it must have the same colours, or the prompt none: much of it is already there when a
    run enters the donor's trajectory.
    """
    if kind not in (HitKind.OBJECT, HitKind.BOTH, HitKind.SCENE):
        return False
    a, b = (_layout(marks) for marks in (entities[0].context, theirs))
    if a != b or not any(mark.startswith(MOTION) for mark in a):
        return False
    if kind is HitKind.OBJECT and any(entity.kind is EntityKind.SCENE for entity in entities):
        colours = marked(SCENE_COLOUR, entities[0].context)
        return bool(colours) and colours == marked(SCENE_COLOUR, theirs)
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
    """Whether what is shared is too little of a picture: a hand, a person among much else, one thing of a dozen.

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
    """The share of the donor's picture in common, by the weights of its things as bare nouns."""
    shown = sum(salience.weight(noun, ()) for noun in _named(theirs))
    common = sum(extraction.entities[query].weight for query, _ in shared)
    return min(1.0, common / shown) if shown else 1.0


def _shared_weight(entity: Entity, donor_text: str, settings: MatchSettings) -> float:
    """How much of a picture two phrases have in common: a young man and any other man share just a man."""
    is_somebody = settings.shared_description and entity.head in PERSONS and language_of(entity.context) == ENGLISH
    if not is_somebody or entity.text == donor_text:
        return entity.weight
    theirs = canonical(tuple(donor_text.split()))
    return min(entity.weight, salience.weight(entity.head, sorted(canonical(entity.attributes) & theirs)))


def _weights(
    extraction: Extraction, matches: Mapping[str, Mapping[int, MatchedEntity]], settings: MatchSettings
) -> list[float]:
    """What it is worth to cover each entity of the prompt: less, the more of the stored videos near it show it."""
    shown = Counter(query for found in matches.values() for query in found)
    weights = [settings.weight(entity) for entity in extraction.entities]
    if not settings.by_rarity:
        return weights
    return [weight / math.sqrt(1 + math.log2(max(1, shown[query]))) for query, weight in enumerate(weights)]


def _likeness(extraction: Extraction, neighbours: Sequence[Neighbour]) -> dict[str, float]:
    """For each entry, the share of what its prompt or this one names that both name."""
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
