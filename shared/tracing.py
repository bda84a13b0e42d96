"""Traces by OpenTelemetry, if OTEL_* variables ask for them: a request, its wait in the queue, an attempt, its stages.

OpenTelemetry is imported only if `configure` finds that it is wanted; otherwise every span is a `nullcontext`. The
trace of a job continues in the process that runs it, by the `traceparent` in its row.
"""

import logging
import os
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_provider: "TracerProvider | None" = None

logger = logging.getLogger(__name__)


def configure(part: str) -> None:
    """Export the spans of this process as OTEL_* says, if set; called once, in the process that makes them.

    If that fails, the log says why, and the process goes on without.
    """
    if not _is_asked():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("OTEL_* asks for traces and the extra is not installed; pip install 'chai-t2v[otel]'")
        return
    service = os.environ.get("OTEL_SERVICE_NAME", f"chai-{part}")
    try:
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as error:  # it parses dozens of variables, each in its own way
        logger.warning("no traces, for a variable of OTEL_* cannot be used: %s", error)
    else:
        use(provider)


def use(provider: "TracerProvider | None") -> None:
    """Set the provider of this process's spans; None ends tracing."""
    global _provider
    _provider = provider


def provider() -> "TracerProvider | None":
    """Return the provider of this process's spans, if any."""
    return _provider


def traceparent() -> str | None:
    """Return the current span as W3C's header, to continue the trace in another process."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def attempt(
    parent: str | None, *, waited_s: float, video: str, number: int, model: str
) -> AbstractContextManager[object]:
    """Return the span of an attempt, under its request's; add a sibling for the wait that has just ended."""
    if _provider is None:
        return nullcontext()
    above, now = _context(parent), time.time_ns()
    wait = _tracer(_provider).start_span("wait", context=above, start_time=now - round(waited_s * 1e9))
    wait.end(now)
    about: dict[str, AttributeValue] = {"chai.video": video, "chai.attempt": number, "chai.model": model}
    return _tracer(_provider).start_as_current_span("attempt", context=above, attributes=about)


def stage(name: str) -> AbstractContextManager[object]:
    """Return a span within the current one; nothing outside of a span."""
    if _provider is None:
        return nullcontext()
    from opentelemetry.trace import get_current_span

    if not get_current_span().get_span_context().is_valid:
        return nullcontext()
    return _tracer(_provider).start_as_current_span(name)


def note(**attributes: "AttributeValue | None") -> None:
    """Add attributes to the current span, except those that are None."""
    if _provider is None:
        return
    from opentelemetry.trace import get_current_span

    get_current_span().set_attributes(
        {f"chai.{name}": value for name, value in attributes.items() if value is not None}
    )


def stop() -> None:
    """Export the remaining spans, since this process ends."""
    if _provider is not None:
        _provider.shutdown()


def _is_asked() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(map(os.environ.get, _ENDPOINTS)) or os.environ.get("OTEL_TRACES_EXPORTER") == "otlp"


def _tracer(provider: "TracerProvider") -> "Tracer":
    return provider.get_tracer("chai")


def _context(parent: str | None) -> "Context":
    """Return the context of a header; an empty one if it is missing or cannot be read."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent or ""}, Context())
