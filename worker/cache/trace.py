"""Recorded rows of a namespace as the trace that `worker.cache.decisions.replay` replays."""

from collections.abc import Iterator
from heapq import merge
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from db import cache, decisions
from db.models import CacheEvent, Lookup, Namespace
from shared.generation import Mode
from worker.cache import packed
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan, table_from_rows
from worker.cache.decisions.replay import DecisionRow, EvictionRow
from worker.cache.decisions.types import Event
from worker.cache.room import as_event
from worker.prompts.types import Entity, Extraction, FallbackReason

Row = DecisionRow | Event | EvictionRow


def read(session: Session, namespace_id: UUID) -> Iterator[Row]:
    """Return decisions, events and evictions in order.

    Decisions and events are ordered by the clock; events among themselves by their ids, which follow the namespace's
    lock.
    """
    space = session.get_one(Namespace, namespace_id)
    taken = ((row.created_at.timestamp(), decision(row)) for row in decisions.of_namespace(session, namespace_id))
    events = _events(cache.events(session, space))
    return (row for _, row in merge(taken, events, key=lambda timed: timed[0]))


def decision(row: Lookup) -> DecisionRow:
    """Return a recorded decision with everything that it was based on."""
    given: dict[str, Any] = row.settings
    reason = given["fallback_reason"]
    return DecisionRow(
        at=row.created_at.timestamp(),
        mode=Mode(given["mode"]),
        extraction=Extraction(
            entities=tuple(Entity.from_dict(entity) for entity in row.entities),
            style=tuple(given["style"]),
            fallback_reason=None if reason is None else FallbackReason(reason),
            excluded=tuple(Entity.from_dict(entity) for entity in given.get("excluded", ())),
            unread=tuple(given.get("unread", ())),
            language=given.get("language", "en"),
        ),
        neighbours=packed.unpack(row.neighbours),
        settings=MatchSettings.recorded(given["match"]),
        table=table_from_rows(given["table"]),
        plan=Plan.from_dict(row.plan),
        overlent=tuple(given.get("overlent", ())),
    )


def _events(rows: list[CacheEvent]) -> Iterator[tuple[float, Row]]:
    last: float | None = None
    for row in rows:
        at = row.created_at.timestamp()
        if row.kind == "evict" and "victims" in row.detail and row.detail["at"] != last:
            last = row.detail["at"]
            yield at, _eviction(row)
        event = as_event(row)
        if event is not None:
            yield at, event


def _eviction(row: CacheEvent) -> EvictionRow:
    chosen = row.detail
    return EvictionRow(
        at=chosen["at"],
        policy=row.policy or "",
        bytes_needed=chosen["bytes_needed"],
        victims=tuple(chosen["victims"]),
        kept=tuple(chosen["kept"]),
        seed=chosen["seed"],
        tenant=chosen.get("tenant"),
    )
