"""Puts recorded traffic through the same decisions again.

A trace is the rows of a namespace in the order in which they were recorded: decisions, events, evictions. Replayed with
the recorded settings, it reproduces every decision and every eviction, which is a test; with other settings or another
policy, it says what would have been decided differently at each step (the trace itself goes on as it was recorded).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from shared.generation import Mode
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan, Table, decide, table_from_rows, table_to_rows
from worker.cache.decisions.types import EntryRow, Event, EventKind, Neighbour
from worker.cache.eviction import POLICIES, Policy, victims
from worker.prompts.types import Extraction, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision: what it was based on, and what was decided."""

    at: float  # seconds since 1970
    mode: Mode
    extraction: Extraction
    neighbours: tuple[Neighbour, ...]
    settings: MatchSettings
    table: Table
    plan: Plan
    overlent: tuple[str, ...] = ()  # entries whose layout had been lent often enough

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The row that `to_dict` wrote."""
        return cls(
            at=row["at"],
            mode=Mode(row["mode"]),
            extraction=Extraction.from_dict(row["extraction"]),
            neighbours=tuple(Neighbour.from_dict(neighbour) for neighbour in row["neighbours"]),
            settings=MatchSettings.recorded(row["settings"]),
            table=table_from_rows(row["table"]),
            plan=Plan.from_dict(row["plan"]),
            overlent=tuple(row.get("overlent", ())),
        )

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {
            "at": self.at,
            "mode": self.mode.value,
            "extraction": self.extraction.to_dict(),
            "neighbours": [neighbour.to_dict() for neighbour in self.neighbours],
            "settings": self.settings.to_dict(),
            "table": table_to_rows(self.table),
            "plan": self.plan.to_dict(),
            **({"overlent": list(self.overlent)} if self.overlent else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionRow:
    """One choice of victims. Their `evict` events follow it in the trace."""

    at: float  # seconds since 1970: the time given to the policy
    policy: str
    bytes_needed: int
    victims: tuple[str, ...]
    kept: tuple[str, ...] = ()  # entries that could not be evicted: pinned by a running job
    seed: int = 0
    tenant: str | None = None  # set if only its entries may be evicted: it was over its share

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The row that `to_dict` wrote."""
        return cls(**{**row, "victims": tuple(row["victims"]), "kept": tuple(row["kept"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {
            "at": self.at,
            "policy": self.policy,
            "bytes_needed": self.bytes_needed,
            "victims": list(self.victims),
            "kept": list(self.kept),
            "seed": self.seed,
            "tenant": self.tenant,
        }


Trace = Iterable[DecisionRow | Event | EvictionRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a replay disagrees with the record."""

    index: int  # of the row in the trace
    recorded: Plan | tuple[str, ...]
    replayed: Plan | tuple[str, ...]


def replay(
    trace: Trace, *, settings: MatchSettings | None = None, table: Table | None = None, policy: str | None = None
) -> list[Difference]:
    """Where the trace would have been decided differently; empty for a faithful record under its own settings.

    `settings`, `table` and `policy` stand in for the recorded ones. Raises ValueError for an unknown policy.
    """
    return [
        Difference(index=index, recorded=recorded, replayed=replayed)
        for index, recorded, replayed in rerun(trace, settings=settings, table=table, policy=policy)
        if recorded != replayed
    ]


def rerun(
    trace: Trace, *, settings: MatchSettings | None = None, table: Table | None = None, policy: str | None = None
) -> Iterator[tuple[int, Plan, Plan] | tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Each decision and eviction of the trace: its index, what was recorded, what comes out now."""
    if policy is not None and policy not in POLICIES:
        raise ValueError(f"{policy!r} is not an eviction policy; there are {', '.join(POLICIES)}")
    resident: dict[str, EntryRow] = {}
    history: list[Event] = []
    readers: dict[tuple[str, int], tuple[Policy, int]] = {}
    for index, row in enumerate(trace):
        if isinstance(row, DecisionRow):
            given = (row.mode, row.extraction, row.neighbours, table or row.table, settings or row.settings)
            plan = decide(*given, overlent=row.overlent)
            yield index, row.plan, plan
        elif isinstance(row, EvictionRow):
            key = (policy or row.policy, row.seed)
            reader, seen = readers.get(key) or (POLICIES[key[0]](seed=row.seed), 0)
            evictable = [entry for entry in resident.values() if _may_go(entry, row)]
            chosen = victims(reader, evictable, history[seen:], bytes_needed=row.bytes_needed, now=row.at)
            readers[key] = (reader, len(history))
            yield index, row.victims, tuple(chosen)
        else:
            history.append(row)
            resident = apply(resident, row)


def _may_go(entry: EntryRow, row: EvictionRow) -> bool:
    return entry.id not in row.kept and row.tenant in (None, entry.tenant)


def apply(resident: dict[str, EntryRow], event: Event) -> dict[str, EntryRow]:
    """The resident entries after an event; changes and returns the same dict."""
    if event.kind is EventKind.INSERT:
        resident[event.entry_id] = EntryRow(
            id=event.entry_id,
            num_bytes=event.num_bytes,
            seconds_saved=event.seconds_saved,
            created=event.at,
            tenant=event.tenant,
        )
    elif event.kind is EventKind.HIT and event.entry_id in resident:
        entry = resident[event.entry_id]
        resident[event.entry_id] = replace(entry, hits=entry.hits + 1, last_hit=event.at)
    elif event.kind in (EventKind.EVICT, EventKind.QUARANTINE):
        resident.pop(event.entry_id, None)
    return resident
