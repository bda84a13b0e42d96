"""Postgres and Redis that go away, lose what they had, or say things twice."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery
from faulty_worker import SICK
from processes import Process, Service, wait_until
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from api.broker import Broker
from cli.services.postgres import Postgres
from cli.services.redis import Redis
from db.migrate import upgrade
from db.outbox import Waiting
from db.session import connect, sessions
from db.states import JobStatus, Queue
from worker.transport import DEAD_LETTERS

ENVELOPE = {
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"task": "chai.generate", "id": "x", "lang": "py"},
    "properties": {
        "delivery_tag": "t1",
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "interactive"},
    },
    "body": "W1tdLHt9LG51bGxd",
}


def test_an_id_that_is_delivered_a_hundred_times_runs_once(service: Service, relay: Process) -> None:
    service.start_workers("first", "second")
    (id_,) = service.submit("slow")
    broker = Broker(service.env["REDIS_URL"])
    job = service.job(id_)
    place = {"tenant": job.tenant, "batch_id": None, "priority": 5, "created_at": job.created_at}
    message = Waiting(id=id_, attempt=1, prompt=job.prompt, mode="auto", **place)

    for _ in range(100):
        broker.publish(message, Queue.INTERACTIVE)
    service.wait_ended([id_])
    wait_until(lambda: broker.length(Queue.INTERACTIVE) == 0, 20, service.folder)
    broker.close()

    assert service.outcomes(id_) == ["completed"]
    service.check()


def test_a_worker_that_dies_with_a_message_in_hand_costs_no_attempt(service: Service, relay: Process) -> None:
    """The broker has given it away and nobody has noted that it was taken."""
    sick = service.folder / "sick"
    sick.write_text("hand")
    worker = service.start_worker("first", **{SICK: sick})
    (id_,) = service.submit("tiny")
    wait_until(lambda: not worker.is_alive, 30, service.folder)
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        assert client.hlen("unacked") == 0
    assert service.job(id_).attempt == 0

    service.start_worker("second")
    service.wait_ended([id_])

    assert service.outcomes(id_) == ["completed"]
    service.check()


def test_a_broker_that_forgets_everything_loses_no_job_and_doubles_none(service: Service, relay: Process) -> None:
    service.start_worker("first")
    (running,) = service.submit("slow")
    service.wait_running(running)
    waiting = service.submit("tiny", number=20)
    wait_until(lambda: sum(service.job(id_).published_at is not None for id_ in waiting) == 2, 10, service.folder)

    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        client.flushdb()

    service.wait_ended([running, *waiting])
    assert {tuple(service.outcomes(id_)) for id_ in waiting} == {("completed",)}
    assert service.outcomes(running) == ["completed"]
    service.check()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that a test may kill."""
    server = Redis(tmp_path / "redis")
    yield server.start()
    server.stop()


def test_jobs_accepted_while_the_broker_is_dead_run_when_it_is_back_empty(
    make_service: Callable[..., Service],
    session_factory: sessionmaker[Session],
    database_url: str,
    own_redis: Redis,
    tmp_path: Path,
) -> None:
    service = make_service(session_factory, database_url, own_redis.url)
    service.start_relay()
    service.start_worker("first")
    before = service.submit("tiny", number=3)
    (running,) = service.submit("slow")
    service.wait_running(running, step=1)

    os.kill(own_redis.pid, signal.SIGKILL)
    for file in (tmp_path / "redis").rglob("*.aof*"):
        file.unlink()
    during = service.submit("tiny", number=3)
    own_redis.start()

    service.wait_ended([*before, running, *during], 90)
    assert {service.job(id_).status for id_ in service.accepted} == {JobStatus.COMPLETED}
    assert {tuple(service.outcomes(id_)) for id_ in service.accepted} == {("completed",)}
    service.check()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A migrated Postgres that a test may restart."""
    server = Postgres(tmp_path / "postgres", durable=False).start()
    upgrade(server.url)
    yield server
    server.stop()


def test_a_restart_of_postgres_within_the_lease_costs_a_running_job_nothing(
    make_service: Callable[..., Service], own_postgres: Postgres, redis_url: str
) -> None:
    engine = connect(own_postgres.url)
    service = make_service(sessions(engine), own_postgres.url, redis_url, CHAI_LEASE_S=15)
    service.start_relay()
    service.start_worker("first")
    running, *waiting = service.submit("slow", number=2)
    service.wait_running(running)

    own_postgres.stop()
    own_postgres.start()

    service.wait_ended([running, *waiting])
    assert service.outcomes(running) == ["completed"]
    assert {tuple(service.outcomes(id_)) for id_ in waiting} == {("completed",)}
    service.check()
    engine.dispose()


@pytest.mark.parametrize("fault", ["read-only", "no connections left"])
def test_a_database_that_takes_nothing_for_a_while_costs_a_running_job_nothing(
    make_service: Callable[..., Service], own_postgres: Postgres, redis_url: str, fault: str
) -> None:
    engine = connect(own_postgres.url)
    service = make_service(sessions(engine), own_postgres.url, redis_url, CHAI_LEASE_S=15)
    service.start_relay()
    service.start_worker("first")
    running, *waiting = service.submit("slow", number=2)
    service.wait_running(running)

    with read_only(own_postgres) if fault == "read-only" else full(own_postgres):
        time.sleep(3)

    service.wait_ended([running, *waiting])
    assert {tuple(service.outcomes(id_)) for id_ in (running, *waiting)} == {("completed",)}
    service.check()
    engine.dispose()


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """As a primary that became a standby."""
    try:
        execute(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        yield
    finally:
        reset = "SET default_transaction_read_only = off"
        execute(server, reset, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@contextmanager
def full(server: Postgres) -> Iterator[None]:
    """End every connection of the worker and leave no room for another."""
    try:
        execute(
            server,
            "ALTER ROLE chai CONNECTION LIMIT 0",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'chai-worker%'",
        )
        yield
    finally:
        execute(server, "ALTER ROLE chai CONNECTION LIMIT -1")


def execute(server: Postgres, *statements: str) -> None:
    engine = connect(server.admin_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_database_away_for_longer_than_the_lease_costs_an_attempt_and_no_job(
    make_service: Callable[..., Service], own_postgres: Postgres, redis_url: str
) -> None:
    engine = connect(own_postgres.url)
    service = make_service(sessions(engine), own_postgres.url, redis_url, CHAI_LEASE_S=1)
    service.start_relay()
    worker = service.start_worker("first")
    (id_,) = service.submit("slow")
    service.wait_running(id_)

    own_postgres.stop()
    wait_until(lambda: "ends without a word" in worker.log.read_text(), 20, service.folder)
    own_postgres.start()

    service.wait_ended([id_])
    assert service.outcomes(id_) == ["released", "completed"]  # not the job's fault: nothing is held against it
    assert service.job(id_).num_lost == 0
    service.check()
    engine.dispose()


def test_a_worker_that_waits_for_its_database_ends_when_it_is_told_to(
    make_service: Callable[..., Service], own_postgres: Postgres, redis_url: str
) -> None:
    engine = connect(own_postgres.url)
    service = make_service(sessions(engine), own_postgres.url, redis_url)
    service.start_relay()
    worker = service.start_worker("first")
    worker.freeze()
    (id_,) = service.submit("tiny")
    wait_until(lambda: service.job(id_).published_at is not None, 20, service.folder)
    own_postgres.stop()
    worker.thaw()
    wait_until(lambda: "database away, next try" in worker.log.read_text(), 20, service.folder)

    worker.process.terminate()

    wait_until(lambda: not worker.is_alive, 30, service.folder)
    own_postgres.start()
    service.start_worker("second")
    service.wait_ended([id_])
    service.check()
    engine.dispose()


def test_a_foreign_or_forged_message_is_refused_and_the_worker_lives(service: Service, relay: Process) -> None:
    worker = service.start_worker("first")
    child = worker.child.pid
    trace = service.folder / "exploded"
    app = Celery(broker=service.env["REDIS_URL"], set_as_current=False)
    forged = [
        {"args": ["../etc"]},  # not an id
        {"args": ["a" * 1_000_000]},  # not an id, and huge
        {"args": [str(uuid4())]},  # no job's id
        {"kwargs": {"job_id": str(uuid4())}},  # another signature
        {"name": "os.system", "args": ["true"]},  # not a task
        {"args": [Exploding(trace)], "serializer": "pickle"},  # code
    ]

    with app.connection_for_write() as connection:
        for message in forged:
            app.send_task(**({"name": "chai.generate", "queue": "interactive"} | message), connection=connection)
    (id_,) = service.submit("tiny", priority=9)

    service.wait_ended([id_])
    assert service.job(id_).status == JobStatus.COMPLETED
    assert worker.child.pid == child
    assert not trace.exists()
    service.check()


@pytest.mark.parametrize(
    "entry",
    [
        "no JSON at all",
        "[1, 2]",
        "{}",
        '"text"',
        json.dumps({"properties": {"delivery_tag": "t1", "body_encoding": "base64"}, "body": "%%%", "headers": {}}),
        json.dumps({**ENVELOPE, "body": "e30"}),
        json.dumps({**ENVELOPE, "body": "bm90IGpzb24="}),
        json.dumps({**ENVELOPE, "headers": None}),
        json.dumps({**ENVELOPE, "content-encoding": "no such thing"}),
    ],
)
def test_an_entry_that_cannot_be_read_costs_no_worker(service: Service, relay: Process, entry: str) -> None:
    worker = service.start_worker("first")
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        client.rpush("interactive", entry)
        (id_,) = service.submit("tiny")

        service.wait_ended([id_])
        wait_until(lambda: client.llen("interactive") == client.hlen("unacked") == 0, 10, service.folder)

    assert worker.is_alive
    assert "Restoring" not in worker.log.read_text()
    service.check()


def test_an_entry_that_is_no_message_is_kept_for_a_look(service: Service) -> None:
    service.start_worker("first")
    with redis.Redis.from_url(service.env["REDIS_URL"]) as client:
        client.rpush("bulk", "no JSON at all")
        wait_until(lambda: client.llen(DEAD_LETTERS) == 1, 10, service.folder)

        assert client.lrange(DEAD_LETTERS, 0, -1) == [b"no JSON at all"]


class Exploding:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.trace}",)
