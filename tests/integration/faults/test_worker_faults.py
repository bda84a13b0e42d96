"""Workers that die, freeze or are told to stop, with real processes and real signals."""

import os
import random
import signal
import time

import pytest
from processes import LEASE_S, SLOW_STEPS, SWEEP_S, Process, Service, wait_until

from db import jobs
from db.session import transaction
from db.states import JobStatus

RECOVERY_S = LEASE_S + 2 * SWEEP_S + 6  # lease, sweep, a loaded machine
VICTIMS = {
    "parent": lambda worker: [worker.family()[0]],
    "child": lambda worker: [worker.child],
    "both": lambda worker: worker.family(),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_worker_costs_one_attempt_and_no_job(service: Service, relay: Process, victim: str) -> None:
    workers = service.start_workers("first", "second")
    (id_,) = service.submit("slow")
    service.wait_running(id_, step=random.randint(1, SLOW_STEPS // 2))

    for process in VICTIMS[victim](workers[service.holder(id_)]):
        process.kill()

    wait_until(lambda: service.job(id_).attempt == 2, RECOVERY_S, service.folder)
    service.wait_ended([id_])
    assert service.outcomes(id_) == ["lost", "completed"]
    service.check()


def test_the_job_of_a_dead_child_runs_again_at_once_however_many_wait(service: Service, relay: Process) -> None:
    (id_,) = service.submit("slow", number=1)
    backlog = service.submit("slow", number=200, queue="bulk", batch_id=None)
    backlog += service.submit("slow", number=200)
    lease_s = 10 * LEASE_S
    worker = service.start_worker("first", CHAI_LEASE_S=lease_s)
    service.wait_running(id_)

    worker.child.kill()
    killed_at = time.monotonic()

    wait_until(lambda: service.job(id_).attempt == 2, lease_s + 5, service.folder)
    assert time.monotonic() - killed_at < lease_s, "it did not wait for its lease"
    with transaction(service.factory) as session:
        for waiting in backlog:
            jobs.request_cancel(session, "ada", waiting)
    service.wait_ended([id_, *backlog])
    assert service.outcomes(id_) == ["lost", "completed"]
    service.check()


def test_a_worker_that_wakes_up_after_its_lease_writes_nothing(service: Service, relay: Process) -> None:
    workers = service.start_workers("first", "second")
    (id_,) = service.submit("slow")
    service.wait_running(id_)
    frozen = workers[service.holder(id_)]

    frozen.freeze()
    service.wait_running(id_, step=1, other_than=service.holder(id_))
    frozen.thaw()

    wait_until(lambda: "ends without a word" in frozen.log.read_text(), 10, service.folder)
    service.wait_ended([id_])
    assert service.outcomes(id_) == ["lost", "completed"]
    service.check()


def test_a_worker_told_to_stop_hands_its_job_over_before_its_lease_ends(service: Service, relay: Process) -> None:
    workers = service.start_workers("first", "second")
    (id_,) = service.submit("slow")
    service.wait_running(id_)
    holder = service.holder(id_)

    workers[holder].process.terminate()

    service.wait_running(id_, step=1, other_than=holder)
    wait_until(lambda: not workers[holder].is_alive, 10, service.folder)
    assert "Traceback" not in workers[holder].log.read_text()
    service.wait_ended([id_])
    assert service.outcomes(id_) == ["released", "completed"]  # not "lost"
    assert service.job(id_).num_lost == 0
    service.check()


@pytest.mark.parametrize(
    ("number", "before", "outcomes"),
    [
        (signal.SIGHUP, signal.SIG_IGN, ["completed"]),  # started with nohup
        (signal.SIGHUP, signal.SIG_DFL, ["released", "completed"]),
        (signal.SIGTERM, signal.SIG_DFL, ["released", "completed"]),  # as systemd sends it, to the child as well
    ],
)
def test_a_signal_to_the_whole_family_is_not_held_against_its_job(
    service: Service, relay: Process, number: signal.Signals, before: signal.Handlers, outcomes: list[str]
) -> None:
    was = signal.signal(signal.SIGHUP, before)
    try:
        worker = service.start_alone("alone")
    finally:
        signal.signal(signal.SIGHUP, was)
    (id_,) = service.submit("slow")
    service.wait_running(id_)

    os.killpg(worker.process.pid, number)

    if outcomes != ["completed"]:
        wait_until(lambda: not worker.is_alive, 20, service.folder)
        service.start_worker("next")
    service.wait_ended([id_])
    assert service.outcomes(id_) == outcomes
    service.check()


def test_a_prompt_that_kills_workers_fails_after_three_and_others_go_on(service: Service, relay: Process) -> None:
    service.start_worker("first")
    (poison,) = service.submit("poison")
    healthy = service.submit("tiny", number=3)

    service.wait_ended([poison, *healthy], 180)  # three new children, each of which loads its models

    job = service.job(poison)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "worker_lost")
    assert job.error_message == (
        "3 workers died or fell silent while running this prompt; "
        "try another prompt or size, or ask the operator for the worker's log"
    )
    assert service.outcomes(poison) == ["lost", "lost", "lost"]
    assert {service.job(id_).status for id_ in healthy} == {JobStatus.COMPLETED}
    service.check()


def test_a_job_that_does_not_fit_in_memory_fails_at_once_and_the_worker_lives(service: Service, relay: Process) -> None:
    worker = service.start_worker("first")
    child = worker.child.pid
    (greedy,) = service.submit("greedy")
    (healthy,) = service.submit("tiny")

    service.wait_ended([greedy, healthy])

    job = service.job(greedy)
    assert (job.status, job.error_code, job.attempt) == (JobStatus.FAILED, "out_of_memory", 1)
    assert job.error_message == "the video does not fit the worker's memory; ask for a smaller size or fewer seconds"
    assert service.job(healthy).status == JobStatus.COMPLETED
    assert worker.child.pid == child
    service.check()


def test_a_cancelled_run_stops_within_a_step_and_says_the_same_when_asked_again(
    service: Service, relay: Process
) -> None:
    service.start_worker("first")
    (id_,) = service.submit("slow")
    service.wait_running(id_)

    with transaction(service.factory) as session:
        jobs.request_cancel(session, "ada", id_)
    wait_until(lambda: service.job(id_).status == JobStatus.CANCELLED, 1.0, service.folder)
    with transaction(service.factory) as session:
        again = jobs.request_cancel(session, "ada", id_)

    assert again.status == JobStatus.CANCELLED
    assert again.step < SLOW_STEPS
    assert service.outcomes(id_) == ["cancelled"]
    service.check()
