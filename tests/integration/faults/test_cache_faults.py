"""The cache under faults, with real processes: readers and evictors at once, full budgets, dead writers, a lost index.

The processes are forked off this one, which never runs a model itself; each opens connections of its own.
"""

import json
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from api.sweeps import sweep_entries
from db import acceptance, cache, cache_search, jobs, namespaces
from db.models import CacheEntry, CacheEvent, Job, Namespace
from db.session import connect, sessions, transaction
from db.states import EntryStatus
from shared.generation import Mode
from shared.storage import LATENTS, Storage, StoredFile
from worker.cache import room
from worker.cache.decisions import planning
from worker.cache.latent_cache import Kept
from worker.cache.namespaces import SpaceSettings
from worker.cache.planner import StoredPlan
from worker.cache.store import StoredCache
from worker.jobs.attempt import generate
from worker.jobs.outages import retry_database
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny
from worker.prompts.entities import extractor
from worker.reuse.codec import pack
from worker.reuse.donor import CLEAN, Donor
from worker.runtime import Runtime
from worker.settings import WorkerSettings

DIMS = 384
TIMEOUT_S = 120.0
NUM_PROCESSES, NUM_EACH, NUM_FITTING = 8, 10, 16
HNSW = f"ix_cache_entities_hnsw_{DIMS}"
RED_FOX, SAME_FOX = "a red fox in the snow", "a red fox on a bench"
FORK = multiprocessing.get_context("fork")
Factory = sessionmaker[Session]


class Words:
    """An embedder without a model: a vector of its own for every phrase."""

    name, dim = "words", DIMS

    def embed(self, phrases: list[str]) -> list[list[float]]:
        return [unit(random.Random(phrase)) for phrase in phrases]

    def knows(self, phrase: str) -> bool:
        return True


def unit(rng: random.Random) -> list[float]:
    vector = [rng.gauss(0, 1) for _ in range(DIMS)]
    norm = sum(value * value for value in vector) ** 0.5
    return [value / norm for value in vector]


class Stopping(Storage):
    """Storage that says when latents are about to be read, or to be or just were written, and then waits."""

    def __init__(self, url: str, at: str) -> None:
        super().__init__(url)
        self._at = at
        self.is_there, self.may_go_on = FORK.Event(), FORK.Event()

    def read(self, name: str) -> bytes:
        self._stop("read", name)
        return super().read(name)

    def write(self, name: str, content: bytes) -> StoredFile:
        self._stop("before write", name)
        file = super().write(name, content)
        self._stop("after write", name)
        return file

    def _stop(self, at: str, name: str) -> None:
        if at == self._at and name.startswith(LATENTS):
            self.is_there.set()
            self.may_go_on.wait(TIMEOUT_S)


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A database and a storage that worker processes share."""

    database_url: str
    storage: Storage
    models_dir: Path
    factory: Factory
    processes: list[BaseProcess] = field(default_factory=list)

    def accept(self, prompt: str) -> UUID:
        size = {"width": 32, "height": 32, "num_frames": 8, "fps": 8}
        with transaction(self.factory) as session:
            return acceptance.accept(session, Job(tenant="ada", prompt=prompt, model="tiny", **size))[0].id

    def start(self, work: Callable[..., None], *args: Any) -> BaseProcess:
        process = FORK.Process(target=self._be, args=(work, args), daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def _be(self, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        torch.set_num_threads(1)
        engine = connect(self.database_url, pool_size=2, application="chai-test-worker")
        work(sessions(engine), *args)
        engine.dispose()

    def run(self, factory: Factory, job_id: UUID, storage: Storage, lease_s: float = 60) -> None:
        """Be a worker that runs one job."""
        given = {"DATABASE_URL": self.database_url, "models_dir": self.models_dir, "lease_s": lease_s}
        settings = WorkerSettings.model_validate(given)
        runtime = Runtime(
            settings=settings,
            owner="w",
            factory=factory,
            storage=storage,
            load=lambda card, _: OpenSoraModel(tiny(), card),
        )
        runtime.embedder = Words()
        generate(runtime, job_id)

    def finish(self, prompt: str) -> Job:
        job_id = self.accept(prompt)
        join(self.start(self.run, job_id, self.storage))
        return self.job(job_id)

    def job(self, job_id: UUID) -> Job:
        with self.factory() as session:
            return session.get_one(Job, job_id)

    def space(self) -> Namespace:
        with self.factory() as session:
            return session.scalars(select(Namespace)).one()

    def check_ledger(self) -> None:
        """The ledger equals the rows and the bytes on disk."""
        on_disk = sum(file.num_bytes for file in self.storage.files(LATENTS))
        with self.factory() as session:
            used = session.scalar(select(func.sum(Namespace.bytes_used)))
            owned = select(func.coalesce(func.sum(CacheEntry.num_bytes), 0)).where(
                CacheEntry.status != EntryStatus.GONE
            )
            assert (used, session.scalar(owned)) == (on_disk, on_disk)


def join(*processes: BaseProcess) -> None:
    for process in processes:
        process.join(TIMEOUT_S)
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.fixture(scope="module", autouse=True)
def _dictionaries() -> None:
    """Those that prompts are read with: here once, not in each process that is forked off this one."""
    extractor("lexicon")(RED_FOX)


@pytest.fixture
def cluster(database_url: str, session_factory: Factory, storage_url: str, tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    card = {"name": "tiny", "title": "Tiny", "source": "random-tiny", "sizes": ["32x32"], "fps": 8, "frames": [8]}
    (folder / "chai.json").write_text(json.dumps(card | {"full_steps": 4, "fast_steps": 3}))
    cluster = Cluster(
        database_url=database_url,
        storage=Storage(storage_url),
        models_dir=tmp_path / "models",
        factory=session_factory,
    )
    yield cluster
    for process in cluster.processes:
        process.kill()
        process.join()


def test_an_entry_that_another_process_reads_is_not_evicted_for_room(cluster: Cluster) -> None:
    """F14: the pin of a worker that is just about to read holds against an evictor that needs every byte."""
    cluster.finish(RED_FOX)
    job_id, storage = cluster.accept(SAME_FOX), Stopping(cluster.storage.url, "read")
    reader = cluster.start(cluster.run, job_id, storage)
    assert storage.is_there.wait(TIMEOUT_S)

    with transaction(cluster.factory) as session:
        space = namespaces.lock(session, cluster.space().id)
        space.byte_budget = space.bytes_used
        leaving = room.make(session, space, {}, num_bytes=1)
    storage.may_go_on.set()
    join(reader)

    assert leaving == []
    assert (cluster.job(job_id).status, cluster.job(job_id).path) == ("completed", "fast")
    cluster.check_ledger()


def test_a_purge_under_a_reader_costs_its_job_nothing_but_the_gain(cluster: Cluster) -> None:
    """F14: what an operator removes while it is being read is a miss to the reader, never an error."""
    cluster.finish(RED_FOX)
    job_id, storage = cluster.accept(SAME_FOX), Stopping(cluster.storage.url, "read")
    reader = cluster.start(cluster.run, job_id, storage)
    assert storage.is_there.wait(TIMEOUT_S)

    with transaction(cluster.factory) as session:
        space = namespaces.lock(session, cluster.space().id)
        ids = [entry.id for entry in cache.resident(session)]
        removed = cache.evict(session, space, ids, policy="purge", reason="test", even_pinned=True)
    room.remove(cluster.storage, cluster.factory, removed)
    storage.may_go_on.set()
    join(reader)

    job = cluster.job(job_id)
    assert (job.status, job.path, job.receipt["reason"]) == ("completed", "full", "donor_unusable")
    assert [entry.donor_job_id for entry in resident(cluster)] == [job_id]
    cluster.check_ledger()


def resident(cluster: Cluster) -> list[CacheEntry]:
    with cluster.factory() as session:
        return cache.resident(session)


@pytest.mark.parametrize("at", ["before write", "after write"])
def test_a_worker_killed_before_it_publishes_leaves_neither_bytes_nor_files(cluster: Cluster, at: str) -> None:
    """The bytes are reserved, the file perhaps written; then the process is gone."""
    job_id, storage = cluster.accept(RED_FOX), Stopping(cluster.storage.url, at)
    writer = cluster.start(cluster.run, job_id, storage, 1.0)
    assert storage.is_there.wait(TIMEOUT_S)
    assert cluster.space().bytes_used > 0
    assert sweep_entries(cluster.storage, cluster.factory, quarantine_s=0) == []  # it lives, and so does its entry

    writer.kill()
    writer.join()
    deadline = time.monotonic() + 20
    while not requeued(cluster):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert len(sweep_entries(cluster.storage, cluster.factory, quarantine_s=0)) == 1
    assert (cluster.space().bytes_used, list(cluster.storage.files(LATENTS))) == (0, [])
    join(cluster.start(cluster.run, job_id, cluster.storage))
    assert (cluster.job(job_id).status, cluster.job(job_id).attempt) == ("completed", 2)
    assert len(resident(cluster)) == 1
    cluster.check_ledger()


def requeued(cluster: Cluster) -> list[UUID]:
    with transaction(cluster.factory) as session:
        return jobs.sweep(session, max_lost=3).requeued


def test_eight_processes_at_the_byte_limit_never_pass_it(cluster: Cluster) -> None:
    """F15: each writes and evicts; every commit leaves a true ledger within the budget."""
    with transaction(cluster.factory) as session:
        space = namespaces.get_or_create(session, {"m": 1}, scope="tenant", owner="ada", dims=DIMS, byte_budget=1)
    size = len(pack(donor(0), fingerprint=space.fingerprint).content)
    with transaction(cluster.factory) as session:
        namespaces.lock(session, space.id).byte_budget = NUM_FITTING * size + size // 2
    start = FORK.Event()
    writers = [cluster.start(keep_many, cluster.storage, space.id, seed, start) for seed in range(NUM_PROCESSES)]

    start.set()
    num_looks = 0
    while any(writer.is_alive() for writer in writers):
        assert_true_ledger(cluster.factory)
        num_looks += 1
        time.sleep(0.02)
    join(*writers)

    assert num_looks > 10
    sweep_entries(cluster.storage, cluster.factory, quarantine_s=0)
    cluster.check_ledger()
    assert len(resident(cluster)) <= NUM_FITTING
    with cluster.factory() as session:
        kinds = dict(session.execute(select(CacheEvent.kind, func.count()).group_by(CacheEvent.kind)).all())
    assert kinds["insert"] + kinds.get("refuse", 0) == NUM_PROCESSES * NUM_EACH
    assert kinds["insert"] - kinds["evict"] == len(resident(cluster))
    assert kinds["insert"] > NUM_PROCESSES * NUM_EACH / 2  # refusals are the exception


def donor(seed: int) -> Donor:
    values = torch.arange(4 * 2 * 16, dtype=torch.float32).reshape(1, 4, 2, 4, 4)
    return Donor(tensors={CLEAN: values}, seed=seed)


def keep_many(factory: Factory, storage: Storage, space_id: UUID, seed: int, start: Event) -> None:
    """Be a worker whose every full run enters the cache."""
    extraction = extractor("lexicon")(f"a fox number {seed}")
    settings = WorkerSettings.model_validate({"DATABASE_URL": "postgresql+psycopg2://nowhere/none"})
    latents = StoredCache(settings=settings, factory=factory, storage=storage, embedder=Words)
    start.wait(TIMEOUT_S)
    for _ in range(NUM_EACH):
        with transaction(factory) as session:
            values = {"model": "tiny", "width": 32, "height": 32, "num_frames": 8, "fps": 8}
            job = acceptance.accept(session, Job(tenant="ada", prompt="a fox", **values))[0]
            claim = jobs.claim(session, job.id, owner="w", lease_s=600)
            space = session.get_one(Namespace, space_id)
        assert claim
        plan = StoredPlan(
            plan=planning.decide(Mode.FULL, extraction, ()),
            table=planning.PAPER,
            space=space,
            settings=SpaceSettings(),
            extraction=extraction,
            vectors=Words().embed([entity.text for entity in extraction.entities]),
            pinned=(),
            fast_seconds=None,
        )
        keep = partial(latents.put, claim, plan, donor(0), full_seconds=1.0)
        kept = retry_database(keep, until=lambda: False)  # seven others hold the lock in turn
        retry_database(partial(commit, latents, claim, plan, kept), until=lambda: False)


def commit(latents: StoredCache, claim: jobs.Claim, plan: StoredPlan, kept: Kept | None) -> None:
    with transaction(latents.factory) as session:
        latents.commit(session, claim, plan, kept)


def assert_true_ledger(factory: Factory) -> None:
    """Compare ledger and entries in one statement: one snapshot."""
    owned = select(func.coalesce(func.sum(CacheEntry.num_bytes), 0)).where(
        CacheEntry.namespace_id == Namespace.id, CacheEntry.status != EntryStatus.GONE
    )
    query = select(Namespace.bytes_used, Namespace.byte_budget, owned.scalar_subquery())
    with factory() as session:
        for used, budget, num_bytes in session.execute(query):
            assert num_bytes == used <= budget


def test_an_index_that_is_rebuilt_or_gone_makes_no_decision_wrong(cluster: Cluster) -> None:
    """F24: look-ups go on in two processes while the HNSW index is rebuilt, dropped and made again."""
    space_id = fill(cluster.factory, 300)
    stop, counts = FORK.Event(), [FORK.Value("i", 0) for _ in range(2)]
    readers = [cluster.start(look_up_until, space_id, stop, count) for count in counts]
    autocommit = create_engine(cluster.database_url, isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        define = str(connection.scalar(text(f"SELECT pg_get_indexdef('{HNSW}'::regclass)")))
        statements = [
            f"REINDEX INDEX CONCURRENTLY {HNSW}",
            f"DROP INDEX CONCURRENTLY {HNSW}",
            define.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY"),
        ]
        for statement in statements:
            wait_for_more(counts, readers)
            connection.execute(text(statement))
        wait_for_more(counts, readers)
    autocommit.dispose()

    stop.set()
    join(*readers)


def fill(factory: Factory, number: int) -> UUID:
    with transaction(factory) as session:
        space = namespaces.get_or_create(session, {"m": 1}, scope="tenant", owner="ada", dims=DIMS, byte_budget=10**9)
        namespaces.lock(session, space.id)
        for seed in range(number):
            entry = CacheEntry(
                namespace_id=space.id,
                tenant="ada",
                donor_job_id=UUID(int=seed),
                donor_fence=1,
                prompt="made",
                name=f"latents/{seed}.safetensors",
                num_bytes=1,
                schema_version=1,
                tensors={},
                seed=seed,
                full_seconds=1.0,
            )
            assert cache.reserve(session, space, entry)
            vector = unit(random.Random(seed))
            found = cache.NewEntity(text=str(seed), head="thing", attributes=(), kind="object", embedding=vector)
            cache.publish(session, space, entry.id, [found])
        return space.id


def look_up_until(factory: Factory, space_id: UUID, stop: Event, count: Any) -> None:
    """Ask for stored vectors again and again: each must come back as its own nearest."""
    with factory() as session:
        space = session.get_one(Namespace, space_id)
    while not stop.is_set():
        seed = random.randrange(300)
        with transaction(factory) as session:
            search = random.choice(["hnsw", "auto"])
            found = cache_search.neighbours(session, space, [unit(random.Random(seed))], limit=1, search=search)
        assert [near.text for near in found] == [str(seed)]
        count.value += 1


def wait_for_more(counts: list[Any], readers: list[BaseProcess]) -> None:
    """Wait until every reader has looked up another few times."""
    before = [count.value for count in counts]
    deadline = time.monotonic() + TIMEOUT_S
    while any(count.value < was + 5 for count, was in zip(counts, before, strict=True)):
        assert all(reader.is_alive() for reader in readers), "a reader found something wrong"
        assert time.monotonic() < deadline
        time.sleep(0.02)
