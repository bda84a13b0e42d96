"""/v1/bulk-runs: open a bulk run, add its lines, seal it, look, pause, resume, retry, cancel."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from api import batch_items, bodies, header_fields, ids, line_results
from api.deps import Call, Calling
from api.errors import REFUSALS, STAYS, BadRequest, NotReady
from api.explain import shown
from api.ids import batch_id as shown_id
from api.ids import unix
from api.schemas.answers import BulkRun, BulkRunList, Counts, DeletedBulkRun, ItemList
from api.schemas.fields import Whole
from api.schemas.requests import AddItems, Forecast, OpenBatch, RetryBatch, SealBatch, SetWindow, Window
from db import acceptance, batches, file_batches, jobs, models, retried_lines, reused_lines
from db.errors import IllegalTransition
from db.states import ENDED_BATCHES, BatchStatus, JobStatus
from shared.run_windows import AtEnd, RunWindow

router = APIRouter(prefix="/v1/bulk-runs", tags=["bulk runs"], responses=REFUSALS)

ANSWER_AFTER_S = 1.2  # a cancel is answered after this, done or not


def _rule(window: Window | None) -> RunWindow | None:
    return (
        None
        if window is None
        else RunWindow(start=window.start, end=window.end, tz=window.tz, at_end=AtEnd(window.at_end))
    )


@router.post("", openapi_extra=bodies.described(OpenBatch))
def open_(
    asked: Annotated[OpenBatch, Depends(bodies.dependency(OpenBatch))], call: Calling, response: Response
) -> BulkRun:
    """Begin a bulk run, or find the one that the same manifest key began."""
    most = call.service.settings.max_batch_jobs
    with call.begin() as (session, caller):
        batch, is_new = batches.open_(
            session,
            caller.tenant,
            name=asked.name,
            manifest_key=asked.manifest_key,
            series=asked.series,
            window=_rule(asked.window),
        )
        if batch.status == BatchStatus.OPEN and asked.num_lines is not None and asked.num_lines > most:
            raise BadRequest(
                f"num_lines {shown(asked.num_lines)} is more than the {most} that a run may have; divide the list, "
                "or let the operator raise CHAI_MAX_BATCH_JOBS",
                param="num_lines",
            )
        found = _show(session, batch)
    if not is_new:
        response.headers.update(header_fields.REPLAYED)
    return found


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Whole, Query(ge=1, le=100)] = 20,
) -> BulkRunList:
    """List bulk runs, the newest first."""
    with call.begin() as (session, caller), ids.cursor("bulk run", after) as cursor:
        rows = batches.page(session, caller.tenant, limit=limit + 1, after=cursor)
        data = [_show(session, row) for row in rows[:limit]]
    return BulkRunList(data=data, **ids.ends(data, has_more=len(rows) > limit))


@router.get("/{batch_id}")
def retrieve(batch_id: str, call: Calling) -> BulkRun:
    """Look at a bulk run."""
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        return _show(session, batches.get(session, caller.tenant, id_))


_RESULTS: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    200: {
        "description": "One row a line",
        "content": {type_: {"schema": {"type": "string", "format": "binary"}} for type_ in line_results.TYPES.values()},
    }
}


@router.get("/{batch_id}/results", response_class=Response, responses=_RESULTS)
def results(batch_id: str, call: Calling, format: line_results.Form = "jsonl") -> Response:
    """Download what has become of each line of a run, in the order of its list: JSONL, CSV or Parquet."""
    return _results(batch_id, call, format, as_head=False)


@router.head("/{batch_id}/results", response_class=Response, responses=_RESULTS)
def look_at_results(batch_id: str, call: Calling, format: line_results.Form = "jsonl") -> Response:
    """Say whether they can be had; no line is read."""
    return _results(batch_id, call, format, as_head=True)


def _results(batch_id: str, call: Calling, form: line_results.Form, *, as_head: bool) -> Response:
    with ids.known("bulk run", batch_id) as id_:
        body = line_results.of_run(call, id_, form)
    headers = {"Content-Disposition": f'attachment; filename="{shown_id(id_)}.{form}"'}
    return StreamingResponse(iter(()) if as_head else body, headers=headers, media_type=line_results.TYPES[form])


@router.post("/{batch_id}/items", openapi_extra=bodies.described(AddItems))
def add(
    batch_id: str, asked: Annotated[AddItems, Depends(bodies.dependency(AddItems, in_bulk=True))], call: Calling
) -> ItemList:
    """Add up to 1000 lines. Good ones are accepted, known ones recognised, bad ones answered with the reason."""
    service = call.service
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        settings = service.settings
        sorted_ = batch_items.sort_out(
            asked.items,
            service.cards,
            batch,
            default_model=settings.default_model,
            allowed=settings.webhook_allowed,
        )
        sorted_ = batch_items.with_replays(session, batch, sorted_)
        for job in sorted_.good.values():
            job.group = caller.group
        lines = {job.custom_id or "": job for job in sorted_.good.values()}
        reused = reused_lines.known(session, batch.id, lines)
        new = lines.keys() - reused.keys() - acceptance.known_lines(session, batch.id, lines)
        is_replay = not new and (lines or sorted_.replays)
        if not is_replay:  # which no limit and no seal refuses
            _check_open(batch, batch_id)
            _check_no_file(session, batch)
            _check_length(session, batch, len(new), service.settings.max_batch_jobs)
            found = reused_lines.reuse(session, batch, [lines[name] for name in lines if name in new])
            service.limits.check(session, caller, len(new - found.keys()), is_bulk=True)
            reused |= found
        return batch_items.accept(session, batch, sorted_, reused)


@router.post("/{batch_id}/seal", openapi_extra=bodies.described(SealBatch, required=False))
def seal(
    batch_id: str, asked: Annotated[SealBatch, Depends(bodies.dependency(SealBatch, optional=True))], call: Calling
) -> BulkRun:
    """Say that no more lines will come; the run ends when its videos have. Doing so again changes nothing."""
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        if batch.status == BatchStatus.OPEN:
            forecast = None if asked.forecast is None else asked.forecast.model_dump()
            batches.seal(session, batch, num_bad_lines=asked.num_bad_lines, forecast=forecast)
            session.refresh(batch)
        return _show(session, batch)


@router.delete("/{batch_id}")
def delete(batch_id: str, call: Calling) -> DeletedBulkRun:
    """Remove a run that has no line, such as one whose lines were all refused; one that had some stays."""
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        _check_no_file(session, batch)
        if not batches.remove_empty(session, batch):
            raise NotReady(
                f"batch {batch_id} has lines and stays; cancel it, or delete its videos",
                code="batch_not_empty",
                headers=STAYS,
            )
    return DeletedBulkRun(id=shown_id(id_))


@router.post("/{batch_id}/pause")
def pause(batch_id: str, call: Calling) -> BulkRun:
    """Let nothing of a run start from now on; what runs ends. Doing so again changes nothing."""
    with _changing(call, batch_id, "be paused") as (session, batch):
        batches.pause(session, batch)
        return _show(session, batch)


@router.post("/{batch_id}/resume")
def resume(batch_id: str, call: Calling) -> BulkRun:
    """Let a paused run go on, in its window if it has one. Doing so again changes nothing."""
    with _changing(call, batch_id, "be resumed") as (session, batch):
        if batch.status in ENDED_BATCHES:
            raise IllegalTransition
        batches.resume(session, batch)
        return _show(session, batch)


@router.post("/{batch_id}/window", openapi_extra=bodies.described(SetWindow))
def set_window(
    batch_id: str, asked: Annotated[SetWindow, Depends(bodies.dependency(SetWindow))], call: Calling
) -> BulkRun:
    """Say between which times of day lines of a run may start; at any time with null."""
    with _changing(call, batch_id, "get a window") as (session, batch):
        if batch.status in ENDED_BATCHES:
            raise IllegalTransition
        batches.set_window(session, batch, _rule(asked.window))
        return _show(session, batch)


@router.post("/{batch_id}/retry", openapi_extra=bodies.described(RetryBatch, required=False))
def retry(
    batch_id: str, asked: Annotated[RetryBatch, Depends(bodies.dependency(RetryBatch, optional=True))], call: Calling
) -> BulkRun:
    """Make the failed and cancelled lines of a run anew, or those alone that failed or were cancelled.

    Each gets a new video, with a new id; the old one is removed. A run that had ended goes on.
    """
    statuses = [JobStatus(asked.only)] if asked.only else [JobStatus.FAILED, JobStatus.CANCELLED]
    with _changing(call, batch_id, "be tried again") as (session, batch):
        if batch.status == BatchStatus.OPEN:
            raise IllegalTransition
        _check_no_file(session, batch)
        number = retried_lines.number(session, batch.id, statuses)
        call.service.limits.check(session, call.caller, number, is_bulk=True)
        batches.retry(session, batch, statuses)
        return _show(session, batch)


@contextmanager
def _changing(call: Call, batch_id: str, change: str) -> Iterator[tuple[Session, models.Batch]]:
    """Give a run, locked, to be changed; what its status does not allow becomes a 409 that says what would help."""
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        batch = batches.get(session, caller.tenant, id_, lock=True)
        status = BatchStatus(batch.status)
        try:
            yield session, batch
        except IllegalTransition:
            raise NotReady(
                f"batch {batch_id} is {status} and cannot {change}; {_WAY_OUT[status]}",
                code="wrong_batch_status",
                headers=STAYS,
            ) from None


_WAY_OUT = {
    BatchStatus.OPEN: "seal it first",
    BatchStatus.IN_PROGRESS: "pause it first",
    BatchStatus.PAUSED: "resume it first",
    BatchStatus.COMPLETED: "retry makes again what failed or was cancelled",
    BatchStatus.CANCELLED: "retry makes again what failed or was cancelled",
}


@router.post("/{batch_id}/cancel")
def cancel(batch_id: str, call: Calling, rest: BackgroundTasks) -> BulkRun:
    """Cancel every video of a run that has not ended. Doing so again changes nothing.

    Of a very long run some are still counted as queued when the answer goes out; they are cancelled right after.
    """
    with call.begin() as (session, caller), ids.known("bulk run", batch_id) as id_:
        batches.cancel(session, batches.get(session, caller.tenant, id_, lock=True))
    if not cancel_lines(call, id_, for_s=ANSWER_AFTER_S):
        rest.add_task(cancel_lines, call, id_, for_s=math.inf)  # should this process die, the relay goes on
    with call.begin() as (session, caller):
        return _show(session, batches.get(session, caller.tenant, id_))


def cancel_lines(call: Call, batch_id: UUID, *, for_s: float) -> bool:
    """Cancel lines chunk by chunk, each in a transaction of its own; return whether none is left."""
    began = time.monotonic()
    while time.monotonic() - began < for_s:
        with call.begin() as (session, caller):
            if batches.get(session, caller.tenant, batch_id, lock=True).status != BatchStatus.CANCELLED:
                return True  # tried again meanwhile
            if not jobs.cancel_lines(session, batch_id, limit=batches.CHUNK):  # what is held is the relay's
                return True
    return False


def _check_open(batch: models.Batch, batch_id: str) -> None:
    if batch.status != BatchStatus.OPEN:
        raise NotReady(
            f"batch {batch_id} is {batch.status} and takes no more lines; open another with a new manifest_key",
            code="batch_not_open",
            headers=STAYS,
        )


def _check_no_file(session: Session, batch: models.Batch) -> None:
    """Refuse to change what the files of a batch say of it."""
    if file_batches.is_one(session, batch.id):
        raise NotReady(
            f"batch {shown_id(batch.id)} was made of a file and its results are files; "
            "make another batch of the lines in its error file",
            code="batch_of_a_file",
            headers=STAYS,
        )


def _check_length(session: Session, batch: models.Batch, num_more: int, most: int) -> None:
    number = sum(batches.counts(session, batch).values())
    if number + num_more > most:
        raise NotReady(
            f"batch {shown_id(batch.id)} has {number} videos and may have {most}; open another for the rest",
            code="batch_full",
            headers=STAYS,
        )


def _show(session: Session, batch: models.Batch) -> BulkRun:
    counts = batches.counts(session, batch)
    return BulkRun(
        id=shown_id(batch.id),
        name=batch.name,
        manifest_key=batch.manifest_key,
        status=BatchStatus(batch.status).value,
        window=None if batch.run_window is None else Window(**batch.run_window),
        is_held=batch.is_held,
        window_changes_at=unix(batches.window_changes_at(session, batch)),
        series=batch.series,
        num_reused=reused_lines.number(session, batch.id),
        request_counts=Counts(total=sum(counts.values()), **counts),
        num_bad_lines=batch.num_bad_lines,
        forecast=Forecast.kept(batch.forecast),
        created_at=unix(batch.created_at) or 0,
        sealed_at=unix(batch.sealed_at),
        completed_at=unix(batch.finished_at) if batch.status == BatchStatus.COMPLETED else None,
    )
