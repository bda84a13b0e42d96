"""Room for a new entry: whether it may enter, what goes for it, and the files of what went."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import cache, jobs, metrics
from db.errors import IllegalTransition
from db.jobs import Claim
from db.models import EVICTION_ORDERS, CacheEntry, CacheEvent, Namespace
from db.session import transaction
from shared.storage import Storage, StorageError
from worker.cache.decisions.replay import apply
from worker.cache.decisions.types import Entity, EntryRow, Event, EventKind
from worker.cache.eviction import ADMISSIONS, POLICIES, Policy, victims

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


def admit(factory: sessionmaker[Session], claim: Claim, found: Sequence[Entity], entry: CacheEntry) -> bool:
    """Ask the namespace's admission; earlier look-ups do not count this job's own."""
    with transaction(factory) as session:
        jobs.hold(session, claim)
        space = session.get_one(Namespace, entry.namespace_id)
        if entry.num_bytes > space.byte_budget:
            reason = "larger than the budget"
        else:
            texts = [entity.text for entity in found] if space.admission != "all" else []
            sightings = metrics.sightings(session, space.id, texts, but=claim.job.id)
            reason = "" if ADMISSIONS[space.admission](found, sightings) else f"admission {space.admission}"
        if reason:
            _refuse(session, claim, entry, reason)
        return not reason


def _refuse(session: Session, claim: Claim, entry: CacheEntry, reason: str) -> None:
    space = cache.lock(session, entry.namespace_id)
    cache.refuse(session, space, job_id=claim.job.id, fence=claim.fence, num_bytes=entry.num_bytes, reason=reason)


def find(
    storage: Storage, factory: sessionmaker[Session], histories: Histories, claim: Claim, entry: CacheEntry
) -> bool:
    """Reserve the bytes of an entry, evicting others where needed; False when there is no room."""
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
            leaving = make(session, space, histories, num_bytes=entry.num_bytes)
        if not leaving:
            break
        remove(storage, factory, leaving)
    with transaction(factory) as session:
        jobs.hold(session, claim)
        _refuse(session, claim, entry, "no room")
    return False


def read_ahead(session: Session, space: Namespace, histories: Histories) -> None:
    """Read what happened so far, before the lock is taken, for a policy that chooses by it: that may take seconds."""
    if space.policy in EVICTION_ORDERS:
        return
    history = _history(space, histories)
    for event in history.read(cache.events(session, space, after=history.last_id)):
        history.policy.observe(event)


def _history(space: Namespace, histories: Histories) -> History:
    history = histories.get(space.id)
    if history is None or history.policy_name != space.policy:
        history = histories[space.id] = History(policy_name=space.policy, policy=POLICIES[space.policy](seed=_SEED))
    return history


def make(session: Session, space: Namespace, histories: Histories, *, num_bytes: int) -> list[CacheEntry]:
    """Let the namespace's policy choose what goes, and take it out of service. Needs `cache.lock`."""
    held = cache.pinned(session, space)
    already = cache.leaving(session, space)  # by another worker, which may be dead: their bytes are as good as free
    used = space.bytes_used - sum(entry.num_bytes for entry in already)
    needed = used + num_bytes - space.byte_budget
    now = cache.clock(session)
    if space.policy in EVICTION_ORDERS:
        ids = cache.first_to_go(session, space, policy=space.policy, bytes_needed=needed, kept=held)
    else:
        ids = _by_history(session, space, histories, bytes_needed=needed, now=now, kept=held)
    pinned, chosen = sorted(map(str, held)), [str(id_) for id_ in ids]
    detail = {"bytes_needed": needed, "at": now, "kept": pinned, "victims": chosen, "seed": _SEED}
    return already + cache.evict(session, space, ids, policy=space.policy, reason="room", detail=detail)


def _by_history(
    session: Session, space: Namespace, histories: Histories, *, bytes_needed: int, now: float, kept: Collection[UUID]
) -> list[UUID]:
    """Return what a policy gives up whose state follows from the events: it orders all entries."""
    history = _history(space, histories)
    new = history.read(cache.events(session, space, after=history.last_id))
    pinned = {str(id_) for id_ in kept}
    may_go = [row for id_, row in history.resident.items() if id_ not in pinned]
    return [UUID(id_) for id_ in victims(history.policy, may_go, new, bytes_needed=bytes_needed, now=now)]


def shrink(
    storage: Storage, factory: sessionmaker[Session], namespace_id: UUID, *, byte_budget: int
) -> list[CacheEntry]:
    """Set a budget, evicting by the namespace's policy what is over it; return what went.

    Raises `IllegalTransition` when the policy gives up too little, or running jobs hold it: nothing is changed then.
    """
    histories: Histories = {}
    went: list[CacheEntry] = []
    with transaction(factory) as session:
        read_ahead(session, session.get_one(Namespace, namespace_id), histories)
    for _ in range(_TRIES):
        with transaction(factory) as session:
            space = cache.lock(session, namespace_id)
            if space.bytes_used <= byte_budget:
                cache.set_budget(session, space, byte_budget)
                return went
            leaving = make(session, space, histories, num_bytes=space.byte_budget - byte_budget)
            in_use = space.bytes_used
        if not leaving:
            break
        remove(storage, factory, leaving)
        went += leaving
    raise IllegalTransition(
        f"{in_use} bytes are in use, and the policy {space.policy} gives up too little of what no running job holds; "
        "try again later, choose another --policy, or use `chai cache purge`"
    )


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


def give_back(storage: Storage, factory: sessionmaker[Session], entry: CacheEntry) -> None:
    """Drop an entry that was reserved and could not be written."""
    with transaction(factory) as session:
        cache.abandon(session, entry.id)
    remove(storage, factory, [entry])
