"""The whole service on one machine: `chai up` starts it, `chai demo` uses the same start."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cli import flower, local
from cli.client import Client
from cli.errors import CommandError
from cli.liveness import Heartbeats, answers
from cli.output import note
from cli.services.embedded import Services
from cli.services.embedded import running as services_running
from cli.services.errors import ServiceError
from cli.services.process import free_port, last_lines, listener
from cli.supervise import Part, Supervisor

API_PORT = 8400
FLOWER_PORT = 5555
READY_TIMEOUT_S = 90.0
WAITING_S = 5.0  # of silence, before a wait is explained
CHECK_S = 1.0
API_STOP_S = 5.0
WORKER_STOP_S = 15.0  # it has handed its job back by then; what a slow step still computes, nobody waits for
BEAT_PATIENCE_S = 90.0  # signs of life need the database, and a relay's the broker too


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a caller may choose about a start."""

    port: int | None = None  # taken or refused; none: the usual one, or another, and the command says so
    num_workers: int = 1
    has_flower: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that this process runs."""

    running: local.Running
    check: Callable[[], None]  # raises `CommandError` when a part cannot be kept alive: for who waits for it now
    check_given_up: Callable[[], None]  # the same when all hope is gone: for who runs it night and day


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP arrived."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` at the first signal, anywhere in the block, and ignore later ones: stopping must not be torn."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _frame: object) -> None:
        for other in wanted:
            signal.signal(other, signal.SIG_IGN)
        said = f"{signal.Signals(number).name}: stopping; a video that is being made goes back to the queue\n"
        os.write(2, said.encode())  # not print: the signal may have come in the middle of one
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
                time.sleep(CHECK_S)
                started.check_given_up()
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
    port, flower_port = _port(choices), free_port(FLOWER_PORT)
    if choices.port is None and port != API_PORT:
        report(f"port {API_PORT} is taken by {listener(API_PORT) or 'another process'}; the API gets {port}")
    try:
        with services_running(var, database_url=database_url, redis_url=redis_url, report=report) as services:
            yield from _parts_running(var, services, choices, report, port=port, flower_port=flower_port)
    except ServiceError as error:
        raise CommandError(str(error)) from error


def _port(choices: Choices) -> int:
    if choices.port is None:
        return free_port(API_PORT)
    if free_port(choices.port) != choices.port:
        holder = listener(choices.port) or "another process"
        raise CommandError(
            f"port {choices.port} is taken by {holder}; choose another with --port, or stop that process"
        )
    return choices.port


def _parts_running(
    var: Path, services: Services, choices: Choices, report: Callable[[str], None], *, port: int, flower_port: int
) -> Iterator[Service]:
    secrets = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    storage_url = os.environ.get("STORAGE_URL", (var / "storage").as_uri())
    shared = {**secrets, "STORAGE_URL": storage_url, "CHAI_VAR_DIR": str(var), "CHAI_DEFAULT_MODEL": _default_model()}
    report("bringing the tables up to date")
    migrate(services.database_url)
    parts = _parts(var, shared, choices, port=port, flower_port=flower_port)
    running = local.Running(
        pid=os.getpid(),
        url=f"http://127.0.0.1:{port}",
        flower_url=f"http://127.0.0.1:{flower_port}" if choices.has_flower else None,
        storage_url=storage_url,
        pids={},
    )

    def announce() -> None:
        local.announce(var, replace(running, pids=supervisor.pids()), secrets)

    supervisor = Supervisor(parts, var=var, servers=services.servers, report=report, changed=announce)
    with supervisor:
        _wait_until_ready(running.url, supervisor, var, report)
        announce()
        try:
            yield Service(
                running=running,
                check=partial(_check, supervisor, var),
                check_given_up=partial(_check_given_up, supervisor, var),
            )
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
    flower_url = {"CHAI_FLOWER_URL": f"http://127.0.0.1:{flower_port}"} if choices.has_flower else {}
    beats = Heartbeats(env["DATABASE_URL"])
    parts = [
        Part(
            name="api",
            command=(*chai, "api", "--port", str(port)),
            env={**flower_url, **env},
            probe=partial(answers, port, "/healthz"),
            stop_timeout_s=API_STOP_S,
        ),
        Part(
            name="relay",
            command=(*chai, "relay"),
            env=env,
            probe=partial(beats.is_young, "relay"),
            patience_s=BEAT_PATIENCE_S,
            stop_timeout_s=API_STOP_S,
        ),
    ]
    if choices.has_flower:
        command = (*chai, "flower", "--port", str(flower_port))
        probe = partial(answers, flower_port, "/healthcheck")
        page = {"CHAI_URL": f"http://127.0.0.1:{port}"}
        parts.append(Part(name="flower", command=command, env={**env, **page}, probe=probe, stop_timeout_s=API_STOP_S))
    for number in range(1, choices.num_workers + 1):
        name = "worker" if choices.num_workers == 1 else f"worker-{number}"
        worker_env = {**env, **_share_of_machine(number, choices.num_workers)}
        parts.append(
            Part(
                name=name,
                command=(*chai, "worker", "--name", name),
                env=worker_env,
                stop_timeout_s=WORKER_STOP_S,
                probe=partial(beats.is_young, f"worker:{name}"),
                patience_s=BEAT_PATIENCE_S,
            )
        )
    return parts


def _share_of_machine(number: int, num_workers: int) -> dict[str, str]:
    """Give each worker its GPU, in turn, and an equal share of the CPUs unless OMP_NUM_THREADS says otherwise."""
    num_threads = max(1, (os.cpu_count() or 1) // num_workers)
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(num_threads))}
    num_gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if num_workers > 1 and num_gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        share["CUDA_VISIBLE_DEVICES"] = str((number - 1) % num_gpus)
    return share


def _wait_until_ready(url: str, supervisor: Supervisor, var: Path, report: Callable[[str], None]) -> None:
    started = said = time.monotonic()
    with Client(url, timeout_s=5.0) as client:
        while not client.is_ready():
            _check(supervisor, var)
            if time.monotonic() - started > READY_TIMEOUT_S:
                raise CommandError(
                    f"the API did not answer within {READY_TIMEOUT_S:g} s; see {var / 'log' / 'api.log'}"
                )
            if time.monotonic() - said > WAITING_S:
                said = time.monotonic()
                report(f"waiting for the API to answer at {url}, for {said - started:.0f} s so far")
            time.sleep(0.1)


def _check(supervisor: Supervisor, var: Path) -> None:
    for name in supervisor.failing():
        raise _broken(name, var)


def _check_given_up(supervisor: Supervisor, var: Path) -> None:
    """Raise `CommandError` when what was given up is more than the service can do without.

    Flower is a view, and one worker of several may go; what is left keeps working.
    """
    gone = supervisor.given_up()
    workers = [name for name in supervisor.names() if name.startswith("worker")]
    for name in gone:
        is_spare = name == "flower" or (name in workers and not set(workers) <= set(gone))
        if not is_spare:
            raise _broken(name, var)


def _broken(name: str, var: Path) -> CommandError:
    log = var / "log" / f"{name}.log"
    return CommandError(f"{name} ends again and again; the end of {log}:\n{last_lines(log)}")


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
