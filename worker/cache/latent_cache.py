"""The cache as jobs see it: a plan before the run, donors for it, and storage for the run's latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, Self
from uuid import UUID

from shared.generation import GenerationParams, Mode, RunPath
from shared.model_cards import ModelCard
from shared.reasons import Reason
from worker.cache.decisions import planning
from worker.cache.decisions.planning import PAPER, Plan, Recipe, Table
from worker.models.video_model import Fingerprint
from worker.prompts.entities import Reads
from worker.prompts.types import Extraction, Json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.jobs import Claim
    from worker.reuse.donor import Donor


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """How a job runs, given what the cache holds. A cache may store more in a subclass."""

    plan: Plan
    table: Table = field(default_factory=lambda: PAPER)  # the available recipes
    extraction: Extraction = field(default_factory=lambda: Extraction(entities=()))
    namespace_id: UUID | None = None
    donors: tuple[UUID, ...] = ()  # entries pinned during the run, best first
    own_donors: Mapping[str, str] = field(default_factory=dict)  # those that the tenant may see: entry → video
    keep: tuple[str, ...] = ()  # latents stored beside a full run's clean one, in the recorder's terms
    full_seconds: float | None = None  # mean GPU seconds of measured full runs of the namespace
    fast_seconds: float | None = None  # of measured fast runs
    max_chain: int = 0  # longest chain of fast runs, each the donor of the next, whose latents are stored too
    ignored: tuple[str, ...] = ()  # parts of the request, besides words of its prompt, without effect on the video
    is_calibrated: bool = False  # the recipes are measured, so that the quality monitor may move their thresholds

    def without_donors(self, mode: Mode, reason: Reason = Reason.DONOR_UNUSABLE, note: str = "") -> Self:
        """Return the plan to use if no donor can be used; `note` is a sentence that details the reason."""
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
        """Number of fast runs from this run's latents back to a full run; 0: it is a full run."""
        return 0 if self.plan.path is RunPath.FULL else 1

    @property
    def leaves(self) -> bool:
        """Whether the run's latents are stored: of fast runs, those within `max_chain` that start at the first step."""
        began = not self.plan.recipe.num_skipped_steps and self.plan.reason is not Reason.LAYOUT_HIT
        return not self.chain or (self.chain <= self.max_chain and began)

    @property
    def reusing(self) -> tuple[Recipe, ...]:
        """The recipes that use a donor."""
        return tuple(recipe for found in self.table.values() for recipe in found if recipe.reuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """The donors that the cache returned for a plan."""

    donors: Sequence[Donor]  # on the CPU, best first; empty: a miss, whatever the reason
    num_bytes: int = 0  # read


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An entry written for a run; it serves nobody until the job commits."""

    entry_id: UUID
    num_bytes: int  # written


class LatentCache(Protocol):
    """Latents of earlier runs, found by entities that prompts share."""

    def plan(
        self, claim: Claim, params: GenerationParams, card: ModelCard, model: Fingerprint, *, reads: Reads | None = None
    ) -> CachePlan:
        """Choose how a job runs, pin its donors and record the decision.

        `reads` returns what the model's text encoder receives of a prompt; only that is looked up.
        """

    def fetch(self, plan: CachePlan, shape: tuple[int, ...]) -> Lent:
        """Return the plan's donors for latents of (C, T, H, W); unusable ones are a miss, never an error."""

    def put(self, claim: Claim, plan: CachePlan, donor: Donor, *, full_seconds: float) -> Kept | None:
        """Write a full run's latents, making room if necessary; None if they are not admitted."""

    def commit(self, session: Session, claim: Claim, plan: CachePlan, kept: Kept | None) -> None:
        """Record hits and publish the new entry, in the transaction that completes the job."""
