"""Deletion of old history, a bounded number of rows at a time: gone cache entries, decisions, figures of attempts.

However old, these stay: entries that have, or may have, a file, with all their events, since a policy's state follows
from them; everything that belongs to a job that has not ended; the latest figures of each namespace, from which savings
are computed; the latest checks of each case, by which thresholds move; and rows that `cache_days` has not summed up. An
entry goes together with its events, and only when all of it is old, so that the remaining rows are a complete record of
the time that is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, literal_column, select
from sqlalchemy.orm import Session, aliased

from db import cache_days
from db.metrics import MEAN_OF
from db.models import CacheEntry, CacheEvent, Job, JobMetric, Lookup, Pin, QualityCheck
from db.quality_checks import NUM_LOSSES
from db.states import FINAL, CheckStatus, EntryStatus

_LARGEST_ID = 2**63 - 1
_CHECKED = (CheckStatus.DONE, CheckStatus.LOST)

# tables whose rows are in chronological order
Logbook = type[CacheEvent] | type[Lookup] | type[JobMetric] | type[QualityCheck]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How many rows one batch deleted."""

    entries: int
    events: int
    lookups: int
    metrics: int
    checks: int  # of the monitor
    is_all: bool  # no more rows were old

    @property
    def num_rows(self) -> int:
        """The number of rows of all tables."""
        return self.entries + self.events + self.lookups + self.metrics + self.checks


def forget(session: Session, *, older: timedelta, limit: int) -> Forgotten:
    """Delete at most `limit` old rows of each kind: gone entries, their events, refusals, the others.

    Rows that another relay is just deleting are left to it. The next call goes on where this one ended.
    """
    before = func.least(func.now() - older, literal_column(cache_days.OVER))  # rows not summed up yet stay
    locked, of_entries, entries = _gone_entries(session, before, limit)
    refusals = _remove(session, CacheEvent, before, CacheEvent.kind == "refuse", limit)
    lookups = _remove(session, Lookup, before, ~_has_open_job(Lookup.job_id), limit)
    figures = _remove(session, JobMetric, before, and_(~_has_open_job(JobMetric.job_id), ~_is_recent()), limit)
    checks = _remove(session, QualityCheck, before, and_(QualityCheck.status.in_(_CHECKED), ~_is_evidence()), limit)
    return Forgotten(
        entries=entries,
        events=of_entries + refusals,
        lookups=lookups,
        metrics=figures,
        checks=checks,
        is_all=max(locked, of_entries, refusals, lookups, figures, checks) < limit,
    )


def _gone_entries(session: Session, before: ColumnElement[Any], limit: int) -> tuple[int, int, int]:
    """Delete events of entries that went long ago, and the entries that have none left; return locked, events, entries.

    The lock keeps an entry's events with one relay, and the lowest ids are deleted first: a worker that reads the
    history meanwhile may miss an entry's insertion, but never sees an insertion without the later removal.
    """
    ended = func.coalesce(CacheEntry.ended_at, CacheEntry.created_at)  # an abandoned entry never served
    is_pinned = exists().where(Pin.entry_id == CacheEntry.id)
    old = select(CacheEntry.id).where(CacheEntry.status == EntryStatus.GONE, ended < before, ~is_pinned)
    ids = session.scalars(old.limit(limit).with_for_update(skip_locked=True, of=CacheEntry)).all()
    events = select(CacheEvent.id).where(CacheEvent.entry_id.in_(ids)).order_by(CacheEvent.id).limit(limit)
    num_events = _delete(session, CacheEvent, session.scalars(events).all())
    has_events = exists().where(CacheEvent.entry_id == CacheEntry.id)
    bare = session.scalars(select(CacheEntry.id).where(CacheEntry.id.in_(ids), ~has_events)).all()
    return len(ids), num_events, _delete(session, CacheEntry, bare)


def _remove(
    session: Session, table: Logbook, before: ColumnElement[Any], which: ColumnElement[bool], limit: int
) -> int:
    """Delete the first old rows of a kind.

    All rows before the first young one are old. Ids and times rise together, so the primary key finds these rows and
    bounds the search; an index on the time would burden every insert.
    """
    first_young = select(table.id).where(table.created_at >= before).order_by(table.id).limit(1).scalar_subquery()
    old: Select[Any] = select(table.id).where(table.id < func.coalesce(first_young, _LARGEST_ID), which)
    ids = session.scalars(old.order_by(table.id).limit(limit).with_for_update(skip_locked=True, of=table)).all()
    return _delete(session, table, ids)


def _delete(session: Session, table: Logbook | type[CacheEntry], ids: Sequence[Any]) -> int:
    if ids:
        session.execute(delete(table).where(table.id.in_(ids)), execution_options={"synchronize_session": False})
    return len(ids)


def _has_open_job(job_id: Any) -> ColumnElement[bool]:  # Any: a column of either table
    return exists().where(Job.id == job_id, Job.status.not_in(FINAL))


def _is_recent() -> ColumnElement[bool]:
    """Whether a row is among those that `decisions.known` reads, however old."""
    newer = aliased(JobMetric)
    alike = and_(
        newer.namespace_id == JobMetric.namespace_id, newer.path == JobMetric.path, newer.outcome == "completed"
    )
    ahead = select(newer.id).where(alike, newer.id > JobMetric.id).order_by(newer.id).offset(MEAN_OF - 1).limit(1)
    counts = and_(JobMetric.outcome == "completed", JobMetric.namespace_id.is_not(None), JobMetric.path.is_not(None))
    return and_(counts, ~ahead.exists())


def _is_evidence() -> ColumnElement[bool]:
    """Whether a check is among those that `quality_checks.losses` reads, however old."""
    newer = aliased(QualityCheck)
    case = and_(newer.namespace_key == QualityCheck.namespace_key, newer.kind == QualityCheck.kind)
    alike = and_(case, newer.judge == QualityCheck.judge, newer.status == CheckStatus.DONE)
    ahead = select(newer.id).where(alike, newer.id > QualityCheck.id).order_by(newer.id).offset(NUM_LOSSES - 1).limit(1)
    return and_(QualityCheck.status == CheckStatus.DONE, ~ahead.exists())
