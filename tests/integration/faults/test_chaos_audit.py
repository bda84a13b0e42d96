"""The audit of a chaos run sees every rule broken; a run that breaks none proves nothing of the audit."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, jobs, metrics
from db.models import Job, JobMetric
from db.session import transaction
from lab.chaos import audit
from lab.chaos.audit import Verdict

Factory = sessionmaker[Session]
LEASE_S = 30.0


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("videos", "latents"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def done(database_url: str, session_factory: Factory, storage: Path) -> UUID:
    """A job that was made at its second attempt, under the eyes of the audit."""
    audit.watch(database_url)
    asked = {"prompt": "a fox", "model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
    with transaction(session_factory) as session:
        id_ = acceptance.accept(session, Job(tenant="ada", **asked))[0].id
    with transaction(session_factory) as session:
        jobs.claim(session, id_, owner="first@host", lease_s=LEASE_S)
    with transaction(session_factory) as session:
        jobs.release(session, owner="first@host")
    with transaction(session_factory) as session:
        claim = jobs.claim(session, id_, owner="second@host", lease_s=LEASE_S)
        name = f"videos/{id_}.{claim.fence}.mp4"
        output = {"name": name, "bytes": 4, "sha256": ""}
        metrics.end(session, claim, lambda s, c: jobs.complete(s, c, output=output, receipt={}), outcome="completed")
    (storage / name).write_bytes(b"clip")
    return id_


@pytest.fixture
def judged(database_url: str, storage: Path, done: UUID) -> Callable[..., Verdict]:
    def judged_(accepted: set[UUID] = frozenset({done}), deleted: set[UUID] = frozenset()) -> Verdict:
        return audit.judge(database_url, storage, accepted=set(accepted), deleted=set(deleted), hits=[])

    return judged_


def test_a_run_that_broke_no_rule_is_good(judged: Callable[..., Verdict]) -> None:
    assert judged().is_good
    assert judged().statuses == {"completed": 1}


def test_an_accepted_job_that_is_gone_is_lost_unless_its_user_deleted_it(
    judged: Callable[..., Verdict], done: UUID
) -> None:
    gone = uuid4()

    assert (judged({done, gone}).lost, judged({done, gone}).is_good) == (1, False)
    assert judged({done, gone}, {gone}).is_good


def test_each_broken_rule_is_seen(
    judged: Callable[..., Verdict], session_factory: Factory, storage: Path, done: UUID
) -> None:
    with transaction(session_factory) as session:
        session.execute(text("UPDATE jobs SET status = 'queued', output = NULL"))
    assert (judged().stuck, judged().doubled, judged().videos_without_row) == (1, 1, 1)
    with transaction(session_factory) as session:
        session.execute(delete(JobMetric).where(JobMetric.attempt == 1))
        session.execute(update(Job).values(status="failed", error_code="worker_lost"))
    assert (judged().unmeasured, judged().errors) == (1, {"worker_lost": 1})
    (storage / "latents" / "a.safetensors").write_bytes(b"x" * 10)
    assert (judged().files, judged().ledger, judged().is_good) == (10, 0, False)


def test_recovery_is_the_time_from_a_blow_at_the_holder_to_the_next_attempt(
    database_url: str, session_factory: Factory, storage: Path, done: UUID
) -> None:
    with transaction(session_factory) as session:  # claimed at 10, given back at 14, claimed again at 15
        session.execute(
            text(
                "UPDATE chaos_audit SET at = to_timestamp(CASE id WHEN 1 THEN 5 WHEN 2 THEN 10 "
                "WHEN 3 THEN 14 WHEN 4 THEN 15 ELSE 20 END)"
            )
        )

    def found(worker: str) -> float | None:
        hits = [(12.0, worker)]
        return audit.judge(database_url, storage, accepted={done}, deleted=set(), hits=hits).recovery_max_s

    assert found("first") == 3.0
    assert found("second") is None
