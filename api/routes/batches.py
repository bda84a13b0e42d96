"""/v1/batches: open a bulk run, add its lines, seal it, look, cancel."""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api import batch_items, bodies, ids
from api.deps import Call, Calling
from api.errors import NotReady
from api.ids import batch_id as shown_id
from api.ids import unix
from api.routes.videos import REFUSALS
from api.schemas import AddItems, Batch, BatchList, Counts, ItemList, OpenBatch, SealBatch
from db import batches, jobs, models, reused_lines
from db.states import BatchStatus

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=REFUSALS)

ANSWER_AFTER_S = 1.2  # a cancel is answered after this, done or not


def _body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:  # Any: a piece of OpenAPI
    content = {bodies.JSON: {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def _opened(request: Request, call: Calling) -> OpenBatch:
    service = call.service
    return await bodies.read(request, service, OpenBatch, max_bytes=service.settings.max_body_bytes)


async def _added(request: Request, call: Calling) -> AddItems:
    service = call.service
    return await bodies.read(request, service, AddItems, max_bytes=service.settings.max_batch_body_bytes)


async def _sealed(request: Request, call: Calling) -> SealBatch:
    service = call.service
    return await bodies.read(request, service, SealBatch, max_bytes=service.settings.max_body_bytes, optional=True)


@router.post("", openapi_extra=_body(OpenBatch))
def open_(asked: Annotated[OpenBatch, Depends(_opened)], call: Calling, response: Response) -> Batch:
    """Begin a bulk run, or find the one that the same manifest key began."""
    with call.begin() as (session, caller):
        batch, is_new = batches.open_(
            session, caller.tenant, name=asked.name, manifest_key=asked.manifest_key, series=asked.series
        )
        shown = _show(session, batch)
    if not is_new:
        response.headers["Idempotent-Replayed"] = "true"
    return shown


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> BatchList:
    """List bulk runs, the newest first."""
    with call.begin() as (session, caller), _cursor(after) as cursor:
        rows = batches.page(session, caller.tenant, limit=limit + 1, after=cursor)
        data = [_show(session, row) for row in rows[:limit]]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return BatchList(data=data, first_id=first, last_id=last, has_more=len(rows) > limit)


@router.get("/{batch_id}")
def retrieve(batch_id: str, call: Calling) -> Batch:
    """Look at a bulk run."""
    with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
        return _show(session, batches.get(session, caller.tenant, id_))


@router.post("/{batch_id}/items", openapi_extra=_body(AddItems))
def add(batch_id: str, asked: Annotated[AddItems, Depends(_added)], call: Calling) -> ItemList:
    """Add up to 1000 lines. Good ones are accepted, known ones recognised, bad ones answered with the reason."""
    service = call.service
    with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        sorted_ = batch_items.sort_out(asked.items, service.cards, batch, default_model=service.settings.default_model)
        for job in sorted_.good.values():
            job.group = caller.group
        lines = {job.custom_id or "": job for job in sorted_.good.values()}
        reused = reused_lines.known(session, batch.id, lines)
        new = lines.keys() - reused.keys() - jobs.known_lines(session, batch.id, lines)
        if new or not lines:  # lines that are all known are a replay, which no limit and no seal refuses
            _check_open(batch, batch_id)
            _check_length(session, batch, len(new), service.settings.max_batch_jobs)
            found = reused_lines.reuse(session, batch, [lines[name] for name in lines if name in new])
            service.limits.check(session, caller, len(new - found.keys()), is_bulk=True)
            reused |= found
        return batch_items.accept(session, batch, sorted_, reused)


@router.post("/{batch_id}/seal", openapi_extra=_body(SealBatch, required=False))
def seal(batch_id: str, asked: Annotated[SealBatch, Depends(_sealed)], call: Calling) -> Batch:
    """Say that no more lines will come; the run ends when its videos have. Doing so again changes nothing."""
    with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        if batch.status == BatchStatus.OPEN:
            batches.seal(session, batch, num_bad_lines=asked.num_bad_lines)
            session.refresh(batch)
        return _show(session, batch)


@router.post("/{batch_id}/cancel")
def cancel(batch_id: str, call: Calling, rest: BackgroundTasks) -> Batch:
    """Cancel every video of a run that has not ended. Doing so again changes nothing.

    Of a very long run some are still counted as queued when the answer goes out; they are cancelled right after.
    """
    with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
        batches.cancel(session, batches.get(session, caller.tenant, id_, lock=True))
    if not _cancel_lines(call, id_, for_s=ANSWER_AFTER_S):
        rest.add_task(_cancel_lines, call, id_, for_s=math.inf)  # should this process die, the relay goes on
    with call.begin() as (session, caller):
        return _show(session, batches.get(session, caller.tenant, id_))


def _cancel_lines(call: Call, batch_id: UUID, *, for_s: float) -> bool:
    """Cancel lines chunk by chunk, each in a transaction of its own; return whether none is left."""
    began = time.monotonic()
    while time.monotonic() - began < for_s:
        with call.begin() as (session, _):
            if jobs.cancel_lines(session, batch_id, limit=batches.CHUNK) < batches.CHUNK:
                return True
    return False


def _check_open(batch: models.Batch, batch_id: str) -> None:
    if batch.status != BatchStatus.OPEN:
        raise NotReady(
            f"batch {batch_id} is {batch.status} and takes no more lines; open another with a new manifest_key",
            code="batch_not_open",
            headers={"x-should-retry": "false"},
        )


def _check_length(session: Session, batch: models.Batch, num_more: int, most: int) -> None:
    number = sum(batches.counts(session, batch).values())
    if number + num_more > most:
        raise NotReady(
            f"batch {shown_id(batch.id)} has {number} videos and may have {most}; open another for the rest",
            code="batch_full",
            headers={"x-should-retry": "false"},
        )


def _show(session: Session, batch: models.Batch) -> Batch:
    counts = batches.counts(session, batch)
    return Batch(
        id=shown_id(batch.id),
        name=batch.name,
        manifest_key=batch.manifest_key,
        status=BatchStatus(batch.status).value,
        series=batch.series,
        num_reused=reused_lines.number(session, batch.id),
        request_counts=Counts(total=sum(counts.values()), **counts),
        num_bad_lines=batch.num_bad_lines,
        created_at=unix(batch.created_at) or 0,
        sealed_at=unix(batch.sealed_at),
        completed_at=unix(batch.finished_at) if batch.status == BatchStatus.COMPLETED else None,
    )


def _cursor(after: str | None) -> AbstractContextManager[UUID | None]:
    return ids.known("batch", after) if after else nullcontext()
