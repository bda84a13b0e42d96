"""Namespaces of the latent cache, each with its byte ledger.

The ledger `namespaces.bytes_used` counts every byte that is reserved or on storage. It changes only under the lock of
the namespace row (`lock`), and so do the events: so their ids are in the order of the decisions, and a recorded run can
be replayed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.errors import IllegalTransition
from db.models import CacheEntry, Namespace
from db.session import waited_in_vain
from db.states import EntryStatus


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that shapes latents; only equal identities may share."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def get_or_create(
    session: Session, identity: Mapping[str, Any], *, scope: str, owner: str, dims: int, **initial: Any
) -> Namespace:
    """Return the namespace of an identity; make it with `initial` (byte_budget, policy, admission) if it is new."""
    full = {**identity, "scope": scope, "owner": owner}
    key = fingerprint(full)
    known = select(Namespace).where(Namespace.fingerprint == key)
    row = session.scalars(known).one_or_none()
    if row is None:
        values = {"fingerprint": key, "identity": full, "scope": scope, "owner": owner, "dims": dims, **initial}
        session.execute(insert(Namespace).values(values).on_conflict_do_nothing())
        row = session.scalars(known).one()
    return row


def lock(session: Session, namespace_id: UUID) -> Namespace:
    """Lock the namespace until the end of the transaction: only the caller may change the ledger and the events.

    Rows that refer to the namespace may be inserted meanwhile: decisions go on, and two attempts that have written
    their metrics cannot deadlock.
    """
    return session.scalars(_LOCK, {"id": namespace_id}, execution_options={"populate_existing": True}).one()


def try_lock(session: Session, namespace_id: UUID) -> Namespace | None:
    """Lock the namespace as `lock` does; return None if another transaction holds it for too long. This one goes on.

    The holder may be a machine out of reach: a caller that must not wait for it does without the ledger.
    """
    try:
        with session.begin_nested():
            return lock(session, namespace_id)
    except OperationalError as error:
        if waited_in_vain(error):
            return None
        raise


_LOCK = select(Namespace).where(Namespace.id == bindparam("id")).with_for_update(key_share=True)


def lock_total(session: Session) -> None:
    """Lock the total of all namespaces until the end of the transaction; take it before any `lock`."""
    session.execute(select(func.pg_advisory_xact_lock(_TOTAL)))


_TOTAL = 0x63686169_0001  # any fixed number


def total_used(session: Session) -> int:
    """Return the bytes that all namespaces use."""
    return int(session.scalar(select(func.coalesce(func.sum(Namespace.bytes_used), 0))) or 0)


def tenant_used(session: Session, space: Namespace, tenant: str) -> int:
    """Return the bytes that a tenant's entries take up in a namespace."""
    mine = and_(CacheEntry.namespace_id == space.id, CacheEntry.tenant == tenant, CacheEntry.status != EntryStatus.GONE)
    return int(session.scalar(select(func.coalesce(func.sum(CacheEntry.num_bytes), 0)).where(mine)) or 0)


def longest_unused(session: Session) -> UUID | None:
    """Return the namespace that has the longest unused entry of all.

    Namespaces whose policy keeps everything are left out.
    """
    resident_rows = and_(CacheEntry.namespace_id == Namespace.id, CacheEntry.status == EntryStatus.RESIDENT)
    first = select(CacheEntry.last_used).where(resident_rows).order_by(CacheEntry.last_used).limit(1).scalar_subquery()
    gives_up = select(Namespace.id, first.label("since")).where(Namespace.policy != "none").subquery()
    query = select(gives_up.c.id).where(gives_up.c.since.is_not(None)).order_by(gives_up.c.since).limit(1)
    return session.scalar(query)


def every(session: Session) -> list[Namespace]:
    """Return all namespaces, the oldest first."""
    return list(session.scalars(select(Namespace).order_by(Namespace.created_at)))


def of(session: Session, row: CacheEntry) -> Namespace:
    """Return the namespace of an entry."""
    return session.get_one(Namespace, row.namespace_id)


def change(space: Namespace, columns: Mapping[str, Any]) -> None:
    """Change columns that an operator may change. Needs `lock`."""
    for name, value in columns.items():
        setattr(space, name, value)


def set_budget(session: Session, space: Namespace, byte_budget: int) -> None:
    """Change a budget; raise `IllegalTransition` while more is in use. Needs `lock`."""
    if byte_budget < space.bytes_used:
        raise IllegalTransition(f"{space.bytes_used} bytes are in use; evict down to {byte_budget} first")
    space.byte_budget = byte_budget
    session.flush()


def occupancy(space: Namespace) -> dict[str, int]:
    """Return how full a namespace is, from its own row: counting entries would cost every decision a scan."""
    return {"entities": space.num_entities, "bytes": space.bytes_used, "byte_budget": space.byte_budget}


def num_resident(session: Session, space: Namespace) -> int:
    """Count the entries that serve look-ups."""
    resident_rows = and_(CacheEntry.namespace_id == space.id, CacheEntry.status == EntryStatus.RESIDENT)
    return session.scalars(select(func.count()).select_from(CacheEntry).where(resident_rows)).one()
