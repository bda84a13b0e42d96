"""/healthz: this process lives. /readyz: what it needs answers, and if not, what is wrong. Neither asks for a key."""

import logging
from collections.abc import Callable

from fastapi import APIRouter, Response

from api.deps import Owned, Service
from api.schemas import Health
from db import jobs
from db.session import transaction

logger = logging.getLogger("api.health")
router = APIRouter(tags=["health"])


@router.get("/health", include_in_schema=False)  # what other services of this kind call it
@router.get("/healthz")
async def healthz() -> Health:
    """Say that this process lives."""
    return Health(status="ok", checks={})


@router.get("/readyz", responses={503: {"model": Health, "description": "What is wrong"}})
def readyz(service: Owned, response: Response) -> Health:
    """Try the database and the storage."""
    checks = {
        "database": _try("database", lambda: _ask_database(service)),
        "storage": _try("storage", service.storage.check),
    }
    if all(result == "ok" for result in checks.values()):
        return Health(status="ok", checks=checks)
    response.status_code = 503
    return Health(status="unavailable", checks=checks)


def _ask_database(service: Service) -> None:
    with transaction(service.sessions) as session:
        jobs.ping(session)
        jobs.num_queued(session, "")  # the tables are there


def _try(name: str, check: Callable[[], None]) -> str:
    """Return "ok", or the kind of failure; the details, which may name hosts, go to the log only."""
    try:
        check()
    except Exception as error:  # any failure means not ready; there is no list of what drivers raise
        logger.warning("not ready", extra={"fields": {"part": name, "error": str(error)}})
        return f"does not work ({type(error).__name__}); the server's log says why"
    return "ok"
