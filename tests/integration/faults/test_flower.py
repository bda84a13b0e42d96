"""Flower and other watchers of Celery beside a real relay and worker: what they show is what the rows say."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import job_counts
import pytest
import redis
from leftovers import SESSION
from processes import Process, Service, wait_until
from running import free_port
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from cli.services.redis import Redis
from db import acceptance, jobs, outbox
from db.models import Job
from db.session import transaction
from worker.tasks import AttemptCancelled, ended

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "for this test"
PAGE = "http://127.0.0.1:1/"
ENDS = ("task-succeeded", "task-failed")


@contextmanager
def started_flower(folder: Path, port: int, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Flower whose log is `flower.log` in the folder, ended at last however it hangs."""
    given = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        SESSION: os.environ[SESSION],
        "CHAI_FLOWER_PASSWORD": PASSWORD,
        "CHAI_VAR_DIR": str(folder),
        "CHAI_URL": f"{PAGE}v1",
    }
    with (folder / "flower.log").open("wb") as stream:
        popen = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "flower", "--port", str(port)],
            env=given | dict(env),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield popen
        popen.terminate()
        assert popen.wait(timeout=20) == 0
    finally:
        popen.kill()
        popen.wait()


def client_of(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("chai", PASSWORD), trust_env=False, timeout=30)


@pytest.fixture
def flower(service: Service, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a Flower that was there before any worker."""
    port = free_port()
    with started_flower(tmp_path, port, service.env), client_of(port) as client:
        wait_until(lambda: _answers(client), 60, tmp_path)
        wait_heard(service.env["REDIS_URL"], service.folder)
        yield client


def test_flower_ends_when_it_is_told_to_though_its_broker_is_gone(tmp_path: Path) -> None:
    """Every five seconds it asks workers for events, in a thread that tries to reach the broker for good."""
    port, log = free_port(), tmp_path / "flower.log"
    broker = Redis(tmp_path / "redis").start()
    try:
        with started_flower(tmp_path, port, {"REDIS_URL": broker.url}), client_of(port) as client:
            wait_until(lambda: _answers(client), 60, tmp_path)
            wait_heard(broker.url, tmp_path)
            broker.stop()
            wait_until(lambda: log.read_text().count("Failed to capture events") >= 3, 60, tmp_path)
    finally:
        broker.stop()


def _answers(client: httpx.Client, path: str = "/healthcheck") -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False


def wait_heard(redis_url: str, folder: Path) -> None:
    """Wait until somebody has subscribed to Celery's events: those that are sent before that are lost."""
    with redis.Redis.from_url(redis_url) as broker:
        number = str(broker.connection_pool.connection_kwargs["db"])
        wait_until(lambda: any(one["db"] == number and one["psub"] != "0" for one in broker.client_list()), 60, folder)


def tasks(flower: httpx.Client) -> dict[str, Any]:
    return flower.get("/api/tasks", params={"limit": 100}).json()


def task_of(flower: httpx.Client, id_: UUID, attempt: int = 1) -> dict[str, Any]:
    return tasks(flower).get(f"video_{id_.hex}-{attempt}", {})


@pytest.mark.parametrize("prefix", ["", "/tools/flower", "flower/"])
def test_flower_is_found_where_it_says_below_a_prefix_too(prefix: str, tmp_path: Path, redis_url: str) -> None:
    port, log = free_port(), tmp_path / "flower.log"
    env = {"REDIS_URL": redis_url, "FLOWER_URL_PREFIX": prefix}
    with started_flower(tmp_path, port, env), client_of(port) as client:
        wait_until(lambda: _answers(client, re.sub("/+", "/", f"/{prefix}/healthcheck")), 60, tmp_path)

        said = re.search(r'"url": "([^"]+)"', log.read_text())

        assert said
        assert client.get(said[1]).status_code == 200


def test_flower_tells_what_became_of_each_attempt(service: Service, relay: Process, flower: httpx.Client) -> None:
    worker = service.start_worker("first")
    good, bad = service.submit("tiny", prompt="a red fox")[0], service.submit("greedy")[0]
    service.wait_ended([good, bad])
    (stopped,) = service.submit("slow")
    service.wait_running(stopped)
    cancel(service, stopped)
    service.wait_ended([stopped])
    (twice,) = service.submit("slow")
    service.wait_running(twice)
    worker.child.kill()
    service.wait_ended([twice])

    expected = {(good, 1): "SUCCESS", (bad, 1): "FAILURE", (stopped, 1): "REVOKED"}
    expected |= {(twice, 1): "FAILURE", (twice, 2): "SUCCESS"}
    wait_until(lambda: {key: task_of(flower, *key).get("state") for key in expected} == expected, 20, service.folder)

    made = task_of(flower, good)
    assert made["args"] == f"('video_{good.hex}', 'a red fox', 'full')"
    assert made["kwargs"] == "{'mode': 'auto'}"
    assert made["result"].startswith("'completed full, 4 steps, ")
    assert "out_of_memory" in task_of(flower, bad)["exception"]
    assert "by its user" in task_of(flower, stopped)["exception"]
    assert "WorkerLost" in task_of(flower, twice)["exception"]
    page = flower.get(f"/task/video_{good.hex}-1").text
    assert "a red fox" in page
    assert "completed full" in page


def cancel(service: Service, id_: UUID) -> None:
    with transaction(service.factory) as session:
        jobs.request_cancel(session, "ada", id_)


def test_flower_finds_a_worker_that_comes_after_it_and_knows_both_queues_before(
    service: Service, relay: Process, flower: httpx.Client
) -> None:
    before = flower.get("/broker").text
    service.start_worker("late")

    # Flower asks for each part of what it knows of a worker by a question of its own.
    wait_until(lambda: "active_queues" in str(flower.get("/api/workers").json()), 60, service.folder)
    (worker,) = flower.get("/api/workers").json().values()

    assert all(f">{queue}<" in "".join(before.split()) for queue in ("interactive", "bulk"))
    assert {queue["name"] for queue in worker["active_queues"]} >= {"interactive", "bulk"}  # and those of its models


def test_flower_links_to_the_page(flower: httpx.Client) -> None:
    assert f'href="{PAGE}">CHAI</a>' in flower.get("/workers").text


def test_an_exporter_reads_what_the_database_knows_to_be_handed_over(
    service: Service, relay: Process, flower: httpx.Client
) -> None:
    """What exporters read is the length of the queue's list, and Flower's counters; the rest waits in Postgres."""
    good, bad = service.submit("tiny"), service.submit("greedy")
    service.start_worker("first")
    service.wait_ended([*good, *bad])

    def counted() -> dict[str, float]:
        rows = re.findall(r"^flower_events_total\{(.*?)\} ([\d.]+)", flower.get("/metrics").text, re.MULTILINE)
        return {type_: sum(float(number) for labels, number in rows if f'type="{type_}"' in labels) for type_ in ENDS}

    wait_until(lambda: counted() == {"task-succeeded": 1, "task-failed": 1}, 20, service.folder)
    with service.factory() as session:
        assert job_counts.by_status(session) == {"completed": 1, "failed": 1}
        flying = [(busy.queue, busy.num_handed) for busy in outbox.in_flight(session) if busy.num_handed]
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        assert (flying, client.llen("interactive"), client.llen("bulk")) == ([], 0, 0)


def test_what_waits_is_seen_by_every_tool_as_it_is_handed_over(
    service: Service, relay: Process, flower: httpx.Client
) -> None:
    ids = service.submit("tiny", number=17)
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        wait_until(lambda: client.llen("interactive") == 2, 10, service.folder)

    def handed_over() -> list[UUID]:
        return [id_ for id_ in ids if service.job(id_).published_at]

    wait_until(lambda: len(handed_over()) == 2, 10, service.folder)  # committed after the hand-over
    handed = handed_over()
    wait_until(lambda: len(tasks(flower)) == 2, 10, service.folder)
    assert {task_of(flower, id_)["state"] for id_ in handed} == {"PENDING"}
    with service.factory() as session:
        assert job_counts.by_status(session) == {"queued": 17}


def test_a_cancelled_job_that_the_broker_has_is_revoked_and_costs_nothing(
    service: Service, relay: Process, flower: httpx.Client
) -> None:
    ids = service.submit("slow", number=2)
    wait_until(lambda: all(service.job(id_).published_at for id_ in ids), 10, service.folder)
    for id_ in ids:
        cancel(service, id_)
    service.start_worker("first")

    wait_until(lambda: {task_of(flower, id_).get("state") for id_ in ids} == {"REVOKED"}, 20, service.folder)
    assert [service.outcomes(id_) for id_ in ids] == [[], []]


def celery(service: Service, *arguments: str) -> list[str]:
    """The command line of Celery's own tools, which know nothing of this service but its broker."""
    return [sys.executable, "-m", "celery", "--broker", service.env["REDIS_URL"], *arguments]


@contextmanager
def listening(service: Service) -> Iterator[Path]:
    """`celery events`, which hears what every exporter counts; yields what it writes."""
    said = service.folder / "celery-events.log"
    with said.open("wb") as stream:
        popen = subprocess.Popen(celery(service, "events", "--dump"), stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_heard(service.env["REDIS_URL"], service.folder)
        yield said
    finally:
        popen.terminate()
        popen.wait(timeout=20)


def counted(said: Path) -> Counter[str]:
    """How many tasks an exporter has heard of, by what became of them."""
    return Counter(kind for kind in re.findall(r"\] task (sent|succeeded|failed|revoked): ", said.read_text()))


def running(service: Service) -> list[str]:
    done = subprocess.run(celery(service, "inspect", "active", "--json"), capture_output=True, text=True, check=True)
    return [task["id"] for tasks in json.loads(done.stdout).values() for task in tasks]


def scaled_by(service: Service) -> int:
    """What KEDA scales by, with the statement of the example that asks the database."""
    (statement,) = re.findall(r"#   (SELECT .*\n)#   (WHERE .*\n)", (ROOT / "deploy" / "keda.yaml").read_text())
    with service.factory() as session:
        return int(session.scalar(text("".join(statement))) or 0)


def test_tools_of_celery_count_what_the_database_does(service: Service, relay: Process) -> None:
    with listening(service) as said, redis.Redis.from_url(service.env["REDIS_URL"]) as broker:
        first = service.submit("slow", number=2, num_inference_steps=100)  # of 0.1 s each
        wait_until(lambda: counted(said)["sent"] == broker.llen("interactive") == 2, 20, service.folder)
        rest = [*service.submit("tiny", number=3), *service.submit("greedy", number=2)]
        assert scaled_by(service) == 7  # the broker holds two of them, until workers come

        cancel(service, first[0])  # before a worker has it
        service.start_worker("first")
        service.wait_running(first[1])
        assert running(service) == [f"video_{first[1].hex}-1"]
        cancel(service, first[1])  # amid its steps
        service.wait_ended([*first, *rest])

        with service.factory() as session:
            ends = job_counts.by_status(session)
        assert ends == {"completed": 3, "failed": 2, "cancelled": 2}
        expected = {"sent": 7, "succeeded": ends["completed"], "failed": ends["failed"], "revoked": ends["cancelled"]}
        wait_until(lambda: counted(said) == expected, 20, service.folder)
        assert (broker.llen("interactive"), broker.llen("bulk"), scaled_by(service)) == (0, 0, 0)


def test_the_task_of_a_job_that_its_user_took_back_while_its_worker_was_stopped_is_revoked(
    session_factory: sessionmaker[Session],
) -> None:
    with transaction(session_factory) as session:
        size = {"width": 32, "height": 32, "num_frames": 8, "fps": 8}
        job, _ = acceptance.accept(session, Job(tenant="ada", prompt="a fox", model="tiny", **size))
        jobs.claim(session, job.id, owner="w", lease_s=30)
        jobs.request_cancel(session, "ada", job.id)
        jobs.release(session, owner="w")

    with pytest.raises(AttemptCancelled):
        ended(SimpleNamespace(factory=session_factory), job.id, 1)


def test_a_task_whose_worker_is_stopped_with_its_child_went_back_to_the_queue(
    service: Service, relay: Process, flower: httpx.Client
) -> None:
    worker = service.start_alone("alone")
    (id_,) = service.submit("slow")
    service.wait_running(id_)

    os.killpg(worker.process.pid, signal.SIGTERM)

    wait_until(lambda: not worker.is_alive, 20, service.folder)
    wait_until(lambda: task_of(flower, id_)["state"] not in {"RECEIVED", "STARTED"}, 20, service.folder)
    assert task_of(flower, id_)["state"] == "RETRY"
