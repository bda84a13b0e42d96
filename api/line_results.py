"""The results of a bulk run as a file, read a few hundred lines at a time, however long the run."""

import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from api import videos
from api.deps import Call
from api.errors import BadRequest
from api.ids import batch_id
from db import batches, job_lists, metrics, reused_lines
from shared import results
from shared.results import Result

CHUNK = 500  # lines read in one transaction
COPIED = 64 * 1024  # bytes of a file sent at once
Form = Literal["jsonl", "csv", "parquet"]
TYPES = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def forms() -> dict[Form, str]:
    """Return the formats that this server can write, with their display names; Parquet needs pyarrow."""
    return {"csv": "CSV", "jsonl": "JSONL", **({"parquet": "Parquet"} if find_spec("pyarrow") else {})}


def of_run(call: Call, id_: UUID, form: Form) -> Iterator[bytes]:
    """Return the bytes of a run's results, in the order of its list; raise `NotFound` and `BadRequest` at once.

    Each line is as at the time of reading: in an unfinished run, some have no video yet.
    """
    with call.begin() as (session, caller):
        batch = batches.get(session, caller.tenant, id_)
        lines = sorted(batches.lines(session, batch), key=lambda line: results.place(line[1]))
    order = [job_id for job_id, _ in lines]
    chunks = (_chunk(call, id_, order[start : start + CHUNK]) for start in range(0, len(order), CHUNK))
    if form == "parquet":
        return _parquet(chunks, _schema())
    return _text(chunks, form)


def _chunk(call: Call, id_: UUID, order: Sequence[UUID]) -> list[Result]:
    with call.begin() as (session, _):
        return _results(session, id_, order)


def _results(session: Session, id_: UUID, order: Sequence[UUID]) -> list[Result]:
    rows = {job.id: job for job in job_lists.of_ids(session, order)}
    figures, reused = metrics.of_jobs(session, list(rows.values())), reused_lines.of_jobs(session, id_, rows.values())
    made = []
    for job in (rows[job_id] for job_id in order if job_id in rows):
        video = videos.show(job, metric=figures.get(job.id), reused=reused.get(job.id))
        file = f"/v1/videos/{video.id}/content" if video.status == "completed" else None
        made.append(Result.of(video.model_dump(), batch_id(id_), file=file))
    return made


def _text(chunks: Iterator[list[Result]], form: Form) -> Iterator[bytes]:
    if form == "csv":
        yield results.csv_header().encode()
    for chunk in chunks:
        yield (results.csv_rows(chunk) if form == "csv" else results.jsonl(chunk)).encode()


def _schema() -> Any:  # Any: pyarrow brings no types
    try:
        return results.parquet_schema()
    except ImportError:
        message = "format parquet needs the extra parquet on the server, which is not there; use csv or jsonl"
        raise BadRequest(message, param="format") from None


def _parquet(chunks: Iterator[list[Result]], schema: Any) -> Iterator[bytes]:  # Any: as above
    from pyarrow import parquet  # type: ignore[import-not-found,unused-ignore]  # optional, and it brings no types

    with tempfile.TemporaryFile() as file:
        with parquet.ParquetWriter(file, schema) as writer:
            for chunk in chunks:
                writer.write_table(results.parquet_table(chunk))
        file.seek(0)
        while part := file.read(COPIED):
            yield part
