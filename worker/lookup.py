"""From a prompt to a plan: entities, vectors, stored neighbours, decision; all of it recorded."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache as once
from typing import Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from db import cache, metrics
from db.catalog import ModelCard
from db.jobs import Claim
from db.models import CacheEntry, Job, Namespace
from worker.cache import entities, mode
from worker.cache.mode import Case, Plan, Table
from worker.cache.rows import EntityKind, Extraction, Mode, Neighbour, Path
from worker.settings import WorkerSettings
from worker.spaces import SpaceSettings, Spec, open_space, plan_key

extractor = once(entities.extractor)


class Embedder(Protocol):
    """What turns phrases into vectors."""

    @property
    def name(self) -> str:
        """Names the vector space."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, phrases: list[str]) -> list[list[float]]:
        """Return one vector of unit length for each phrase."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds by part of the decision."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided for a job, and what later stages need of the way there."""

    plan: Plan
    table: Table
    space: Namespace
    settings: SpaceSettings
    extraction: Extraction
    vectors: list[list[float]]
    pinned: list[CacheEntry]  # the donors, kept from eviction for the time of the run
    full_seconds: float | None  # mean GPU seconds of measured full runs of the namespace
    fast_seconds: float | None  # the same of fast runs

    def without_donors(self, job: Job) -> "Decision":
        """Return the decision that stands when no donor can be read."""
        plan = mode.without_donors(self.plan, Mode(job.mode), self.table)
        return replace(self, plan=plan, pinned=[])


def decide(
    session: Session, claim: Claim, card: ModelCard, model: Spec, embedder: Embedder, settings: WorkerSettings
) -> Decision:
    """Choose how a job runs, pin its donors and record the decision."""
    job, watch = claim.job, Stopwatch()
    space = open_space(session, job, card, model, embedder.name, embedder.dim, settings)
    own = SpaceSettings.model_validate(space.settings)
    with watch.part("extract"):
        extraction = extractor(own.extractor)(job.prompt)
    with watch.part("embed"):
        vectors = embedder.embed([entity.lookup_text for entity in extraction.entities])
    with watch.part("search"):
        near = _neighbours(session, space, own, vectors)
    with watch.part("decide"):
        table = recipes(job, card, _table(session, space, own))
        plan = mode.decide(Mode(job.mode), extraction, near, table, own.matching)
    metrics.record_lookup(
        session,
        claim,
        space,
        entities=extraction.to_dict()["entities"],
        neighbours=[neighbour.to_dict() for neighbour in near],
        settings={
            "mode": job.mode,
            "match": own.matching.to_dict(),
            "table": mode.table_to_rows(table),
            "style": list(extraction.style),
            "fallback_reason": extraction.fallback_reason,
        },
        plan=plan.to_dict(),
        reason=plan.reason.value,
        occupancy=cache.occupancy(session, space),
        timings=watch.seconds,
    )
    pinned = cache.pin(session, [UUID(id_) for id_ in plan.donors], job_id=job.id, fence=claim.fence)
    decision = Decision(
        plan=plan,
        table=table,
        space=space,
        settings=own,
        extraction=extraction,
        vectors=vectors,
        pinned=pinned,
        full_seconds=metrics.mean_gpu_seconds(session, space.id, path=Path.FULL.value),
        fast_seconds=metrics.mean_gpu_seconds(session, space.id, path=Path.FAST.value),
    )
    # A donor that went between the search and the pin: as good as none.
    return decision if len(pinned) == len(plan.donors) else decision.without_donors(job)


def recipes(job: Job, card: ModelCard, table: Table) -> Table:
    """Return the table with the steps of this model, or those that the job asks for."""
    full = job.num_inference_steps or card.full_steps

    def fitted(recipe: mode.Recipe) -> mode.Recipe:
        if job.num_inference_steps or recipe.source == "paper":
            steps = full if recipe.path is Path.FULL else (job.num_inference_steps or card.fast_steps)
            return replace(recipe, num_steps=steps)
        return recipe

    return {Case(case): tuple(fitted(recipe) for recipe in found) for case, found in table.items()}


def _table(session: Session, space: Namespace, own: SpaceSettings) -> Table:
    if own.table != "calibrated":
        return mode.TABLES[own.table]
    stored = metrics.plans(session, plan_key(space))
    return mode.table_from_rows(stored)


def _neighbours(
    session: Session, space: Namespace, own: SpaceSettings, vectors: list[list[float]]
) -> tuple[Neighbour, ...]:
    found = cache.neighbours(session, space, vectors, limit=own.matching.neighbours_per_entity, search=own.search)
    return tuple(
        Neighbour(
            query=near.query,
            entry_id=str(near.entry_id),
            text=near.text,
            head=near.head,
            attributes=near.attributes,
            kind=EntityKind(near.kind),
            similarity=near.similarity,
            created=near.created,
        )
        for near in found
    )
