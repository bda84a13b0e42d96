"""/healthz: this process lives. /readyz: jobs get through, and if not, what is wrong. Neither asks for a key."""

from fastapi import APIRouter, Response

from api.deps import Owned
from api.readiness import OK
from api.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/health", include_in_schema=False)  # what other services of this kind call it
@router.get("/healthz")
async def healthz() -> Health:
    """Say that this process lives."""
    return Health(status="ok", checks={})


@router.get("/readyz", responses={503: {"model": Health, "description": "What is wrong"}})
async def readyz(service: Owned, response: Response) -> Health:
    """Say whether jobs get through: database, storage, relay and workers, as found within the last second."""
    checks = await service.readiness.checks()
    if all(result == OK for result in checks.values()):
        return Health(status="ok", checks=checks)
    response.status_code = 503
    response.headers["Retry-After"] = "1"
    return Health(status="unavailable", checks=checks)
