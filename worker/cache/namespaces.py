"""Namespaces: which jobs may share latents."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from db import decisions, namespaces
from db.decisions import Known
from db.models import Job, Namespace
from shared.model_cards import PLANS, ModelCard
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import NIRVANA_MATCH
from worker.models.video_model import Fingerprint
from worker.reuse.donor import KEPT_IN, Precision
from worker.settings import WorkerSettings


class SpaceSettings(BaseModel):
    """A namespace's own settings; the others are the worker's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: dict[str, Any] = Field(default_factory=dict)  # of MatchSettings
    search: str = Field(default="auto", pattern="^(auto|exact|hnsw)$")
    extractor: str = "lexicon"
    table: str = Field(default="calibrated", pattern=f"^({'|'.join(('calibrated', *PLANS))})$")  # of recipes
    precision: Precision = KEPT_IN
    keep: tuple[str, ...] | None = None  # nearest, same_index, entry; None = what the recipes read
    max_chain: int = Field(default=0, ge=0, le=100)  # fast runs, each the donor of the next, that are stored too
    layout_share: float = Field(default=0.02, gt=0, le=1)  # of the latest jobs that may have one donor's layout

    def matching(self, embedder: str) -> MatchSettings:
        """The thresholds and weights in force: the embedder's measured ones, overridden by `match`."""
        return MatchSettings.of_embedder(embedder, self.match)


def open_space(
    session: Session, job: Job, card: ModelCard, model: Fingerprint, embedder: str, dims: int, settings: WorkerSettings
) -> Known:
    """Return the namespace of a job, with what else decisions read; make it if this is its first job."""
    scope, owner = sharing(job, settings)
    shape = {"width": job.width, "height": job.height, "num_frames": job.num_frames, "fps": job.fps}
    own = identity(card, model, embedder, **shape)
    key, plans = namespaces.fingerprint({**own, "scope": scope, "owner": owner}), namespaces.fingerprint(own)
    found = decisions.known(session, key, plan_key=plans)
    if found is None:
        initial = {
            "byte_budget": settings.cache_bytes,
            "policy": settings.cache_policy,
            "admission": settings.cache_admission,
            "settings": initial_settings(card),
        }
        namespaces.get_or_create(session, own, scope=scope, owner=owner, dims=dims, **initial)
        found = decisions.known(session, key, plan_key=plans)
        assert found, "made just now"
    return found


def initial_settings(card: ModelCard) -> dict[str, Any]:
    """Return the settings of a new namespace: plans that resume from similar prompts search for whole prompts."""
    if card.plans != "nirvana":
        return {}
    match = {name: getattr(NIRVANA_MATCH, name) for name in ("same_threshold", "head_threshold", "related_threshold")}
    return {"extractor": "whole_prompt", "match": match}


def identity(card: ModelCard, model: Fingerprint, embedder: str, **size: int) -> dict[str, Any]:
    """Return everything that shapes latents, except who shares them; `size` is width, height, num_frames and fps."""
    return {
        "model": card.name,
        "revision": model.revision,
        "num_steps": card.full_steps,
        "guidance_scale": card.guidance_scale,
        "dtype": model.latent_dtype,
        "embedder": embedder,
        **size,
    }


def sharing(job: Job, settings: WorkerSettings) -> tuple[str, str]:
    """Return scope and owner: a tenant's own, unless sharing is allowed and there is somebody to share with."""
    if settings.cache_scope == "shared":
        return "shared", "all"
    if settings.cache_scope == "group" and job.group:
        return "group", job.group
    return "tenant", job.tenant


def plan_key(space: Namespace) -> str:
    """Return the key of calibrated plans: the identity without sharing, since a plan holds nobody's latents."""
    return namespaces.fingerprint(
        {name: value for name, value in space.identity.items() if name not in ("scope", "owner")}
    )
