"""The worker process: a Celery parent that takes messages, and one child that runs jobs on its device.

The parent never runs the model. At SIGTERM (and Ctrl-C) it gives the job in progress back to the queue at once, in the
database, where another worker finds it within seconds; the child notices at its next step and stops without writing.
Celery's warm shutdown waits for that. A parent that has no time left (SIGKILL) costs one lease.
"""

import functools
import logging
import os
import secrets
import socket
import threading
import warnings
from collections.abc import Callable, Sequence

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from sqlalchemy.exc import SQLAlchemyError

from db import jobs, quality_checks
from db.session import connect, sessions, transaction
from db.states import Queue
from worker import tasks
from worker.models import registry
from worker.runtime import Load, Runtime, load_model, open_runtime
from worker.settings import WorkerSettings

QUEUES = (Queue.INTERACTIVE.value, Queue.BULK.value)  # in the order in which they are served
VISIBILITY_TIMEOUT_S = 24 * 3600  # leases in Postgres, not the broker, say when a job is lost

logger = logging.getLogger(__name__)


def make_app(settings: WorkerSettings) -> Celery:
    """Return the Celery app of workers, without its task."""
    app = Celery("chai", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        # A message is a job id in JSON; whatever else is in the queue is refused.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        # One message at a time, kept until the job has ended; the broker may still lose or double it.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_time_limit=settings.time_limit_s,
        broker_transport_options={
            "queue_order_strategy": "priority",
            "priority_steps": list(range(10)),
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
        },
        # Redis may come later than the worker, and go and come back under it.
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
    """Run a worker on these queues until SIGTERM; return its exit status."""
    settings = WorkerSettings.model_validate({})  # from the environment
    owner = f"{name}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    app = make_app(settings)
    runtime = functools.cache(functools.partial(open_runtime, settings, owner=owner, load=load))
    tasks.register(app, runtime)
    connect_signals(settings, owner, runtime)
    # A worker in a container runs as root; with JSON only, a message cannot carry code.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        queues=list(queues),
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def connect_signals(settings: WorkerSettings, owner: str, runtime: Callable[[], Runtime]) -> None:
    """Prepare each new child, and release the job in progress when the parent is told to stop."""

    def prepare(**_: object) -> None:
        if settings.torch_threads:
            registry.limit_threads(settings.torch_threads)
        if settings.preload:
            threading.Thread(target=runtime().warm, name="preload", daemon=True).start()

    def give_back(**_: object) -> None:
        release(settings.database_url, owner)

    signals.worker_process_init.connect(prepare, weak=False)
    signals.worker_shutting_down.connect(give_back, weak=False)


def release(database_url: str, owner: str) -> None:
    """Put the jobs of a worker back to the queue; when that fails their leases run out."""
    engine = connect(database_url, pool_size=1, application=f"chai-worker {owner} stopping")
    try:
        with transaction(sessions(engine)) as session:
            released = [*jobs.release(session, owner=owner), *quality_checks.release(session, owner=owner)]
    except SQLAlchemyError:
        logger.exception("jobs of %s could not be released; they wait for the end of their lease", owner)
    else:
        logger.info("stopping; back in the queue: %s", ", ".join(map(str, released)) or "nothing")
    finally:
        engine.dispose()
