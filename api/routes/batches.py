"""/v1/batches: batches of a file, as OpenAI's client calls them. Each is a bulk run too, of the same id."""

import math
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import RootModel
from sqlalchemy.orm import Session

from api import bodies, header_fields, ids, submission
from api.deps import Call, Calling
from api.errors import REFUSALS
from api.ids import batch_id as shown_id
from api.ids import file_id, unix
from api.routes import bulk_runs
from api.schemas.answers import Batch, BatchCounts, BatchErrors, BatchList, BulkRun
from api.schemas.fields import Whole
from api.schemas.requests import CreateBatch, OpenBatch
from api.submission import Key
from db import batches, file_batches, files, models
from db.errors import Conflict, NotFound
from db.models import File, FileBatch
from db.states import FileBatchStatus, JobStatus

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=REFUSALS)
LIFE_S = 30 * 86_400  # of the files of results, unless asked otherwise


class _Fields(RootModel[dict[str, Any]]):  # Any: JSON
    """A body whose kind its fields tell."""


async def _created(request: Request, call: Calling) -> CreateBatch | OpenBatch:
    service = call.service
    values = (await bodies.read(request, service, _Fields, max_bytes=service.settings.max_body_bytes)).root
    if "manifest_key" in values:
        return bodies.check(OpenBatch, values)
    return bodies.check(CreateBatch, values)


@router.post("", response_model=Batch, openapi_extra=bodies.described(CreateBatch))
def create(
    asked: Annotated[CreateBatch | OpenBatch, Depends(_created)],
    call: Calling,
    response: Response,
    idempotency_key: Key = None,
) -> Batch | JSONResponse:
    """Begin a batch of a file's requests. Videos begin while the rest is read; what has not ended in 24 h is cancelled.

    A line that is no request costs itself only: it stands in the error file.
    """
    if isinstance(asked, OpenBatch):
        return JSONResponse(bulk_runs.open_(asked, call, response).model_dump(mode="json"))
    key = submission.key_of(idempotency_key)
    manifest_key = f"Idempotency-Key {key}" if key else f"batch {uuid4().hex}"
    with call.begin() as (session, caller), ids.known("file", asked.input_file_id) as id_:
        run, is_new = batches.open_(session, caller.tenant, name="", manifest_key=manifest_key)
        if not is_new:
            response.headers.update(header_fields.REPLAYED)
            return _show(session, _same(file_batches.get(session, caller.tenant, run.id), asked, id_))
        file = files.get(session, caller.tenant, id_, is_needed=True)
        call.service.limits.check(session, caller, file.num_lines, is_bulk=True)
        run.name = file.filename
        row = file_batches.begin(session, _row(run.id, file, asked, call))
        _check_length(session, row, run, call.service.settings.max_batch_jobs)
        return _show(session, row)


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Whole, Query(ge=1, le=100)] = 20,
) -> BatchList:
    """List batches, the newest first."""
    with call.begin() as (session, caller), ids.cursor("batch", after) as cursor:
        rows = file_batches.page(session, caller.tenant, limit=limit + 1, after=cursor)
        data = [_show(session, row) for row in rows[:limit]]
    return BatchList(data=data, **ids.ends(data, has_more=len(rows) > limit))


@router.get("/{batch_id}", response_model=Batch)
def retrieve(batch_id: str, call: Calling) -> Batch | JSONResponse:
    """Look at a batch."""
    try:
        with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
            return _show(session, file_batches.get(session, caller.tenant, id_))
    except NotFound as error:
        return _as_bulk_run(lambda: bulk_runs.retrieve(batch_id, call), error)


@router.post("/{batch_id}/cancel", response_model=Batch)
def cancel(batch_id: str, call: Calling, rest: BackgroundTasks) -> Batch | JSONResponse:
    """Cancel what has not ended of a batch; what is done stays in its files. Doing so again changes nothing."""
    try:
        return _cancel(batch_id, call, rest)
    except NotFound as error:
        return _as_bulk_run(lambda: bulk_runs.cancel(batch_id, call, rest), error)


# Bulk runs stood here before they had a path of their own, and programs of that time go on working.
for _path, _endpoint in (
    ("items", bulk_runs.add),
    ("seal", bulk_runs.seal),
    ("pause", bulk_runs.pause),
    ("resume", bulk_runs.resume),
    ("window", bulk_runs.set_window),
    ("retry", bulk_runs.retry),
):
    router.add_api_route(f"/{{batch_id}}/{_path}", _endpoint, methods=["POST"], include_in_schema=False)


def _as_bulk_run(act: Callable[[], BulkRun], error: NotFound) -> JSONResponse:
    try:
        return JSONResponse(act().model_dump(mode="json"))
    except NotFound:
        raise error from None


def _cancel(batch_id: str, call: Call, rest: BackgroundTasks) -> Batch:
    with call.begin() as (session, caller), ids.known("batch", batch_id) as id_:
        row = file_batches.get(session, caller.tenant, id_, lock=True)
        if row.status in (FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS):
            file_batches.move(session, row, FileBatchStatus.CANCELLING)
            run = batches.get(session, caller.tenant, id_, lock=True)
            file_batches.end_early(session, row, run, FileBatchStatus.CANCELLED)
    if not bulk_runs.cancel_lines(call, id_, for_s=bulk_runs.ANSWER_AFTER_S):
        rest.add_task(bulk_runs.cancel_lines, call, id_, for_s=math.inf)  # should this process die, the relay goes on
    with call.begin() as (session, caller):
        return _show(session, file_batches.get(session, caller.tenant, id_))


def _row(id_: UUID, file: File, asked: CreateBatch, call: Call) -> FileBatch:
    return FileBatch(
        id=id_,
        tenant=call.caller.tenant,
        group=call.caller.group,
        input_file_id=file.id,
        user_metadata=asked.metadata,
        output_life_s=_life_s(asked),
        num_lines=file.num_lines,
    )


def _life_s(asked: CreateBatch) -> int:
    return asked.output_expires_after.seconds if asked.output_expires_after else LIFE_S


def _same(row: FileBatch, asked: CreateBatch, input_file: UUID) -> FileBatch:
    """Return the batch that a key made before; raise `Conflict` when it was asked for another one."""
    if (row.input_file_id, row.user_metadata, row.output_life_s) != (input_file, asked.metadata, _life_s(asked)):
        raise Conflict("this Idempotency-Key was used before with a different request; use a new one")
    return row


def _check_length(session: Session, row: FileBatch, run: models.Batch, most: int) -> None:
    """Fail a batch whose file has no line, or too many: as OpenAI's service does, in the object."""
    if row.num_lines == 0:
        file_batches.fail(session, row, run, code="empty_file", message="the file has no line; write one a request")
    elif row.num_lines > most:
        message = f"the file has {row.num_lines} lines and may have {most}; make several"
        file_batches.fail(session, row, run, code="too_many_lines", message=message)


def _show(session: Session, row: FileBatch) -> Batch:
    times = {name: unix(getattr(row, name)) for name in Batch.model_fields if name.endswith("_at")}
    return Batch(
        id=shown_id(row.id),
        input_file_id=file_id(row.input_file_id),
        output_file_id=file_id(row.output_file_id) if row.output_file_id else None,
        error_file_id=file_id(row.error_file_id) if row.error_file_id else None,
        errors=BatchErrors.model_validate(row.errors) if row.errors else None,
        status=FileBatchStatus(row.status).value,
        request_counts=_counts(session, row),
        metadata=row.user_metadata,
        **{**times, "created_at": times["created_at"] or 0},  # type: ignore[arg-type]  # the row has one
    )


def _counts(session: Session, row: FileBatch) -> BatchCounts:
    """Count what has ended; in the end every line is the one or the other."""
    if row.status == FileBatchStatus.FAILED:
        return BatchCounts(total=row.num_lines, completed=0, failed=0)
    if row.num_completed is not None:
        return BatchCounts(total=row.num_lines, completed=row.num_completed, failed=row.num_lines - row.num_completed)
    number = file_batches.counts(session, row.id)
    lost = number.get(JobStatus.FAILED, 0) + number.get(JobStatus.CANCELLED, 0)
    refused = file_batches.num_refused(session, row.id)
    return BatchCounts(total=row.num_lines, completed=number.get(JobStatus.COMPLETED, 0), failed=lost + refused)
