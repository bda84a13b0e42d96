"""The latent cache of the service: rows in Postgres, files on shared storage."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as once
from types import ModuleType
from uuid import UUID, uuid4

from sqlalchemy.orm import Session, sessionmaker

from db import cache, namespaces
from db.decisions import Pinned
from db.errors import IllegalTransition
from db.jobs import Claim
from db.models import CacheEntry, Namespace
from db.session import transaction
from shared.generation import GenerationParams
from shared.model_cards import ModelCard
from shared.storage import FileMissing, Storage, StorageError, latents_name
from worker.cache import planner, room
from worker.cache.latent_cache import CachePlan, Kept, Lent
from worker.cache.planner import StoredPlan
from worker.cache.read_through_cache import ReadThroughCache
from worker.cache.room import Histories
from worker.models.embedder import Embedder
from worker.models.video_model import Fingerprint
from worker.prompts.entities import Reads
from worker.reuse.donor import BrokenDonor, Donor, UnknownSchema
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_HELD = "another transaction holds the namespace, perhaps of a machine that is out of reach"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCache:
    """The `LatentCache` of one worker's process."""

    settings: WorkerSettings
    factory: sessionmaker[Session]
    storage: Storage
    embedder: Callable[[], Embedder]  # loaded with the first plan
    histories: Histories = field(default_factory=dict)  # events read so far, by namespace

    def plan(
        self, claim: Claim, params: GenerationParams, card: ModelCard, model: Fingerprint, *, reads: Reads | None = None
    ) -> StoredPlan:
        """Look the prompt's entities up, choose a plan, pin its donors and record the decision."""
        return planner.decide(self.factory, claim, params, card, model, self.embedder(), self.settings, reads=reads)

    def fetch(self, plan: CachePlan, shape: tuple[int, ...]) -> Lent:
        """Return the donors of a plan; none if any cannot be used.

        A broken, missing or foreign file takes its entry out of service for good; the job only loses the gain. If
        storage is away for the moment, or the schema is of another version, the entry stays.
        """
        assert isinstance(plan, StoredPlan), "made by this cache"
        donors, num_bytes = [], 0
        for entry in plan.pinned:
            try:
                donors.append(self._read(entry, entry.written_for or plan.space.fingerprint, shape))
                num_bytes += entry.num_bytes
            except (BrokenDonor, FileMissing) as error:
                logger.warning("cache entry %s goes into quarantine: %s", entry.id, error)
                with transaction(self.factory) as session:
                    cache.quarantine(session, entry.id, reason=str(error))
                return Lent(donors=(), num_bytes=num_bytes)
            except (StorageError, UnknownSchema) as error:
                logger.warning("cache entry %s cannot be read now: %s", entry.id, error)
                return Lent(donors=(), num_bytes=num_bytes)
        return Lent(donors=tuple(donors), num_bytes=num_bytes)

    def put(self, claim: Claim, plan: CachePlan, donor: Donor, *, full_seconds: float) -> Kept | None:
        """Write a full run's latents, making room in its namespace if necessary.

        A dead worker's entry is swept. None if the latents are not stored: not admitted, no room, storage away.
        """
        assert isinstance(plan, StoredPlan), "made by this cache"
        packed = _codec().pack(donor, fingerprint=plan.space.fingerprint, precision=plan.settings.precision)
        entry = CacheEntry(
            id=uuid4(),
            namespace_id=plan.space.id,
            tenant=claim.job.tenant,
            donor_job_id=claim.job.id,
            donor_fence=claim.fence,
            prompt=claim.job.prompt,
            name=latents_name(claim.job.id, claim.fence),
            num_bytes=len(packed.content),
            sha256=packed.sha256,
            schema_version=_codec().SCHEMA_VERSION,
            tensors=packed.tensors,
            seed=donor.seed or 0,
            full_seconds=_in_full(plan, full_seconds),
            chain=plan.chain,
        )
        if not room.admit(self.factory, claim, plan.extraction.entities, entry):
            return None
        total = self.settings.cache_total_bytes
        if not room.find(self.storage, self.factory, self.histories, claim, entry, total_bytes=total):
            return None
        try:
            self.storage.write(entry.name, packed.content)
        except StorageError as error:
            logger.warning("latents of job %s are not kept: %s", claim.job.id, error)
            room.give_back(self.storage, self.factory, entry)
            return None
        return Kept(entry_id=entry.id, num_bytes=len(packed.content))

    def commit(self, session: Session, claim: Claim, plan: CachePlan, kept: Kept | None) -> None:
        """Publish the new entry and record the hits, in the transaction that completes the job.

        If another transaction holds the namespace for too long, the video does not wait: no hit is counted then, and
        the entry is swept like a dead worker's.
        """
        assert isinstance(plan, StoredPlan), "made by this cache"
        space = namespaces.try_lock(session, plan.space.id)
        if space is None:
            logger.warning("job %s: its hits are not counted and its latents not kept: %s", claim.job.id, _HELD)
        else:
            for entry in plan.pinned:
                covers = plan.plan.candidates
                cache.hit(session, space, entry.id, job_id=claim.job.id, fence=claim.fence, covers=covers)
            if kept is not None:
                _publish(session, space, plan, kept.entry_id)
        cache.unpin(session, job_id=claim.job.id, fence=claim.fence)

    def _read(self, entry: Pinned, fingerprint: str, shape: tuple[int, ...]) -> Donor:
        """Return a donor; a copy that turned out to be broken is fetched again once."""
        copies = self._copies()
        expected = {"sha256": entry.sha256 or "", "fingerprint": fingerprint, "shape": shape}
        try:
            donor: Donor = _codec().unpack(copies.read(entry.name), **expected)
        except BrokenDonor:
            if (content := copies.renew(entry.name)) is None:
                raise
            donor = _codec().unpack(content, **expected)
        return donor

    def _copies(self) -> ReadThroughCache:
        folder, max_bytes = self.settings.read_cache_dir, self.settings.read_cache_bytes
        return ReadThroughCache(self.storage, folder, max_bytes=max_bytes)


@once
def _codec() -> ModuleType:
    """The file format; it imports torch, so not before the first donor."""
    from worker.reuse import codec

    return codec


def _in_full(plan: StoredPlan, seconds: float) -> float:
    """Return the cost of the run in full mode: its own seconds, or those of its donor's full run."""
    if not plan.chain:
        return seconds
    return max((entry.full_seconds for entry in plan.pinned), default=plan.full_seconds or seconds)


def _publish(session: Session, space: Namespace, plan: StoredPlan, entry_id: UUID) -> None:
    found = [
        cache.NewEntity(
            text=entity.text,
            head=entity.head,
            attributes=entity.stored_attributes,
            kind=entity.kind.value,
            embedding=vector,
        )
        for entity, vector in zip(plan.extraction.entities, plan.vectors, strict=True)
    ]
    full = session.get_one(CacheEntry, entry_id).full_seconds
    saved = max(0.0, full - (plan.fast_seconds or 0.0))
    try:
        cache.publish(session, space, entry_id, found, seconds_saved=saved)
    except IllegalTransition as error:
        logger.warning("latents of entry %s are not kept: %s", entry_id, error)
