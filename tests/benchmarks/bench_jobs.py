"""What durable jobs cost: accepting one, handing it to a worker, the time around the engine, a killed worker.

Everything is measured in one run, on the servers and processes of the tests. Prints a table for people and one line of
JSON for programs.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from processes import Nursery, Service, environment, wait_until, write_cards
from pydantic import BaseModel
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session, sessionmaker

from api.app import create_app
from api.settings import ApiSettings
from db.models import Job, JobMetric, Outbox
from db.session import transaction

pytestmark = pytest.mark.bench

NUM_POSTS, NUM_JOBS = 300, 100
ENGINE_SIZE, ENGINE_STEPS = 256, 30  # makes the tiny model work for as long as the small one


class Prompt(BaseModel):
    """Body of the bare endpoint."""

    prompt: str


def bare_app(factory: sessionmaker[Session]) -> FastAPI:
    """The least that a durable endpoint can do: one validated field, one INSERT, one commit."""
    app = FastAPI()
    size = {"width": 32, "height": 32, "num_frames": 17, "fps": 8}

    @app.post("/jobs")
    def accept(body: Prompt) -> dict[str, str]:
        with transaction(factory) as session:
            row = insert(Job).values(tenant="bare", prompt=body.prompt, model="tiny", **size).returning(Job.id)
            return {"id": str(session.scalar(row))}

    return app


def seconds_of(post: Callable[[], int]) -> float:
    start = time.perf_counter()
    assert post() in (200, 201, 202)
    return time.perf_counter() - start


def accept_cost(service: Service) -> dict[str, float]:
    """Medians of the two endpoints, asked in turn over the same transport."""
    settings = ApiSettings.model_validate({})
    with TestClient(create_app(settings)) as chai, TestClient(bare_app(service.factory)) as bare:
        posts = {
            "durable": lambda: chai.post("/v1/videos", json={"prompt": "a fox"}).status_code,
            "bare": lambda: bare.post("/jobs", json={"prompt": "a fox"}).status_code,
        }
        times: dict[str, list[float]] = {name: [] for name in posts}
        for _ in range(NUM_POSTS):
            for name, post in posts.items():
                times[name].append(seconds_of(post))
    durable, plain = (statistics.median(times[name][NUM_POSTS // 10 :]) for name in ("durable", "bare"))
    return {"accept_ms": durable * 1e3, "bare_insert_ms": plain * 1e3, "accept_ratio": durable / plain}


def hand_over(service: Service) -> dict[str, float]:
    """From acceptance to the claim of an idle worker, on the database's clock; one job at a time."""
    ids = []
    for _ in range(NUM_JOBS):
        ids += service.submit("tiny")
        service.wait_ended(ids[-1:])
    waits = sorted((job.claimed_at - job.created_at).total_seconds() * 1e3 for job in map(service.job, ids))
    return {"claim_p50_ms": waits[len(waits) // 2], "claim_p99_ms": waits[int(len(waits) * 0.99)]}


def around_the_engine(service: Service) -> dict[str, float]:
    """Share of a job's time, from claim to published, in which the engine did not work."""
    size = {"width": ENGINE_SIZE, "height": ENGINE_SIZE, "num_inference_steps": ENGINE_STEPS, "mode": "full"}
    ids = service.submit("tiny", number=6, **size)
    service.wait_ended(ids, 300)
    ran_s = func.extract("epoch", Job.finished_at - Job.claimed_at)
    query = select(ran_s, JobMetric.gpu_seconds).join(JobMetric, JobMetric.job_id == Job.id).where(Job.id.in_(ids[1:]))
    with transaction(service.factory) as session:
        rows = session.execute(query).all()
    shares = [float(1 - engine_s / float(total_s)) for total_s, engine_s in rows]
    return {
        "job_s": statistics.median(float(total_s) for total_s, _ in rows),
        "not_engine_share": statistics.median(shares),
    }


def recovery(service: Service) -> dict[str, float]:
    """From the kill of a worker, parent and child, to the job's next attempt, with the default settings."""
    workers = service.start_workers("second")
    (id_,) = service.submit("slow", num_inference_steps=100)
    service.wait_running(id_, step=1)
    holder = service.holder(id_)
    killed_at = time.monotonic()
    (workers | {"first": service.processes[1]})[holder].kill()
    wait_until(lambda: service.job(id_).attempt == 2, 90, service.folder)
    seconds = time.monotonic() - killed_at
    service.wait_ended([id_])
    return {"killed_to_running_s": seconds, "attempts": float(service.job(id_).attempt)}


@pytest.fixture
def default_service(
    session_factory: sessionmaker[Session],
    database_url: str,
    redis_url: str,
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Service]:
    """A relay and one worker with the default leases and sweeps."""
    env = environment(database_url, redis_url, storage_url, write_cards(tmp_path / "models"))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    nursery = Nursery()
    service = Service(factory=session_factory, env=env, folder=tmp_path, nursery=nursery)
    service.start_relay()
    service.start_worker("first")
    yield service
    for process in reversed(service.processes):
        process.kill()
    nursery.close()


BUDGETS = {  # name: (limit, unit)
    "accept_ratio": (3.0, "x a bare endpoint with one INSERT"),
    "claim_p50_ms": (30.0, "ms from accepted to claimed, p50"),
    "not_engine_share": (0.05, "of a job's time is not the engine's"),
    "killed_to_running_s": (60.0, "s from a killed worker to the next attempt"),
}


def test_durable_jobs_stay_within_their_budgets(default_service: Service, engine: Engine) -> None:
    figures = hand_over(default_service) | around_the_engine(default_service) | recovery(default_service)
    default_service.check()
    default_service.processes[0].kill()  # the relay: what is accepted from here on is only counted
    figures |= accept_cost(default_service)
    with transaction(default_service.factory) as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == NUM_POSTS

    print()
    for name, (limit, unit) in BUDGETS.items():
        print(f"  {figures[name]:10.3f}  (budget {limit:g})  {unit}")
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    print(json.dumps({"benchmark": "jobs", **{k: round(v, 4) for k, v in figures.items()}, **machine}))
