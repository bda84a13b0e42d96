"""Celery's commands over the broker: looking at a worker is free, and none of them loses a job. Real processes."""

import signal
from typing import Any

import pytest
from celery import Celery
from processes import Process, Service

from shared.ids import TASK, task_id
from worker.remote_control import CHANGES, WAY_OUT

COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("revoke", {"terminate": True, "signal": "SIGKILL"}),
    ("terminate", {"signal": signal.SIGKILL}),
    ("revoke", {}),
    ("cancel_consumer", {"queue": "interactive"}),
    ("cancel_consumer", {"queue": "interactive.tiny"}),
    ("rate_limit", {"task_name": TASK, "rate_limit": "1/h"}),
    ("time_limit", {"task_name": TASK, "hard": 0.1}),
    ("pool_shrink", {"n": 1}),
    ("hello", {"from_node": "worker@elsewhere", "revoked": []}),
]


def test_no_command_over_the_broker_takes_a_job_from_its_worker(service: Service, relay: Process) -> None:
    service.start_worker("told")
    celery = Celery(broker=service.env["REDIS_URL"])
    running, waiting = *service.submit("slow"), *service.submit("tiny")
    service.wait_running(running)
    names = [task_id(running, 1), task_id(waiting, 1)]

    said = []
    for command, values in COMMANDS:
        of = {"task_id": names} if command in ("revoke", "terminate") else {}
        of |= {"revoked": names} if command == "hello" else {}
        said += celery.control.broadcast(command, arguments=values | of, reply=True, timeout=2, limit=1)

    service.wait_ended([running, waiting, *service.submit("tiny", number=2)])
    assert {reply["error"] for one in said for reply in one.values()} == {WAY_OUT}
    assert [service.outcomes(id_) for id_ in (running, waiting)] == [["completed"], ["completed"]]
    assert celery.control.ping(timeout=2)
    service.check()


@pytest.mark.parametrize("command", CHANGES)
def test_every_command_that_is_refused_is_one_of_celery_s(command: str) -> None:
    from celery.worker.control import Panel

    assert command in Panel.data
