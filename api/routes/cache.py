"""/v1/cache: what it does for the service, and what would happen to a prompt."""

import asyncio
import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool

from api import bodies, job_factory
from api.deps import Call, Calling, Operating
from api.errors import REFUSALS, BadRequest, Unanswered
from api.schemas.answers import CacheTry
from api.schemas.fields import Number
from api.schemas.requests import CreateVideo
from db import metrics, questions
from db.models import Job
from shared.generation import GenerationParams

ANSWER_S = 4.0  # a worker whose model holds the interpreter for a moment still answers within this
LOOK_S = 0.04

router = APIRouter(prefix="/v1/cache", tags=["cache"], responses=REFUSALS)
Days = Annotated[Number, Query(gt=0.0, le=366.0)]
_BODY = {"requestBody": {"required": True, "content": {bodies.JSON: {"schema": CreateVideo.model_json_schema()}}}}


@router.post("/try", openapi_extra=_BODY)
async def try_(
    asked: Annotated[CreateVideo, Depends(bodies.dependency(CreateVideo, forms=True))], call: Calling
) -> CacheTry:
    """Say what would happen to a request, and why; a worker answers, and nothing is run or recorded."""
    job, number = await run_in_threadpool(_ask, asked, call)
    answer = await _answered(call, number)
    if "refused" in answer:
        raise BadRequest(f"no worker can say: {answer['refused']}", code="cannot_say")
    seconds = await run_in_threadpool(_seconds, job, call)
    return CacheTry(**answer, seconds=seconds.get(answer["path"]), full_seconds=seconds.get("full"))


@router.get("")
def look(
    call: Operating, days: Annotated[Number, Query(gt=0.0, le=366.0)] = 7
) -> dict[str, Any]:  # Any: as the CLI has it
    """Show what the cache did: hit rate by kind, reason and day, who lends most, bytes, savings; for operators.

    The same as `chai cache stats --json`, of all tenants.
    """
    return figures(call, days)


def figures(call: Call, days: float) -> dict[str, Any]:  # Any: JSON
    """Return the figures of the last days, a moment old at most."""
    with call.begin() as (session, _):
        return {"object": "cache", **call.service.cache_figures.of(session, days)}


def _ask(asked: CreateVideo, call: Call) -> tuple[Job, int]:
    with call.begin() as (session, caller):
        default = call.service.settings.default_model
        job = job_factory.job(asked, call.service.cards, tenant=caller.tenant, default_model=default)
        if call.service.estimates.num_workers(session) == 0:
            raise Unanswered("no worker is here to say; start one with `chai worker`")
        return job, questions.ask(session, caller.tenant, caller.group, asdict(GenerationParams.of(job)))


async def _answered(call: Call, number: int) -> dict[str, Any]:  # Any: JSON
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        await asyncio.sleep(LOOK_S)
        if (said := await run_in_threadpool(_look, call, number)) is not None:
            return said
    await run_in_threadpool(_withdraw, call, number)
    raise Unanswered(f"no worker answered within {ANSWER_S:.0f} s what would happen; ask again")


def _look(call: Call, number: int) -> dict[str, Any] | None:  # Any: JSON
    with call.begin() as (session, _):
        return questions.answered(session, number)


def _withdraw(call: Call, number: int) -> None:
    with call.begin() as (session, _):
        questions.withdraw(session, number)


def _seconds(job: Job, call: Call) -> dict[str, float]:
    """Return by path how long attempts like this one took lately, without waiting."""
    size = {"model": job.model, "width": job.width, "height": job.height, "num_frames": job.num_frames}
    with call.begin() as (session, _):
        return {path: found.usual_s for path, found in metrics.spread(session, **size).items() if found.usual_s}
