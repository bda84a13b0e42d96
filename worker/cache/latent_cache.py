"""What a job knows of the cache: a plan before the run, donors for it, and a place for what the run leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, Self
from uuid import UUID

from shared.generation import GenerationParams, Mode, RunPath
from shared.model_cards import ModelCard
from shared.reasons import Reason
from worker.cache.decisions import planning
from worker.cache.decisions.entities import Reads
from worker.cache.decisions.planning import PAPER, Plan, Recipe, Table
from worker.cache.decisions.types import Extraction, Json
from worker.models.video_model import Fingerprint

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.jobs import Claim
    from worker.reuse.donor import Donor


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """How a job runs by what the cache holds. A cache may keep more about its own way there in a subclass."""

    plan: Plan
    table: Table = field(default_factory=lambda: PAPER)  # the recipes that were chosen from
    extraction: Extraction = field(default_factory=lambda: Extraction(entities=()))
    namespace_id: UUID | None = None
    donors: tuple[UUID, ...] = ()  # entries kept from eviction for the time of the run, best first
    own_donors: Mapping[str, str] = field(default_factory=dict)  # those that the tenant may hear of: entry → video
    keep: tuple[str, ...] = ()  # what a full run leaves beside its clean latent, in the recorder's words
    full_seconds: float | None = None  # mean GPU seconds of measured full runs of the namespace
    fast_seconds: float | None = None  # of measured fast runs
    max_chain: int = 0  # fast runs, each the donor of the next, that leave theirs too
    ignored: tuple[str, ...] = ()  # of the request, beside words of its prompt: changes nothing of the video
    is_calibrated: bool = False  # the recipes are measured ones, which the quality monitor may move

    def without_donors(self, mode: Mode, reason: Reason = Reason.DONOR_UNUSABLE, note: str = "") -> Self:
        """Return the plan that stands when no donor can be used; `note` is a sentence that says more of the reason."""
        plan = planning.without_donors(self.plan, mode, self.table, reason=reason, note=note)
        return replace(self, plan=plan, donors=(), own_donors={})

    def receipt(self, *, gpu_seconds_saved: float | None = None) -> Json:
        """Return the `cache` block of the job in the API."""
        return planning.receipt(
            self.plan,
            own_donors=self.own_donors,
            gpu_seconds_saved=gpu_seconds_saved,
            unread=(*self.extraction.unread, *self.ignored),
        )

    @property
    def chain(self) -> int:
        """How many runs lie between what this one would leave and a full run; 0: it is one."""
        return 0 if self.plan.path is RunPath.FULL else 1

    @property
    def leaves(self) -> bool:
        """Whether the run leaves its latents: a fast one near enough to a full one that began at the beginning."""
        began = not self.plan.recipe.num_skipped_steps and self.plan.reason is not Reason.LAYOUT_HIT
        return not self.chain or (self.chain <= self.max_chain and began)

    @property
    def reusing(self) -> tuple[Recipe, ...]:
        """The recipes that use a donor."""
        return tuple(recipe for found in self.table.values() for recipe in found if recipe.reuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What the cache gave for a plan."""

    donors: Sequence[Donor]  # on the CPU, best first; none: a miss, whatever the reason
    num_bytes: int = 0  # read


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the cache took of a run; it serves nobody until the job commits."""

    entry_id: UUID
    num_bytes: int  # written


class LatentCache(Protocol):
    """Latents of earlier runs, found by what prompts share."""

    def plan(
        self, claim: Claim, params: GenerationParams, card: ModelCard, model: Fingerprint, *, reads: Reads | None = None
    ) -> CachePlan:
        """Choose how a job runs, hold its donors and record the decision.

        `reads` says what the model's text encoder gets of a prompt; only that is looked up.
        """

    def fetch(self, plan: CachePlan, shape: tuple[int, ...]) -> Lent:
        """Return the plan's donors for latents of (C, T, H, W); what cannot be used is a miss, never an error."""

    def put(self, claim: Claim, plan: CachePlan, donor: Donor, *, full_seconds: float) -> Kept | None:
        """Write what a full run leaves into room that there is, or that is made; None when it does not enter."""

    def commit(self, session: Session, claim: Claim, plan: CachePlan, kept: Kept | None) -> None:
        """Record hits and publish the new entry, in the transaction that completes the job."""
