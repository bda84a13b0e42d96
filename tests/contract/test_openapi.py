"""The OpenAPI document says what the service does; schemathesis tries to prove it wrong."""

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.control import SkipTest
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from api import readiness
from api.routes import cache

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


ENDLESS = {("GET", "/v1/events"), ("GET", "/v1/videos/{video_id}/events")}  # streams; their tests follow them
UNANSWERED = ("POST", "/v1/cache/try")  # what fits the document is answered 503: no worker is here to say
HERE = {"Host": "127.0.0.1"}  # without keys no other machine is served
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)  # requests that fit the document, and such that do not
NUM_THAT_CAN_BE_WRONG = 16  # operations: others take no more than an id, and any text is one
MODEST = settings(
    max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def test_the_service_keeps_its_word(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ANSWER_S", 0.05)
    monkeypatch.setattr(readiness, "OUTBOX_OLD_S", 3600)  # no relay is here, and a busy machine takes minutes
    with TestClient(app):
        document = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE)

        for mode in MODES:
            document.config.generation.update(modes=[mode])
            operations = [found.ok() for found in document.get_all_operations()]
            tried = [
                _try(operation, mode)
                for operation in operations
                if (operation.method.upper(), operation.path) not in ENDLESS
            ]
            assert sum(tried) >= (len(tried) if mode == GenerationMode.POSITIVE else NUM_THAT_CAN_BE_WRONG)


def _try(operation: schemathesis.APIOperation, mode: GenerationMode) -> bool:
    """Return whether there was anything to try: some operations take nothing that could be wrong."""
    is_answered = (operation.method.upper(), operation.path) != UNANSWERED
    checks = [check for check in CHECKS if is_answered or check is not not_a_server_error]

    @MODEST
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_its_word(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks, headers=HERE)

    try:
        keeps_its_word()
    except (SkipTest, Unsatisfiable):  # the former as soon as it is seen, where wrong requests alone are asked for
        return False
    return True


def test_every_refusal_is_documented_as_the_envelope(app: FastAPI) -> None:
    document = app.openapi()

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1/"):
                refused = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
                assert refused == {"$ref": "#/components/schemas/ErrorBody"}, (method, path)
            assert "422" not in operation["responses"], (method, path)
