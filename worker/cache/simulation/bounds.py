"""Bounds on the hit rate: what any cache could hit, and what an eviction that knows the future reaches.

`serves` gives an upper bound: every hit rests on an earlier prompt, so no policy, admission or budget hits a prompt
that none could serve. `Clairvoyant` shows what a policy that knows the trace reaches: it keeps an entry for each coming
prompt, the soonest first. If entries serve equal prompts only, nothing does better (Belady 1966); if similar prompts
share entries, it does very well but is not proved to be the best.
"""

from collections.abc import Collection, Mapping, Sequence

from shared.generation import Mode
from worker.cache.decisions.matching import is_too_little
from worker.cache.simulation.lookup import Found, Resident, Rules, rarity
from worker.cache.simulation.prepare import Prepared

EVERYTHING = 1 << 40  # rows: more than any look-up finds

Serves = Mapping[int, Sequence[int]]  # request → earlier ones whose latents could serve it


def could_serve(prepared: Prepared, rules: Rules, index: int, entry: int, matches: Sequence[Found]) -> bool:
    """Say whether an entry with these matches could be a hit, under the most favourable rarity of its entities."""
    settings, weights = rules.settings, rules.weights(index)
    covered = sum(weights[query] * likeness for likeness, _, query in matches)
    matched = {query for _, _, query in matches}
    rarest = rarity(settings.neighbours_per_entity) if settings.by_rarity else 1.0
    rest = sum(weight for query, weight in enumerate(weights) if query not in matched) / rarest
    total = rest + sum(weights[query] for query in matched)
    coverage = covered / total if total else 0.0
    shared = [(query, text) for _, text, query in matches]
    theirs = prepared.extractions[entry].entities[0].context
    return not is_too_little(prepared.extractions[index], shared, coverage, settings, theirs)


def serves(prepared: Prepared, order: Sequence[int], rules: Rules, *, isolation: str = "shared") -> Serves:
    """Return for each request of `order` all earlier ones that could serve it if everything were kept."""
    places: dict[tuple[str, str], Resident] = {}
    found: dict[int, Sequence[int]] = {}
    for index in order:
        request = prepared.requests[index]
        key = ("" if isolation == "shared" else request.tenant, request.size)
        place = places.get(key)
        if place is None:
            place = places[key] = Resident(prepared, str)
        if request.mode is not Mode.FULL:
            near = place.matches(index, rules, EVERYTHING)
            found[index] = [
                entry for entry, matches in near.items() if could_serve(prepared, rules, index, entry, matches)
            ]
        if request.leaves:
            place.add(index)
    return found


class Clairvoyant:
    """Evicts what the future does not need, in one namespace."""

    def __init__(self, order: Sequence[int], names: Mapping[str, int], serves: Serves) -> None:
        self._order = order
        self._place = {index: place for place, index in enumerate(order)}
        self._numbers, self._serves = names, serves
        self._names = {index: name for name, index in names.items()}
        self._sizes: dict[int, int] = {}  # of resident entries
        self._uses: dict[int, int] = {}  # number of requests that each could serve
        for servers in serves.values():
            for server in servers:
                self._uses[server] = self._uses.get(server, 0) + 1

    def insert(self, name: str, at: float, num_bytes: int, seconds_saved: float, texts: tuple[str, ...]) -> None:
        """Take note of a new entry."""
        self._sizes[self._numbers[name]] = num_bytes

    def hit(self, name: str, at: float, covers: tuple[str, ...]) -> None:
        """Do nothing: the future is known already."""

    def remove(self, name: str, at: float, *, is_eviction: bool) -> None:
        """Take note of an entry that was removed."""
        del self._sizes[self._numbers[name]]

    def victims(self, bytes_needed: int, now: float, kept: Collection[str], entering: str) -> list[str]:
        """Return what no coming request needs, or needs last; nothing if that includes the entry that would enter."""
        new = self._numbers[entering]
        last = self._last_needed(new, {new, *self._sizes})
        chosen: list[str] = []
        freed = 0
        for index in last:
            if index == new:
                return []
            if self._names[index] not in kept:
                chosen.append(self._names[index])
                freed += self._sizes[index]
            if freed >= bytes_needed:
                return chosen
        return []

    def _last_needed(self, new: int, held: set[int]) -> list[int]:
        """Return entries in order of eviction: first those never needed, then those needed last."""
        claimed: dict[int, None] = {}
        for index in self._order[self._place[new] + 1 :]:
            able = [server for server in self._serves.get(index, ()) if server in held]
            if able and not any(server in claimed for server in able):
                claimed[max(able, key=lambda server: (self._uses[server], -server))] = None
                if len(claimed) >= len(held) - 1:
                    break
        idle = sorted(held - claimed.keys(), key=lambda index: (self._uses.get(index, 0), index != new, index))
        return [*idle, *reversed(claimed)]
