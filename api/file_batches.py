"""Batches from files: read into a bulk run chunk by chunk, and answered with files of results.

Each step of a batch is one transaction, and any process may take any step, so that another one continues after a crash.
An invalid line affects only itself; the error file lists it with the reason.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from api import batch_items, file_lines, sweeps, videos, webhooks
from api.errors import BadRequest, describe
from api.ids import batch_id, file_id
from api.schemas.answers import Error
from api.settings import ApiSettings
from db import batches, file_batches, files
from db.errors import NotFound
from db.models import Batch, File, FileBatch, Job, JobMetric, RefusedLine
from db.session import by_message, transaction
from db.states import ENDED_BATCHES, BatchStatus, FileBatchStatus
from shared import json_lines, model_cards
from shared.model_cards import ModelCard
from shared.storage import FileMissing, Storage, StorageError, file_name

logger = logging.getLogger("api.file_batches")
CHUNK = 500  # lines read in one transaction
GIVE_UP = 5  # failures in a row to read a file while nothing was away
_AWAY = (DBAPIError, PoolTimeout, StorageError, OSError, MemoryError)  # a service's fault, not the file's
_SPACE = UUID("6f1f6a0e-6f0d-4c4c-9a53-6b6df5b1c0de")  # for the ids of lines


class FileBatches:
    """Advances the batches of one service."""

    def __init__(self, factory: sessionmaker[Session], storage: Storage, settings: ApiSettings) -> None:
        self._factory, self._storage, self._settings = factory, storage, settings
        self._broken: Counter[UUID] = Counter()  # failures in a row, by batch

    @cached_property
    def _cards(self) -> dict[str, ModelCard]:
        return model_cards.load(self._settings.models_dir)  # with the first batch: a relay without any needs none

    def turn(self) -> bool:
        """Take the next step of every batch that has one; return whether there was any.

        A batch that cannot go on does not hold up the others; its error is raised at the end. One whose file repeatedly
        fails to be read fails.
        """
        has_moved, broken = False, None
        with transaction(self._factory) as session:
            ids = file_batches.unfinished(session)
        for ended in self._broken.keys() - set(ids):  # ended by another process, or cancelled
            del self._broken[ended]
        for id_ in ids:
            try:
                has_moved |= self._step(id_)
                self._broken.pop(id_, None)
            except Exception as error:
                logger.warning("batch not gone on with", extra={"fields": {"batch": id_}}, exc_info=error)
                if not self._is_given_up(id_, error):
                    broken = error
        if broken:
            raise broken
        return has_moved

    def _is_given_up(self, id_: UUID, error: Exception) -> bool:
        """Fail a batch whose file failed to be read too often; return whether it has ended."""
        if isinstance(error, _AWAY) and not isinstance(error, (DataError, IntegrityError)):
            return False
        self._broken[id_] += 1
        if self._broken[id_] < GIVE_UP:
            return False
        with transaction(self._factory) as session:
            taken = file_batches.take(session, id_)
            if taken is None or taken[0].status != FileBatchStatus.VALIDATING:
                return False  # results are written once the service can
            row, run = taken
            message = (
                f"a line from {row.line + 1} on breaks the service, whose log says how; leave it out and send again"
            )
            file_batches.fail(session, row, run, code="unreadable_line", message=message, line=row.line + 1)
            _tell(session, row)
        del self._broken[id_]
        return True

    def _step(self, id_: UUID) -> bool:
        with transaction(self._factory) as session:
            taken = file_batches.take(session, id_)
            if taken is None:
                return False
            row, run = taken
            if row.ends_as is None and run.status == BatchStatus.CANCELLED:
                row.ends_as = FileBatchStatus.CANCELLED
            elif row.ends_as is None and file_batches.is_due(session, row):
                file_batches.end_early(session, row, run, FileBatchStatus.EXPIRED)
            if row.status == FileBatchStatus.VALIDATING and row.ends_as is None:
                return self._read_chunk(session, row, run)
            if run.status not in ENDED_BATCHES or not file_batches.is_over(session, id_):
                return False
            if row.status not in (FileBatchStatus.FINALIZING, FileBatchStatus.CANCELLING):
                file_batches.move(session, row, FileBatchStatus.FINALIZING)
        return self._finalize(row)

    def _read_chunk(self, session: Session, row: FileBatch, run: Batch) -> bool:
        """Accept the next lines of the file; after the last one the run is sealed."""
        try:
            file = files.get(session, row.tenant, row.input_file_id)
            stream = self._storage.open(file.name)
            with closing(file_lines.read(stream, offset=row.offset, number=row.line)) as found:
                lines = list(islice(found, CHUNK))
        except (NotFound, FileMissing) as error:
            if isinstance(error, FileMissing):
                sweeps.check_ours(self._storage, self._factory)  # in another storage all files are missing
            message = f"{file_id(row.input_file_id)} is no longer there; upload it again"
            file_batches.fail(session, row, run, code="input_file_gone", message=message)
            _tell(session, row)
            return True
        self._accept(session, row, run, lines)
        if lines:
            row.offset, row.line = lines[-1].end, lines[-1].number
        if len(lines) < CHUNK:
            batches.seal(session, run, num_bad_lines=file_batches.num_refused(session, row.id))
            file_batches.move(session, row, FileBatchStatus.IN_PROGRESS)
        session.flush()
        return True

    def _accept(self, session: Session, row: FileBatch, run: Batch, lines: Iterable[file_lines.RawLine]) -> None:
        good: list[tuple[file_lines.RawLine, dict[str, Any]]] = []
        bad: list[dict[str, Any]] = []
        for line in lines:
            try:
                good.append((line, file_lines.request(line)))
            except BadRequest as error:
                bad.append(_bad(line.number, file_lines.custom_id(line), describe(error)))
        sorted_ = batch_items.sort_out(
            [asked for _, asked in good],
            self._cards,
            run,
            default_model=self._settings.default_model,
            allowed=self._settings.webhook_allowed,
        )
        for job in sorted_.good.values():
            job.group = row.group
        for item in batch_items.accept(session, run, sorted_, {}).data:
            number = good[item.index][0].number
            if item.status == "known" or (item.error and item.error.code == _TWICE.code):
                bad.append(_bad(number, item.custom_id, _TWICE))
            elif item.error:
                bad.append(_bad(number, item.custom_id, item.error))
        file_batches.refuse(session, row.id, bad)

    def _finalize(self, row: FileBatch) -> bool:
        """Write the files of a batch whose videos have all ended, and end it; if several do so, the first wins."""
        with by_message(self._factory) as reader:  # ended jobs do not change, and writing may take minutes
            answered = (_answered(job, metric) for job, metric in file_batches.ended(reader, row.id, is_completed=True))
            outputs, errors = self._write(row, "output", answered), self._write(row, "error", _errors(reader, row))
        with transaction(self._factory) as session:
            if (taken := file_batches.take(session, row.id)) is None:
                return False  # the files just written are orphans, and will be swept
            mine, life = taken[0], timedelta(seconds=row.output_life_s)
            mine.output_file_id = files.add(session, outputs, life=life).id if outputs else None
            mine.error_file_id = files.add(session, errors, life=life).id if errors else None
            mine.num_completed = outputs.num_lines if outputs else 0
            file_batches.move(session, mine, FileBatchStatus(mine.ends_as or FileBatchStatus.COMPLETED))
            _tell(session, mine)
        logger.info("batch ended", extra={"fields": {"batch": row.id, "status": mine.status}})
        return True

    def _write(self, row: FileBatch, kind: str, lines: Iterator[dict[str, Any]]) -> File | None:
        """Store lines and return their file; None if there are none."""
        first = next(lines, None)
        if first is None:
            return None
        id_, num_lines, num_bytes = uuid4(), 0, 0
        with self._storage.writing(file_name(id_)) as stream:
            for line in chain((first,), lines):
                num_bytes += stream.write(json_lines.line(line).encode() + b"\n")
                num_lines += 1
        return File(
            id=id_,
            tenant=row.tenant,
            purpose="batch_output",
            filename=f"{batch_id(row.id)}_{kind}.jsonl",
            name=file_name(id_),
            num_bytes=num_bytes,
            num_lines=num_lines,
        )


def _tell(session: Session, row: FileBatch) -> None:
    """Notify webhooks that a batch has ended, giving only its id, as OpenAI's do."""
    event: Any = f"batch.{row.status}"  # Any: one of four, by the states
    webhooks.tell(session, row.tenant, event, row.id, {"id": batch_id(row.id)}, at=datetime.now(UTC))


def _errors(reader: Session, row: FileBatch) -> Iterator[dict[str, Any]]:
    for refused in file_batches.refused(reader, row.id):
        yield _refused(row.id, refused)
    for job, _ in file_batches.ended(reader, row.id, is_completed=False):
        yield _came_to_nothing(job, row.ends_as)


_TWICE = Error(
    message="custom_id stands in this file before; give every line one of its own",
    type="invalid_request_error",
    param="custom_id",
    code="custom_id_reused",
)


def _bad(number: int, custom_id: str | None, error: Error) -> dict[str, Any]:
    return {"line": number, "custom_id": custom_id, "error": error.model_dump()}


def _line(id_: UUID, custom_id: str | None, **more: Any) -> dict[str, Any]:
    return {"id": f"batch_req_{id_.hex}", "custom_id": custom_id, "response": None, "error": None, **more}


def _answered(job: Job, metric: JobMetric | None) -> dict[str, Any]:
    body = videos.show(job, metric=metric).model_dump(mode="json")
    return _line(job.id, job.custom_id, response={"status_code": 200, "request_id": job.id.hex, "body": body})


def _refused(batch_id: UUID, line: RefusedLine) -> dict[str, Any]:
    id_ = uuid5(_SPACE, f"{batch_id} {line.line}")
    response = {"status_code": 400, "request_id": id_.hex, "body": {"error": line.error}}
    return {**_line(id_, line.custom_id, response=response), "line": line.line}


def _came_to_nothing(job: Job, ends_as: str | None) -> dict[str, Any]:
    shown = videos.show(job)
    error = {"code": shown.error.code, "message": shown.error.message} if shown.error else None
    if error and ends_as is not None and error["code"] == "cancelled":
        error = {"code": f"batch_{ends_as}", "message": _WHY[FileBatchStatus(ends_as)]}
    return _line(job.id, job.custom_id, error=error)


_WHY = {
    FileBatchStatus.EXPIRED: "this request had not ended within the batch's 24 hours; put it into another batch",
    FileBatchStatus.CANCELLED: "the batch was cancelled before this request had ended; put it into another batch",
}
