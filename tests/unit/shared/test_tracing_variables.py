"""Traces are an extra: what is wrong with them stops nothing."""

import pytest

from shared import tracing


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")]
)
def test_a_variable_that_cannot_be_used_costs_the_traces_alone(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, value)

    tracing.configure("worker")

    assert tracing.provider() is None
    assert "no traces, for a variable of OTEL_* cannot be used" in caplog.text
