"""Ordering of a list of prompts so that as many lines as possible find a donor.

A line without a donor runs in full and can lend to later ones. Only the order decides which lines these are: a line
that can lend to many goes first, and its borrowers follow at once, while it is still stored. Lines are not changed, not
even in mode. The look-up itself decides for every pair whether one may lend to the other.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from shared.generation import Mode, RunPath
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan, Table
from worker.cache.decisions.types import Neighbour
from worker.prompts.types import Extraction

OWN = "line "  # prefix of the entry ids of lines, which distinguishes them from stored donors
SLICE = 1000  # lines ordered at a time: all pairs are compared, and a slice runs while the next one is ordered
MOST = 200  # possible donors compared with each line
FAST_IN_A_FULL = 4  # roughly, the jobs that another worker ends during one full run

Vectors = NDArray[np.float32]  # (entities, dims), of unit length


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a list with its entities."""

    id: str  # of the entry that a full run of it would store
    mode: Mode
    extraction: Extraction
    vectors: Vectors
    table: Table
    lends: bool = True  # a full run of it is stored
    stored: tuple[Neighbour, ...] = ()  # near entities now in the cache

    def as_donor(self, entity: int, *, query: int, similarity: float, created: float = 0.0, uses: int = 0) -> Neighbour:
        """One of its entities in the form of a stored one."""
        found, likeness = self.extraction.entities[entity], min(1.0, similarity)
        return Neighbour.of(found, query=query, entry_id=self.id, similarity=likeness, created=created, uses=uses)


@dataclass(slots=True)
class Room:
    """Entries stored so far by full runs of the list; without room, the least recently used goes."""

    capacity: int | None = None  # entries; None: all of them
    _entries: OrderedDict[str, tuple[float, Line]] = field(default_factory=OrderedDict)
    _num_kept: int = 0
    _uses: Counter[str] = field(default_factory=Counter)

    def keep(self, line: Line) -> None:
        """Store the entry of a line's full run."""
        self._num_kept += 1
        self._entries[line.id] = (float(self._num_kept), line)
        while self.capacity is not None and len(self._entries) > max(1, self.capacity):
            self._entries.popitem(last=False)

    def use(self, plan: Plan) -> None:
        """Record which entries a plan reads."""
        for id_ in plan.donors:
            if id_ in self._entries:
                self._entries.move_to_end(id_)
                self._uses[id_] += 1

    def near(self, line: Line, limit: int) -> list[Neighbour]:
        """Return the stored entities nearest to each of a line's."""
        rows = [
            (created, donor, entity)
            for created, donor in self._entries.values()
            for entity in range(len(donor.extraction.entities))
        ]
        if not rows or not len(line.vectors):
            return []
        kept = np.concatenate([donor.vectors for _, donor in self._entries.values() if len(donor.vectors)])
        found = []
        for query, likeness in enumerate(line.vectors @ kept.T):  # (entities, kept)
            for index in np.argsort(-likeness, kind="stable")[:limit]:
                created, donor, entity = rows[index]
                similarity, uses = float(likeness[index]), self._uses[donor.id]
                found.append(donor.as_donor(entity, query=query, similarity=similarity, created=created, uses=uses))
        return found


def lag(num_workers: int) -> int:
    """Return after about how many lines a donor's latents are available: with one worker, by the next line."""
    return 1 + FAST_IN_A_FULL * (max(1, num_workers) - 1)


def run(
    lines: Sequence[Line], order: Sequence[int], room: Room, settings: MatchSettings, *, num_workers: int = 1
) -> Iterator[tuple[int, Plan]]:
    """Decide each line in this order, as the service would, and store entries of full runs in `room`."""
    coming: deque[tuple[int, Line]] = deque()
    for place, index in enumerate(order):
        while coming and coming[0][0] <= place:
            room.keep(coming.popleft()[1])
        line = lines[index]
        plan = _decide(line, room, settings)
        room.use(plan)
        if plan.path is RunPath.FULL and line.lends:
            coming.append((place + lag(num_workers), line))
        yield index, plan
    for _, line in coming:
        room.keep(line)


def _decide(line: Line, room: Room, settings: MatchSettings) -> Plan:
    near = [*line.stored, *room.near(line, settings.neighbours_per_entity)]
    return planning.decide(line.mode, line.extraction, near, line.table, settings)


def arrange(lines: Sequence[Line], room: Room, settings: MatchSettings, *, num_workers: int = 1) -> list[int]:
    """Return the order in which most of these lines run fast: a greedy cover, each donor's borrowers close behind it.

    First come lines that already find a donor, before what they need is evicted; last those that neither lend nor
    borrow.
    """
    served = [index for index, line in enumerate(lines) if _decide(line, room, settings).donors]
    lent = borrowers(lines, settings)
    donors, donor_of, alone = _cover(lines, lent, set(served))
    behind = _behind(donors, donor_of, lag(num_workers))
    return [*served, *behind, *alone]


def borrowers(lines: Sequence[Line], settings: MatchSettings) -> dict[int, dict[int, float]]:
    """Return for each line the lines that could borrow from it if it alone were stored, with what it covers.

    For each line only the `MOST` possible donors that are near to most lines are compared: if all are alike, any will
    do.
    """
    found: dict[int, dict[int, float]] = defaultdict(dict)
    owners = [(index, entity) for index, line in enumerate(lines) for entity in range(len(line.extraction.entities))]
    if not owners:
        return found
    vectors = np.concatenate([line.vectors for line in lines if len(line.vectors)])
    near = [_near(index, lines, owners, vectors, settings) for index in range(len(lines))]
    popular = Counter(donor for donors in near for donor in donors)
    for index, donors in enumerate(near):
        line = lines[index]
        for donor in sorted(donors, key=lambda donor: (-popular[donor], donor))[:MOST]:
            alike = [
                lines[donor].as_donor(entity, query=query, similarity=similarity)
                for query, entity, similarity in donors[donor]
            ]
            plan = planning.decide(line.mode, line.extraction, alike, line.table, settings)
            if plan.donors:
                covered = (settings.weight(line.extraction.entities[m.query]) * m.similarity for m in plan.matched)
                found[donor][index] = sum(covered)
    return found


def _near(
    index: int, lines: Sequence[Line], owners: Sequence[tuple[int, int]], vectors: Vectors, settings: MatchSettings
) -> dict[int, list[tuple[int, int, float]]]:
    """Return the lines that could lend to one, each with its near pairs: own entity, theirs, similarity."""
    line = lines[index]
    near: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    if not len(line.vectors) or line.mode is Mode.FULL:
        return near
    likeness = line.vectors @ vectors.T  # (entities, entities of all lines)
    for query, column in zip(*np.nonzero(likeness >= settings.head_threshold), strict=True):
        donor, entity = owners[column]
        if donor != index and lines[donor].lends:
            near[donor].append((int(query), entity, float(likeness[query, column])))
    return near


def _cover(
    lines: Sequence[Line], lent: Mapping[int, Mapping[int, float]], served: set[int]
) -> tuple[list[int], dict[int, int], list[int]]:
    """Return the donors in the order chosen, the borrower relation, and the lines left alone.

    Each choice is the line that lends to most lines without a donor; a line with a donor runs fast and stores nothing.
    Of equal ones, lines of mode full come first, since they use no donor anyway.
    """
    open_ = set(range(len(lines))) - served
    donors: list[int] = []
    heap = [(-len(to), lines[index].mode is not Mode.FULL, index) for index, to in lent.items() if index in open_]
    heapify(heap)
    while heap:
        _, is_at_a_cost, index = heappop(heap)
        if index not in open_:
            continue
        gain = len(open_ & lent[index].keys())
        if heap and -gain > heap[0][0]:  # other donors took some of its lines: it may no longer be the best
            heappush(heap, (-gain, is_at_a_cost, index))
            continue
        if not gain:
            break
        donors.append(index)
        open_ -= {index, *lent[index]}
    borrowing = set(range(len(lines))) - served - open_ - set(donors)
    best = {borrower: _best(borrower, donors, lent) for borrower in sorted(borrowing)}
    return donors, best, sorted(open_)


def _best(borrower: int, donors: Sequence[int], lent: Mapping[int, Mapping[int, float]]) -> int:
    """Return the donor that covers most of a line; of equal ones the first chosen."""
    return max((donor for donor in donors if borrower in lent[donor]), key=lambda donor: lent[donor][borrower])


def _behind(donors: Sequence[int], donor_of: Mapping[int, int], after: int) -> list[int]:
    """Return donors and borrowers: each borrower soon after its donor, but if possible at least `after` lines later."""
    following: dict[int, list[int]] = defaultdict(list)
    for borrower, donor in donor_of.items():
        following[donor].append(borrower)
    order: list[int] = []
    waiting: deque[tuple[int, int]] = deque()  # earliest position, and line
    to_come = deque(donors)
    while to_come or waiting:
        if waiting and (waiting[0][0] <= len(order) or not to_come):
            order.append(waiting.popleft()[1])
            continue
        donor = to_come.popleft()
        waiting.extend((len(order) + after, borrower) for borrower in following[donor])
        order.append(donor)
    return order
