"""Checks of the monitor in a real worker, with a real relay and broker: jobs come first, a dead worker costs none."""

from collections.abc import Callable
from uuid import UUID

import pytest
from processes import Process, Service, wait_until
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.models import QualityCheck


@pytest.fixture
def guarded(
    make_service: Callable[..., Service], session_factory: sessionmaker[Session], database_url: str, redis_url: str
) -> Service:
    service = make_service(session_factory, database_url, redis_url, CHAI_MONITOR_SHARE=1.0)
    service.start_relay()
    return service


def check_of(service: Service, id_: UUID) -> QualityCheck | None:
    with service.factory() as session:
        return session.scalars(select(QualityCheck).where(QualityCheck.job_id == id_)).one_or_none()


def running_check(service: Service) -> tuple[Process, UUID]:
    """A worker in the midst of the check of a job."""
    worker = service.start_worker()
    for _ in range(2):
        (id_,) = service.submit("slow")
        service.wait_ended([id_])
    wait_until(lambda: (check := check_of(service, id_)) is not None and check.status == "running", 60, service.folder)
    return worker, id_


def test_a_child_killed_in_a_check_costs_no_job_and_the_check_is_not_made_again(guarded: Service) -> None:
    worker, checked = running_check(guarded)

    worker.child.kill()
    (later,) = guarded.submit("slow")
    guarded.wait_ended([later])

    assert guarded.outcomes(checked) == guarded.outcomes(later) == ["completed"]
    wait_until(lambda: (check := check_of(guarded, later)) is not None and check.status == "done", 60, guarded.folder)
    lost = check_of(guarded, checked)
    assert lost is not None
    assert (lost.status, lost.num_starts) == ("running", 1)  # until the relay gives it up
    guarded.check()


def test_a_job_that_comes_during_a_check_runs_before_it(guarded: Service) -> None:
    _, checked = running_check(guarded)

    (later,) = guarded.submit("slow")
    guarded.wait_ended([later])
    interrupted = check_of(guarded, checked)

    assert interrupted is not None
    assert interrupted.judge is None
    wait_until(lambda: (check := check_of(guarded, checked)) is not None and check.status == "done", 60, guarded.folder)
    ended = check_of(guarded, checked)
    assert ended is not None
    assert ended.num_starts == 2
    guarded.check()
