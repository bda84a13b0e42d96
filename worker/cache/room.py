"""Room for a new entry: its admission, the evictions for it, and the files of evicted entries."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.attributes import set_committed_value

from db import cache, eviction, jobs, metrics, namespaces
from db.cache import Standing
from db.errors import IllegalTransition
from db.eviction import Asked, Choice
from db.jobs import Claim
from db.models import CacheEntry, CacheEvent, Namespace
from db.session import by_message, transaction
from shared.storage import Storage, StorageError
from worker.cache.decisions.types import EntryRow, Event, EventKind
from worker.cache.eviction import ADMISSIONS, victims
from worker.cache.eviction.coverage import MEMORY, Coverage
from worker.cache.namespaces import SpaceSettings
from worker.prompts.types import Entity

logger = logging.getLogger(__name__)

_TRIES = 8  # attempts to find room while others take it
_STEP = 500  # entries evicted per transaction when a budget shrinks
_SEED = 0  # of policies that draw lots

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class Demand:
    """Recent demand of a namespace, as read by one worker."""

    policy: Coverage = field(default_factory=Coverage)
    last_id: int = 0
    lock: Lock = field(default_factory=Lock)  # two jobs of a process may end at once


Histories = dict[UUID, Demand]  # by namespace, kept by a worker's process


def as_event(row: CacheEvent | Row[Any]) -> Event | None:  # Any: of columns
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
        entities=tuple(row.detail.get("entities", ())),
        tenant=row.detail.get("tenant"),
        policy=row.policy,
    )


def admit(factory: sessionmaker[Session], claim: Claim, found: Sequence[Entity], entry: CacheEntry) -> bool:
    """Return whether an entry fits its budget and is admitted; the job's own look-up does not count as a sighting."""
    with transaction(factory) as session:
        jobs.lock_claimed(session, claim)
        space = session.get_one(Namespace, entry.namespace_id)
        if entry.num_bytes > space.byte_budget * (space.tenant_share or 1):
            reason = "larger than the budget" if space.tenant_share is None else "larger than a tenant's share"
        else:
            texts = [entity.text for entity in found] if space.admission != "all" else []
            sightings = metrics.sightings(session, space.id, texts, but=claim.job.id)
            reason = "" if ADMISSIONS[space.admission](found, sightings) else f"admission {space.admission}"
        if reason:
            _refuse(session, claim, entry, reason)
        return not reason


def _refuse(session: Session, claim: Claim, entry: CacheEntry, reason: str) -> None:
    space = namespaces.lock(session, entry.namespace_id)
    cache.refuse(session, space, job_id=claim.job.id, fence=claim.fence, num_bytes=entry.num_bytes, reason=reason)


def find(
    storage: Storage,
    factory: sessionmaker[Session],
    histories: Histories,
    claim: Claim,
    entry: CacheEntry,
    *,
    total_bytes: int | None = None,
) -> bool:
    """Reserve the bytes of an entry, evicting others if necessary; False if there is no room.

    `total_bytes` is the budget of all namespaces together. Above it, the namespace with the longest unused entry evicts
    by its own policy.
    """
    for number in range(_TRIES):
        if number == 1:  # the first attempt found no room
            with transaction(factory) as session:
                read_ahead(session, session.get_one(Namespace, entry.namespace_id), histories)
        with transaction(factory) as session:
            jobs.lock_claimed(session, claim)
            over = 0
            if total_bytes is not None:
                namespaces.lock_total(session)
                over = namespaces.total_used(session) + entry.num_bytes - total_bytes
            space = namespaces.lock(session, entry.namespace_id)
            share = _over_share(session, space, entry)
            if over <= 0 and share <= 0 and cache.reserve(session, space, entry):
                return True
            leaving = []
            if share > 0:
                leaving = make(session, space, histories, bytes_needed=share, tenant=entry.tenant)
            elif over <= 0:
                leaving = make(session, space, histories, num_bytes=entry.num_bytes)
        if share <= 0 < over:
            leaving = _from_the_idlest(factory, histories, over)
        if not leaving:
            break
        remove(storage, factory, leaving)
    with transaction(factory) as session:
        jobs.lock_claimed(session, claim)
        _refuse(session, claim, entry, "no room")
    return False


def _over_share(session: Session, space: Namespace, entry: CacheEntry) -> int:
    """Return by how many bytes an entry would exceed its tenant's share; 0 if there are no shares."""
    if space.tenant_share is None:
        return 0
    used = namespaces.tenant_used(session, space, entry.tenant)
    return used + entry.num_bytes - math.floor(space.tenant_share * space.byte_budget)


def _from_the_idlest(factory: sessionmaker[Session], histories: Histories, bytes_needed: int) -> list[CacheEntry]:
    """Evict that many bytes, or one entry if it has fewer, from the namespace with the longest unused entry.

    In a transaction of its own: nobody locks two namespaces.
    """
    with transaction(factory) as session:
        space_id = namespaces.longest_unused(session)
        if space_id is None:
            return []
        space = namespaces.lock(session, space_id)
        return make(session, space, histories, bytes_needed=bytes_needed) or make(
            session, space, histories, bytes_needed=1
        )


def read_ahead(session: Session, space: Namespace, histories: Histories) -> None:
    """Read recent demand, before the lock is taken, for the policy that needs it."""
    if space.policy == "coverage":
        demand = histories.setdefault(space.id, Demand())
        with demand.lock:
            rows, demand.last_id = cache.latest_demand(session, space, after=demand.last_id, limit=MEMORY)
            for event in filter(None, map(as_event, rows)):
                demand.policy.observe(event)


def make(
    session: Session,
    space: Namespace,
    histories: Histories,
    *,
    num_bytes: int = 0,
    bytes_needed: int | None = None,
    tenant: str | None = None,
) -> list[CacheEntry]:
    """Take the victims of the namespace's policy out of service. Needs `namespaces.lock`.

    As much as is needed for `num_bytes` more in its budget, or `bytes_needed`; only of one tenant, if named. Entries
    already being evicted, by another worker that may be dead, count and are returned too.
    """
    standing = cache.standing(session, space)
    on_the_way = [entry for entry in standing.leaving if tenant in (None, entry.tenant)]
    wanted = space.bytes_used + num_bytes - space.byte_budget if bytes_needed is None else bytes_needed
    needed, now = wanted - sum(entry.num_bytes for entry in on_the_way), standing.now.timestamp()
    kept = set(standing.pinned)
    asked = Asked(
        session=session,
        space=space,
        bytes_needed=needed,
        kept=frozenset(kept),
        tenant=tenant,
        now=now,
        seed=_SEED,
    )
    worn = _take_worn(asked, standing)
    needed -= sum(entry.num_bytes for entry in worn)
    while True:
        asked = replace(asked, bytes_needed=needed, kept=frozenset(kept))
        choice = choose(asked, histories)
        rows = cache.take(session, space, choice.ids)
        if len(rows) == len(choice.ids):
            break
        kept |= set(choice.ids) - {row.id for row in rows}  # pinned or used since: the next ones go instead
    eviction.settle(session, space, choice, rows)
    detail = {
        "bytes_needed": needed,
        "at": now,
        "kept": sorted(map(str, kept)),
        "victims": [str(id_) for id_ in choice.ids],
        "seed": _SEED,
        "tenant": tenant,
    }
    cache.withdraw(session, space, rows, policy=space.policy, reason="room", now=standing.now, detail=detail)
    return standing.leaving + worn + rows


def _take_worn(asked: Asked, standing: Standing) -> list[CacheEntry]:
    """Take entries that have lent as often as allowed out of service until there is room: no look-up returns them.

    Policies that count uses would keep these longest.
    """
    session, space = asked.session, asked.space
    max_uses = SpaceSettings.model_validate(space.settings).matching("").max_uses  # of any embedder
    if asked.bytes_needed <= 0 or not 0 < max_uses <= standing.most_hits or space.policy == "none":
        return []
    rows = cache.take(session, space, eviction.worn(asked, max_uses))
    cache.withdraw(session, space, rows, policy=None, reason="worn", now=standing.now, detail={"worn": True})
    return rows


def choose(asked: Asked, histories: Histories) -> Choice:
    """Return the victims of the namespace's policy, none for `none`; nothing is changed yet.

    Raises `ValueError` for a policy that no index orders.
    """
    if asked.space.policy == "coverage":
        read_ahead(asked.session, asked.space, histories)
        demand = histories[asked.space.id]
        with demand.lock:
            return _by_demand(asked, demand.policy)
    if asked.space.policy == "none":
        return eviction.NOBODY
    return eviction.choose(asked, asked.space.policy)


def _by_demand(asked: Asked, policy: Coverage) -> Choice:
    """Return the victims of `coverage`: first entries without recent demand, longest unused first, then by demand."""
    wanted = policy.wanted
    rows = eviction.in_order(asked, "lru")
    idle = (row for row in rows if row.seconds_saved == 0 or str(row.id) not in wanted)
    if chosen := eviction.enough(idle, asked.bytes_needed):
        return Choice(ids=[row.id for row in chosen])
    policy.alive = {str(id_) for id_ in cache.still_resident(asked.session, map(UUID, wanted))}
    entries = [as_entry(row) for row in eviction.in_order(asked, "lru")]
    chosen_ids = victims(policy, entries, [], bytes_needed=asked.bytes_needed, now=asked.now)
    return Choice(ids=[UUID(id_) for id_ in chosen_ids])


def as_entry(row: eviction.Found) -> EntryRow:
    """Return a resident row as policies read it, except for its hits."""
    return EntryRow(
        id=str(row.id),
        num_bytes=row.num_bytes,
        seconds_saved=row.seconds_saved,
        created=row.published_at.timestamp(),
        last_hit=row.last_used.timestamp(),
    )


def shrink(
    storage: Storage,
    factory: sessionmaker[Session],
    namespace_id: UUID,
    *,
    byte_budget: int,
    columns: Mapping[str, Any] = NOTHING,
) -> list[CacheEntry]:
    """Set a budget and other columns, evicting the excess by the new policy; return the evicted entries.

    The columns change in the transaction that sets the budget: an interruption before it leaves evictions but no
    changes. Raises `IllegalTransition` if the policy evicts too little, or running jobs hold entries.
    """
    histories: Histories = {}
    went: list[CacheEntry] = []
    tries = _TRIES
    with transaction(factory) as session:
        space = _foreseen(session.get_one(Namespace, namespace_id), columns)
        read_ahead(session, space, histories)
        step = _STEP * max(1, space.bytes_used // max(1, namespaces.num_resident(session, space)))
    while tries:
        with transaction(factory) as session:
            space = namespaces.lock(session, namespace_id)
            if space.bytes_used <= byte_budget:
                namespaces.change(space, columns)
                namespaces.set_budget(session, space, byte_budget)
                return went
            over, in_use = space.bytes_used - byte_budget, space.bytes_used
            _foreseen(space, columns)
            if not went and not _can_give(session, space, histories, over):
                break
            leaving = make(session, space, histories, bytes_needed=min(over, step))
        if not leaving:
            break
        remove(storage, factory, leaving)
        ids = {entry.id for entry in went}
        fresh = [entry for entry in leaving if entry.id not in ids]
        tries = tries if fresh else tries - 1  # their files remain: storage is away
        went += fresh
    raise IllegalTransition(
        f"{in_use} bytes are in use, and the policy {space.policy} gives up too little of what no running job holds; "
        "try again later, choose another --policy, or use `chai cache purge`"
    )


def _foreseen(space: Namespace, columns: Mapping[str, Any]) -> Namespace:
    """Return the namespace as it will be, for reading in this transaction; nothing is written."""
    for name, value in columns.items():
        set_committed_value(space, name, value)
    return space


def _can_give(session: Session, space: Namespace, histories: Histories, num_bytes: int) -> bool:
    """Return whether that many bytes can be evicted at all."""
    standing = cache.standing(session, space)
    needed = num_bytes - sum(entry.num_bytes for entry in standing.leaving)
    asked = Asked(session=session, space=space, bytes_needed=needed, kept=frozenset(standing.pinned))
    return needed <= 0 or bool(choose(asked, histories).ids)


def remove(storage: Storage, factory: sessionmaker[Session], leaving: Sequence[CacheEntry]) -> None:
    """Unlink the files of evicted entries and free their bytes; a failure leaves them to the sweeper."""
    removed: dict[UUID, list[UUID]] = {}
    for entry in leaving:
        try:
            storage.remove(entry.name)
        except StorageError as error:
            logger.warning("%s stays until the sweep: %s", entry.name, error)
        else:
            removed.setdefault(entry.namespace_id, []).append(entry.id)
    for namespace_id, ids in removed.items():
        with by_message(factory) as session:
            cache.gone(session, namespace_id, ids)


def give_back(storage: Storage, factory: sessionmaker[Session], entry: CacheEntry) -> None:
    """Drop an entry that was reserved but could not be written."""
    with transaction(factory) as session:
        cache.abandon(session, entry.id)
    remove(storage, factory, [entry])
