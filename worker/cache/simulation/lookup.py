"""What the resident entries of one namespace share with a prompt: `matching.look_up`, over lists prepared beforehand.

The service asks Postgres for the nearest rows and compares each with the prompt's entities. Here the near phrases are
known beforehand, and each pair of entities is compared once. Tests check that the answers are the same.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count, product

from worker.cache.decisions.comparison import compare
from worker.cache.decisions.conflicts import contradict, looks_of, marked
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit, MatchedEntity, is_too_little, look_up, shares_layout
from worker.cache.decisions.types import HitKind, Neighbour
from worker.cache.simulation.prepare import Prepared
from worker.prompts.types import STYLE, WITH, WITHOUT, Entity, EntityKind, Extraction

FAR = -1.0  # in place of a likeness too low to be in any list
_RARITY = [1.0, 1.0, *(math.sqrt(1 + math.log2(number)) for number in range(2, 4097))]

Found = tuple[float, str, int]  # likeness, text of the stored entity, index of the prompt's


def rarity(number: int) -> float:
    """Return what to divide the weight of an entity by when so many stored videos show it."""
    return _RARITY[number] if number < len(_RARITY) else math.sqrt(1 + math.log2(number))


class Marks:
    """What each prompt of a trace shows, excludes and looks like, and which prompts contradict each other."""

    def __init__(self, prepared: Prepared) -> None:
        contexts = [found.entities[0].context if found.entities else () for found in prepared.extractions]
        self._contexts = contexts
        self.shown = [marked(WITH, context) for context in contexts]
        self.excludes = [any(mark.startswith(WITHOUT) for mark in context) for context in contexts]
        self.described = [looks_of(context).keys() for context in contexts]
        styles: dict[tuple[str, ...], int] = {(): 0}
        named = [tuple(mark for mark in context if mark.startswith(STYLE)) for context in contexts]
        self.styles = [styles.setdefault(style, len(styles)) for style in named]
        self._style_names = list(styles)
        self._by_style: dict[tuple[int, int], bool] = {}
        self._by_all: dict[tuple[int, int, bool], bool] = {}

    def contradict(self, ours: int, theirs: int, *, by_style: bool, by_looks: bool) -> bool:
        """Say whether two prompts contradict each other."""
        may_differ = by_looks and not self.described[ours].isdisjoint(self.described[theirs])
        if self.excludes[ours] or self.excludes[theirs] or may_differ:
            pair = (ours, theirs, by_looks)
            known = self._by_all.get(pair)
            if known is None:
                a, b = self._contexts[ours], self._contexts[theirs]
                known = self._by_all[pair] = contradict(a, b, by_style=by_style, by_looks=by_looks)
            return known
        if not by_style:
            return False
        key = (self.styles[ours], self.styles[theirs])
        if 0 in key:
            return False
        known = self._by_style.get(key)
        if known is None:
            a, b = self._style_names[key[0]], self._style_names[key[1]]
            known = self._by_style[key] = contradict(a, b, by_style=True, by_looks=False)
        return known


@dataclass(slots=True)
class Rules:
    """Settings, and the verdict on each pair of entities of a trace under them; shared by all replays with them."""

    prepared: Prepared
    settings: MatchSettings
    marks: Marks = field(init=False)
    _verdicts: dict[int, bool] = field(default_factory=dict)
    _weights: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.marks = Marks(self.prepared)
        if self.settings.head_threshold < self.prepared.floor:
            raise ValueError(
                f"the head threshold {self.settings.head_threshold} lies below {self.prepared.floor}, "
                "from which on phrases were compared"
            )

    def is_match(self, ours: int, theirs: int, likeness: float) -> bool:
        """Say whether two entities, given by number, are the same, leaving aside the rest of their prompts."""
        key = ours * len(self.prepared.entities) + theirs
        known = self._verdicts.get(key)
        if known is None:
            entity, fallback = self.prepared.entities[ours]
            alone = Extraction(entities=(entity,), fallback_reason=fallback)
            near = Neighbour.of(
                self.prepared.entities[theirs][0], query=0, entry_id="", similarity=likeness, created=0.0
            )
            known = self._verdicts[key] = compare(alone, near, self.settings).is_match
        return known

    def compare_all(self) -> None:
        """Compare every pair of entities that may meet, so that replays are timed without it."""
        of_phrase: dict[int, set[int]] = defaultdict(set)
        for phrases, kinds in zip(self.prepared.vectors, self.prepared.kinds, strict=True):
            for phrase, kind in zip(phrases, kinds, strict=True):
                of_phrase[phrase].add(kind)
        for phrase, ours in of_phrase.items():
            for likeness, near in self.prepared.near[phrase]:
                if likeness < self.settings.head_threshold:
                    break
                for kind, other in product(ours, of_phrase[near]):
                    self.is_match(kind, other, likeness)
        for index in range(len(self.prepared.requests)):
            self.weights(index)

    def weights(self, index: int) -> list[float]:
        """Return what covering each entity of a prompt is worth, before rarity."""
        known = self._weights.get(index)
        if known is None:
            entities = self.prepared.extractions[index].entities
            known = self._weights[index] = [self.settings.weight(entity) for entity in entities]
        return known


class Resident:
    """The entries of one namespace, by the request that left them, and their entities by phrase, the youngest last."""

    def __init__(self, prepared: Prepared, names: Callable[[int], str]) -> None:
        self._prepared = prepared
        self._name = names
        self._rows: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)  # phrase → row → entry, entity
        self._of: dict[int, list[tuple[int, int]]] = {}  # entry → phrase, row
        self._created: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._next, self._ages = count(), count()

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, entry: object) -> bool:
        return entry in self._of

    def add(self, entry: int) -> None:
        """Add the entry that a request left."""
        of = []
        for phrase, kind in zip(self._prepared.vectors[entry], self._prepared.kinds[entry], strict=True):
            row = next(self._next)
            self._rows[phrase][row] = (entry, kind)
            of.append((phrase, row))
        self._of[entry] = of
        self._created[entry] = next(self._ages)
        self._uses[entry] = 0

    def remove(self, entry: int) -> None:
        """Remove an entry."""
        for phrase, row in self._of.pop(entry):
            rows = self._rows[phrase]
            del rows[row]
            if not rows:
                del self._rows[phrase]
        del self._created[entry], self._uses[entry]

    def used(self, entry: int) -> int:
        """Note that an entry lent to a video; return how many it has lent to."""
        self._uses[entry] += 1
        return self._uses[entry]

    def neighbours(self, index: int, limit: int) -> list[Neighbour]:
        """Return the `limit` rows nearest to each entity of a prompt, as the service's search would."""
        found = []
        for query, phrase in enumerate(self._prepared.vectors[index]):
            left = limit
            for likeness, near in self._prepared.near[phrase]:
                rows = self._rows.get(near, {})
                for entry, _ in reversed(rows.values()):
                    if not left:
                        break
                    left -= 1
                    found.append((query, phrase, near, likeness, entry))
        return [self._neighbour(*row) for row in found]

    def _neighbour(self, query: int, _phrase: int, near: int, likeness: float, entry: int) -> Neighbour:
        at = self._prepared.vectors[entry].index(near)
        entity = self._prepared.extractions[entry].entities[at]
        return Neighbour.of(
            entity,
            query=query,
            entry_id=self._name(entry),
            similarity=likeness,
            created=float(self._created[entry]),
            uses=self._uses[entry],
        )

    def look_up(self, index: int, rules: Rules, *, all_candidates: bool = False) -> Hit:
        """Return what entries share with a prompt, with the list of all candidates only if asked for."""
        if rules.settings.max_donors != 1:
            near = self.neighbours(index, rules.settings.neighbours_per_entity)
            return look_up(self._prepared.extractions[index], near, rules.settings)
        found = self.matches(index, rules, rules.settings.neighbours_per_entity)
        if not found:
            return self._missed(index, rules)
        weights = self._weights(index, rules, found)
        most = rules.settings.max_uses
        fresh = {entry: of for entry, of in found.items() if self._uses[entry] < most} if most else found
        hit = self._choose(index, rules, fresh, weights, all_candidates=all_candidates) if fresh else None
        if (hit is not None and hit.matched) or len(fresh) == len(found):
            return hit or self._missed(index, rules)
        is_worn = bool(self._choose(index, rules, found, weights, all_candidates=False).matched)
        return replace(hit or self._missed(index, rules), is_worn=is_worn)

    def _choose(
        self,
        index: int,
        rules: Rules,
        found: dict[int, list[Found]],
        weights: list[float],
        *,
        all_candidates: bool,
    ) -> Hit:
        best, candidates = self._best(index, rules, found, weights, all_candidates=all_candidates)
        return self._hit(index, rules, weights, best, found[best], candidates)

    def matches(self, index: int, rules: Rules, limit: int) -> dict[int, list[Found]]:
        """Return each entry's best match for each entity of a prompt, among the `limit` rows nearest to the latter."""
        prepared, settings, marks = self._prepared, rules.settings, rules.marks
        head, by_style, by_looks = settings.head_threshold, settings.style_conflicts, settings.by_looks
        found: dict[int, list[Found]] = {}
        refused: set[int] = set()
        get = self._rows.get
        for query, phrase in enumerate(prepared.vectors[index]):
            kind, left = prepared.kinds[index][query], limit
            for likeness, near in prepared.near[phrase]:
                if likeness < head or not left:
                    break
                rows = get(near)
                if rows is None:
                    continue
                for entry, theirs in reversed(rows.values()):
                    if not left:
                        break
                    left -= 1
                    if entry in refused or not rules.is_match(kind, theirs, likeness):
                        continue
                    known = found.get(entry)
                    if known is None:
                        if marks.contradict(index, entry, by_style=by_style, by_looks=by_looks):
                            refused.add(entry)
                            continue
                        found[entry] = [(likeness, prepared.entities[theirs][0].text, query)]
                    else:
                        _note(known, likeness, prepared.entities[theirs][0].text, query)
        return found

    def _weights(self, index: int, rules: Rules, found: dict[int, list[Found]]) -> list[float]:
        plain = rules.weights(index)
        if not rules.settings.by_rarity:
            return plain
        shown = [0] * len(plain)
        for matches in found.values():
            for match in matches:
                shown[match[2]] += 1
        return [weight / rarity(number) for weight, number in zip(plain, shown, strict=True)]

    def _best(
        self,
        index: int,
        rules: Rules,
        found: dict[int, list[Found]],
        weights: list[float],
        *,
        all_candidates: bool,
    ) -> tuple[int, tuple[str, ...]]:
        """Return the entry that covers the prompt best, and all entries, best first, if asked for."""
        values: dict[int, float] = {}
        most = -1.0
        for entry, matches in found.items():
            if len(matches) == 1:
                value = weights[matches[0][2]] * matches[0][0]
            else:
                ordered = sorted(matches, key=lambda match: (-match[0], match[1], match[2]))
                value = sum(weights[query] * likeness for likeness, _, query in ordered)
            values[entry] = value
            most = max(most, value)
        if all_candidates:
            ranked = sorted(values, key=lambda entry: self._rank(index, entry, values[entry], rules.marks))
            return ranked[0], tuple(map(self._name, ranked))
        first = [entry for entry, value in values.items() if value == most]
        if len(first) == 1:
            return first[0], ()
        return min(first, key=lambda entry: self._rank(index, entry, most, rules.marks)), ()

    def _rank(self, index: int, entry: int, value: float, marks: Marks) -> tuple[float, float, int, str]:
        ours, theirs = marks.shown[index], marks.shown[entry]
        common = len(ours & theirs)
        alike = common / max(1, len(ours) + len(theirs) - common)
        return (-value, -alike, -self._created[entry], self._name(entry))

    def _hit(
        self,
        index: int,
        rules: Rules,
        weights: list[float],
        best: int,
        matches: list[Found],
        candidates: tuple[str, ...],
    ) -> Hit:
        extraction, settings = self._prepared.extractions[index], rules.settings
        entities, name = extraction.entities, self._name(best)
        chosen = sorted((query, likeness, text) for likeness, text, query in matches)
        covered = sum(weights[query] * likeness for query, likeness, _ in chosen)
        total = sum(weights)
        coverage = covered / total if total else 0.0
        nearest = self._nearest(index)
        theirs = self._prepared.extractions[best].entities[0].context
        if is_too_little(extraction, [(query, text) for query, _, text in chosen], coverage, settings, theirs):
            return Hit(kind=HitKind.NONE, coverage=coverage, nearest=nearest[0], is_too_little=True)
        kind = _kind(entities, [query for query, *_ in chosen])
        return Hit(
            kind=kind,
            matched=tuple(
                MatchedEntity(
                    query=query,
                    text=entities[query].text,
                    kind=entities[query].kind,
                    entry_id=name,
                    donor_text=text,
                    similarity=likeness,
                )
                for query, likeness, text in chosen
            ),
            coverage=coverage,
            candidates=candidates,
            nearest=nearest[0],
            shares_layout=shares_layout(kind, entities, theirs),
        )

    def _missed(self, index: int, rules: Rules) -> Hit:
        if not self._of or not self._prepared.vectors[index]:
            return Hit(kind=HitKind.NONE)
        likeness, query, near, entry = self._nearest(index)
        if query < 0:
            return Hit(kind=HitKind.NONE, nearest=FAR)
        top = self._neighbour(query, 0, near, likeness, entry)
        verdict = compare(self._prepared.extractions[index], top, rules.settings)
        return Hit(kind=HitKind.NONE, nearest=likeness, nearest_verdict=verdict)

    def _nearest(self, index: int) -> tuple[float, int, int, int]:
        """Return likeness, entity of the prompt, phrase and entry of the nearest row, the youngest of equals."""
        best = (FAR, -1, -1, -1)
        for query, phrase in enumerate(self._prepared.vectors[index]):
            for likeness, near in self._prepared.near[phrase]:
                if likeness < best[0]:
                    break
                rows = self._rows.get(near)
                if rows is None:
                    continue
                entry = next(reversed(rows.values()))[0]
                if likeness > best[0] or self._created[entry] > self._created[best[3]]:
                    best = (likeness, query, near, entry)
                break
        return best


def _note(known: list[Found], likeness: float, text: str, query: int) -> None:
    """Note a match of an entry; per entity of the prompt the nearest is kept, of equal ones the first by text."""
    for place, match in enumerate(known):
        if match[2] == query:
            if match[0] == likeness and text < match[1]:
                known[place] = (likeness, text, query)
            return
    known.append((likeness, text, query))


def _kind(entities: tuple[Entity, ...], queries: list[int]) -> HitKind:
    kinds = {entities[query].kind for query in queries}
    if EntityKind.PROMPT in kinds:
        return HitKind.PROMPT
    if len(kinds) == 2 and len(queries) == len(entities):
        return HitKind.BOTH
    return HitKind.SCENE if EntityKind.SCENE in kinds else HitKind.OBJECT
