"""The rows of the cache as flat tables for analysts, in batches; each column with its meaning."""

# ruff: noqa: S608 - only constants of this module are put into the text
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.decisions import FULL_NUM_STEPS, NUM_STEPS

BATCH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    kind: str  # text, whole, number, time
    meaning: str
    sql: str  # its expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """A table, and where its rows come from."""

    name: str
    meaning: str
    source: str
    order: str
    at: str  # the column that a time range applies to
    space: str  # the namespace
    columns: tuple[Column, ...]


def _columns(*rows: tuple[str, str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind=kind, sql=sql, meaning=meaning) for name, kind, sql, meaning in rows)


# The last earlier job of the same tenant with the same prompt, within a day: a user who was not satisfied asks again.
_EARLIER = (
    "LEFT JOIN LATERAL (SELECT j2.id FROM jobs AS j2 WHERE j2.tenant = j.tenant AND j2.prompt = j.prompt "
    "AND j2.created_at < j.created_at AND j2.created_at > j.created_at - interval '1 day' "
    "ORDER BY j2.created_at DESC LIMIT 1) AS earlier ON true"
)

DECISIONS = Flat(
    name="decisions",
    meaning="One decision of the cache for one attempt of a job.",
    source=f"lookups AS l JOIN jobs AS j ON j.id = l.job_id "
    f"LEFT JOIN job_metrics AS m ON m.job_id = l.job_id AND m.attempt = l.attempt {_EARLIER}",
    order="l.id",
    at="l.created_at",
    space="l.namespace_id",
    columns=_columns(
        ("id", "whole", "l.id", "in order of time"),
        ("at", "time", "l.created_at", "when it was decided"),
        ("job", "text", "l.job_id::text", "the video, without its prefix video_"),
        ("attempt", "whole", "l.attempt", "of the job"),
        ("namespace", "text", "l.namespace_id::text", "see namespaces"),
        ("tenant", "text", "j.tenant", "who asked"),
        ("prompt", "text", "j.prompt", "left out with --no-prompts"),
        (
            "prompt_digest",
            "text",
            "encode(sha256(convert_to(j.prompt, 'UTF8')), 'hex')",
            "SHA-256: equal prompts agree",
        ),
        (
            "earlier_job",
            "text",
            "earlier.id::text",
            "the same tenant's last job with this prompt, within a day: a retry",
        ),
        ("mode", "text", "l.settings->>'mode'", "auto, fast, full"),
        ("path", "text", "l.plan#>>'{recipe,path}'", "fast, full"),
        ("reason", "text", "l.reason", "docs/cache.md, From a prompt to a hit"),
        ("hit", "text", "l.plan->>'hit'", "scene, object, both, prompt, none"),
        ("reuse", "text", "l.plan#>>'{recipe,reuse}'", "way of reuse; empty without a donor"),
        ("steps", "whole", NUM_STEPS, "denoising steps of the plan"),
        ("full_steps", "whole", FULL_NUM_STEPS, "denoising steps of full mode"),
        ("nearest", "number", "(l.plan->>'nearest')::float", "likeness of the nearest stored entity, a cosine"),
        (
            "similarity",
            "number",
            "(SELECT min((x->>'similarity')::float) FROM jsonb_array_elements(l.plan->'matched') AS x)",
            "of the weakest match that the hit rests on",
        ),
        (
            "matched",
            "text",
            "(l.plan->'matched')::text",
            "JSON: entity of the prompt, donor_text, entry_id, similarity",
        ),
        ("candidates", "text", "(l.plan->'candidates')::text", "JSON: every entry that could have served, best first"),
        ("neighbours", "text", "l.neighbours::text", "JSON: what was near, the losing scores among it; see below"),
        ("entities", "text", "l.entities::text", "JSON: what the prompt was taken apart to"),
        ("style", "text", "(l.settings->'style')::text", "JSON: words of style"),
        ("language", "text", "l.settings->>'language'", "of the prompt"),
        ("same_threshold", "number", "(l.settings#>>'{match,same_threshold}')::float", "in force"),
        ("stored_entities", "whole", "(l.occupancy->>'entities')::bigint", "in the namespace at the time"),
        ("stored_bytes", "whole", "(l.occupancy->>'bytes')::bigint", "in the namespace at the time"),
        ("budget_bytes", "whole", "(l.occupancy->>'byte_budget')::bigint", "of the namespace at the time"),
        ("extract_s", "number", "(l.timings->>'extract')::float", "seconds"),
        ("embed_s", "number", "(l.timings->>'embed')::float", "seconds"),
        ("search_s", "number", "(l.timings->>'search')::float", "seconds"),
        ("decide_s", "number", "(l.timings->>'decide')::float", "seconds"),
        ("outcome", "text", "m.outcome", "of the attempt; empty while it runs"),
        ("gpu_seconds", "number", "m.gpu_seconds", "of the attempt: encode, denoise, decode"),
        ("seconds_saved", "number", "m.seconds_saved", "against measured full runs of the namespace"),
        ("verdict", "text", "CASE WHEN m.wrong_match THEN 'wrong' END", "of an operator on the match; empty: none"),
    ),
)
EVENTS = Flat(
    name="events",
    meaning="Something that happened to an entry; the ids are in the order in which it did.",
    source="cache_events AS e",
    order="e.id",
    at="e.created_at",
    space="e.namespace_id",
    columns=_columns(
        ("id", "whole", "e.id", "in order"),
        ("at", "time", "e.created_at", "when"),
        ("namespace", "text", "e.namespace_id::text", "see namespaces"),
        ("entry", "text", "e.entry_id::text", "see entries"),
        ("job", "text", "e.job_id::text", "that left or used it"),
        ("kind", "text", "e.kind", "insert, hit, evict, quarantine, refuse"),
        ("bytes", "whole", "e.num_bytes", "of the entry"),
        ("policy", "text", "e.policy", "that evicted it"),
        ("entities", "text", "(e.detail->'entities')::text", "JSON: of an insert, what the entry is found by"),
        ("detail", "text", "(e.detail - 'entities')::text", "JSON: what the policy was given; who could have served"),
    ),
)
ENTRIES = Flat(
    name="entries",
    meaning="A full run kept, now or once.",
    source="cache_entries AS c",
    order="c.created_at, c.id",
    at="c.created_at",
    space="c.namespace_id",
    columns=_columns(
        ("entry", "text", "c.id::text", "its id"),
        ("at", "time", "c.created_at", "when room was made for it"),
        ("ended_at", "time", "c.ended_at", "when it stopped serving"),
        ("namespace", "text", "c.namespace_id::text", "see namespaces"),
        ("tenant", "text", "c.tenant", "whose video left it"),
        ("job", "text", "c.donor_job_id::text", "the video that left it"),
        ("prompt", "text", "c.prompt", "left out with --no-prompts"),
        ("bytes", "whole", "c.num_bytes", "of its file"),
        ("full_seconds", "number", "c.full_seconds", "GPU seconds that the full run took"),
        ("seconds_saved", "number", "c.seconds_saved", "GPU seconds that one hit saves"),
        ("hits", "whole", "c.hits", "until now"),
        ("status", "text", "c.status", "writing, resident, evicting, quarantined, gone"),
        ("reason", "text", "c.reason", "why it went"),
    ),
)
NAMESPACES = Flat(
    name="namespaces",
    meaning="What may share latents, as it is now.",
    source="namespaces AS n",
    order="n.created_at, n.id",
    at="n.created_at",
    space="n.id",
    columns=_columns(
        ("namespace", "text", "n.id::text", "its id"),
        ("at", "time", "n.created_at", "when it began"),
        ("scope", "text", "n.scope", "tenant, group, shared"),
        ("owner", "text", "n.owner", "the tenant, the group, or all"),
        ("identity", "text", "n.identity::text", "JSON: everything that shapes its latents"),
        ("policy", "text", "n.policy", "of eviction"),
        ("admission", "text", "n.admission", "all, second_sighting"),
        ("settings", "text", "n.settings::text", "JSON: its own settings"),
        ("bytes", "whole", "n.bytes_used", "in use"),
        ("budget_bytes", "whole", "n.byte_budget", "at most"),
        ("stored_entities", "whole", "n.num_entities", "that look-ups find"),
    ),
)
DAYS = Flat(
    name="days",
    meaning="Sums of each day that is over (UTC), kept when its rows are deleted.",
    source="cache_days AS d",
    order="d.day, d.namespace_id",
    at="d.day",
    space="d.namespace_id",
    columns=_columns(
        ("day", "text", "d.day::text", "2026-11-01"),
        ("namespace", "text", "d.namespace_id::text", "see namespaces"),
        ("decisions", "whole", "d.decisions", "taken"),
        ("hits", "whole", "d.hits", "decisions for a donor"),
        ("by_reason", "text", "d.by_reason::text", "JSON: decisions by reason"),
        ("steps_saved", "whole", "d.steps_saved", "by donors in completed videos, against full mode"),
        ("videos", "whole", "d.videos", "completed"),
        ("gpu_seconds", "number", "d.gpu_seconds", "of completed attempts"),
        ("seconds_saved", "number", "d.seconds_saved", "GPU seconds, against measured full runs"),
        ("inserts", "whole", "d.inserts", "entries that began to serve, or moved in from another embedder"),
        ("evictions", "whole", "d.evictions", "entries gone for room, purged, or moved to another embedder"),
        ("refusals", "whole", "d.refusals", "entries that were not let in"),
        ("bytes_read", "whole", "d.bytes_read", "of donors"),
        ("bytes_written", "whole", "d.bytes_written", "of new entries"),
    ),
)
TABLES = (DECISIONS, EVENTS, ENTRIES, NAMESPACES, DAYS)


def read(
    session: Session, flat: Flat, *, since: datetime | None, namespace_id: UUID | None, without: frozenset[str]
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows of a table from a time on, in batches; namespaces and resident entries whatever their age."""
    chosen = [column for column in flat.columns if column.name not in without]
    limits = ["true"]
    if since is not None and flat is not NAMESPACES:
        limits.append(f"{flat.at} >= :since" + (" OR c.status = 'resident'" if flat is ENTRIES else ""))
    if namespace_id is not None:
        limits.append(f"{flat.space} = :namespace_id")
    query = (
        f"SELECT {', '.join(f'{column.sql} AS {column.name}' for column in chosen)} FROM {flat.source} "
        f"WHERE {' AND '.join(f'({limit})' for limit in limits)} ORDER BY {flat.order}"
    )
    found = session.execute(
        text(query), {"since": since, "namespace_id": namespace_id}, execution_options={"yield_per": BATCH}
    )
    for part in found.mappings().partitions(BATCH):
        yield [dict(row) for row in part]
