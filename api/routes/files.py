"""/v1/files: what a batch reads and what it wrote, as OpenAI's client calls them."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from api import header_fields, ids, sweeps, uploads
from api.content import Kept, as_asked, in_turn
from api.deps import Calling
from api.errors import REFUSALS, Gone
from api.ids import file_id as shown_id
from api.ids import unix
from api.schemas.answers import DeletedFile, FileList, FileObject
from api.schemas.fields import Whole
from api.schemas.requests import UploadFields
from api.uploads import Upload
from db import files, keys
from db.models import File
from shared.storage import FileMissing, Storage

router = APIRouter(prefix="/v1/files", tags=["files"], responses=REFUSALS)

JSONL = "application/jsonl"
LIFE = timedelta(days=30)  # of a file whose sender names none
_FORM = UploadFields.model_json_schema()
_BODY: dict[str, Any] = {  # Any: a piece of OpenAPI
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    **_FORM,
                    "properties": {"file": {"type": "string", "format": "binary"}, **_FORM["properties"]},
                    "required": ["file", "purpose"],
                }
            }
        },
    }
}
_LINES = {JSONL: {"schema": {"type": "string", "format": "binary"}}}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The lines", "content": _LINES},
    206: {"description": "A range", "content": _LINES},
    304: {"description": "Nothing changed since the ETag"},
}


@router.post("", openapi_extra=_BODY)
def create(upload: Annotated[Upload, Depends(uploads.receive)], call: Calling, response: Response) -> FileObject:
    """Upload a file of requests (`purpose` batch): one a line, at most 200 MiB. It is kept for 30 days, or as asked.

    The same Idempotency-Key gives the same file.
    """
    with uploads.kept(upload, call.service.storage), call.begin() as (session, caller):
        keys.lock_tenant(session, caller.tenant)
        file = File(
            id=upload.id,
            tenant=caller.tenant,
            purpose=upload.fields.purpose,
            filename=upload.filename,
            name=upload.name,
            num_bytes=upload.num_bytes,
            num_lines=upload.num_lines,
            idempotency_key=upload.key,
            request_hash=upload.request_hash,
        )
        if known := files.replayed(session, file):
            uploads.drop(upload, call.service.storage)
            response.headers.update(header_fields.REPLAYED)
            return show(known)
        uploads.check_total(session, caller, upload, call.service.settings)
        asked = upload.fields.expires_after
        return show(files.add(session, file, life=timedelta(seconds=asked.seconds) if asked else LIFE))


@router.get("")
def list_(
    call: Calling,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Whole, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=50)] = None,
) -> FileList:
    """List files, the newest first."""
    with call.begin() as (session, caller), ids.cursor("file", after) as cursor:
        rows = files.page(
            session, caller.tenant, limit=limit + 1, after=cursor, newest_first=order == "desc", purpose=purpose
        )
    data = [show(row) for row in rows[:limit]]
    return FileList(data=data, **ids.ends(data, has_more=len(rows) > limit))


@router.get("/{file_id}")
def retrieve(file_id: str, call: Calling) -> FileObject:
    """Look at a file."""
    with call.begin() as (session, caller), ids.known("file", file_id) as id_:
        return show(files.get(session, caller.tenant, id_))


@router.get("/{file_id}/content", response_class=Response, responses=_BYTES)
async def content(file_id: str, request: Request, call: Calling) -> Response:
    """Download a file, whole or by Range."""
    return await in_turn(call.service.reads, _content, file_id, request, call, as_head=False)


@router.head("/{file_id}/content", response_class=Response, responses=_BYTES)
async def look_at_content(file_id: str, request: Request, call: Calling) -> Response:
    """Say how long the file is."""
    return await in_turn(call.service.reads, _content, file_id, request, call, as_head=True)


def _content(file_id: str, request: Request, call: Calling, *, as_head: bool) -> Response:
    with call.begin() as (session, caller), ids.known("file", file_id) as id_:
        file = files.get(session, caller.tenant, id_)
    storage = call.service.storage
    with sweeps.gone_from_ours_only(storage, call.service.sessions):
        if not _is_whole(storage, file):
            raise Gone(f"the bytes of file {file_id} are no longer there; upload it again", code="file_gone")
    kept = Kept(
        name=file.name,
        num_bytes=file.num_bytes,
        etag=f'"{id_.hex}"',  # its bytes never change
        media_type=JSONL,
        disposition=f'attachment; filename="{shown_id(id_)}.jsonl"',
        what="file",
    )
    return as_asked(storage, kept, request.headers, as_head=as_head)


@router.delete("/{file_id}")
def delete(file_id: str, call: Calling) -> DeletedFile:
    """Delete a file. A batch that has read it goes on."""
    with call.begin() as (session, caller), ids.known("file", file_id) as id_:
        call.service.storage.remove(files.remove(session, caller.tenant, id_))  # before the commit, as with videos
    return DeletedFile(id=shown_id(id_))


def show(file: File) -> FileObject:
    """Return a file as callers see it."""
    return FileObject(
        id=shown_id(file.id),
        bytes=file.num_bytes,
        created_at=unix(file.created_at) or 0,
        expires_at=unix(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,  # type: ignore[arg-type]  # text in the row, one of two by a constraint
        num_lines=file.num_lines,
    )


def _is_whole(storage: Storage, file: File) -> bool:
    try:
        return storage.size(file.name) == file.num_bytes
    except FileMissing:
        return False
