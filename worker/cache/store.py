"""Stored latents in and out: donors are read before a fast run, and a full run leaves one behind."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

from sqlalchemy.orm import Session, sessionmaker

from db import cache, jobs, metrics
from db.errors import IllegalTransition
from db.jobs import Claim
from db.models import CacheEntry, CacheEvent, Namespace
from db.session import transaction
from shared.model_cards import ModelCard
from shared.storage import FileMissing, Storage, StorageError, latents_name
from worker.cache.decisions.replay import apply
from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction import ADMISSIONS, POLICIES, Policy, victims
from worker.cache.planner import Decision
from worker.cache.read_through_cache import Nearby
from worker.models.opensora.schedule import Schedule
from worker.reuse import registry
from worker.reuse.codec import SCHEMA_VERSION, BrokenDonor, Packed, UnknownSchema, pack, unpack
from worker.reuse.ways import Donor, Reuse

logger = logging.getLogger(__name__)

_TRIES = 8  # to find room while others take it
_SEED = 0  # of policies that draw lots


@dataclass(slots=True)
class History:
    """What one worker has read of a namespace's events; the policy's state follows from them."""

    policy_name: str
    policy: Policy
    resident: dict[str, EntryRow] = field(default_factory=dict)
    last_id: int = 0

    def read(self, rows: Sequence[CacheEvent]) -> list[Event]:
        """Take note of new events and return them for the policy."""
        events = [event for row in rows if (event := as_event(row)) is not None]
        for event in events:
            apply(self.resident, event)
        self.last_id = rows[-1].id if rows else self.last_id
        return events


class Schedules(Protocol):
    """A model, as far as its timesteps go."""

    def schedule(self, num_steps: int = 30, guidance_scale: float = 7.0, **options: Any) -> Schedule:
        """Return the timesteps and guidance of a run."""


Histories = dict[UUID, History]  # by namespace, kept by a worker's process


def as_event(row: CacheEvent) -> Event | None:
    """Return a recorded event as policies and the simulator read it; None for a refusal, which changes nothing."""
    if row.kind not in list(EventKind):
        return None
    return Event(
        kind=EventKind(row.kind),
        entry_id=str(row.entry_id),
        at=row.created_at.timestamp(),
        num_bytes=row.num_bytes,
        seconds_saved=row.detail.get("seconds_saved", 0.0),
        covers=tuple(row.detail.get("covers", ())),
        policy=row.policy,
    )


def fetch(
    nearby: Nearby, factory: sessionmaker[Session], decision: Decision, shape: tuple[int, ...]
) -> tuple[list[Donor], int]:
    """Return the donors of a decision and the bytes read; no donors when one cannot be used.

    A broken, missing or foreign file takes its entry out of service, for good, and costs the job nothing but the gain.
    Storage that is away for the moment is no fault of the entry, nor is a schema that workers of another version read.
    """
    donors, num_bytes = [], 0
    for entry in decision.pinned:
        try:
            donors.append(_read(nearby, entry, decision.space.fingerprint, shape))
            num_bytes += entry.num_bytes
        except (BrokenDonor, FileMissing) as error:
            logger.warning("cache entry %s goes into quarantine: %s", entry.id, error)
            with transaction(factory) as session:
                cache.quarantine(session, entry.id, reason=str(error))
            return [], num_bytes
        except (StorageError, UnknownSchema) as error:
            logger.warning("cache entry %s cannot be read now: %s", entry.id, error)
            return [], num_bytes
    return donors, num_bytes


def _read(nearby: Nearby, entry: CacheEntry, fingerprint: str, shape: tuple[int, ...]) -> Donor:
    """Return a donor; a copy that turned out wrong is fetched anew once."""
    expected = {"sha256": entry.sha256 or "", "fingerprint": fingerprint}
    try:
        return unpack(nearby.read(entry.name), **expected, shape=shape)
    except BrokenDonor:
        if not nearby.forget(entry.name):
            raise
        return unpack(nearby.read(entry.name), **expected, shape=shape)


def bind(decision: Decision, donors: Sequence[Donor], timesteps: Sequence[float], *, seed: int | None) -> Reuse | None:
    """Return the donors in the way of reuse that the plan names; None when they do not hold what it needs.

    They may be older than the settings that the plan follows. `seed` is the user's: with one, the run cannot start from
    the donor's noise, without which the donor's step errors say nothing.
    """
    recipe = decision.plan.recipe
    assert recipe.reuse, "only plans that reuse something pin donors"
    shared = [match.donor_text for match in decision.plan.matched]
    try:
        reuse = registry.bind(recipe.reuse, recipe.reuse_options, donors, timesteps, shared=shared)
    except KeyError as error:
        logger.warning("cache entry %s is of no use to plan %s: %s", decision.pinned[0].id, recipe.reuse, error.args[0])
        return None
    starts_alike = seed == donors[0].seed or (seed is None and recipe.reuse_options.get("noise") == "donor")
    return None if reuse.residual is not None and not starts_alike else reuse


def fast_schedule(model: Schedules, card: ModelCard, decision: Decision) -> Schedule:
    """Return the schedule that donors of this namespace are kept for: that of the first recipe that reuses them."""
    recipes = (recipe for found in decision.table.values() for recipe in found)
    recipe = next((recipe for recipe in recipes if recipe.reuse), None)
    if recipe is None:
        return model.schedule(card.fast_steps, card.guidance_scale)
    return model.schedule(recipe.num_steps, card.guidance_scale, **recipe.schedule)


def kept(decision: Decision) -> tuple[str, ...]:
    """Return what a full run leaves beside its clean latent: what the namespace says, or what its recipes read."""
    if decision.settings.keep is not None:
        return decision.settings.keep
    recipes = (recipe for found in decision.table.values() for recipe in found)
    needs = (registry.reads(recipe.reuse, recipe.reuse_options) for recipe in recipes if recipe.reuse)
    return tuple(sorted(frozenset().union(*needs)))


def keep(
    storage: Storage,
    factory: sessionmaker[Session],
    histories: Histories,
    claim: Claim,
    decision: Decision,
    donor: Donor,
    *,
    full_seconds: float,
) -> tuple[UUID | None, int]:
    """Write a full run's latents into room that its namespace has, or makes; return the entry and the bytes written.

    The entry serves nobody until `settle`. A dead worker's entry is swept. None when the latents do not enter: not
    admitted, no room, storage away.
    """
    packed = pack(donor, fingerprint=decision.space.fingerprint, precision=decision.settings.precision)
    entry = _entry(claim, decision, packed, seed=donor.seed or 0, full_seconds=full_seconds)
    if not _admit(factory, claim, decision, entry) or not _find_room(storage, factory, histories, claim, entry):
        return None, 0
    try:
        storage.write(entry.name, packed.content)
    except StorageError as error:
        logger.warning("latents of job %s are not kept: %s", claim.job.id, error)
        _drop(storage, factory, entry)
        return None, 0
    return entry.id, len(packed.content)


def _entry(claim: Claim, decision: Decision, packed: Packed, *, seed: int, full_seconds: float) -> CacheEntry:
    return CacheEntry(
        id=uuid4(),
        namespace_id=decision.space.id,
        tenant=claim.job.tenant,
        donor_job_id=claim.job.id,
        donor_fence=claim.fence,
        prompt=claim.job.prompt,
        name=latents_name(claim.job.id, claim.fence),
        num_bytes=len(packed.content),
        sha256=packed.sha256,
        schema_version=SCHEMA_VERSION,
        tensors=packed.tensors,
        seed=seed,
        full_seconds=full_seconds,
    )


def _admit(factory: sessionmaker[Session], claim: Claim, decision: Decision, entry: CacheEntry) -> bool:
    """Ask the namespace's admission; earlier look-ups do not count this job's own."""
    with transaction(factory) as session:
        jobs.hold(session, claim)
        space = session.get_one(Namespace, decision.space.id)
        if entry.num_bytes > space.byte_budget:
            reason = "larger than the budget"
        else:
            found = decision.extraction.entities
            texts = [entity.text for entity in found] if space.admission != "all" else []
            sightings = metrics.sightings(session, space.id, texts, but=claim.job.id)
            reason = "" if ADMISSIONS[space.admission](found, sightings) else f"admission {space.admission}"
        if reason:
            _refuse(session, claim, entry, reason)
        return not reason


def _refuse(session: Session, claim: Claim, entry: CacheEntry, reason: str) -> None:
    space = cache.lock(session, entry.namespace_id)
    cache.refuse(session, space, job_id=claim.job.id, fence=claim.fence, num_bytes=entry.num_bytes, reason=reason)


def _find_room(
    storage: Storage, factory: sessionmaker[Session], histories: Histories, claim: Claim, entry: CacheEntry
) -> bool:
    with transaction(factory) as session:
        jobs.hold(session, claim)
        if cache.reserve(session, cache.lock(session, entry.namespace_id), entry):
            return True
    with transaction(factory) as session:
        read_ahead(session, session.get_one(Namespace, entry.namespace_id), histories)
    for _ in range(_TRIES):
        with transaction(factory) as session:
            jobs.hold(session, claim)
            space = cache.lock(session, entry.namespace_id)
            if cache.reserve(session, space, entry):
                return True
            leaving = make_room(session, space, histories, num_bytes=entry.num_bytes)
        if not leaving:
            break
        remove(storage, factory, leaving)
    with transaction(factory) as session:
        jobs.hold(session, claim)
        _refuse(session, claim, entry, "no room")
    return False


def read_ahead(session: Session, space: Namespace, histories: Histories) -> None:
    """Read what happened so far, before the lock is taken: the first reading of a long history takes seconds."""
    history = _history(space, histories)
    for event in history.read(cache.events(session, space, after=history.last_id)):
        history.policy.observe(event)


def _history(space: Namespace, histories: Histories) -> History:
    history = histories.get(space.id)
    if history is None or history.policy_name != space.policy:
        history = histories[space.id] = History(policy_name=space.policy, policy=POLICIES[space.policy](seed=_SEED))
    return history


def make_room(session: Session, space: Namespace, histories: Histories, *, num_bytes: int) -> list[CacheEntry]:
    """Let the namespace's policy choose what goes, and take it out of service. Needs `cache.lock`."""
    history = _history(space, histories)
    new = history.read(cache.events(session, space, after=history.last_id))
    pinned = {str(id_) for id_ in cache.pinned(session, space)}
    already = cache.leaving(session, space)  # by another worker, which may be dead: their bytes are as good as free
    used = space.bytes_used - sum(entry.num_bytes for entry in already)
    needed = used + num_bytes - space.byte_budget
    now = cache.clock(session)
    may_go = [row for id_, row in history.resident.items() if id_ not in pinned]
    chosen = victims(history.policy, may_go, new, bytes_needed=needed, now=now)
    detail = {"bytes_needed": needed, "at": now, "kept": sorted(pinned), "victims": chosen, "seed": _SEED}
    ids = [UUID(id_) for id_ in chosen]
    return already + cache.evict(session, space, ids, policy=space.policy, reason="room", detail=detail)


def remove(storage: Storage, factory: sessionmaker[Session], leaving: Sequence[CacheEntry]) -> None:
    """Unlink the files of evicted entries and give their bytes back; a failure leaves them to the sweeper."""
    removed: dict[UUID, list[UUID]] = {}
    for entry in leaving:
        try:
            storage.remove(entry.name)
        except StorageError as error:
            logger.warning("%s stays until the sweep: %s", entry.name, error)
        else:
            removed.setdefault(entry.namespace_id, []).append(entry.id)
    for namespace_id, ids in removed.items():
        with transaction(factory) as session:
            cache.gone(session, cache.lock(session, namespace_id), ids)


def _drop(storage: Storage, factory: sessionmaker[Session], entry: CacheEntry) -> None:
    with transaction(factory) as session:
        cache.abandon(session, entry.id)
    remove(storage, factory, [entry])


def settle(session: Session, claim: Claim, decision: Decision, kept: UUID | None) -> None:
    """Publish the new entry and record the hits, in the transaction that completes the job."""
    space = cache.lock(session, decision.space.id)
    for entry in decision.pinned:
        covers = decision.plan.candidates
        cache.hit(session, space, entry.id, job_id=claim.job.id, fence=claim.fence, covers=covers)
    cache.unpin(session, job_id=claim.job.id, fence=claim.fence)
    if kept is not None:
        _publish(session, space, decision, kept)


def _publish(session: Session, space: Namespace, decision: Decision, kept: UUID) -> None:
    found = [
        cache.NewEntity(
            text=entity.text,
            head=entity.head,
            attributes=entity.attributes,
            kind=entity.kind.value,
            embedding=vector,
        )
        for entity, vector in zip(decision.extraction.entities, decision.vectors, strict=True)
    ]
    full = session.get_one(CacheEntry, kept).full_seconds
    saved = max(0.0, full - (decision.fast_seconds or 0.0))
    try:
        cache.publish(session, space, kept, found, seconds_saved=saved)
    except IllegalTransition as error:
        logger.warning("latents of entry %s are not kept: %s", kept, error)


def own_donors(decision: Decision, tenant: str) -> Mapping[str, str]:
    """Return which donors the tenant may hear of, and the video that each came from."""
    return {str(entry.id): f"video_{entry.donor_job_id.hex}" for entry in decision.pinned if entry.tenant == tenant}
