"""The worker process: a Celery parent that takes messages, and one child that runs jobs on its device.

The parent never runs the model. Every few seconds it writes a heartbeat, so that the relay hands over as many jobs as
there are workers for. When its child dies it gives the child's jobs back at once, counted as lost. At SIGTERM (and
Ctrl-C) it gives the jobs in progress back to the queue at once, in the database, where another worker finds them within
seconds; the child notices at its next step and stops without writing. Celery's warm shutdown waits for that. A parent
that has no time left (SIGKILL) costs one lease.
"""

import functools
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db import heartbeats, jobs, quality_checks
from db.jobs import Swept
from db.session import connect, sessions, transaction
from db.states import Queue, queue_of_model
from shared import environment, logs, tracing
from shared.logs import Once, first_line
from shared.settings import BROKER_PATIENCE, broker_use_ssl
from worker import fitness, questions, remote_control, tasks
from worker.announcements import Announcements
from worker.asking import LATE_S, LOST_S, Asking
from worker.gate import Gate
from worker.jobs.outages import DATABASE_AWAY
from worker.models import registry
from worker.runtime import Load, Runtime, load_model, model_names, open_runtime
from worker.settings import WorkerSettings

QUEUES = (Queue.INTERACTIVE.value, Queue.BULK.value)  # in the order in which they are served
PRESENCE_S = 2.0  # between two signs of life
ANEW_S = 30  # after this time a child that could not begin is replaced
STUCK = "stuck"  # the reason given for a worker whose loop hangs
LOST_WAIT_S = 0.2  # from a child's death until its place is free again
VISIBILITY_TIMEOUT_S = 24 * 3600  # leases in Postgres, not the broker, decide when a job is lost

logger = logging.getLogger(__name__)


def make_app(settings: WorkerSettings) -> Celery:
    """Return the Celery app of workers, without its task."""
    environment.forget(environment.CELERY)
    app = Celery("chai", broker=settings.redis_url, set_as_current=False)
    if settings.redis_url.startswith("redis"):
        app.conf.broker_transport = "worker.transport:Transport"
    app.conf.update(
        # A message is a job id in JSON; whatever else is in the queue is refused.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        # One message at a time, kept until the job has ended; the broker may still lose or double it.
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # the next attempt has a message of its own
        worker_lost_wait=0.1,  # by then the job is back in the queue; nothing to wait for
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_time_limit=settings.time_limit_s,
        broker_use_ssl=broker_use_ssl(settings.redis_url),
        broker_transport_options={
            "queue_order_strategy": "priority",
            "priority_steps": [0],  # one list a queue, under its own name; the relay hands over the best first
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            **BROKER_PATIENCE,
        },
        # Redis may start after the worker, and restart while it runs.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_pool="prefork",
        worker_concurrency=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=True,
        worker_proc_alive_timeout=60.0,
        timezone="UTC",
    )
    return app


def main(
    queues: Sequence[str] = QUEUES,
    *,
    name: str = "worker",
    load: Load = load_model,
    log_level: str = "INFO",
) -> int:
    """Run a worker on these queues until SIGTERM or Ctrl-C; return its exit status, 0 if it ended as requested."""
    settings = WorkerSettings.model_validate({})  # from the environment
    owner = f"{name}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    app = make_app(settings)
    share_without_folder()
    gate = Gate()
    gate.close(heartbeats.STARTING)
    begun, asking = Announcements(), Asking(settings.redis_url)
    open_own = functools.partial(open_runtime, settings, owner=owner, load=load, gate=gate)
    runtime = functools.cache(functools.partial(open_own, queues=queues, announce=begun.tell))
    remote_control.refuse_changes()
    tasks.register(app, runtime, is_stopping=lambda: gate.is_stopped)
    connect_signals(settings, owner, runtime, gate, begun, asking)
    models = sorted(model_names(settings.models_dir))
    presence = Presence(settings.database_url, owner, queues, models, gate, asking)
    # A worker in a container runs as root; with JSON only, a message cannot carry code.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = _closing_with_its_terminal(app.Worker)(
        hostname=f"{name}@{socket.gethostname()}",
        queues=[each for queue in queues for each in (queue, *(queue_of_model(queue, model) for model in models))],
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    ends: list[str] = []  # Celery's word for each signal: Warm, and Cold for the second
    signals.worker_shutting_down.connect(lambda how, **_: ends.append(how), weak=False)
    signals.worker_ready.connect(lambda **_: presence.start(), weak=False)
    worker.start()
    presence.stop()
    return 0 if ends == ["Warm"] else int(worker.exitcode or 0)


def share_without_folder() -> None:
    """Share memory between parent and child without a temporary folder, which a killed worker would leave behind.

    multiprocessing makes one, `pymp-...`, for files that it unlinks as soon as they are open; no option changes its
    place.
    """
    multiprocessing.current_process()._config["tempdir"] = tempfile.gettempdir()  # type: ignore[attr-defined]


def _closing_with_its_terminal(kind: type[Any]) -> type[Any]:  # Any: Celery has no types
    """Return Celery's worker, made to treat SIGHUP as SIGTERM, or to ignore it if nohup started it.

    Celery itself would restart its program, and its child would die of the signal, with its job.
    """
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    class Worker(kind):  # type: ignore[misc]  # which class it is, the app says
        def install_platform_tweaks(self, worker: Any) -> None:
            super().install_platform_tweaks(worker)
            stop = signal.SIG_IGN if is_kept else lambda *_: os.kill(os.getpid(), signal.SIGTERM)
            signal.signal(signal.SIGHUP, stop)

    return Worker


def connect_signals(
    settings: WorkerSettings,
    owner: str,
    runtime: Callable[[], Runtime],
    gate: Gate,
    begun: Announcements,
    asking: Asking,
) -> None:
    """Log as the other parts do, prepare children, take messages while they are fit, release the job when stopped."""

    def log(loglevel: int = logging.INFO, **_: object) -> None:
        logs.configure(loglevel)

    def prepare(**_: object) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent handles it
        prepare_child(settings, runtime, gate)

    def end(**_: object) -> None:
        runtime().ending.set()
        tracing.stop()

    def give_back(**_: object) -> None:
        gate.stop()
        release(settings.database_url, owner)

    def watch(sender: Any, **_: object) -> None:
        watch_children(sender, lambda: recover(settings, owner))
        asking.follow(sender, lambda: gate.is_open)
        begun.follow(sender)

    signals.worker_ready.connect(watch, weak=False)
    signals.setup_logging.connect(log, weak=False)  # instead of Celery's own lines
    signals.worker_process_init.connect(prepare, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
    signals.worker_shutting_down.connect(give_back, weak=False)


def prepare_child(settings: WorkerSettings, runtime: Callable[[], Runtime], gate: Gate) -> None:
    """Start a new child's trials and answers to questions; an error becomes the reason to take no jobs."""
    try:
        tracing.configure("worker")
        if settings.torch_threads:
            registry.limit_threads(settings.torch_threads)
        fitness.start(runtime())
        questions.start(runtime())
    except Exception as error:  # Celery would log it and go on, and the worker would be starting for ever
        gate.close(f"machine_fault: a child cannot begin: {type(error).__name__}: {error}")
        logger.error("takes no jobs: %s; another child tries in %d s", gate.reason, ANEW_S)
        signal.alarm(ANEW_S)  # ends this process, even if no thread can be started
        raise


def watch_children(consumer: Any, on_death: Callable[[], None]) -> None:
    """Call `on_death` as soon as a child has ended, before the next one can be given anything.

    Celery notices within milliseconds, but frees the dead child's place only in its next round, up to five seconds
    later: so a round is started at once.
    """
    pool = consumer.pool._pool  # billiard's; Celery offers no signal for this
    release_slot = pool.on_process_down

    def down(process: Any) -> None:
        if release_slot is not None:
            release_slot(process)
        on_death()
        if consumer.hub is not None:
            consumer.hub.call_later(LOST_WAIT_S, pool.maintain_pool)

    pool.on_process_down = down


def recover(settings: WorkerSettings, owner: str) -> None:
    """Fail or requeue what a dead child ran; if that is impossible, its lease runs out."""
    engine = connect(settings.database_url, pool_size=1, application=f"chai-worker {owner} lost a child")
    try:
        with transaction(sessions(engine)) as session:
            lost = jobs.recover(session, owner=owner, max_lost=settings.max_lost)
    except SQLAlchemyError as error:
        _left_to_lease("the job of a dead child of %s waits for the end of its lease: %s", owner, error)
    else:
        if lost != Swept(requeued=[], failed=[], cancelled=[]):
            logger.warning("a child died; back in the queue: %s; failed: %s", lost.requeued, lost.failed)
    finally:
        engine.dispose()


def _left_to_lease(event: str, owner: str, error: SQLAlchemyError) -> None:
    """Log the error in one line if the database is away, with a traceback otherwise."""
    logger.error(event, owner, first_line(error), exc_info=not isinstance(error, DATABASE_AWAY))


class Stuck(Exception):
    """The parent's loop hangs."""


class Presence:
    """Heartbeats of this worker, from a thread of its parent process, for as long as the parent's loop goes on."""

    def __init__(
        self,
        database_url: str,
        owner: str,
        queues: Sequence[str],
        models: Sequence[str],
        gate: Gate,
        asking: Asking,
    ) -> None:
        self._name = f"worker:{owner}"
        self._said = {"queues": list(queues)} | ({"models": list(models)} if models else {})
        self._gate, self._asking = gate, asking
        self._signs = Once(logger)
        self._engine = connect(database_url, pool_size=1, application=f"chai-worker {owner} alive")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)

    def start(self) -> None:
        """Start the thread; calling it again changes nothing."""
        if not self._thread.is_alive() and not self._is_over.is_set():
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread and delete the row."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=PRESENCE_S)
        self._write(lambda session: heartbeats.forget(session, self._name))
        self._engine.dispose()

    def _keep(self) -> None:
        while True:
            self._write(self._beat)
            if self._is_over.wait(PRESENCE_S):
                return

    def _beat(self, session: Session) -> None:
        silent_s = 0.0 if self._gate.is_stopped else self._asking.silent_s()  # a worker that is ending asks no more
        if silent_s >= LOST_S:
            raise Stuck(f"{STUCK}: this worker asks its broker for nothing any more; start it anew")
        is_late = silent_s >= LATE_S
        reason = f"{STUCK}: has not asked its broker for {silent_s:.0f} s" if is_late else self._gate.reason
        is_fit = self._gate.is_open and not is_late
        heartbeats.beat(session, self._name, {**self._said, "is_fit": is_fit, "reason": reason})

    def _write(self, write: Callable[[Session], None]) -> None:
        try:
            with transaction(sessions(self._engine)) as session:
                write(session)
        except Exception as error:  # whatever it is: a worker without heartbeats is handed no more jobs
            self._signs.failed("no sign of life", error)
        else:
            self._signs.worked("a sign of life again")


def release(database_url: str, owner: str) -> None:
    """Put the jobs of a worker back into the queue; if that fails, their leases run out."""
    engine = connect(database_url, pool_size=1, application=f"chai-worker {owner} stopping")
    try:
        with transaction(sessions(engine)) as session:
            released = [*jobs.release(session, owner=owner), *quality_checks.release(session, owner=owner)]
    except SQLAlchemyError as error:
        _left_to_lease("jobs of %s could not be released; they wait for the end of their lease: %s", owner, error)
    else:
        logger.info("stopping; back in the queue: %s", ", ".join(map(str, released)) or "nothing")
    finally:
        engine.dispose()
