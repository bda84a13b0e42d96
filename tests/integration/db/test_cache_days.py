"""Sums of days: written once, equal to what the rows say, and there when these are gone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from api.web import words
from db import acceptance, cache_days, cache_stats, namespaces, retention
from db.models import CacheDay, CacheEvent, Job, JobMetric, Lookup, Namespace
from db.session import transaction
from db.states import JobStatus
from shared.reasons import HITS, Reason

PLAN = {"hit": "object", "full_num_steps": 30, "recipe": {"num_steps": 8, "reuse": "cache_attention"}, "matched": []}
NONE = {"hit": "none", "full_num_steps": 30, "recipe": {"num_steps": 30, "reuse": None}, "matched": []}


@pytest.fixture
def space(session_factory: sessionmaker[Session]) -> Namespace:
    """Two days of decisions, one of them today's."""
    given: dict[str, Any] = {"model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
    shape: dict[str, Any] = {"entities": [], "neighbours": [], "settings": {}, "occupancy": {}, "timings": {}}
    with transaction(session_factory) as session:
        space = namespaces.get_or_create(session, {"model": "tiny"}, scope="tenant", owner="ada", dims=4, byte_budget=9)
        for number in range(6):
            job, _ = acceptance.accept(session, Job(tenant="ada", prompt="a fox", **given))
            is_hit = number % 3 == 1
            reason, plan = ("entity_hit", PLAN) if is_hit else ("no_match", NONE)
            row = Lookup(job_id=job.id, fence=1, attempt=1, namespace_id=space.id, plan=plan, reason=reason, **shape)
            figures = JobMetric(
                job_id=job.id,
                attempt=1,
                fence=1,
                tenant="ada",
                namespace_id=space.id,
                outcome="completed",
                reason=reason,
                gpu_seconds=2.0,
                seconds_saved=0.5 if is_hit else None,
            )
            event = CacheEvent(namespace_id=space.id, kind="hit" if is_hit else "insert", num_bytes=1)
            session.add_all([row, figures, event])
        session.flush()
        old = func.now() - timedelta(days=3)
        for table in (Lookup, JobMetric, CacheEvent):
            ids = session.scalars(select(table.id).order_by(table.id).limit(4)).all()
            session.execute(update(table).where(table.id.in_(ids)).values(created_at=old))
        return space


def test_a_day_that_is_over_is_summed_up_once_and_outlives_its_rows(
    session_factory: sessionmaker[Session], space: Namespace
) -> None:
    within = cache_stats.Range(since=datetime.now(UTC) - timedelta(days=30), namespace_id=space.id)
    with transaction(session_factory) as session:
        before = cache_stats.decisions(session, within, by="day")

        assert cache_days.roll_up(session) == 1
        assert cache_days.roll_up(session) == 0

        (day,) = session.scalars(select(CacheDay)).all()
        assert (day.decisions, day.hits, day.steps_saved) == (4, 1, 22)
        assert day.by_reason == {"entity_hit": 1, "no_match": 3}
        assert (day.videos, day.gpu_seconds, day.seconds_saved, day.inserts) == (4, 8.0, 0.5, 3)
        assert cache_stats.decisions(session, within, by="day") == before
        session.execute(delete(Lookup).where(Lookup.created_at < func.now() - timedelta(days=1)))
        assert cache_stats.decisions(session, within, by="day") == before
    assert [row["decisions"] for row in before] == [4, 2]


def test_a_day_that_is_not_over_waits(session_factory: sessionmaker[Session], space: Namespace) -> None:
    with transaction(session_factory) as session:
        session.execute(text("UPDATE lookups SET created_at = now()"))
        session.execute(text("UPDATE job_metrics SET created_at = now()"))
        session.execute(text("UPDATE cache_events SET created_at = now()"))

        assert cache_days.roll_up(session) == 0


def test_a_decision_for_a_donor_s_layout_is_a_hit(session_factory: sessionmaker[Session], space: Namespace) -> None:
    within = cache_stats.Range(since=datetime.now(UTC) - timedelta(days=30), namespace_id=space.id)
    with transaction(session_factory) as session:
        for table in (Lookup, JobMetric):
            session.execute(update(table).where(table.reason == "entity_hit").values(reason="layout_hit"))

        found = cache_stats.summary(session, within)
        cache_days.roll_up(session)

        assert (found["hits"], found["savings"]["steps_saved"]) == (2, 44)
        assert [row["hits"] for row in found["by_day"]] == [1, 1]
        assert session.scalars(select(CacheDay.hits)).one() == 1
    assert [miss["name"] for miss in words.cache(found)["misses"]] == ["nothing alike is stored"]


@pytest.mark.parametrize(
    "became",
    [{"outcome": "cancelled"}, {"outcome": "failed"}, {"outcome": "released"}, {"reason": "donor_unusable"}],
    ids=str,
)
def test_steps_are_saved_by_donors_of_videos_that_were_made(
    session_factory: sessionmaker[Session], space: Namespace, became: dict[str, str]
) -> None:
    within = cache_stats.Range(since=datetime.now(UTC) - timedelta(days=30), namespace_id=space.id)
    with transaction(session_factory) as session:
        old = select(func.min(JobMetric.id)).where(JobMetric.reason == "entity_hit").scalar_subquery()
        session.execute(update(JobMetric).where(JobMetric.id == old).values(**became))

        found = cache_stats.summary(session, within)
        cache_days.roll_up(session)

        assert (found["hits"], found["savings"]["steps_saved"]) == (2, 22)  # decided for a donor, and gone by one
        assert session.scalars(select(CacheDay.steps_saved)).one() == 0


def test_every_reason_for_a_donor_is_known_as_a_hit() -> None:
    donors = {Reason.ENTITY_HIT, Reason.PROMPT_HIT, Reason.LAYOUT_HIT}

    assert set(HITS) == donors
    assert {reason for reason in Reason if reason.endswith("_hit")} - donors == {Reason.FAST_REQUESTED_NO_HIT}


def test_what_commits_a_moment_after_midnight_is_summed_up_too(
    session_factory: sessionmaker[Session], space: Namespace
) -> None:
    now = "CREATE FUNCTION midnight.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT {} $$"
    tonight = "date_trunc('day', pg_catalog.now())"
    with transaction(session_factory) as session:
        session.execute(text("CREATE SCHEMA midnight"))
        session.execute(text(now.format(f"{tonight} + interval '3 seconds'")))
        session.execute(text("SET LOCAL search_path = midnight, pg_catalog, public"))
        late = f"SELECT id FROM job_metrics WHERE created_at >= {tonight} ORDER BY id LIMIT 1"
        session.execute(
            text(f"UPDATE job_metrics SET created_at = {tonight} - interval '1 second' WHERE id = ({late})")
        )
        cache_days.roll_up(session)  # while the transaction of one more of that second is not over
        session.execute(
            text(f"UPDATE job_metrics SET created_at = {tonight} - interval '1 second' WHERE id = ({late})")
        )
        session.execute(text("DROP SCHEMA midnight CASCADE"))
        session.execute(text("CREATE SCHEMA midnight"))
        session.execute(text(now.format(f"{tonight} + interval '1 hour'")))

        cache_days.roll_up(session)

        assert session.scalars(select(CacheDay.videos).order_by(CacheDay.day.desc())).first() == 2
        session.execute(text("DROP SCHEMA midnight CASCADE"))


def test_rows_of_a_day_stay_until_it_is_summed_up(session_factory: sessionmaker[Session], space: Namespace) -> None:
    today = func.date_trunc("day", func.now(), "UTC")
    with transaction(session_factory) as session:
        session.execute(update(Job).values(status=JobStatus.FAILED))
        session.execute(update(Lookup).values(created_at=today))

        retention.forget(session, older=timedelta(0), limit=100)

        assert session.scalars(select(func.count()).select_from(Lookup)).one() == 6
        session.execute(update(Lookup).values(created_at=today - timedelta(days=2)))
        retention.forget(session, older=timedelta(0), limit=100)
        assert session.scalars(select(func.count()).select_from(Lookup)).one() == 0


def test_the_page_counts_one_entry_and_several_entries(session: Session) -> None:
    found = cache_stats.summary(session, cache_stats.Range(since=datetime.now(UTC) - timedelta(days=1)))

    shown = [words.cache(found | {"space": found["space"] | {"entries": number}})["entries"] for number in (0, 1, 2000)]

    assert shown == ["0 entries", "1 entry", "2,000 entries"]
