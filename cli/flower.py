"""Flower: a read-only view of the Celery workers on loopback, behind a password."""

import os
import secrets
from pathlib import Path

from cli import local
from cli.output import note

USER = "chai"
PASSWORD_VARIABLE = "CHAI_FLOWER_PASSWORD"  # noqa: S105 - the name of a variable


def password_file(var: Path) -> Path:
    """Return where the generated password is kept."""
    return var / "run" / "flower.secret"


def serve(port: int) -> None:
    """Serve Flower until SIGTERM. /metrics and /healthcheck stay open to this machine, the rest asks for a password."""
    from celery import Celery

    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    app = Celery("chai-flower", broker=redis_url, set_as_current=False)
    app.conf.update(accept_content=["json"], broker_connection_retry_on_startup=True)
    app.conf.broker_transport_options = {"queue_order_strategy": "priority", "priority_steps": list(range(10))}
    file = password_file(local.var_dir())
    password = os.environ.get(PASSWORD_VARIABLE) or _password(file)
    note(f"Flower   http://127.0.0.1:{port}  (user {USER}, password in {PASSWORD_VARIABLE} or {file})")
    # By the environment: every user of a machine can read the arguments of a process.
    os.environ["FLOWER_BASIC_AUTH"] = f"{USER}:{password}"
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    app.start(["flower", "--address=127.0.0.1", f"--port={port}", "--read-only=True"])


def _password(file: Path) -> str:
    """Return the password in `file`, made the first time."""
    if not file.exists():
        local.write_secret(file, secrets.token_urlsafe(24))
    return file.read_text()
