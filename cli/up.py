"""The whole service on one machine: `chai up` starts it, `chai demo` uses the same start."""

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cli import endings, flower, gpus, local
from cli.client import Client
from cli.errors import CommandError
from cli.liveness import Heartbeats, answers
from cli.output import note, unless_gone
from cli.services.embedded import Services
from cli.services.embedded import started as servers_started
from cli.services.errors import ServiceError
from cli.services.lock import folder_lock
from cli.services.process import last_lines, listener, listening
from cli.supervise import Part, Supervisor, stop_leftovers
from shared.child_command import child_command

API_PORT = 8400
FLOWER_PORT = 5555
READY_TIMEOUT_S = 90.0
WAITING_S = 5.0  # of silence, before a wait is explained
CHECK_S = 1.0
API_STOP_S = 5.0
WORKER_STOP_S = 15.0  # it has handed its job back by then; nobody waits for the rest of a slow step
BEAT_PATIENCE_S = 90.0  # signs of life need the database, and a relay's also need the broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a caller may choose about a start."""

    port: int | None = None  # this or an error; None = CHAI_API_PORT, likewise; else the usual one or another, noted
    num_workers: int = 1
    has_flower: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that this process runs."""

    running: local.Running
    check: Callable[[], None]  # raises `CommandError` if a part cannot be kept alive: for callers that wait for it
    check_given_up: Callable[[], None]  # the same once nothing more is tried: for a caller that runs it night and day


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Listening sockets of the parts, held here so that a restarting part makes connections wait, not fail."""

    api: socket.socket
    flower: socket.socket | None


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP arrived."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` at the first signal, anywhere in the block; ignore later ones, which would interrupt the stop.

    Under nohup, SIGHUP stays ignored: the terminal may close.
    """
    wanted = (signal.SIGINT, signal.SIGTERM, *endings.heeded(signal.SIGHUP))

    def stop(number: int, _frame: object) -> None:
        for other in wanted:
            signal.signal(other, signal.SIG_IGN)
        said = f"{signal.Signals(number).name}: stopping; a video that is being made goes back to the queue\n"
        with suppress(OSError):  # the reader may be gone
            os.write(2, said.encode())  # not print: the signal may have interrupted one
        raise Stopped

    with endings.handled(wanted, stop):
        yield


def up(choices: Choices) -> None:
    """Run the service until a signal comes."""
    var = local.var_dir()
    try:
        with stopped_by_signals(), service(var, choices, report=partial(unless_gone, note)) as started:
            unless_gone(print, _welcome(var, started.running, choices))
            while True:
                time.sleep(CHECK_S)
                started.check_given_up()
    except Stopped:
        unless_gone(note, f"stopped; everything is kept in {var}")


@contextmanager
def service(var: Path, choices: Choices, *, report: Callable[[str], None]) -> Iterator[Service]:
    """Run databases, API, relay, Flower and workers for the block; they stop in the opposite order.

    DATABASE_URL and REDIS_URL, where set, are used instead of embedded servers. Raises `CommandError`.
    """
    if found := local.running(var):
        raise CommandError(f"the service already runs at {found.url} (process {found.pid}); stop that one first")
    port = _port(choices)
    database_url = local.database_url() if "DATABASE_URL" in os.environ else None
    redis_url = local.redis_url() if "REDIS_URL" in os.environ else None
    try:
        with ExitStack() as stack:
            is_in_place = stack.enter_context(folder_lock(var))
            local.withdraw(var)  # the record of a killed one would say wrong things about this one
            stack.callback(_withdraw, var, is_in_place)  # after a failed start, too
            stop_leftovers(var)  # they hold ports
            doors = Doors(
                api=stack.enter_context(_door(API_PORT, port, "the API", report)),
                flower=stack.enter_context(_door(FLOWER_PORT, None, "Flower", report)) if choices.has_flower else None,
            )
            servers = servers_started(var, database_url=database_url, redis_url=redis_url, report=report)
            yield from _parts_running(var, is_in_place, stack.enter_context(servers), choices, report, doors)
    except ServiceError as error:
        raise CommandError(str(error)) from error


def _port(choices: Choices) -> int | None:
    """Return the requested port, if any; raise `BadInput` for a variable with which the parts would fail."""
    settings = local.api_settings()
    is_set = "api_port" in settings.model_fields_set
    return choices.port or (settings.api_port if is_set else None)


def _door(usual: int, asked: int | None, whose: str, report: Callable[[str], None]) -> socket.socket:
    """Listen on a port now, seconds before its part has started, so that nothing else takes it meanwhile."""
    port = usual if asked is None else asked
    try:
        return listening(port)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        why = f"is taken by {listener(port) or 'another process'}" if is_taken else f"cannot be had ({error.strerror})"
        if asked is not None:
            way_out = "choose another with --port" + (", or stop that process" if is_taken else "")
            raise CommandError(f"port {port} {why}; {way_out}") from error
    door = listening(0)
    report(f"port {port} {why}; {whose} gets {_number(door)}")
    return door


def _number(door: socket.socket) -> int:
    return int(door.getsockname()[1])


def _parts_running(
    var: Path,
    is_in_place: Callable[[], bool],
    services: Services,
    choices: Choices,
    report: Callable[[str], None],
    doors: Doors,
) -> Iterator[Service]:
    secrets = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    storage_url = os.environ.get("STORAGE_URL", f"file://{var / 'storage'}")
    shared = {**secrets, "STORAGE_URL": storage_url, "CHAI_VAR_DIR": str(var), "CHAI_DEFAULT_MODEL": _default_model()}
    report("bringing the tables up to date")
    migrate(services.database_url)
    parts = _parts(shared, choices, doors)
    running = local.Running(
        pid=os.getpid(),
        url=_url(doors.api),
        flower_url=flower.page(_url(doors.flower)) if doors.flower else None,
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
                check_given_up=partial(_check_given_up, supervisor, var, is_in_place),
            )
        finally:
            _withdraw(var, is_in_place)  # before the parts stop, so that no client starts to use them


def _withdraw(var: Path, is_in_place: Callable[[], bool]) -> None:
    if is_in_place():
        local.withdraw(var)


def migrate(database_url: str) -> None:
    """Migrate the database to the newest tables."""
    from db.migrate import upgrade

    upgrade(database_url)


def _default_model() -> str:
    """Return the trained small model if it is installed, else the tiny one with random weights."""
    installed = "small" if (local.models_dir() / "small" / "chai.json").exists() else "tiny"
    return os.environ.get("CHAI_DEFAULT_MODEL") or installed


def _url(door: socket.socket) -> str:
    return f"http://127.0.0.1:{_number(door)}"


def _parts(env: dict[str, str], choices: Choices, doors: Doors) -> list[Part]:
    """Return the processes in the order in which they start; workers come last, so that they stop first."""
    chai = child_command("cli.main")
    flower_url = {"CHAI_FLOWER_URL": flower.page(_url(doors.flower))} if doors.flower else {}
    beats = Heartbeats(env["DATABASE_URL"])
    parts = [
        Part(
            name="api",
            command=(*chai, "api", *_at(doors.api)),
            env={**flower_url, **env},
            fds=(doors.api.fileno(),),
            probe=partial(answers, _number(doors.api), "/healthz"),
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
    if doors.flower:
        parts.append(
            Part(
                name="flower",
                command=(*chai, "flower", *_at(doors.flower)),
                env={**env, "CHAI_URL": _url(doors.api)},
                fds=(doors.flower.fileno(),),
                probe=partial(answers, _number(doors.flower), "/healthcheck"),
                stop_timeout_s=API_STOP_S,
            )
        )
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


def _at(door: socket.socket) -> tuple[str, ...]:
    return "--port", str(_number(door)), "--fd", str(door.fileno())


def _share_of_machine(number: int, num_workers: int) -> dict[str, str]:
    """Give each worker its GPU, in turn, and an equal share of the CPUs unless OMP_NUM_THREADS says otherwise."""
    num_threads = max(1, (os.cpu_count() or 1) // num_workers)
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(num_threads)),
        **gpus.of_worker(number, num_workers),
    }


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


def _check_given_up(supervisor: Supervisor, var: Path, is_in_place: Callable[[], bool]) -> None:
    """Raise `CommandError` if parts that the service needs were given up, or its folder is gone.

    It works without Flower, which only displays, and with some of its workers. A folder that was removed may belong to
    another service by now, and the two would end each other's servers.
    """
    if not is_in_place():
        raise CommandError(f"{var} was moved or removed while the service ran, so it stops; `chai up` starts it anew")
    gone = supervisor.given_up()
    workers = [name for name in supervisor.names() if name.startswith("worker")]
    for name in gone:
        is_spare = name == "flower" or (name in workers and not set(workers) <= set(gone))
        if not is_spare:
            raise _broken(name, var)


def _broken(name: str, var: Path) -> CommandError:
    log = var / "log" / f"{name}.log"
    return CommandError(f"{name} ends again and again; the end of {log}:\n{last_lines(log)}")


def _welcome(var: Path, running: local.Running, choices: Choices) -> str:
    lines = [f"API      {running.url}  (documentation at /docs)"]
    if running.flower_url:
        lines.append(f"Flower   {running.flower_url}  (user {flower.USER}, password in {flower.password_file(var)})")
    lines += [
        f"Videos   {running.storage_url}",
        f"Logs     {var / 'log'}",
        *_idle_gpus(choices.num_workers),
        'Try      chai submit --watch "a large red circle drifts right over a blue striped field"',
        "Ctrl-C stops everything; the data stays.",
    ]
    return "\n".join(lines)


def _idle_gpus(num_workers: int) -> tuple[str, ...]:
    """A line for a machine with more GPUs than workers."""
    num_gpus = len(gpus.visible())
    if num_workers >= num_gpus:
        return ()
    return (f"GPUs     {num_gpus}, workers {num_workers}: `chai up --workers {num_gpus}` starts one for each GPU",)
