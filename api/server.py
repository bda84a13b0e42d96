"""The HTTP server: uvicorn, with limits on what an unauthenticated connection may cost."""

import asyncio
import errno
import logging
import re
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote

import h11
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api import errors, header_fields
from api.settings import ApiSettings
from shared.settings import SettingsError

logger = logging.getLogger("api")
_SLASHED = re.compile(rb"/.*[^/]/", re.DOTALL)
_ABSOLUTE = re.compile(rb"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
SPARE_FILES = 200  # descriptors for the database, storage and logs
MALFORMED = (
    "this is no request of HTTP/1.1; write what is not ASCII in a URL as %XX (`curl -G --data-urlencode`), "
    "and send one Host and one length"
)


def serve(app: ASGIApp, settings: ApiSettings, *, fd: int | None = None, stopping: Callable[[], None]) -> None:
    """Serve until SIGTERM; `stopping` releases callers who would wait for longer than a shutdown takes.

    `fd` is the number of a socket that already listens; without it, one is opened at the settings' host and port.
    Raises `SettingsError` for an unknown host and an unavailable address.
    """
    if fd is None:
        _check_address(settings.api_host, settings.api_port)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=protocol(settings.header_timeout_s, _affordable(settings.max_connections)),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=settings.keep_alive_s,
    )
    Server(config, stopping).run(sockets=None if fd is None else [socket.socket(fileno=fd)])


def _check_address(host: str, port: int) -> None:
    """Raise `SettingsError` if the address is unavailable: uvicorn only logs that."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        message = f"CHAI_API_HOST {host!r} leads to no address: {error.strerror}; name one of this machine"
        raise SettingsError(message) from error
    for family, kind, protocol_, _, address in found:
        with socket.socket(family, kind, protocol_) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                trial.bind(address)
            except OSError as error:
                where = f"CHAI_API_PORT {port} of {address[0]}"
                if error.errno == errno.EADDRINUSE:
                    message = f"{where} is taken; choose another with --port, or stop the process that listens there"
                else:
                    message = f"{where} cannot be had: {error.strerror}; choose others with --host and --port"
                raise SettingsError(message) from error


class Server(uvicorn.Server):
    """uvicorn, telling when it begins to stop."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; requests at hand are answered."""
        self._stopping()
        await super().shutdown(sockets)


def protocol(header_timeout_s: float, max_connections: int) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a deadline for a request's head, a limit on connections and our refusals.

    uvicorn's own limit answers in plain text without a Retry-After, and it waits for a head for ever. An idle
    connection is kept for the configured time, which should exceed that of a proxy in front: the proxy answers 502 if a
    connection is closed just as it uses it.
    """

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                self.app = busy
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def send_400_response(self, msg: str) -> None:
            """Answer invalid HTTP like every other refusal; uvicorn would answer in plain text."""
            request_id = header_fields.request_id()
            refusal = _refusal(errors.BadRequest(MALFORMED, code="malformed_request"), request_id)
            logger.info("no request", extra={"fields": {"status": refusal.status_code, "request_id": request_id}})
            headers = [*refusal.raw_headers, (b"connection", b"close")]
            head = h11.Response(status_code=refusal.status_code, headers=headers, reason=b"Bad Request")
            for event in (head, h11.Data(data=bytes(refusal.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.trailing_data[0]:  # of the next request
                self._watch_head()

        def _watch_head(self) -> None:
            if self._is_served():
                self._drop_deadline()
            elif self._deadline is None:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._drop_deadline()
            super().connection_lost(exc)

        def _is_served(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            self._drop_deadline()
            self._deadline = self.loop.call_later(header_timeout_s, self._give_up)

        def _drop_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            if not self._is_served():
                self.transport.close()

    return Bounded


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a connection beyond the limit."""
    if scope["type"] == "http":
        error = errors.TooManyConnections("this server has reached its limit of connections; try again in a second")
        await _refusal(error, header_fields.request_id(scope))(scope, receive, send)


def _refusal(error: errors.ApiError, request_id: str) -> Response:
    """Return the answer of a layer below the one that gives every answer its fields."""
    answer = errors.answer(error)
    answer.headers.update(header_fields.of_every_answer(request_id))
    return answer


def _affordable(wanted: int) -> int:
    """Raise this process's limit on open files as far as possible; return how many connections that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(8, min(wanted, soft - SPARE_FILES)) if soft != resource.RLIM_INFINITY else wanted


def origin_form(scope: Scope) -> Scope:
    """Return a request in origin form: some clients send the whole URL, as to a proxy.

    The host in that URL overrides the header (RFC 9112, 3.2.2). A slash at the end of a path is ignored: a redirect
    would need the public address, which a proxy in front may not report.
    """
    raw = scope.get("raw_path") or b""
    found = _ABSOLUTE.fullmatch(raw)
    path = raw if found is None else found[2] or b"/"
    if _SLASHED.fullmatch(path):
        path = path[:-1]
    if path == raw:
        return scope
    asked = {**scope, "raw_path": path, "path": unquote(path.decode("ascii")), "headers": list(scope["headers"])}
    if found is not None:
        MutableHeaders(scope=asked)["host"] = found[1].decode("ascii")
    return asked
