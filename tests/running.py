"""Real processes of the service, and a stand-in for the worker, for tests that need them running."""

import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, applications
from fastapi.routing import _IncludedRouter, iter_route_contexts
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.routing import BaseRoute

from api.settings import ApiSettings
from db import jobs, metrics
from db.models import Job
from db.session import transaction
from db.states import JobStatus
from shared.storage import Storage, video_name

CARDS = Path(__file__).parent / "data" / "models"
START_TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class Process:
    """A running part; its log is `log`."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def kill(self) -> None:
        """End it as a power cut would."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> int:
        """Ask it to end; return the exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=20)


@contextmanager
def api_process(env: Mapping[str, str], folder: Path) -> Iterator[Process]:
    """The API on a free loopback port, answering."""
    port = free_port()
    with _python(f"from api.app import main; main('127.0.0.1', {port})", env, folder / f"api-{port}.log") as process:
        process.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(process), timeout_s=START_TIMEOUT_S)
        yield process


@contextmanager
def api_thread(app: FastAPI, port: int | None = None) -> Iterator[str]:
    """The API served by uvicorn on a loopback port, in a thread: starts faster than a process; yields its URL."""
    port = port or free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, timeout_s=START_TIMEOUT_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def relay_process(env: Mapping[str, str], folder: Path) -> Iterator[Process]:
    """A relay that has begun."""
    with _python(
        "from api.outbox_relay import main; main()", env, folder / f"relay-{time.monotonic_ns()}.log"
    ) as process:
        wait_until(lambda: "relay started" in process.log.read_text(), timeout_s=START_TIMEOUT_S)
        yield process


@contextmanager
def _python(code: str, env: Mapping[str, str], log: Path) -> Iterator[Process]:
    with log.open("wb") as stream:
        popen = subprocess.Popen(
            [sys.executable, "-W", "error::DeprecationWarning:api", "-c", code],
            env={**os.environ, **env},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(popen=popen, log=log)
    finally:
        popen.kill()
        popen.wait()


def _answers(process: Process) -> bool:
    assert process.popen.poll() is None, process.log.read_text()
    try:
        return _asking().get(f"{process.url}/healthz", headers={"Connection": "close"}).is_success
    except httpx.TransportError:
        return False


@cache
def _asking() -> httpx.Client:
    """One for all: each would read the certificates of the system again, which takes longer than to ask."""
    return httpx.Client(trust_env=False)


@contextmanager
def described_once() -> Iterator[None]:
    """Let FastAPI describe the same routes once: that takes 0.2 s of an app, and every test has an app of its own.

    Both the document and what a router makes of its routes for an app are kept; no test overrides a dependency of an
    app, which is all that the latter has of it.
    """
    describe, known = applications.get_openapi, dict[str, bytes]()
    prepare, first = _IncludedRouter.effective_candidates, dict[tuple[int, str], _IncludedRouter]()

    def described(*, routes: Sequence[BaseRoute], **options: Any) -> dict[str, Any]:
        told = [(each.path, each.endpoint) for each in iter_route_contexts(routes) if each.include_in_schema]
        key = repr((told, options))
        if key not in known:
            known[key] = pickle.dumps(describe(routes=routes, **options))
        document: dict[str, Any] = pickle.loads(known[key])
        return document

    def candidates(included: _IncludedRouter) -> list[Any]:
        return prepare(first.setdefault((id(included.original_router), included.include_context.prefix), included))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(applications, "get_openapi", described)
        patch.setattr(_IncludedRouter, "effective_candidates", candidates)
        yield


def settings_of(environment: dict[str, str], **more: object) -> ApiSettings:
    """Settings from variables, without touching those of this process."""
    named = {key.removeprefix("CHAI_").lower() if key.startswith("CHAI_") else key: v for key, v in environment.items()}
    return ApiSettings.model_validate({**named, **more})


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(holds: Callable[[], object], timeout_s: float = 20.0, what: str = "", *, pause_s: float = 0.02) -> None:
    """Return once `holds()`; fail after the timeout, saying what went wrong."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what or f"not so within {timeout_s} s"
        time.sleep(pause_s)


def mp4(num_frames: int = 16, size: int = 64, fps: int = 8) -> bytes:
    """A real, small video."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            shade = np.full((size, size, 3), 10 * number % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade)))
        container.mux(stream.encode())
    return file.getvalue()


def work(factory: sessionmaker[Session], storage: Storage, job_id: UUID, content: bytes) -> bool:
    """Do what a worker does with an id: claim, beat, write the file, publish. False when there was nothing to claim."""
    with transaction(factory) as session:
        claim = jobs.claim(session, job_id, owner="test-worker", lease_s=30)
    if claim is None:
        return False
    with transaction(factory) as session:
        wants_cancel = jobs.beat(session, claim, lease_s=30, progress=50, step=4, num_steps=8, path="fast")
        if wants_cancel:
            jobs.cancelled(session, claim)
            return True
    stored = storage.write(video_name(job_id, claim.fence), content)
    with transaction(factory) as session:
        output = {"name": stored.name, "bytes": stored.num_bytes, "sha256": stored.sha256}
        jobs.complete(session, claim, output=output, receipt={"path": "fast", "reason": "test"})
        metrics.record(session, claim, outcome="completed", path="fast", gpu_seconds=0.5, stage_s={"denoise": 0.5})
    return True


@contextmanager
def worker_thread(factory: sessionmaker[Session], storage: Storage) -> Iterator[None]:
    """A worker that looks for queued jobs itself, so that a test needs no broker."""
    stop = threading.Event()
    content = mp4()

    def run() -> None:
        while not stop.wait(0.05):
            with factory() as session:
                waiting = session.scalars(select(Job.id).where(Job.status == JobStatus.QUEUED)).all()
            for job_id in waiting:
                work(factory, storage, job_id, content)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
