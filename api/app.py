"""The HTTP service: built by `create_app`, run by `main`."""

import logging
import time
from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, header_fields, server
from api.deadline import Deadline
from api.deps import Service
from api.events import Events
from api.prometheus import Figures
from api.readiness import Readiness
from api.routes import batches, bulk_runs, cache, events, files, health, models, night_pages, pages, videos, webhooks
from api.same_site import Gate
from api.settings import ApiSettings
from api.surface import Surface, plain
from api.waiting import Waiting, preferred_s
from db.session import connect, readers, sessions
from shared import logs, model_cards, tracing
from shared.model_cards import ModelCard
from shared.settings import SettingsError
from shared.storage import opened

logger = logging.getLogger("api")
CLIENT_GONE = 499  # in the log: the client has disconnected
OWN_DOCS: dict[str, Any] = {"docs_url": None, "redoc_url": None}  # FastAPI's own pages load scripts from other hosts


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the service. Its connections are opened when it starts and closed when it stops.

    Raises `ValueError` if the default model has no card, `SettingsError` if the storage cannot be opened.
    """
    cards = model_cards.load(settings.models_dir)
    if settings.default_model not in cards:
        raise ValueError(
            f"CHAI_DEFAULT_MODEL {settings.default_model!r} has no card in {settings.models_dir}; "
            f"there are: {', '.join(cards) or 'none'}"
        )

    storage = opened(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = settings.num_threads
        engine = connect(settings.database_url, pool_size=settings.num_threads, application="chai-api")
        factory = sessions(engine)
        app.state.service = Service(
            settings=settings,
            sessions=factory,
            readers=readers(engine),
            cards=cards,
            storage=storage,
            readiness=Readiness(factory, storage),
            waiting=Waiting(factory),
            events=Events(factory),
            figures=Figures(factory),
            reads=Semaphore(max(1, settings.num_threads // 2)),
        )
        try:
            yield
        finally:
            engine.dispose()

    app = FastAPI(
        title="CHAI",
        summary="Prompts become videos",
        version=version("chai-t2v"),
        lifespan=lifespan,
        redirect_slashes=False,
        **OWN_DOCS,
        **_telemetry(),
    )
    errors.install(app)
    pages.install(app)
    for part in (videos, events, files, batches, bulk_runs, webhooks, cache, models, health, pages, night_pages):
        app.include_router(part.router)
    if not settings.needs_keys:
        app.openapi_schema = _without_keys(app.openapi())
    app.openapi_schema = _with_examples(app.openapi(), cards[settings.default_model])
    app.state.surface = Surface(app.openapi())
    app.add_middleware(Outermost, surface=app.state.surface, settings=settings)
    return app


def _telemetry() -> dict[str, Any]:  # Any: FastAPI's own configuration
    """Return arguments that let FastAPI make a span of each request if tracing is on, and do nothing else."""
    provider = tracing.provider()
    wanted = {"tracer_provider": provider, "tracing": provider is not None, "operation_spans": False}
    return {"telemetry": {**wanted, "metrics": False, "logs": False, "auto_configure": False}}


def _with_examples(document: dict[str, Any], card: ModelCard) -> dict[str, Any]:  # Any: OpenAPI
    """Add to the document an example request that this server can serve, by the card of its default model."""
    seconds = f"{card.default_frames / card.fps:.3g}"
    example = {"prompt": "a red circle moves to the right", "model": card.name, "size": card.default_size}
    for path in ("/v1/videos", "/v1/videos/sync"):
        for content in document["paths"][path]["post"]["requestBody"]["content"].values():
            fields = dict(content["schema"]["properties"])
            for name, examples in (("model", [card.name]), ("size", list(card.sizes)), ("seconds", [seconds])):
                fields[name] = {**fields[name], "examples": examples}
            content["schema"] = {**content["schema"], "properties": fields}
            content["example"] = {**example, "seconds": seconds}
    return document


def _without_keys(document: dict[str, Any]) -> dict[str, Any]:  # Any: OpenAPI
    """Remove from the document that a key is needed."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return document


class Outermost:
    """Gives every request an id, logs it as one line, refuses what is not allowed, and answers uncaught errors.

    HEAD is answered wherever GET is. No answer may be read as a type other than its own, nor by another site's page.
    """

    def __init__(self, app: ASGIApp, surface: Surface, settings: ApiSettings) -> None:
        self._app, self._surface, self._settings = app, surface, settings
        self._gate, self._deadline = Gate(settings), Deadline(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = server.origin_form(scope)
        request_id, began, status = header_fields.request_id(scope), time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(header_fields.of_every_answer(request_id))
                if headers.get("location", "").startswith("/"):
                    headers["location"] = header_fields.prefix(scope) + headers["location"]
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._serve(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            logger.exception("request failed", extra={"fields": {"request_id": request_id, "path": scope["path"]}})
            if status:
                raise  # half of the answer is sent: the connection must break
            await errors.internal(request_id)(scope, receive, send_with_id)
        _log(scope, status, request_id, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "HEAD" and not self._surface.has("HEAD", path):
            method = "GET"
        try:
            scope = {**header_fields.read(scope), "query_string": plain(scope["query_string"])}
            self._gate.check(scope)
            self._surface.check_query(method, path, scope["query_string"])
            timeout_s = self._settings.request_timeout_s + self._asked_wait_s(scope)
            await self._deadline.serve({**scope, "method": method}, receive, send, timeout_s=timeout_s)
        except errors.ApiError as error:
            await errors.answer(error)(scope, receive, send)

    def _asked_wait_s(self, scope: Scope) -> float:
        """Return for how many seconds a request may wait because its caller asks for that."""
        if scope["path"].endswith("/sync"):
            return self._settings.sync_timeout_s
        return preferred_s(Headers(scope=scope).get("prefer"))


def _log(scope: Scope, status: int, request_id: str, seconds: float) -> None:
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 1)}
    logger.info("request", extra={"fields": {**fields, "request_id": request_id}})


def main(host: str | None = None, port: int | None = None, *, fd: int | None = None) -> None:
    """Serve until SIGTERM; arguments override CHAI_API_HOST and CHAI_API_PORT. `fd` is a listening socket."""
    logs.configure()
    tracing.configure("api")
    given = {"api_host": host, "api_port": port}
    settings = ApiSettings.model_validate({name: value for name, value in given.items() if value is not None})
    try:
        app = create_app(settings)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    server.serve(app, settings, fd=fd, stopping=lambda: app.state.service.release())
