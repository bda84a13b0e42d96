"""What is planned once, for namespaces of any size, does not read all of a large one beside many small ones."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.orm import Session

from db import cache, namespaces
from db.models import EVICTION_ORDERS, CacheEntity, CacheEntry, Job, Namespace, Pin
from db.session import connect, sessions, transaction
from worker.cache import room

NUM_LARGE, NUM_SMALL = 2_000, 400  # entries of one namespace; namespaces of one entry
MOST_READ = 200  # rows, by an eviction; the large namespace has 6,000 of entities
_READ = text("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE 'cache_%'")


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def large(engine: Engine) -> UUID:
    """One namespace of many entries: each has a word of its own, one of ten, and one that all have."""
    with transaction(sessions(engine)) as session:
        id_ = fill(session, "large", NUM_LARGE)
        for number in range(NUM_SMALL):
            fill(session, f"small {number}", 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    with transaction(sessions(engine)) as session:  # pins come and go: for the planner there are as many as may be
        job = Job(tenant="large", prompt="a fox", model="m", width=64, height=64, num_frames=8, fps=8)
        session.add(job)
        session.flush()
        used = session.scalars(select(CacheEntry.id).limit(1)).one()
        session.add(Pin(entry_id=used, job_id=job.id, fence=1))
    return id_


def fill(session: Session, owner: str, num_entries: int) -> UUID:
    """A namespace with entries as publishing leaves them."""
    space = namespaces.get_or_create(
        session, {"model": "m"}, scope="tenant", owner=owner, dims=3, byte_budget=1 << 40, policy="lru"
    )
    entries = [made(space, number) for number in range(num_entries)]
    ids = list(session.scalars(insert(CacheEntry).returning(CacheEntry.id, sort_by_parameter_order=True), entries))
    words = [(id_, word) for n, id_ in enumerate(ids) for word in (f"thing {n}", f"place {n % 10}", "a fox")]
    entity = {"namespace_id": space.id, "head": "", "attributes": [], "dims": 3}
    copies = [{"entry_id": id_, "text": word, "kind": "object", "is_copy": True} | entity for id_, word in words]
    vectors = [
        {"text": word, "kind": "vector", "embedding": [1.0, 0.0, 0.0]} | entity for word in {word for _, word in words}
    ]
    session.execute(insert(CacheEntity), copies)
    session.execute(insert(CacheEntity), vectors)
    space.num_entities, space.bytes_used = len(words), 10 * num_entries
    space.queues = {"next": num_entries, "small_bytes": 10 * num_entries}
    return space.id


def made(space: Namespace, number: int) -> dict[str, object]:
    return {
        "namespace_id": space.id,
        "tenant": space.owner,
        "donor_job_id": uuid4(),
        "donor_fence": 1,
        "prompt": "a fox",
        "name": f"latents/{uuid4()}",
        "num_bytes": 10,
        "schema_version": 1,
        "tensors": {},
        "seed": 1,
        "full_seconds": 1.0,
        "status": "resident",
        "published_at": datetime.now(UTC),
        "last_used": datetime.now(UTC),
        "queue_place": number,
    }


@pytest.mark.parametrize("policy", EVICTION_ORDERS)
def test_an_eviction_reads_what_goes(engine: Engine, large: UUID, policy: str) -> None:
    with sessions(engine)() as session:
        session.get_one(Namespace, large).policy = policy
        held = namespaces.lock(session, large)
        before = session.scalar(_READ)

        leaving = room.make(session, held, {}, bytes_needed=20)
        cache.gone(session, held.id, [row.id for row in leaving])

        assert len(leaving) == 2
        assert session.scalar(_READ) - before <= MOST_READ
        session.rollback()
