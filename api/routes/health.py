"""/healthz: this process lives. /readyz: jobs get through, and if not, what is wrong. Neither asks for a key.

/metrics: figures of the whole service for Prometheus, and so for operators only.
"""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.deps import Operating, Owned
from api.schemas.answers import Health

router = APIRouter(tags=["health"])
_FIGURES: dict[int | str, dict[str, Any]] = {  # Any: a piece of OpenAPI
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get(
    "/health", include_in_schema=False, response_model_exclude_defaults=True
)  # what other services of this kind call it
@router.get("/healthz", response_model_exclude_defaults=True)
async def healthz() -> Health:
    """Say that this process lives."""
    return Health(status="ok", checks={})


@router.get(
    "/readyz", response_model_exclude_defaults=True, responses={503: {"model": Health, "description": "What is wrong"}}
)
async def readyz(service: Owned, response: Response) -> Health:
    """Say whether jobs get through: database, storage, relay and workers, as found within the last second."""
    found = await service.readiness.found()
    if found.is_ready:
        return Health(status="ok", checks=found.checks, notes=found.notes)
    response.status_code = 503
    response.headers["Retry-After"] = "1"
    return Health(status="unavailable", checks=found.checks, notes=found.notes)


@router.get("/metrics", response_class=Response, responses=_FIGURES)
def metrics(call: Operating) -> Response:
    """Give Prometheus the figures of all tenants; where keys are needed, to one with the scope `admin`."""
    return Response(call.service.figures.text(), media_type=CONTENT_TYPE_LATEST)
