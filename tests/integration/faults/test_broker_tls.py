"""A broker behind TLS, `rediss://`, as clouds offer it: every part reaches it, and looks at its certificate."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from piping import pipe
from redis.exceptions import ConnectionError as Refused

from api.broker import Broker
from cli.flower import _celery
from worker.app import make_app
from worker.settings import WorkerSettings


def of_worker(url: str) -> Connection:
    settings = {"DATABASE_URL": "postgresql://nobody@127.0.0.1/none", "REDIS_URL": url}
    return make_app(WorkerSettings.model_validate(settings)).connection_for_read()


PARTS: dict[str, Callable[[str], Connection]] = {
    "worker": of_worker,
    "relay": lambda url: Broker(url)._app.connection(),
    "flower": lambda url: _celery(url).connection(),
}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, its key behind it."""
    file = tmp_path / "broker.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-"]
    file.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
    return file


@pytest.fixture
def secured(redis_url: str, certificate: Path) -> Iterator[str]:
    """The address of the same server behind TLS."""
    parts = urlsplit(redis_url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        with (
            suppress(OSError),
            plain,
            context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection((str(parts.hostname), int(parts.port or 6379))) as server,
        ):
            back = threading.Thread(target=pipe, args=(server, client), daemon=True)
            back.start()
            pipe(client, server)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    account = parts.netloc.rpartition("@")[0]
    yield f"rediss://{account}{'@' if account else ''}127.0.0.1:{listener.getsockname()[1]}{parts.path}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ping(connection: Connection) -> bool:
    with connection:
        return bool(connection.default_channel.client.ping())


@pytest.mark.parametrize("part", PARTS)
def test_a_certificate_that_somebody_vouches_for_is_enough(
    part: str, secured: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert ping(PARTS[part](secured))


@pytest.mark.parametrize("part", PARTS)
def test_one_that_nobody_vouches_for_is_refused_unless_the_address_says_otherwise(part: str, secured: str) -> None:
    with pytest.raises((Refused, OperationalError), match="CERTIFICATE_VERIFY_FAILED"):
        ping(PARTS[part](secured))

    assert ping(PARTS[part](f"{secured}?ssl_cert_reqs=none"))


@pytest.mark.parametrize("part", PARTS)
def test_the_address_may_name_who_vouches(part: str, secured: str, certificate: Path) -> None:
    assert ping(PARTS[part](f"{secured}?ssl_ca_certs={certificate}"))
