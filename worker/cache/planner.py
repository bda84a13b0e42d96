"""From a prompt to a plan: entities, vectors, stored neighbours, decision; all are recorded."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache as once
from typing import Self
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import cache_search, decisions, metrics, namespaces
from db.decisions import Known, Pinned
from db.jobs import Claim
from db.models import CacheEntry, Namespace
from db.session import by_message
from shared.generation import GenerationParams, Mode, RunPath
from shared.ids import video_id
from shared.model_cards import ModelCard
from shared.reasons import Reason
from worker.cache import packed, tables
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Case, Plan, Table
from worker.cache.decisions.types import Neighbour
from worker.cache.latent_cache import CachePlan
from worker.cache.namespaces import SpaceSettings, open_space
from worker.models.embedder import Embedder
from worker.models.video_model import Fingerprint
from worker.prompts import entities
from worker.prompts.types import EntityKind, Extraction
from worker.settings import WorkerSettings

extractor = once(entities.extractor)


@dataclass(slots=True)
class Stopwatch:
    """Total seconds by part of the decision."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt with its entities, before its namespace is searched."""

    claim: Claim
    known: Known
    settings: SpaceSettings
    table: Table
    extraction: Extraction
    vectors: list[list[float]]
    matching: MatchSettings  # the thresholds and weights in force
    watch: Stopwatch

    @property
    def space(self) -> Namespace:
        """The namespace that is searched."""
        return self.known.space


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan(CachePlan):
    """A plan, with what is needed to commit it."""

    space: Namespace
    settings: SpaceSettings
    vectors: list[list[float]]
    pinned: tuple[Pinned, ...]  # the donors

    @property
    def chain(self) -> int:
        """How many runs lie between what this one would leave and a full run; 0: it is one."""
        return 0 if self.plan.path is RunPath.FULL else 1 + max((entry.chain for entry in self.pinned), default=0)

    def without_donors(self, mode: Mode, reason: Reason = Reason.DONOR_UNUSABLE, note: str = "") -> Self:
        """Return the plan that stands when no donor can be used."""
        plan = super(StoredPlan, self).without_donors(mode, reason, note)  # slots: the class is made twice
        return replace(plan, pinned=())


def decide(
    factory: sessionmaker[Session],
    claim: Claim,
    params: GenerationParams,
    card: ModelCard,
    model: Fingerprint,
    embedder: Embedder,
    settings: WorkerSettings,
    *,
    reads: entities.Reads | None = None,
) -> StoredPlan:
    """Choose how a job runs, pin its donors and record the decision.

    `reads` returns what the model's text encoder receives of a prompt: the rest gives no entities. Three messages go to
    the database, each a transaction of its own, so that none is open during extraction and embedding.
    """
    watch = Stopwatch()
    with by_message(factory) as session:
        known = open_space(session, claim.job, card, model, embedder.name, embedder.dim, settings)
        own = SpaceSettings.model_validate(known.space.settings)
        shipped = tables.shipped_plans(settings, card)
        table = tables.recipes(params, card, tables.table_of(known.plans, known.space, own, shipped, card.plans))
        with watch.part("extract"):
            extraction = extractor(own.extractor)(params.prompt, negative=params.negative_prompt or "", reads=reads)
        with watch.part("embed"):
            extraction, vectors = embed(embedder, extraction)
        question = Question(
            claim=claim,
            known=known,
            settings=own,
            table=table,
            extraction=extraction,
            vectors=vectors,
            matching=own.matching(embedder.name),
            watch=watch,
        )
        return answer(session, question)


def embed(embedder: Embedder, extraction: Extraction) -> tuple[Extraction, list[list[float]]]:
    """Return the vectors of a prompt's entities, and the extraction with those unknown to the embedder marked."""
    texts = [entity.lookup_text for entity in extraction.entities]
    return extraction.knowing([embedder.knows(text) for text in texts]), embedder.embed(texts)


def answer(session: Session, question: Question) -> StoredPlan:
    """Look the entities up, choose, pin the donors and record it."""
    job, space, seconds = question.claim.job, question.space, question.known.seconds
    watch, matching = question.watch, question.matching

    loans = metrics.layout_loans(session, space.id) if Case.LAYOUT in question.table else None
    overlent: frozenset[str] = frozenset()

    def plan_by(near: Sequence[Neighbour]) -> Plan:
        nonlocal overlent
        with watch.part("decide"):
            if loans is not None:
                entries = {neighbour.entry_id for neighbour in near}
                overlent = planning.overlent_layouts(entries, *loans, share=question.settings.layout_share)
            return planning.decide(
                Mode(job.mode), question.extraction, near, question.table, matching, overlent=overlent
            )

    way = cache_search.way_to_search(session, space, question.settings.search, num_entities=question.known.num_entities)
    found = question.extraction, question.vectors
    near, plan = look_up(session, space, question.settings, *found, plan_by, watch, way=way)
    pinned = _record(session, question, near, plan, overlent & set(plan.candidates))
    stored = StoredPlan(
        plan=plan,
        table=question.table,
        extraction=question.extraction,
        namespace_id=space.id,
        donors=tuple(entry.id for entry in pinned),
        own_donors=own_donors(pinned, job.tenant),
        keep=tables.kept(question.settings, question.table),
        full_seconds=seconds.get(RunPath.FULL),
        max_chain=question.settings.max_chain,
        is_calibrated=question.settings.table == "calibrated",
        space=space,
        settings=question.settings,
        vectors=question.vectors,
        pinned=tuple(pinned),
        fast_seconds=seconds.get(RunPath.FAST),
    )
    # A donor evicted between search and pin counts as none.
    return stored if len(pinned) == len(plan.donors) else stored.without_donors(Mode(job.mode))


def own_donors(entries: Sequence[CacheEntry | Pinned], tenant: str) -> Mapping[str, str]:
    """Return the donors that the tenant may see, with their videos."""
    return {str(entry.id): video_id(entry.donor_job_id) for entry in entries if entry.tenant == tenant}


def _record(
    session: Session, question: Question, near: Sequence[Neighbour], plan: Plan, overlent: Collection[str]
) -> list[Pinned]:
    """Record a decision and return its donors, pinned."""
    extraction = question.extraction
    return decisions.record(
        session,
        question.claim,
        question.space,
        [UUID(id_) for id_ in plan.donors],
        entities=extraction.to_dict()["entities"],
        neighbours=packed.pack(packed.telling(near, question.matching)),
        settings={
            "mode": question.claim.job.mode,
            "match": question.matching.to_dict(),
            "table": planning.table_to_rows(question.table),
            "style": list(extraction.style),
            "fallback_reason": extraction.fallback_reason,
            "excluded": [entity.to_dict() for entity in extraction.excluded],
            "unread": list(extraction.unread),
            "language": extraction.language,
            **({"overlent": sorted(overlent)} if overlent else {}),
        },
        plan=plan.to_dict(),
        reason=plan.reason.value,
        occupancy=namespaces.occupancy(question.space),
        timings=question.watch.seconds,
    )


def look_up(
    session: Session,
    space: Namespace,
    own: SpaceSettings,
    extraction: Extraction,
    vectors: list[list[float]],
    plan_by: Callable[[Sequence[Neighbour]], Plan],
    watch: Stopwatch,
    *,
    way: str | None = None,
) -> tuple[tuple[Neighbour, ...], Plan]:
    """Return the stored entities near each vector, and the plan from them.

    If the walk through the index gives no donor, a closer search follows before the job runs in full: it takes
    milliseconds, while the run takes seconds.
    """
    with watch.part("search"):
        way = way or cache_search.way_to_search(session, space, own.search)
        near = neighbours(session, space, own, extraction, vectors, search=way)
    plan = plan_by(near)
    if way == "walk" and not plan.donors:
        with watch.part("search"):
            near = neighbours(session, space, own, extraction, vectors, search="again")
        plan = plan_by(near)
    return near, plan


def neighbours(
    session: Session,
    space: Namespace,
    own: SpaceSettings,
    extraction: Extraction,
    vectors: list[list[float]],
    *,
    search: str | None = None,
) -> tuple[Neighbour, ...]:
    """Return the stored entities near each vector, in the form that decisions read.

    Without `search`, the namespace's own setting is used.
    """
    matching = own.matching(space.identity["embedder"])
    found = cache_search.neighbours(
        session,
        space,
        vectors,
        texts=[entity.text for entity in extraction.entities],
        limit=matching.neighbours_per_entity,
        search=search or own.search,
        least=matching.related_threshold,
    )
    return tuple(
        Neighbour(
            query=near.query,
            entry_id=near.entry,
            text=near.text,
            head=near.head,
            attributes=near.attributes,
            kind=EntityKind(near.kind),
            similarity=near.similarity,
            created=near.created,
            uses=near.uses,
        )
        for near in found
    )
