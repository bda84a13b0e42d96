"""A service of real processes to break: workers with their children, the relay, Postgres, Redis, a folder for files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import invariants
import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import jobs
from db.models import Job, JobMetric
from db.session import transaction
from db.states import FINAL, JobStatus

HERE = Path(__file__).parent
LEASE_S, SWEEP_S = 3.0, 0.3
SLOW_STEPS = 20  # of 0.1 s: long enough to be hit in the middle


@dataclass(slots=True, kw_only=True)
class Process:
    """A part of the service, in a session of its own as under a supervisor."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def child(self) -> psutil.Process:
        """The process that runs jobs."""
        return psutil.Process(self.popen.pid).children()[0]

    def family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.popen.pid)
        return [parent, *parent.children(recursive=True)]

    def freeze(self) -> None:
        for process in self.family():
            process.suspend()

    def thaw(self) -> None:
        for process in self.family():
            process.resume()

    def kill(self) -> None:
        family = self.family() if self.is_alive else []
        for process in family:
            process.kill()
        self.popen.wait(10)
        psutil.wait_procs(family, timeout=10)


@dataclass(slots=True, kw_only=True)
class Service:
    """Everything a fault test talks to."""

    factory: sessionmaker[Session]
    env: dict[str, str]
    folder: Path
    accepted: list[UUID] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    def start_workers(self, *names: str) -> dict[str, Process]:
        """Start workers side by side and wait until all of them listen."""
        workers = {name: self._start(name, HERE / "faulty_worker.py", name) for name in names}
        for worker in workers.values():
            wait_until(
                lambda worker=worker: b" ready." in worker.log.read_bytes() or not worker.is_alive, 90, worker.log
            )
            assert worker.is_alive, worker.log.read_text()
        return workers

    def start_worker(self, name: str = "worker") -> Process:
        return self.start_workers(name)[name]

    def start_relay(self) -> Process:
        return self._start("relay", "-c", "from api.relay import main; main()")

    def _start(self, name: str, *command: object) -> Process:
        log = self.folder / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, *map(str, command)],
                env={**os.environ, **self.env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(popen=popen, log=log)
        self.processes.append(process)
        return process

    def submit(self, model: str = "tiny", *, number: int = 1, **values: object) -> list[UUID]:
        """Accept jobs as the API does."""
        asked = {"tenant": "ada", "prompt": "a fox", "width": 32, "height": 32, "num_frames": 17, "fps": 8, "seed": 1}
        with transaction(self.factory) as session:
            ids = [jobs.accept(session, Job(model=model, **(asked | values)))[0].id for _ in range(number)]
        self.accepted += ids
        return ids

    def job(self, id_: UUID) -> Job:
        with transaction(self.factory) as session:
            return session.get_one(Job, id_)

    def outcomes(self, id_: UUID) -> list[str]:
        """What became of each attempt, in order."""
        query = select(JobMetric.outcome).where(JobMetric.job_id == id_).order_by(JobMetric.attempt)
        with transaction(self.factory) as session:
            return list(session.scalars(query))

    def running(self, id_: UUID, *, step: int = 2, other_than: str = "") -> bool:
        job = self.job(id_)
        is_other = not other_than or not (job.lease_owner or "").startswith(f"{other_than}@")
        return job.status == JobStatus.IN_PROGRESS and (job.step or 0) >= step and is_other

    def holder(self, id_: UUID) -> str:
        """The name of the worker that runs a job."""
        return (self.job(id_).lease_owner or "").partition("@")[0]

    def wait_running(self, id_: UUID, timeout_s: float = 30, **which: object) -> None:
        wait_until(lambda: self.running(id_, **which), timeout_s, self.folder)

    def wait_ended(self, ids: list[UUID], timeout_s: float = 60) -> None:
        wait_until(lambda: all(self.job(id_).status in FINAL for id_ in ids), timeout_s, self.folder)

    def check(self) -> None:
        """The rules of the design, after the fault."""
        invariants.check(self.factory, self.env["STORAGE_URL"], self.accepted)


def wait_until(is_true: Callable[[], bool], timeout_s: float, logs: Path) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:  # the logs say why
            files = sorted(logs.glob("*.log")) if logs.is_dir() else [logs]
            tails = "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files)
            pytest.fail(f"not within {timeout_s} s\n{tails}")
        time.sleep(0.02)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Cards of tiny models, healthy and otherwise."""
    folder = tmp_path / "models"
    sources = {"tiny": "random-tiny", "slow": "slow", "poison": "poison", "greedy": "greedy"}
    for name, source in sources.items():
        steps = SLOW_STEPS if name == "slow" else 4
        card = {"name": name, "title": name, "source": source, "sizes": ["32x32"], "fps": 8, "frames": [17, 1]}
        (folder / name).mkdir(parents=True)
        (folder / name / "chai.json").write_text(json.dumps(card | {"full_steps": steps, "fast_steps": 2}))
    return folder


@pytest.fixture
def make_service(storage_url: str, models_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services without a process yet; whatever a test leaves running is killed."""
    made: list[Service] = []

    def make(factory: sessionmaker[Session], database_url: str, redis_url: str, **settings: object) -> Service:
        env = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STORAGE_URL": storage_url,
            "CHAI_MODELS_DIR": str(models_dir),
            "CHAI_DEFAULT_MODEL": "tiny",
            "CHAI_LEASE_S": str(LEASE_S),
            "CHAI_SWEEP_S": str(SWEEP_S),
            "CHAI_LOST_EMPTY_S": "0.5",
            "CHAI_PROGRESS_S": "0.1",
            "CHAI_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        made.append(
            Service(factory=factory, env=env | {name: str(value) for name, value in settings.items()}, folder=tmp_path)
        )
        return made[-1]

    yield make
    for service in made:
        for process in reversed(service.processes):
            process.kill()


@pytest.fixture
def service(
    make_service: Callable[..., Service], session_factory: sessionmaker[Session], database_url: str, redis_url: str
) -> Service:
    """A service on the shared servers."""
    return make_service(session_factory, database_url, redis_url)


@pytest.fixture
def relay(service: Service) -> Process:
    """A running relay."""
    return service.start_relay()
