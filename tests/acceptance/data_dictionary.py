"""The tables in docs/data.md, from `db/models.py` and its comments. Run this file to bring the page up to date."""

import ast
import io
import tokenize
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

from db.models import Base

ROOT = Path(__file__).parents[2]
PAGE, MODELS = ROOT / "docs" / "data.md", ROOT / "db" / "models.py"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->"

COMMON = {  # columns that mean the same everywhere; a comment in db/models.py says more
    "id": "its id",
    "tenant": "its tenant",
    "group": "group of the caller's key: who may share latents",
    "name": "its name",
    "status": "its state; `db/states.py` explains each word",
    "created_at": "when the row was created",
    "finished_at": "when it ended",
    "expires_at": "until when it is kept",
    "job_id": "the job",
    "entry_id": "the entry",
    "namespace_id": "the namespace",
    "batch_id": "the run",
    "attempt": "number of the attempt, from 1",
    "fence": "fence of the attempt: rises with every claim, release and expiry",
    "worker": "the worker that ran it",
    "reason": "reason of the decision, in one word",
    "kind": "its kind",
    "num_bytes": "its size in bytes",
    "policy": "eviction policy in use",
    "path": "`full` or `fast`",
    "num_steps": "denoising steps of the run",
    "queue": "`interactive` or `bulk`",
    "priority": "0 is first, 9 is last",
    "url": "the address",
    "prompt": "prompt of the video",
    "dims": "length of the vector",
    "sealed_at": "when its last line had arrived",
    "versions": "versions of packages and driver",
    "plan": "how it runs: steps, schedule, reuse, donors",
}
OWN = {  # of one table, where the name alone does not say it
    "jobs.negative_prompt": "what the video should not show",
    "jobs.model": "name of the model's card",
    "jobs.width": "pixels",
    "jobs.height": "pixels",
    "jobs.num_frames": "frames of the video",
    "jobs.fps": "frames per second",
    "jobs.mode": "requested mode: `auto`, `fast` or `full`",
    "jobs.idempotency_key": "the caller's key; for a day, the same key means the same job",
    "jobs.lease_owner": "the worker that holds it",
    "jobs.step": "last denoising step done",
    "jobs.error_code": "why it failed, in one word",
    "jobs.error_message": "why it failed, in a sentence",
    "jobs.guidance_scale": "as requested; null: the model's own",
    "jobs.cancel_requested": "its caller has asked to cancel it",
    "jobs.changed": "number of the transaction that last wrote the row; events are read by it",
    "cache_entries.hits": "number of times it was a donor",
    "batches.num_bad_lines": "unusable lines of the list",
    "files.idempotency_key": "the caller's key; for a day, the same key means the same file",
    "files.request_hash": "hash of what was sent: the same key with another is refused",
    "webhooks.idempotency_key": "the caller's key; for a day, the same key means the same webhook",
    "webhooks.request_hash": "hash of what was asked for: the same key with another is refused",
    "files.purpose": "`batch` or `batch_output`",
    "file_batches.in_progress_at": "when its lines began to run",
    "file_batches.finalizing_at": "when its results began to be written",
    "file_batches.completed_at": "when it completed",
    "file_batches.failed_at": "when it failed",
    "file_batches.expired_at": "when it expired",
    "file_batches.cancelling_at": "when cancelling was requested",
    "file_batches.cancelled_at": "when it was cancelled",
    "file_batches.user_metadata": "the caller's `metadata`",
    "file_batches.output_file_id": "the file of its results",
    "file_batches.error_file_id": "the file of its errors",
    "namespaces.scope": "who shares it: `tenant`, `group` or `shared`",
    "namespaces.byte_budget": "most bytes that its entries may take together",
    "namespaces.sieve_id": "sieve: the entry at the hand",
    "cache_ghosts.text": "text of the entity",
    "cache_entities.code": "signs of the vector, one bit each, for a first, rough search",
    "namespaces.admission": "which full runs leave entries",
    "cache_entries.donor_fence": "fence of the attempt that made it",
    "cache_entries.schema_version": "version of the file format",
    "cache_entities.text": "the phrase",
    "cache_entities.head": "its noun",
    "cache_entities.attributes": "its other words, and marks of its prompt",
    "job_metrics.queue_wait_s": "seconds from acceptance, or the last return to the queue, to the claim",
    "job_metrics.bytes_read": "bytes of the donor",
    "job_metrics.bytes_written": "bytes of the entry that the run left",
    "quality_checks.num_starts": "number of times it was started",
    "quality_checks.judge": "judge that compared the two videos",
    "quality_checks.full_score": "score of the run without a donor",
    "quality_checks.loss": "quality that the donor cost, in the judge's unit",
    "quality_checks.started_at": "when it was last started",
    "quality_checks.ended_at": "when it ended",
    "api_keys.scopes": "what it may do",
    "api_keys.limits": "`max_queued`, `max_per_minute`, `max_gpu_seconds`",
    "api_keys.revoked_at": "when it was revoked",
    "api_keys.last_used_at": "when it was last used, approximately",
    "removed_jobs.removed_at": "when it was removed",
    "webhooks.events": "events that it is notified of",
    "webhook_secrets.previous": "the secret before this one",
    "webhook_cursor.horizon": "number of the transaction up to which all events have been notified",
    "webhook_deliveries.payload": "body of the notification",
    "webhook_deliveries.tried_at": "when it was last tried",
    "webhook_deliveries.delivered_at": "when it was accepted",
    "questions.answer": "what a worker answered",
}


def render() -> str:
    """Return the block between the markers."""
    return "\n".join(_lines())


def missing() -> list[str]:
    """Return the columns that nothing is said about."""
    said = _comments()
    return [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if not _meaning(table.name, column.name, said)
    ]


def _lines() -> Iterator[str]:
    said, summaries = _comments(), _summaries()
    for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name):
        yield f"### {table.name}\n\n{summaries[table.name]}\n\n| column | type | meaning |\n|---|---|---|"
        for column in table.columns:
            type_ = _type(column) + (", or null" if column.nullable else "")
            yield f"| `{column.name}` | {type_} | {_meaning(table.name, column.name, said)} |"
        yield ""


def _type(column: Column[Any]) -> str:
    name = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    return "timestamptz" if name.startswith("timestamp") else name


def _meaning(table: str, column: str, said: dict[str, str]) -> str:
    name = f"{table}.{column}"
    return (said.get(name) or OWN.get(name) or COMMON.get(column, "")).replace("|", "\\|")


def _summaries() -> dict[str, str]:
    return {mapper.class_.__tablename__: cleandoc(mapper.class_.__doc__ or "") for mapper in Base.registry.mappers}


def _comments() -> dict[str, str]:
    """Return what the comment behind each column says, by table and column."""
    text = MODELS.read_text()
    behind = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and token.line.strip() != token.string
    }
    found = {}
    for class_ in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        for node in class_.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno in behind:
                found[f"{_table(class_)}.{node.target.id}"] = behind[node.end_lineno]
    return found


def _table(class_: ast.ClassDef) -> str:
    for node in class_.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__tablename__":
            return str(ast.literal_eval(node.value))
    return ""


def written() -> str:
    """Return the block that the page has."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Write the block."""
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{render()}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
