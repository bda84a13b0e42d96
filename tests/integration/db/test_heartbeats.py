"""Signs of life of the parts, judged on the database clock."""

from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from db import heartbeats
from db.models import Heartbeat


def test_a_part_has_one_row_with_its_latest_word(session: Session) -> None:
    heartbeats.beat(session, "worker:a", {"model": "tiny"})
    session.execute(update(Heartbeat).values(seen_at=Heartbeat.seen_at - timedelta(hours=1)))

    heartbeats.beat(session, "worker:a", {"model": "small"})

    (found,) = heartbeats.seen(session, "worker")
    assert (found.name, found.detail) == ("worker:a", {"model": "small"})
    assert 0 <= found.age_s < 30


def test_kinds_do_not_mix_and_the_youngest_comes_first(session: Session) -> None:
    for name in ("worker:old", "workers", "relay", "worker_b"):
        heartbeats.beat(session, name)
    session.execute(update(Heartbeat).values(seen_at=Heartbeat.seen_at - timedelta(minutes=1)))
    heartbeats.beat(session, "worker:new")

    assert [row.name for row in heartbeats.seen(session, "worker")] == ["worker:new", "worker:old"]
    assert [row.name for row in heartbeats.seen(session, "relay")] == ["relay"]


def test_a_part_that_ends_on_purpose_leaves_no_row(session: Session) -> None:
    heartbeats.beat(session, "relay")

    heartbeats.forget(session, "relay")

    assert heartbeats.seen(session, "relay") == []
