"""A worker that holds two jobs, one that has the device and one before or behind it, and what then breaks."""

import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
import redis
from faulty_worker import DECODING, SICK
from processes import Process, Service, linked, wait_until

from db import batches, jobs
from db.models import Batch, Job
from db.session import transaction
from db.states import BatchStatus, JobStatus

FULL = {"mode": "full"}  # the second would else be a hit of the first


@pytest.fixture(autouse=True)
def _decoding_is_quicker(service: Service) -> None:
    service.env[DECODING] = "2.5"  # in which a job has the device and another waits for it


def two_held(service: Service) -> tuple[UUID, UUID]:
    """A job that has the device, as long as it decodes, and one that was claimed ahead and waits for it."""
    ids = service.submit("late", number=2, **FULL)
    wait_until(lambda: all(service.job(id_).status == JobStatus.IN_PROGRESS for id_ in ids), 60, service.folder)
    first, second = as_claimed(service, ids)
    assert service.job(second).step is None
    return first, second


def as_claimed(service: Service, ids: list[UUID]) -> list[UUID]:
    """Jobs in the order in which they began, which jobs of one moment choose themselves."""
    return sorted(ids, key=lambda id_: service.job(id_).claimed_at)


def test_the_next_job_is_ready_before_its_turn_and_each_has_its_own_message(service: Service, relay: Process) -> None:
    service.start_worker("first")
    ids = service.submit("slow", number=4, **FULL)

    service.wait_ended(ids)

    ran = [service.job(id_) for id_ in as_claimed(service, ids)]
    assert all(late.claimed_at < early.finished_at for early, late in pairwise(ran))
    assert [service.outcomes(job.id) for job in ran] == [["completed"]] * 4
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:  # no message is left, taken or not
        wait_until(lambda: client.llen("interactive") + client.hlen("unacked") == 0, 10, service.folder)
    service.check()


def test_a_job_is_left_to_a_worker_that_idles(service: Service, relay: Process) -> None:
    service.start_workers("first", "second")
    first, second = service.submit("slow", number=2, **FULL)
    service.wait_running(first)
    service.wait_running(second)

    assert service.holder(first) != service.holder(second)
    service.wait_ended([first, second])
    service.check()


@pytest.mark.parametrize("victim", ["child", "both"])
def test_a_kill_with_a_job_waiting_costs_both_an_attempt_and_neither_a_video(
    service: Service, relay: Process, victim: str
) -> None:
    worker = service.start_worker("first")
    first, second = two_held(service)

    if victim == "child":
        worker.child.kill()
    else:
        worker.kill()
        service.start_worker("second")

    service.wait_ended([first, second])
    assert [service.outcomes(id_) for id_ in (first, second)] == [["lost", "completed"]] * 2
    one, other = service.job(first), service.job(second)
    assert one.finished_at <= other.claimed_at or other.finished_at <= one.claimed_at, "each runs alone now"
    service.check()


def test_a_kill_while_one_is_stored_and_the_next_denoises_doubles_no_video(service: Service, relay: Process) -> None:
    sick = service.folder / "sick"
    sick.write_text("slow storage")
    worker = service.start_worker("first", **{SICK: sick})
    ids = service.submit("slow", number=2, num_inference_steps=10, **FULL)
    wait_until(lambda: all(service.running(id_) for id_ in ids), 60, service.folder)  # one of them is being stored

    sick.unlink()
    worker.kill()
    service.start_worker("second")

    service.wait_ended(ids)
    assert [service.outcomes(id_) for id_ in ids] == [["lost", "completed"]] * 2
    service.check()


def test_a_job_that_waits_is_cancelled_at_once_and_the_other_goes_on(service: Service, relay: Process) -> None:
    service.start_worker("first")
    first, second = two_held(service)

    with transaction(service.factory) as session:
        jobs.request_cancel(session, "ada", second)
    service.wait_ended([first, second])

    assert service.job(second).step is None
    assert (service.outcomes(first), service.outcomes(second)) == (["completed"], ["cancelled"])
    service.check()


def test_a_job_whose_run_is_paused_before_its_turn_does_not_begin(service: Service, relay: Process) -> None:
    service.start_worker("first")
    first, second = two_held(service)

    with transaction(service.factory) as session:
        run = Batch(tenant="ada", name="night", manifest_key="night", status=BatchStatus.PAUSED, is_held=True)
        session.add(run)
        session.flush()
        session.get_one(Job, second).batch_id = run.id
    wait_until(lambda: service.job(second).status == JobStatus.QUEUED, 60, service.folder)
    assert service.outcomes(second) == ["released"]
    assert service.job(second).step is None
    service.wait_ended([first])
    with transaction(service.factory) as session:
        batches.resume(session, session.get_one(Batch, run.id))

    service.wait_ended([first, second])
    assert service.outcomes(second) == ["released", "completed"]
    assert service.job(second).num_lost == 0
    service.check()


def test_a_worker_told_to_stop_gives_both_back(service: Service, relay: Process) -> None:
    worker = service.start_worker("first")
    first, second = two_held(service)

    os.kill(worker.process.pid, signal.SIGTERM)
    wait_until(lambda: not worker.is_alive, 20, service.folder)
    assert "Traceback" not in worker.log.read_text()
    assert [service.outcomes(id_) for id_ in (first, second)] == [["released"]] * 2
    service.start_worker("second")

    service.wait_ended([first, second])
    assert [service.outcomes(id_) for id_ in (first, second)] == [["released", "completed"]] * 2
    assert [service.job(id_).num_lost for id_ in (first, second)] == [0, 0]
    service.check()


def test_storage_that_is_away_holds_a_finished_video_while_the_next_denoises(service: Service, relay: Process) -> None:
    service.start_worker("first")
    first, second = two_held(service)
    storage = Path(service.env["STORAGE_URL"].removeprefix("file://"))
    away = storage.rename(storage.with_name("away"))
    storage.write_text("no folder")

    wait_until(lambda: service.job(second).step is not None, 30, service.folder)
    third = service.submit("late", **FULL)
    assert service.job(first).status == JobStatus.IN_PROGRESS
    storage.unlink()
    away.rename(storage)

    service.wait_ended([first, second, *third])
    assert [service.outcomes(id_) for id_ in (first, second, *third)] == [["completed"]] * 3
    service.check()


@pytest.mark.parametrize("server", ["REDIS_URL", "DATABASE_URL"])
def test_a_server_out_of_reach_for_less_than_a_lease_costs_neither_an_attempt(
    service: Service, relay: Process, server: str
) -> None:
    link, far_url = linked(service.env[server])
    try:
        service.start_worker("first", **{server: far_url})
        first, second = two_held(service)

        link.cut()
        time.sleep(1.0)
        link.heal()

        service.wait_ended([first, second], 90)
        assert [service.outcomes(id_) for id_ in (first, second)] == [["completed"]] * 2
        service.check()
    finally:
        link.close()
