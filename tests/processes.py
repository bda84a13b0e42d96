"""A service of real processes to break or to time: workers with their children, the relay, a folder for files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import invariants
import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, heartbeats
from db.models import Job, JobMetric
from db.session import transaction
from db.states import FINAL, JobStatus
from lab.chaos.link import Link

HERE = Path(__file__).parent
LEASE_S, SWEEP_S = 3.0, 0.3
SLOW_STEPS = 20  # of 0.1 s: long enough to be hit in the middle


@dataclass(slots=True, kw_only=True)
class Process:
    """A part of the service, in a session of its own as under a supervisor."""

    process: psutil.Process
    log: Path

    @property
    def is_alive(self) -> bool:
        return is_running(self.process)

    @property
    def child(self) -> psutil.Process:
        """The process that runs jobs."""
        return self.process.children()[0]

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)] if self.is_alive else []

    def freeze(self) -> None:
        for process in self.family():
            process.suspend()

    def thaw(self) -> None:
        for process in self.family():
            process.resume()

    def kill(self) -> None:
        family = self.family()
        for process in family:
            process.kill()
        wait_until(lambda: not any(map(is_running, family)), 10, self.log)


def is_running(process: psutil.Process) -> bool:
    """A zombie is not: the first process of a container may never reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class ForkServer:
    """Where workers come from, see `fork_server.py`."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(HERE), *(path for path in sys.path if path)])
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "fork_server.py")]
        self._popen = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, name: str, env: dict[str, str], log: Path) -> Process:
        assert self._popen.stdin
        assert self._popen.stdout
        self._popen.stdin.write(json.dumps({"name": name, "env": env, "log": str(log)}) + "\n")
        self._popen.stdin.flush()
        return Process(process=psutil.Process(int(self._popen.stdout.readline())), log=log)

    def close(self) -> None:
        with self._popen as popen:
            assert popen.stdin
            popen.stdin.close()


@dataclass(slots=True, kw_only=True)
class Service:
    """Everything a fault test talks to."""

    factory: sessionmaker[Session]
    env: dict[str, str]
    folder: Path
    fork_server: ForkServer
    accepted: list[UUID] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    def start_workers(self, *names: str, **env: object) -> dict[str, Process]:
        """Start workers side by side, with variables of their own, and wait until all of them listen."""
        known = self.env | {name: str(value) for name, value in env.items()}
        workers = {name: self.fork_server.start(name, known, self._log(name)) for name in names}
        self.processes += workers.values()
        for worker in workers.values():
            wait_until(lambda log=worker.log: has_begun(log), 120, worker.log)
        return workers

    def start_worker(self, name: str = "worker", **env: object) -> Process:
        return self.start_workers(name, **env)[name]

    def start_alone(self, name: str) -> Process:
        """Start a worker of this process, which hands down how it hears signals, in a session of its own."""
        log = self._log(name)
        env = {**os.environ, **self.env, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
        command = [sys.executable, "-c", f"from faulty_worker import run; run({name!r})"]
        said = [(os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
        pid = os.posix_spawn(sys.executable, command, env, file_actions=said, setsid=True)
        self.processes.append(Process(process=psutil.Process(pid), log=log))
        wait_until(lambda: has_begun(log), 120, log)
        return self.processes[-1]

    def unfit(self, name: str) -> str:
        """Why a worker takes no jobs, as its sign of life has it; empty when it does, or is only about to begin."""
        with transaction(self.factory) as session:
            beats = heartbeats.seen(session, "worker")
        details = [beat.detail for beat in beats if beat.name.startswith(f"worker:{name}@")]
        reason = str(details[0].get("reason", "")) if details else ""
        return "" if reason == "starting" else reason

    def start_relay(self, **env: str) -> Process:
        self.processes.append(self.fork_server.start("relay", self.env | env, self._log("relay")))
        return self.processes[-1]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{len(self.processes)}.log"

    def submit(self, model: str = "tiny", *, number: int = 1, **values: object) -> list[UUID]:
        """Accept jobs as the API does."""
        asked = {"tenant": "ada", "prompt": "a fox", "width": 32, "height": 32, "num_frames": 17, "fps": 8, "seed": 1}
        with transaction(self.factory) as session:
            ids = [acceptance.accept(session, Job(model=model, **(asked | values)))[0].id for _ in range(number)]
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


def has_begun(log: Path) -> bool:
    """Whether a worker listens and has tried its machine, whatever came of it."""
    said = log.read_bytes() if log.exists() else b""
    return b" ready." in said and (b"fit: takes jobs" in said or b"takes no jobs" in said)


def wait_until(is_true: Callable[[], bool], timeout_s: float, logs: Path) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:  # the logs say why
            files = sorted(logs.glob("*.log")) if logs.is_dir() else [logs]
            tails = "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files)
            pytest.fail(f"not within {timeout_s} s\n{tails}")
        time.sleep(0.02)


def linked(url: str, at: str = "127.0.0.1") -> tuple[Link, str]:
    """Return a link to a server, and the URL by which it is reached through it, at an address of this machine."""
    parts = urlsplit(url)
    link = Link(parts.hostname or "", parts.port or 0, at=at)
    user = parts.netloc.rpartition("@")[0]
    place = f"{at}:{link.port}"
    return link, urlunsplit(parts._replace(netloc=f"{user}@{place}" if user else place))


def write_cards(folder: Path) -> Path:
    """Write the cards of tiny models, healthy and otherwise, as `faulty_worker.py` understands them."""
    sources = {
        "tiny": "random-tiny",
        "slow": "slow",
        "late": "late",
        "paced": "paced",
        "poison": "poison",
        "greedy": "greedy",
    }
    for name, source in sources.items():
        steps = SLOW_STEPS if name == "slow" else 4
        card = {"name": name, "title": name, "source": source, "sizes": ["32x32"], "fps": 8, "frames": [17, 1]}
        (folder / name).mkdir(parents=True)
        (folder / name / "chai.json").write_text(json.dumps(card | {"full_steps": steps, "fast_steps": 2}))
    return folder


def environment(database_url: str, redis_url: str, storage_url: str, models_dir: Path) -> dict[str, str]:
    """Variables that make parts one service; all times are the defaults."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STORAGE_URL": storage_url,
        "CHAI_MODELS_DIR": str(models_dir),
        "CHAI_DEFAULT_MODEL": "tiny",
        "CHAI_DEVICE": "cpu",
    }
