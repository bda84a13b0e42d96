"""Flower: a read-only view of the Celery workers on loopback, behind a password.

It shows how attempts ended (see `worker.tasks`) and what the broker holds: a short window of the backlog. The whole
backlog is in Postgres and on the page that CHAI_URL names, to which Flower links.
"""

import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli import local, places
from cli.errors import BadInput

logger = logging.getLogger("cli.flower")
USER = "chai"
PASSWORD_VARIABLE = "CHAI_FLOWER_PASSWORD"  # noqa: S105 - the name of a variable
ADDRESS_VARIABLE = "CHAI_FLOWER_ADDRESS"  # for containers, where only the published port is on loopback
# Kubernetes sets FLOWER_PORT=tcp://… in every pod beside a service named flower, which Flower cannot read.
SAID_BY_ARGUMENTS = ("FLOWER_UNAUTHENTICATED_API", "FLOWER_ADDRESS", "FLOWER_PORT", "FLOWER_UNIX_SOCKET")
QUEUES = ("interactive", "bulk")
COLUMNS = "uuid,state,args,kwargs,result,received,started,runtime,worker"
BAR = "navbar.html"  # Flower's template: its first list holds the views
LOOK_EVERY_MS = 5000  # for workers that started after Flower


def password_file(var: Path) -> Path:
    """Return where the generated password is kept."""
    return var / "run" / "flower.secret"


def page(url: str) -> str:
    """Return the address for browsers of a Flower that listens at `url`: below FLOWER_URL_PREFIX, if set."""
    prefix = os.environ.get("FLOWER_URL_PREFIX", "").strip("/")
    return f"{url}/{prefix}/" if prefix else url


def serve(port: int, *, fd: int | None = None) -> None:
    """Serve Flower until SIGTERM. /metrics and /healthcheck stay open to this machine, the rest asks for a password.

    `fd` is the number of a socket that listens at the port already.
    """
    from shared import logs

    logs.configure()
    redis_url = local.redis_url()
    address = os.environ.get(ADDRESS_VARIABLE) or "127.0.0.1"
    file = password_file(local.var_dir())
    file.parent.mkdir(parents=True, exist_ok=True)
    password = os.environ.get(PASSWORD_VARIABLE) or local.secret(file)
    where = {"url": page(f"http://{address}:{port}"), "user": USER, "password_in": f"{PASSWORD_VARIABLE} or {file}"}
    logger.info("flower started", extra={"fields": where})
    # By the environment: every user of a machine can read the arguments of a process.
    os.environ["FLOWER_BASIC_AUTH"] = f"{USER}:{password}"
    for name in SAID_BY_ARGUMENTS:
        os.environ.pop(name, None)
    options = [f"--address={address}", f"--port={port}", "--read-only=True", f"--tasks-columns={COLUMNS}"]
    try:
        _run(_celery(redis_url), options, fd=fd)
    except OSError as error:
        reason = f"cannot be bound ({places.reason(error)}); name an address of this machine, and a free port"
        raise BadInput(f"{ADDRESS_VARIABLE} {address!r}, port {port}: {reason}") from error


def _celery(redis_url: str) -> Any:  # Any: celery has no types
    from celery import Celery
    from kombu.entity import Queue

    from shared import environment
    from shared.settings import BROKER_PATIENCE, broker_use_ssl

    environment.forget(environment.CELERY)
    app = Celery("chai-flower", broker=redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_use_ssl=broker_use_ssl(redis_url),
        broker_connection_retry_on_startup=True,
        # Named here too: until a worker says which it serves, the broker page would show a queue that is none.
        task_queues=[Queue(name) for name in QUEUES],  # type: ignore[no-untyped-call]
        task_default_queue=QUEUES[0],
        broker_transport_options={"queue_order_strategy": "priority", "priority_steps": [0], **BROKER_PATIENCE},
    )
    return app


def _run(app: Any, arguments: list[str], *, fd: int | None) -> None:
    """Do what Flower's own command does, but look for workers repeatedly; by itself it asks only once, at its start.

    Does not return: if the broker is gone, its threads retry for ever, and Python would wait for them.
    """
    import contextlib
    import signal

    from flower import command
    from flower.app import Flower
    from flower.urls import settings
    from tornado.httpserver import HTTPServer
    from tornado.ioloop import PeriodicCallback
    from tornado.options import options

    command.apply_env_options()
    command.apply_options("flower", arguments)
    command.extract_settings()
    command.setup_logging()
    more = _linked(os.environ.get("CHAI_URL"), settings["template_path"])
    flower = Flower(capp=app, options=options, **{**settings, **more})
    signal.signal(signal.SIGTERM, command.sigterm_handler)
    if fd is None:
        flower.start_http_server()
    else:
        door = socket.socket(fileno=fd)
        door.setblocking(False)
        HTTPServer(flower).add_socket(door)
    PeriodicCallback(flower.update_workers, LOOK_EVERY_MS).start()
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        flower.start()
    flower.stop()
    logging.shutdown()
    os._exit(0)


def _linked(url: str | None, templates: str) -> dict[str, Any]:
    """Return the setting that puts a link to our page first in Flower's bar; nothing if the page is unknown."""
    from html import escape

    from tornado.template import Loader, Template

    if not url or urlsplit(url).scheme not in ("http", "https"):
        return {}
    page = f"{url.rstrip('/').removesuffix('/v1')}/"  # OpenAI's clients want /v1 behind it
    link = f'<li class="nav-item"><a class="nav-link" href="{escape(page)}">CHAI</a></li>'

    class Linked(Loader):
        def _create_template(self, name: str) -> Template:
            if name != BAR:
                return super()._create_template(name)
            text = (Path(self.root) / name).read_text(encoding="utf-8")
            return Template(text.replace("</ul>", f"{link}</ul>", 1), name=name, loader=self)

    return {"template_loader": Linked(templates)}
