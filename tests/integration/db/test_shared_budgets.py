"""A budget over all namespaces, and what one tenant may use of a shared one."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, cache, jobs, namespaces
from db.jobs import Claim
from db.models import EVICTION_ORDERS, CacheEntry, CacheEvent, Job, Namespace
from db.session import transaction
from db.states import EntryStatus
from shared.storage import Storage
from worker.cache import room, trace
from worker.cache.decisions.replay import EvictionRow, replay

Factory = sessionmaker[Session]
BYTES = 100


def open_space(
    factory: Factory, owner: str, *, entries: int = 50, policy: str = "lru", share: float | None = None
) -> UUID:
    with transaction(factory) as session:
        values = {"byte_budget": entries * BYTES, "policy": policy, "tenant_share": share}
        return namespaces.get_or_create(session, {"model": "m"}, scope="shared", owner=owner, dims=3, **values).id


def claim_of(factory: Factory, tenant: str) -> Claim:
    with transaction(factory) as session:
        size = {"width": 32, "height": 32, "num_frames": 8, "fps": 8}
        job = acceptance.accept(session, Job(tenant=tenant, prompt="a fox", model="m", **size))[0]
        claim = jobs.claim(session, job.id, owner="w", lease_s=600)
    assert claim
    return claim


def put(
    factory: Factory, storage: Storage, space_id: UUID, tenant: str, *, total_bytes: int | None = None
) -> UUID | None:
    """Put an entry as a worker does; None when there is no room."""
    claim = claim_of(factory, tenant)
    entry = CacheEntry(
        id=uuid4(),
        namespace_id=space_id,
        tenant=tenant,
        donor_job_id=claim.job.id,
        donor_fence=claim.fence,
        prompt="a fox",
        name=f"latents/{uuid4()}",
        num_bytes=BYTES,
        schema_version=1,
        tensors={},
        seed=1,
        full_seconds=1.0,
    )
    if not room.find(storage, factory, {}, claim, entry, total_bytes=total_bytes):
        return None
    with transaction(factory) as session:
        cache.publish(session, namespaces.lock(session, space_id), entry.id, [], seconds_saved=1.0)
    return entry.id


def resident(factory: Factory, space_id: UUID) -> list[UUID]:
    """Ids, the oldest first."""
    with factory() as session:
        query = select(CacheEntry.id).where(CacheEntry.namespace_id == space_id)
        there = query.where(CacheEntry.status == EntryStatus.RESIDENT)
        return list(session.scalars(there.order_by(CacheEntry.published_at)))


@pytest.fixture
def storage(storage_url: str) -> Storage:
    return Storage(storage_url)


def test_over_the_budget_of_all_the_longest_unused_goes_whosesoever_it_is(
    session_factory: Factory, storage: Storage
) -> None:
    quiet, busy = (open_space(session_factory, owner) for owner in ("quiet", "busy"))
    old = [put(session_factory, storage, quiet, "eve", total_bytes=4 * BYTES) for _ in range(2)]
    new = [put(session_factory, storage, busy, "ada", total_bytes=4 * BYTES) for _ in range(3)]

    assert resident(session_factory, quiet) == old[1:]
    assert resident(session_factory, busy) == new
    new += [put(session_factory, storage, busy, "ada", total_bytes=4 * BYTES) for _ in range(2)]
    assert (resident(session_factory, quiet), resident(session_factory, busy)) == ([], new[1:])
    with session_factory() as session:
        assert namespaces.total_used(session) == 4 * BYTES


def test_an_entry_larger_than_all_may_use_is_refused_and_nothing_else_is_lost_that_need_not_be(
    session_factory: Factory, storage: Storage
) -> None:
    kept = open_space(session_factory, "kept", policy="none")
    first = put(session_factory, storage, kept, "ada", total_bytes=BYTES)

    assert put(session_factory, storage, kept, "ada", total_bytes=BYTES) is None

    assert resident(session_factory, kept) == [first]
    with session_factory() as session:
        refused = session.scalars(select(CacheEvent).where(CacheEvent.kind == "refuse")).one()
        assert refused.detail == {"reason": "no room"}


@pytest.mark.parametrize("policy", [*EVICTION_ORDERS, "coverage"])
def test_a_tenant_over_its_share_gives_up_its_own_and_leaves_the_others_alone(
    session_factory: Factory, storage: Storage, policy: str
) -> None:
    space_id = open_space(session_factory, "all", entries=8, policy=policy, share=0.25)
    theirs = [put(session_factory, storage, space_id, "eve") for _ in range(2)]
    mine = [put(session_factory, storage, space_id, "ada") for _ in range(5)]

    assert None not in mine
    there = resident(session_factory, space_id)
    assert set(theirs) <= set(there)
    assert len(there) == 4
    assert mine[-1] in there
    with session_factory() as session:
        rows = list(trace.read(session, space_id))
        assert [row.tenant for row in rows if isinstance(row, EvictionRow)] == ["ada"] * 3
        assert replay(rows) == []
        space = session.get_one(Namespace, space_id)
        assert (space.bytes_used, namespaces.tenant_used(session, space, "ada")) == (4 * BYTES, 2 * BYTES)
