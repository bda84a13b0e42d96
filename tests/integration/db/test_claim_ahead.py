"""What a worker may claim while it still runs another job."""

from uuid import UUID

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from db import acceptance, heartbeats, jobs
from db.models import Batch, Job

ASKED = {"tenant": "ada", "prompt": "a fox", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
QUEUES = ["interactive", "bulk"]


def handed(session: Session, *, minutes_ago: int = 1, model: str = "tiny", **values: object) -> UUID:
    job, _ = acceptance.accept(session, Job(**(ASKED | {"model": model})))
    ago = func.now() - text(f"interval '{minutes_ago} min'")
    session.execute(update(Job).where(Job.id == job.id).values(**({"published_at": ago} | values)))
    return job.id


def claimed(session: Session, **values: object) -> UUID | None:
    given = {"owner": "w1", "lease_s": 30.0, "model": "tiny", "models": ["tiny", "wan"], "queues": QUEUES}
    claim = jobs.claim_ahead(session, **(given | values))
    return None if claim is None else claim.job.id


def test_what_was_handed_over_first_is_claimed_and_interactive_jobs_before_bulk(session: Session) -> None:
    bulk = handed(session, minutes_ago=9, queue="bulk")
    late, early = handed(session, minutes_ago=2), handed(session, minutes_ago=5)
    handed(session, published_at=None)

    assert [claimed(session) for _ in range(4)] == [early, late, bulk, None]


@pytest.mark.parametrize("values", [{"model": "wan"}, {"num_lost": 1}, {"num_faults": 1}], ids=str)
def test_a_job_that_runs_with_nothing_beside_it_is_waited_for(session: Session, values: dict[str, object]) -> None:
    handed(session, minutes_ago=5, **values)
    handed(session, minutes_ago=1)

    assert claimed(session) is None


@pytest.mark.parametrize(
    "values",
    [{"model": "ltx"}, {"retry_at": func.now() + text("interval '1 h'"), "excluded": ["w1"]}],
    ids=["model", "not here"],
)
def test_a_job_that_this_worker_cannot_take_is_passed_over(session: Session, values: dict[str, object]) -> None:
    handed(session, minutes_ago=5, **values)
    other = handed(session, minutes_ago=1)

    assert claimed(session) == other


def test_a_job_of_a_paused_run_is_not_claimed(session: Session) -> None:
    batch = Batch(tenant="ada", name="night", manifest_key="m", is_held=True)
    session.add(batch)
    session.flush()
    handed(session, batch_id=batch.id)

    assert claimed(session) is None


FIT = {"is_fit": True, "queues": QUEUES, "models": ["tiny"]}


@pytest.mark.parametrize(
    ("detail", "is_left"),
    [
        (FIT, True),
        ({"is_fit": True, "queues": QUEUES}, True),  # it does not say which models it has
        ({"queues": QUEUES, "models": ["tiny"]}, True),  # nor whether it takes jobs
        ({"is_fit": True, "models": ["tiny"]}, True),  # nor from which queues
        (FIT | {"is_fit": False}, False),
        (FIT | {"queues": ["bulk"]}, False),
        (FIT | {"models": ["wan"]}, False),
    ],
)
def test_a_job_is_left_to_a_worker_that_idles_and_may_take_it(
    session: Session, detail: dict[str, object], is_left: bool
) -> None:
    heartbeats.beat(session, "worker:w1", FIT)
    running = handed(session)
    assert jobs.claim(session, running, owner="w1", lease_s=30.0)
    heartbeats.beat(session, "worker:w2", detail)
    job = handed(session)

    assert claimed(session) == (None if is_left else job)


def test_a_worker_that_is_busy_or_silent_is_none_that_idles(session: Session) -> None:
    for name in ("w1", "w2", "w3"):
        heartbeats.beat(session, f"worker:{name}", FIT)
    for name in ("w1", "w2"):
        assert jobs.claim(session, handed(session), owner=name, lease_s=30.0)
    session.execute(text("UPDATE heartbeats SET seen_at = now() - interval '1 min' WHERE name = 'worker:w3'"))
    job = handed(session)

    assert claimed(session) == job
