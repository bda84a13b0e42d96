"""What the service recorded, as requests to replay: decisions, and when their results took effect.

Every decision comes with the settings and recipes that applied then, and with the entities that its prompt had. A job
that produced nothing is decided and leaves nothing. Entries that were purged or broken are removed when they were.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db import cache, decisions, metrics
from db.models import CacheEvent, Job, Lookup, Namespace
from shared.generation import RunPath
from worker.cache import trace
from worker.cache.decisions.replay import DecisionRow
from worker.cache.simulation.play import Phase
from worker.cache.simulation.prepare import Request
from worker.cache.simulation.study import Sample

Attempt = tuple[UUID, int]  # job and fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Requests, the order in which they were decided and ended, and what was decided."""

    requests: Sequence[Request]
    sample: Sample
    decisions: Sequence[DecisionRow]
    policies: frozenset[str]  # of the namespaces
    full_seconds: float | None  # mean over the completed full runs that were read


@dataclass(slots=True)
class _Ends:
    """How attempts ended."""

    inserts: dict[Attempt, CacheEvent]
    hits: dict[Attempt, CacheEvent]
    refusals: dict[Attempt, CacheEvent]
    others: dict[Attempt, tuple[datetime, str]]  # when an attempt without events ended, and how


def read(session: Session, *, namespace_id: UUID | None = None, since: datetime | None = None) -> Recorded:
    """Return the record of a namespace, or of all, since a time."""
    found = decisions.log(session, namespace_id=namespace_id, since=since)
    log = cache.log(session, namespace_id=namespace_id, since=since)
    ends = _ends(session, log)
    taken = [trace.decision(lookup) for lookup, _, _ in found]
    requests = [
        _request(lookup, job, space, decision, ends)
        for (lookup, job, space), decision in zip(found, taken, strict=True)
    ]
    attempts = {(lookup.job_id, lookup.fence): index for index, (lookup, _, _) in enumerate(found)}
    steps = [(phase, index) for _, phase, index in sorted(_steps(attempts, found, log, ends))]
    return Recorded(
        requests=requests,
        sample=Sample(indices=range(len(requests)), steps=steps),
        decisions=taken,
        policies=frozenset(space.policy for _, _, space in found),
        full_seconds=metrics.mean_full_seconds(session, namespace_id=namespace_id, since=since),
    )


def _ends(session: Session, log: Iterable[CacheEvent]) -> _Ends:
    found: dict[str, dict[Attempt, CacheEvent]] = defaultdict(dict)
    for event in log:
        if event.job_id is not None and event.fence is not None:
            found[event.kind].setdefault((event.job_id, event.fence), event)  # a later insert is a move: `reembed`
    return _Ends(inserts=found["insert"], hits=found["hit"], refusals=found["refuse"], others=metrics.ends(session))


def _request(lookup: Lookup, job: Job, space: Namespace, decision: DecisionRow, ends: _Ends) -> Request:
    attempt = (lookup.job_id, lookup.fence)
    insert = ends.inserts.get(attempt)
    left = insert is not None or attempt in ends.refusals or decision.plan.path is not RunPath.FULL
    identity = {name: value for name, value in space.identity.items() if name not in ("scope", "owner")}
    return Request(
        prompt=job.prompt,
        at=decision.at,
        tenant=f"{space.scope} {space.owner}",
        size=str(sorted(identity.items())),
        num_bytes=None if insert is None else insert.num_bytes,
        mode=decision.mode,
        extraction=decision.extraction,
        settings=decision.settings,
        table=decision.table,
        entry_id=None if insert is None else str(insert.entry_id),
        leaves=left and ends.others.get(attempt, (None, "completed"))[1] == "completed",
        seconds_saved=None if insert is None else insert.detail.get("seconds_saved"),
        budget=lookup.occupancy.get("byte_budget", space.byte_budget),
    )


Step = tuple[tuple[float, int], Phase, int]  # time; the rest orders steps at equal times


def _steps(
    attempts: dict[Attempt, int], found: Sequence[tuple[Lookup, Job, Namespace]], log: Sequence[CacheEvent], ends: _Ends
) -> Iterator[Step]:
    """Return the steps of every attempt. An eviction made room for the insert that follows it."""
    by_entry = {event.entry_id: attempts[attempt] for attempt, event in ends.inserts.items() if attempt in attempts}
    for attempt, index in attempts.items():
        lookup = found[index][0]
        yield (lookup.created_at.timestamp(), 0), Phase.DECIDE, index
        event = ends.inserts.get(attempt) or ends.hits.get(attempt) or ends.refusals.get(attempt)
        if event is not None:
            at = (event.created_at.timestamp(), event.id)
            yield at, Phase.ROOM, index
            yield at, Phase.END, index
        elif attempt in ends.others:
            ended, outcome = ends.others[attempt]
            yield (ended.timestamp(), 0), Phase.END if outcome == "completed" else Phase.DROP, index
    for event in log:
        is_own = event.kind == "evict" and not event.detail.keys().isdisjoint(("victims", "worn"))
        if event.kind in ("evict", "quarantine") and not is_own and event.entry_id in by_entry:
            yield (event.created_at.timestamp(), event.id), Phase.REMOVE, by_entry[event.entry_id]
