"""The whole service on one machine: `chai up` starts it, `chai demo` uses the same start."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli import flower, local
from cli.client import Client
from cli.errors import CommandError
from cli.output import note
from cli.services.embedded import Services
from cli.services.embedded import running as services_running
from cli.services.errors import ServiceError
from cli.services.process import free_port, last_lines
from cli.supervise import Part, Supervisor

API_PORT = 8400
FLOWER_PORT = 5555
READY_TIMEOUT_S = 90.0
WORKER_STOP_S = 45.0  # a worker hands its job back and leaves within seconds; a slow step may take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a caller may choose about a start."""

    port: int = API_PORT  # taken when free, else another one
    num_workers: int = 1
    has_flower: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that this process runs."""

    running: local.Running
    check: Callable[[], None]  # raises `CommandError` when a part cannot be kept alive


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP arrived."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` at the first signal, anywhere in the block, and ignore later ones: stopping must not be torn."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(_number: int, _frame: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def up(choices: Choices) -> None:
    """Run the service until a signal comes."""
    var = local.var_dir()
    try:
        with stopped_by_signals(), service(var, choices, report=note) as started:
            print(_welcome(var, started.running), flush=True)
            while True:
                time.sleep(3600)
    except Stopped:
        note(f"stopped; everything is kept in {var}")


@contextmanager
def service(var: Path, choices: Choices, *, report: Callable[[str], None]) -> Iterator[Service]:
    """Run databases, API, relay, Flower and workers for the block; they stop in the opposite order.

    DATABASE_URL and REDIS_URL, where set, are used instead of embedded servers. Raises `CommandError`.
    """
    if found := local.running(var):
        raise CommandError(f"the service already runs at {found.url} (process {found.pid}); stop that one first")
    database_url = local.database_url() if "DATABASE_URL" in os.environ else None
    redis_url = os.environ.get("REDIS_URL")
    try:
        with services_running(var, database_url=database_url, redis_url=redis_url) as services:
            yield from _parts_running(var, services, choices, report)
    except ServiceError as error:
        raise CommandError(str(error)) from error


def _parts_running(var: Path, services: Services, choices: Choices, report: Callable[[str], None]) -> Iterator[Service]:
    secrets = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    storage_url = os.environ.get("STORAGE_URL", (var / "storage").as_uri())
    shared = {**secrets, "STORAGE_URL": storage_url, "CHAI_VAR_DIR": str(var), "CHAI_DEFAULT_MODEL": _default_model()}
    migrate(services.database_url)
    port, flower_port = free_port(choices.port), free_port(FLOWER_PORT)
    parts = _parts(var, shared, choices, port=port, flower_port=flower_port)
    url = f"http://127.0.0.1:{port}"
    with Supervisor(parts, var=var, report=report) as supervisor:
        _wait_until_ready(url, supervisor, var)
        running = local.Running(
            pid=os.getpid(),
            url=url,
            flower_url=f"http://127.0.0.1:{flower_port}" if choices.has_flower else None,
            storage_url=storage_url,
            pids={part.name: pid for part in parts if (pid := supervisor.pid(part.name))},
        )
        local.announce(var, running, secrets)
        try:
            yield Service(running=running, check=partial(_check, supervisor, var))
        finally:
            local.withdraw(var)


def migrate(database_url: str) -> None:
    """Bring the database to the newest tables."""
    from db.migrate import upgrade

    upgrade(database_url)


def _default_model() -> str:
    """Return the trained small model where it is installed, else the tiny one with random weights."""
    models_dir = Path(os.environ.get("CHAI_MODELS_DIR", local.ROOT / "worker" / "cards"))
    installed = "small" if (models_dir / "small" / "chai.json").exists() else "tiny"
    return os.environ.get("CHAI_DEFAULT_MODEL", installed)


def _parts(var: Path, env: dict[str, str], choices: Choices, *, port: int, flower_port: int) -> list[Part]:
    """Return the processes in the order of their start; workers come last, so that they stop first."""
    chai = (sys.executable, "-m", "cli.main")
    parts = [
        Part(name="api", command=(*chai, "api", "--port", str(port)), env=env),
        Part(name="relay", command=(*chai, "relay"), env=env),
    ]
    if choices.has_flower:
        parts.append(Part(name="flower", command=(*chai, "flower", "--port", str(flower_port)), env=env))
    for number in range(1, choices.num_workers + 1):
        name = "worker" if choices.num_workers == 1 else f"worker-{number}"
        worker_env = {**env, **_share_of_machine(number, choices.num_workers)}
        command = (*chai, "worker", "--name", name)
        parts.append(Part(name=name, command=command, env=worker_env, stop_timeout_s=WORKER_STOP_S))
    return parts


def _share_of_machine(number: int, num_workers: int) -> dict[str, str]:
    """Give each worker its GPU, in turn, and an equal share of the CPUs unless OMP_NUM_THREADS says otherwise."""
    num_threads = max(1, (os.cpu_count() or 1) // num_workers)
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(num_threads))}
    num_gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if num_workers > 1 and num_gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        share["CUDA_VISIBLE_DEVICES"] = str((number - 1) % num_gpus)
    return share


def _wait_until_ready(url: str, supervisor: Supervisor, var: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    with Client(url, timeout_s=5.0) as client:
        while not client.is_ready():
            _check(supervisor, var)
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the API did not answer within {READY_TIMEOUT_S:g} s; see {var / 'log' / 'api.log'}"
                )
            time.sleep(0.1)


def _check(supervisor: Supervisor, var: Path) -> None:
    for name in supervisor.failing():
        log = var / "log" / f"{name}.log"
        raise CommandError(f"{name} ends again and again; the end of {log}:\n{last_lines(log)}")


def _welcome(var: Path, running: local.Running) -> str:
    lines = [f"API      {running.url}  (documentation at /docs)"]
    if running.flower_url:
        lines.append(f"Flower   {running.flower_url}  (user {flower.USER}, password in {flower.password_file(var)})")
    lines += [
        f"Videos   {running.storage_url}",
        f"Logs     {var / 'log'}",
        'Try      chai submit --watch "a large red circle drifts right over a blue striped field"',
        "Ctrl-C stops everything; the data stays.",
    ]
    return "\n".join(lines)
