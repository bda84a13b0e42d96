"""The trace of a video, from the request through the queue to the stages of the worker; none where none is wanted."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from running import settings_of

from api.app import create_app
from db.models import Job
from shared import tracing
from worker.jobs.attempt import generate

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def made() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


@pytest.fixture
def post(database_url: str, storage_url: str, start: Callable[..., object]) -> Callable[..., UUID]:
    """Asks for a video of the small worker's model over HTTP."""
    folder = start().runtime.settings.models_dir
    given = {"DATABASE_URL": database_url, "STORAGE_URL": storage_url}

    def post_(**headers: str) -> UUID:
        app = create_app(settings_of(given, models_dir=folder, default_model="tiny"))
        with TestClient(app, base_url="http://127.0.0.1") as client:
            answer = client.post("/v1/videos", json={"prompt": "a red ball on a beach"}, headers=headers)
        return UUID(answer.json()["id"].removeprefix("video_"))

    return post_


def test_a_video_is_one_trace_from_its_callers_span_to_the_stages_of_the_worker(
    made: InMemorySpanExporter, start: Callable[..., object], post: Callable[..., UUID]
) -> None:
    service, id_ = start(), post(traceparent=f"00-{TRACE}-{CALLER}-01")

    generate(service.runtime, id_)

    spans = {span.name: span for span in made.get_finished_spans()}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    request, attempt = spans["POST /v1/videos"], spans["attempt"]
    assert parent(request) == int(CALLER, 16)
    assert [parent(spans[name]) for name in ("wait", "attempt")] == [request.context.span_id] * 2
    stages = ("load", "decide", "encode", "denoise", "decode", "store")
    assert {parent(spans[name]) for name in stages} == {attempt.context.span_id}
    assert attempt.attributes["chai.video"] == f"video_{id_.hex}"
    assert (attempt.attributes["chai.path"], attempt.attributes["chai.attempt"]) == ("full", 1)
    assert spans["wait"].start_time < spans["wait"].end_time <= attempt.start_time


def test_a_video_that_nobody_traced_begins_a_trace_of_its_own(
    made: InMemorySpanExporter, start: Callable[..., object]
) -> None:
    start().run("a red ball on a beach")

    spans = {span.name: span for span in made.get_finished_spans()}
    assert spans["attempt"].parent is None
    assert parent(spans["denoise"]) == spans["attempt"].context.span_id


def test_where_no_traces_are_wanted_a_row_holds_none_and_no_stage_imports_anything(
    start: Callable[..., object], post: Callable[..., UUID]
) -> None:
    service, id_ = start(), post(traceparent=f"00-{TRACE}-{CALLER}-01")
    generate(service.runtime, id_)

    with service.factory() as session:
        assert session.get_one(Job, id_).traceparent is None
    code = (
        "import sys; from shared import tracing; tracing.configure('worker')\n"
        "with tracing.attempt(None, waited_s=1, video='v', number=1, model='m'), tracing.stage('denoise'):\n"
        "    tracing.note(path='full')\n"
        "assert tracing.traceparent() is None; print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    assert run(code) == "[]\n"


def test_spans_are_sent_to_where_the_environment_says() -> None:
    with receiver() as (url, received):
        code = (
            "from shared import tracing; tracing.configure('worker')\n"
            "with tracing.attempt(None, waited_s=1, video='v', number=1, model='m'): pass\n"
            "tracing.stop()"
        )
        run(code, OTEL_EXPORTER_OTLP_ENDPOINT=url)
        run(code, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_SDK_DISABLED="true")

    (body,) = received
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert names["service.name"] == "chai-worker"
    assert {span.name for scope in resource.scope_spans for span in scope.spans} == {"wait", "attempt"}


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A collector: its address, and the bodies that came."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def run(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
