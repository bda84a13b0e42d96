"""The look-up loses no hit: not among equal words, not beside a tenant whose entities lie nearer."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from db import cache, cache_search, namespaces
from db.models import CacheEntity, CacheEntry, Namespace
from db.session import connect, sessions, transaction
from shared.generation import Mode
from worker.cache import planner
from worker.cache.decisions import planning
from worker.cache.decisions.types import Neighbour
from worker.cache.namespaces import SpaceSettings
from worker.prompts.types import Entity, Extraction

DIMS, LIMIT, SAME = 384, 16, 0.8
NUM_POPULAR, NUM_SMALL, NUM_TEXTS = 16_000, 6_000, 4_000
INDEX = f"ix_cache_entities_hnsw_{DIMS}"
Vectors = NDArray[np.float64]
Factory = sessionmaker[Session]


def around(rng: np.random.Generator, centres: Vectors, *, spread: float) -> Vectors:
    """Unit vectors (N, D) near centres (N, D)."""
    points = centres + spread * rng.normal(size=centres.shape) / np.sqrt(DIMS)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def words(rng: np.random.Generator, number: int) -> NDArray[np.int64]:
    """Numbers of texts as often as words are written: the n-th one time in n."""
    shares = 1 / np.arange(1, NUM_TEXTS + 1)
    return rng.choice(NUM_TEXTS, size=number, p=shares / shares.sum())


def columns(texts: list[str], vectors: Vectors) -> dict[str, list[Any]]:
    """Entities as the columns of a statement, the later ones of a text as copies."""
    seen: set[str] = set()
    copies = []
    for name in texts:
        copies.append(name in seen)
        seen.add(name)
    literals = ["[" + ",".join(f"{value:.6g}" for value in vector) + "]" for vector in vectors]
    return {"texts": texts, "vectors": literals, "copies": copies}


def fill(session: Session, owner: str, entities: dict[str, list[Any]]) -> Namespace:
    """A namespace of one entry with so many entities, as publishing them one by one leaves it but for the entries."""
    space = namespaces.get_or_create(
        session, {"model": "m"}, scope="tenant", owner=owner, dims=DIMS, byte_budget=1 << 40, policy="lru"
    )
    entry = CacheEntry(
        id=uuid4(),
        namespace_id=space.id,
        tenant=owner,
        donor_job_id=uuid4(),
        donor_fence=1,
        prompt="made",
        name=f"latents/{uuid4()}",
        num_bytes=1,
        schema_version=1,
        tensors={},
        seed=1,
        full_seconds=1.0,
    )
    session.add(entry)
    session.flush()
    insert = text(
        "INSERT INTO cache_entities (entry_id, namespace_id, text, head, attributes, kind, dims, embedding, is_copy) "
        "SELECT :entry, :space, given.text, 'thing', '{}', 'object', :dims, given.vector::vector, given.is_copy FROM "
        "unnest(CAST(:texts AS text[]), CAST(:vectors AS text[]), CAST(:copies AS bool[])) "
        "AS given(text, vector, is_copy)"
    )
    session.execute(insert, {"entry": entry.id, "space": space.id, "dims": DIMS, **entities})
    space.num_entities = len(entities["texts"])
    return space


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def spaces(engine: Engine) -> dict[str, UUID]:
    """A popular tenant and a small one, whose entities lie across what the popular one's lie around."""
    rng = np.random.default_rng(0)
    topics = around(rng, np.zeros((40, DIMS)), spread=1.0)
    texts = around(rng, topics[rng.integers(40, size=NUM_TEXTS)], spread=0.8)
    popular, small = words(rng, NUM_POPULAR), words(rng, NUM_SMALL)
    far = around(rng, 0.3 * topics[rng.integers(40, size=NUM_TEXTS)], spread=1.0)
    entities = {  # before the transaction, which may not idle for as long as this takes on a busy machine
        "popular": columns([f"text {n}" for n in popular], texts[popular]),
        "small": columns([f"far {n}" for n in small], far[small]),
    }
    with transaction(sessions(engine)) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        definition = session.scalar(select(text(f"pg_get_indexdef('{INDEX}'::regclass)")))
        session.execute(text(f"DROP INDEX {INDEX}"))
        made = {owner: fill(session, owner, its) for owner, its in entities.items()}
        session.execute(text(str(definition)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE cache_entities"))
    return {name: space.id for name, space in made.items()}


def asked(session: Session, space: Namespace, number: int) -> list[tuple[str, list[float]]]:
    """Stored texts with their vectors, the often written ones more often, as prompts ask for them."""
    rng = np.random.default_rng(1)
    mine = select(CacheEntity.id).where(CacheEntity.namespace_id == space.id).order_by(CacheEntity.id)
    ids = session.scalars(mine).all()
    chosen = [ids[i] for i in rng.choice(len(ids), size=number, replace=False)]
    read = select(CacheEntity.id, CacheEntity.text, CacheEntity.embedding).where(CacheEntity.id.in_(chosen))
    rows = {row.id: row for row in session.execute(read)}  # no others: to read a vector takes longer than to find it
    queries = []
    for index, row in enumerate(rows[i] for i in chosen):
        vector = np.asarray(row.embedding, dtype=float)
        if index % 2:  # every other one is put in other words
            vector = around(rng, vector[None], spread=0.5)[0]
        queries.append((row.text if index % 2 == 0 else "other words", vector.tolist()))
    return queries


@pytest.mark.parametrize("owner", ["popular", "small"])
def test_no_hit_is_lost_against_exact_search(engine: Engine, spaces: dict[str, UUID], owner: str) -> None:
    lost, found = [], 0
    with sessions(engine)() as session:
        space = session.get_one(Namespace, spaces[owner])
        for name, vector in asked(session, space, 60):
            near = {
                search: cache_search.neighbours(session, space, [vector], texts=[name], limit=LIMIT, search=search)
                for search in ("exact", "auto")
            }
            hits = [row.similarity for row in near["exact"] if row.similarity >= SAME]
            found += len(hits)
            if [row.similarity for row in near["auto"] if row.similarity >= SAME] != pytest.approx(hits, abs=1e-5):
                lost.append(name)

    assert lost == []
    assert found > 300


def test_a_small_tenant_finds_its_own_where_others_lie_nearer(engine: Engine, spaces: dict[str, UUID]) -> None:
    with sessions(engine)() as session:
        small, popular = (session.get_one(Namespace, spaces[owner]) for owner in ("small", "popular"))
        _, vector = asked(session, popular, 1)[0]
        near = {
            search: [row.text for row in cache_search.neighbours(session, small, [vector], limit=LIMIT, search=search)]
            for search in ("exact", "auto")
        }

    assert near["auto"] == near["exact"]
    assert len(near["auto"]) == LIMIT


def index_only(session: Session) -> None:
    """Plan as for a large table, where nothing else is as cheap as the index."""
    session.execute(text("; ".join(f"SET LOCAL enable_{plan} = off" for plan in ("seqscan", "bitmapscan", "sort"))))


@pytest.mark.parametrize(("largest", "by_codes"), [(10**9, True), (0, False)])
def test_a_walk_through_the_index_that_ends_early_is_completed(
    engine: Engine, spaces: dict[str, UUID], monkeypatch: pytest.MonkeyPatch, largest: int, by_codes: bool
) -> None:
    """In the largest namespaces by a wider walk, not by codes: a look at all of them takes longer with each."""
    monkeypatch.setattr(cache_search, "EXACT_BELOW", 0)  # by the index, as if the small tenant were the large one
    monkeypatch.setattr(cache_search, "CODES_BELOW", 0)
    monkeypatch.setattr(cache_search, "CODES_BESIDE_OTHERS", largest)
    monkeypatch.setattr(cache_search, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(cache_search, "NUM_CODES", 2_000)
    monkeypatch.setattr(cache_search, "_SCAN_LIMITS", (10, 10))
    statements = list[str]()
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with sessions(engine)() as session:
        small, popular = (session.get_one(Namespace, spaces[owner]) for owner in ("small", "popular"))
        _, vector = asked(session, popular, 1)[0]

        def texts(search: str) -> list[str]:
            return [
                row.text
                for row in cache_search.neighbours(session, small, [vector], limit=200, search=search, ef_search=10)
            ]

        found = {search: texts(search) for search in ("exact", "hnsw")}
        index_only(session)
        found["auto"] = texts("auto")

    assert found["hnsw"] != found["exact"]  # that is what has to be completed
    assert found["auto"] == found["exact"]
    assert any("EXECUTE codes" in statement for statement in statements) is by_codes


def test_what_lies_around_a_text_that_many_tenants_store_is_found(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vectors are equal and link to each other alone: a walk that comes there never leads out again."""
    monkeypatch.setattr(cache_search, "EXACT_BELOW", 0)  # by the index, as if the tenant were one of the largest
    monkeypatch.setattr(cache_search, "CODES_BELOW", 0)
    monkeypatch.setattr(cache_search, "CODES_BESIDE_OTHERS", 0)
    rng = np.random.default_rng(0)
    text_vector = around(rng, np.zeros((1, DIMS)), spread=1.0)
    fill(session, "many", columns([f"equal {n}" for n in range(500)], text_vector.repeat(500, axis=0)))
    near = around(rng, text_vector.repeat(100, axis=0), spread=0.5)
    space = fill(session, "large", columns([f"near {n}" for n in range(100)], near))
    query = around(rng, text_vector, spread=0.3)[0].tolist()

    def texts(search: str, ef_search: int | None = None) -> list[str]:
        found = cache_search.neighbours(session, space, [query], limit=LIMIT, search=search, ef_search=ef_search)
        return [row.text for row in found]

    exact, widest = texts("exact"), texts("hnsw", ef_search=cache_search.EF_SEARCH_AGAIN)
    index_only(session)
    found = texts("again")

    assert widest == []  # that is what has to be completed
    assert found == exact
    assert len(exact) == LIMIT


@pytest.mark.parametrize("largest", [0, 10**9])  # by a wider walk, by codes
def test_who_finds_no_donor_looks_again_and_finds_what_the_first_walk_missed(
    engine: Engine, spaces: dict[str, UUID], monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(cache_search, "CODES_BESIDE_OTHERS", largest)
    monkeypatch.setattr(cache_search, "EF_SEARCH", 1)
    looks: list[tuple[Neighbour, ...]] = []

    def plan_by(near: Sequence[Neighbour]) -> planning.Plan:
        looks.append(tuple(near))
        return planning.decide(Mode.AUTO, extraction, ())  # no donor

    def hits(near: Sequence[Neighbour]) -> set[tuple[int, str]]:
        return {(row.query, row.text) for row in near if row.similarity >= SAME}

    with sessions(engine)() as session:
        space = session.get_one(Namespace, spaces["popular"])
        space.identity = {**space.identity, "embedder": "use-multilingual-v3"}
        names, vectors = zip(*asked(session, space, 300), strict=True)  # of 40 it may miss none
        extraction = Extraction(entities=tuple(Entity(text=name, head="thing") for name in names))
        found = session, space, SpaceSettings(), extraction, list(vectors)
        planner.look_up(*found, plan_by, planner.Stopwatch(), way="walk")
        exact = planner.neighbours(*found, search="exact")

    first, again = looks
    assert hits(first) < hits(exact)
    assert hits(again) == hits(exact)


@pytest.mark.parametrize("owner", ["popular", "small"])
def test_the_codes_lose_no_hit_and_what_is_far_from_everything_is_compared_exactly(
    engine: Engine, spaces: dict[str, UUID], owner: str
) -> None:
    with sessions(engine)() as session:
        space = session.get_one(Namespace, spaces[owner])
        vectors = [vector for _, vector in asked(session, space, 40)]
        vectors += around(np.random.default_rng(2), np.zeros((5, DIMS)), spread=1.0).tolist()  # near nothing
        near = {
            search: cache_search.neighbours(session, space, vectors, limit=LIMIT, search=search)
            for search in ("exact", "codes")
        }

    hits = {search: [row for row in rows if row.similarity >= 0.6] for search, rows in near.items()}
    assert hits["codes"] == hits["exact"]
    assert len(hits["exact"]) > 200
    far = {search: [row.text for row in rows if row.query >= 40] for search, rows in near.items()}
    assert far["codes"] == far["exact"]


def test_who_asks_for_nothing_far_gets_all_that_is_near_without_a_scan(engine: Engine, spaces: dict[str, UUID]) -> None:
    with sessions(engine)() as session:
        space = session.get_one(Namespace, spaces["popular"])
        vectors = [vector for _, vector in asked(session, space, 40)]
        vectors += around(np.random.default_rng(2), np.zeros((5, DIMS)), spread=1.0).tolist()  # near nothing
        statements: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        near = {
            search: cache_search.neighbours(session, space, vectors, limit=LIMIT, search=search, least=0.5)
            for search in ("exact", "codes")
        }

    assert len(statements) == 2  # one for each
    hits = {search: [row for row in rows if row.similarity >= 0.5] for search, rows in near.items()}
    assert hits["codes"] == hits["exact"]
    assert len(hits["exact"]) > 200


def test_an_equal_text_is_found_beside_what_the_index_gives(engine: Engine, spaces: dict[str, UUID]) -> None:
    with sessions(engine)() as session:
        popular = session.get_one(Namespace, spaces["popular"])
        elsewhere = [1.0] + [0.0] * (DIMS - 1)
        found = cache_search.neighbours(session, popular, [elsewhere], texts=["text 3"], limit=10**4, search="hnsw")

    assert "text 3" in {row.text for row in found}


def publish(session: Session, space: Namespace, *found: cache.NewEntity) -> UUID:
    entry = CacheEntry(
        id=uuid4(),
        namespace_id=space.id,
        tenant="ada",
        donor_job_id=uuid4(),
        donor_fence=1,
        prompt="a fox",
        name=f"latents/{uuid4()}",
        num_bytes=1,
        schema_version=1,
        tensors={},
        seed=1,
        full_seconds=1.0,
    )
    namespaces.lock(session, space.id)
    assert cache.reserve(session, space, entry)
    cache.publish(session, space, entry.id, found)
    return entry.id


def test_the_index_holds_each_text_once_whoever_comes_and_goes(session: Session) -> None:
    space = namespaces.get_or_create(
        session, {"model": "m"}, scope="tenant", owner="ada", dims=DIMS, byte_budget=1 << 40
    )
    fox = cache.NewEntity(text="fox", head="fox", attributes=(), kind="object", embedding=[1.0] + [0.0] * (DIMS - 1))
    ids = [publish(session, space, fox) for _ in range(3)]
    indexed = select(func.count()).where(CacheEntity.namespace_id == space.id, ~CacheEntity.is_copy)

    found = [[row.entry_id for row in cache_search.neighbours(session, space, [fox.embedding], search="hnsw")]]
    numbers = [session.scalar(indexed)]
    for id_ in (ids[0], ids[2], ids[1]):
        cache.evict(session, space, [id_], policy="lru", reason="test")
        found.append([row.entry_id for row in cache_search.neighbours(session, space, [fox.embedding], search="hnsw")])
        numbers.append(session.scalar(indexed))

    assert found == [[ids[2], ids[1], ids[0]], [ids[2], ids[1]], [ids[1]], []]
    assert numbers == [1, 1, 1, 0]
