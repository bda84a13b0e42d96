"""The tables in docs/data.md, from `db/models.py` and its comments. Run this file to bring the page up to date."""

import ast
import io
import tokenize
from collections.abc import Iterator
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
    "tenant": "whose it is",
    "group": "of the caller's key: who may share latents",
    "name": "what it is called",
    "status": "where it stands; `db/states.py` says what each word means",
    "created_at": "when the row was made",
    "finished_at": "when it ended",
    "expires_at": "until when it is kept",
    "job_id": "the job",
    "entry_id": "the entry",
    "namespace_id": "the namespace",
    "batch_id": "the run",
    "attempt": "which try it was, from 1",
    "fence": "of the attempt: rises with every claim, release and expiry",
    "worker": "who ran it",
    "reason": "why, in one word of the decision",
    "kind": "what kind it is",
    "num_bytes": "its size in bytes",
    "policy": "eviction policy in force",
    "path": "`full` or `fast`",
    "num_steps": "denoising steps that were run",
    "line": "where it stands in the list",
    "custom_id": "the caller's name of the line",
    "queue": "`interactive` or `bulk`",
    "priority": "0 is first, 9 is last",
    "url": "the address",
    "error": "what went wrong",
    "seed": "of the initial noise",
    "prompt": "what the video shows, as it was asked for",
    "dims": "length of the vector",
    "sealed_at": "when its last line had come",
    "owner": "who has it",
    "detail": "more, by kind",
    "versions": "of packages and driver",
    "plan": "how it runs: steps, schedule, reuse, donors",
}
OWN = {  # of one table, where the name alone does not say it
    "jobs.negative_prompt": "what the video should not show",
    "jobs.model": "name of the model's card",
    "jobs.width": "pixels",
    "jobs.height": "pixels",
    "jobs.num_frames": "frames of the video",
    "jobs.fps": "frames a second",
    "jobs.mode": "asked for: `auto`, `fast` or `full`",
    "jobs.idempotency_key": "the caller's; the same key is the same job for a day",
    "jobs.lease_owner": "the worker that has it",
    "jobs.step": "denoising step that was done last",
    "jobs.error_code": "why it failed, in one word",
    "jobs.error_message": "why it failed, in a sentence",
    "jobs.guidance_scale": "as asked for; null: the model's own",
    "jobs.cancel_requested": "its caller wants it to stop",
    "jobs.changed": "number of the transaction that last wrote the row; events are read by it",
    "cache_entries.hits": "how often it was a donor",
    "batches.num_bad_lines": "lines of the list that could not be used",
    "files.purpose": "`batch` or `batch_output`",
    "file_batches.in_progress_at": "when its lines began to run",
    "file_batches.finalizing_at": "when its results began to be written",
    "file_batches.completed_at": "when it ended well",
    "file_batches.failed_at": "when it failed",
    "file_batches.expired_at": "when its time was over",
    "file_batches.cancelling_at": "when its cancel was asked for",
    "file_batches.cancelled_at": "when it was cancelled",
    "file_batches.user_metadata": "the caller's own pairs",
    "file_batches.output_file_id": "the file of its results",
    "file_batches.error_file_id": "the file of its errors",
    "namespaces.scope": "who shares it: `tenant`, `group` or `shared`",
    "namespaces.byte_budget": "bytes that its entries may have together",
    "namespaces.sieve_id": "of the hand, too: the entry where it stands",
    "cache_ghosts.text": "of the entity",
    "cache_entities.code": "the vector's signs, one bit each: a first, rough search reads them",
    "namespaces.admission": "which full runs are kept",
    "cache_entries.donor_fence": "of the attempt that made it",
    "cache_entries.schema_version": "of the file's format",
    "cache_entities.text": "the phrase",
    "cache_entities.head": "its noun",
    "cache_entities.attributes": "its other words, and marks of the prompt it stood in",
    "cache_entities.embedding": "its vector, of length one",
    "job_metrics.queue_wait_s": "seconds from acceptance, or the last return to the queue, to the claim",
    "job_metrics.bytes_read": "of the donor",
    "job_metrics.bytes_written": "of the entry that the run left",
    "quality_checks.num_starts": "how often it was begun",
    "quality_checks.judge": "who compared the two",
    "quality_checks.full_score": "of the run without",
    "quality_checks.loss": "what the donor cost, in the judge's unit",
    "quality_checks.started_at": "when it was begun last",
    "quality_checks.ended_at": "when it ended",
    "api_keys.scopes": "what it may do",
    "api_keys.limits": "jobs and requests that it may have",
    "api_keys.revoked_at": "when it was taken back",
    "api_keys.last_used_at": "when it was used last, about",
    "removed_jobs.removed_at": "when it was removed",
    "webhooks.events": "what it is told of",
    "webhook_secrets.previous": "the secret before this one",
    "webhook_cursor.horizon": "number of the transaction up to which all was told",
    "webhook_deliveries.payload": "what is told",
    "webhook_deliveries.tried_at": "when it was tried last",
    "webhook_deliveries.delivered_at": "when it was taken",
    "questions.answer": "what a worker answered",
    "heartbeats.name": "of the part: relay:NAME, worker:NAME, api",
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
    return {mapper.class_.__tablename__: (mapper.class_.__doc__ or "").strip() for mapper in Base.registry.mappers}


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
