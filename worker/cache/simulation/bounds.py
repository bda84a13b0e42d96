"""How good it can get: what any cache could hit, and an eviction that knows the future.

`serves` gives a bound: no policy, admission or budget hits a prompt that nothing could serve, because every hit rests
on an earlier prompt. `Clairvoyant` is what a policy with the trace in its hands reaches: it keeps an entry for each
coming prompt, the soonest first. Where entries serve equal prompts only, nothing does better (Belady 1966); where alike
prompts share entries it is a very good choice, not a proof.
"""

from collections.abc import Collection, Mapping, Sequence

from shared.generation import Mode
from worker.cache.decisions.matching import is_too_little
from worker.cache.simulation.lookup import Found, Resident, Rules, rarity
from worker.cache.simulation.prepare import Prepared

EVERYTHING = 1 << 40  # rows: more than any look-up finds

Serves = Mapping[int, Sequence[int]]  # by request: the earlier ones whose latents could serve it


def could_serve(prepared: Prepared, rules: Rules, index: int, entry: int, matches: Sequence[Found]) -> bool:
    """Say whether an entry that matches a prompt so makes a hit, at the best that rarity may do for it."""
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
    """Return for each request of `order` all earlier ones that could serve it, had each been kept."""
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
    """Evicts what the future does not need. Knows one namespace."""

    def __init__(self, order: Sequence[int], names: Mapping[str, int], serves: Serves) -> None:
        self._order = order
        self._place = {index: place for place, index in enumerate(order)}
        self._numbers, self._serves = names, serves
        self._names = {index: name for name, index in names.items()}
        self._sizes: dict[int, int] = {}  # of what is resident
        self._uses: dict[int, int] = {}  # how many requests each could serve
        for servers in serves.values():
            for server in servers:
                self._uses[server] = self._uses.get(server, 0) + 1

    def insert(self, name: str, at: float, num_bytes: int, seconds_saved: float, texts: tuple[str, ...]) -> None:
        """Take note of a new entry."""
        self._sizes[self._numbers[name]] = num_bytes

    def hit(self, name: str, at: float, covers: tuple[str, ...]) -> None:
        """The future is known already."""

    def remove(self, name: str, at: float, *, is_eviction: bool) -> None:
        """Take note of an entry that went."""
        del self._sizes[self._numbers[name]]

    def victims(self, bytes_needed: int, now: float, kept: Collection[str], entering: str) -> list[str]:
        """Return what no coming request needs, or needs last; nothing when that is the entry that would enter."""
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
        """Return entries, those first that are needed last: not at all, then by who is claimed last."""
        claimed: dict[int, None] = {}
        for index in self._order[self._place[new] + 1 :]:
            able = [server for server in self._serves.get(index, ()) if server in held]
            if able and not any(server in claimed for server in able):
                claimed[max(able, key=lambda server: (self._uses[server], -server))] = None
                if len(claimed) >= len(held) - 1:
                    break
        idle = sorted(held - claimed.keys(), key=lambda index: (self._uses.get(index, 0), index != new, index))
        return [*idle, *reversed(claimed)]
