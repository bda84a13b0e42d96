"""What the service would now decide for a prompt, by its own extraction and decision; nothing is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from db import cache, namespaces
from db.models import Namespace
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from worker.cache import planner, tables
from worker.cache.decisions import planning
from worker.cache.decisions.planning import Plan
from worker.cache.namespaces import SpaceSettings, initial_settings
from worker.models.embedder import Embedder
from worker.prompts.entities import Reads
from worker.prompts.types import Extraction, FallbackReason, Json
from worker.settings import WorkerSettings

_SHAPE = ("model", "width", "height", "num_frames", "fps")


_REFUSED = "The model reads no word of this prompt: a job with it would be refused."


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A decision that is not executed."""

    prompt: str
    extraction: Extraction
    plan: Plan
    is_refused: bool = False  # the model reads no word of the prompt; `extraction` says what the prompt names

    def to_dict(self) -> Json:
        """Return plain JSON."""
        found, plan = self.extraction, self.plan
        return {
            "prompt": self.prompt,
            "entities": [
                {"text": entity.text, "kind": entity.kind.value, "attributes": list(entity.attributes)}
                for entity in found.entities
            ],
            "excluded": [entity.text for entity in found.excluded],
            "style": list(found.style),
            "whole_prompt": found.fallback_reason is not None,
            "fallback_reason": found.fallback_reason and found.fallback_reason.value,
            "language": found.language,
            "unread": list(found.unread),
            "matched": [
                {
                    "entity": match.text,
                    "kind": match.kind.value,
                    "donor_entity": match.donor_text,
                    "similarity": round(match.similarity, 4),
                    "entry": match.entry_id,
                }
                for match in plan.matched
            ],
            "plan": {
                "path": plan.path.value,
                "hit": plan.hit.value,
                "steps": plan.recipe.num_evaluated_steps,
                "steps_saved": plan.steps_saved,
                "reuse": plan.recipe.reuse,
                "donors": list(plan.donors),
                "nearest": None if plan.nearest is None else round(plan.nearest, 4),
            },
            "reason": plan.reason.value,
            "explanation": _REFUSED if self.is_refused else plan.reason.sentence,
        }

    def shown_to(self, session: Session, tenant: str) -> Json:
        """Return what a tenant may see of it: of stored entities only its own, with their videos."""
        entries = [UUID(match.entry_id) for match in self.plan.matched]
        rows = list(cache.entries(session, entries).values())
        own = planner.own_donors(rows, tenant)
        row = self.to_dict()
        row["matched"] = [
            {
                **{name: match[name] for name in ("entity", "kind", "similarity")},
                "donor_entity": match["donor_entity"] if match["entry"] in own else None,
                "donor": own.get(match["entry"]),
            }
            for match in row["matched"]
        ]
        plan = row.pop("plan")
        del plan["donors"], plan["reuse"]
        return {**row, **plan}


def find_space(
    session: Session, params: GenerationParams, tenant: str | None, group: str | None, embedder: str
) -> Namespace | None:
    """Return the newest namespace of a model, size and embedder that a tenant reads, or anybody's if none is given.

    None if there is none yet.
    """
    return of_embedder(find_spaces(session, params, tenant, group), embedder)


def find_spaces(
    session: Session, params: GenerationParams, tenant: str | None, group: str | None = None
) -> list[Namespace]:
    """Return the namespaces of a model and size that a tenant reads, whatever their embedder, newest first."""
    readable = {("shared", "all"), ("tenant", tenant), ("group", group)}
    return [
        space
        for space in reversed(namespaces.every(session))
        if (tenant is None or (space.scope, space.owner) in readable)
        and all(space.identity[name] == getattr(params, name) for name in _SHAPE)
    ]


def of_embedder(found: Sequence[Namespace], embedder: str) -> Namespace | None:
    """Return the first namespace of an embedder; None if there is none."""
    return next((space for space in found if space.identity["embedder"] == embedder), None)


def stored_by_another(session: Session, found: Sequence[Namespace], embedder: str) -> str | None:
    """Return the embedder of the first namespace with entries; None if the named one has entries itself."""
    holding = [space.identity["embedder"] for space in found if namespaces.num_resident(session, space)]
    return holding[0] if holding and embedder not in holding else None


def decide(
    session: Session | None,
    space: Namespace | None,
    params: GenerationParams,
    card: ModelCard,
    embedder: Callable[[], Embedder],
    settings: WorkerSettings,
    *,
    reads: Reads | None = None,
) -> DryRun:
    """Make the decision that a job with these parameters would get; a namespace that does not exist yet is empty."""
    own = SpaceSettings.model_validate(initial_settings(card) if space is None else space.settings)
    extract = planner.extractor(own.extractor)
    extraction = extract(params.prompt, negative=params.negative_prompt or "", reads=reads)
    table = tables.of_job(session, space, own, settings, card, params)
    if extraction.fallback_reason is FallbackReason.UNREAD:
        named = extract(params.prompt, negative=params.negative_prompt or "")
        return DryRun(
            prompt=params.prompt,
            extraction=replace(named, unread=extraction.unread),
            plan=planning.decide(params.mode, extraction, (), table),
            is_refused=True,
        )
    if session is None or space is None:
        plan = planning.decide(params.mode, extraction, (), table)
        return DryRun(prompt=params.prompt, extraction=extraction, plan=plan)
    extraction, vectors = planner.embed(embedder(), extraction)
    matching = own.matching(space.identity["embedder"])
    _, plan = planner.look_up(
        session,
        space,
        own,
        extraction,
        vectors,
        lambda near: planning.decide(params.mode, extraction, near, table, matching),
        planner.Stopwatch(),
    )
    return DryRun(prompt=params.prompt, extraction=extraction, plan=plan)
