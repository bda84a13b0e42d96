"""What the cache costs: a decision, what the index misses, an eviction, Cache Attention itself.

Sizes come from CHAI_BENCH_ENTRIES, by default 1000,10000; 100000 takes minutes to load. Stored phrases are mixtures of
real phrase vectors, two or three to an entry, so that every query has many near neighbours. Prints a table for people
and one line of JSON for programs.
"""

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import cache, jobs
from db.jobs import Claim
from db.models import CacheEntry, Job, Namespace
from db.session import transaction
from shared import model_cards
from shared.model_cards import ModelCard
from shared.settings import ROOT
from worker.cache import planner, room
from worker.cache.namespaces import open_space
from worker.models.base import StepHook
from worker.models.embedders import load_embedder
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import redraw, stdit3_small_config, tiny
from worker.models.opensora.sampler import Conditioning, denoise
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.text import Caption
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.codec import PRECISIONS, pack, unpack
from worker.reuse.donor import Donor, latent_name
from worker.reuse.recorder import Recorder, kept_steps
from worker.settings import WorkerSettings

pytestmark = pytest.mark.bench

SIZES = [int(size) for size in os.environ.get("CHAI_BENCH_ENTRIES", "1000,10000").split(",")]
NUM_KNOWN, NUM_NEW, NUM_RECALL, NUM_EVICTIONS = 100, 30, 40, 30
ENTRY_BYTES = 100_000
SHIPPED = ROOT / "worker" / "cards"
PER_ENTITY = 16  # neighbours fetched
THINGS = [
    "fox",
    "wolf",
    "cat",
    "dog",
    "horse",
    "robot",
    "sailor",
    "car",
    "ship",
    "lamp",
    "chair",
    "bird",
    "turtle",
    "balloon",
    "bicycle",
    "piano",
    "dancer",
    "tree",
    "clock",
    "kite",
]
LOOKS = [
    "red",
    "blue",
    "green",
    "white",
    "black",
    "tiny",
    "old",
    "wooden",
    "golden",
    "striped",
    "broken",
    "shiny",
    "furry",
    "sleepy",
    "giant",
]
PLACES = ["forest", "desert", "beach", "library", "kitchen", "street", "harbour", "mountain", "meadow", "city"]
HNSW = "ix_cache_entities_hnsw_384"
CARD = ModelCard(name="small", title="Small", source="small", sizes=("64x64",), fps=8, frames=(16,))

Factory = sessionmaker[Session]


@dataclass(frozen=True, slots=True)
class Spec:
    """Stands for loaded weights: a decision reads nothing else of a model."""

    revision: str = "bench"
    latent_dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that the measurements share."""

    factory: Factory
    embedder: Any
    settings: WorkerSettings
    phrases: list[str]
    rng: random.Random

    def prompt(self, look: str, thing: str, place: str) -> str:
        return f"a {look} {thing} in a {place}"

    def known_prompt(self) -> str:
        return self.prompt(*(self.rng.choice(words) for words in (LOOKS, THINGS, PLACES)))

    def new_prompt(self) -> str:
        """Three entities that were never embedded: letters that no phrase had."""
        made = ["".join(self.rng.choices("bcdfglmnprstv", k=3)) + "o" for _ in range(3)]
        return f"a {made[0]} fox and a {made[1]} horse in a {made[2]} forest"

    def accept(self, prompt: str) -> Job:
        size = {"width": 64, "height": 64, "num_frames": 16, "fps": 8}
        with transaction(self.factory) as session:
            return jobs.accept(session, Job(tenant="ada", prompt=prompt, model="small", **size))[0]

    def claim(self, prompt: str) -> Claim:
        job = self.accept(prompt)
        with transaction(self.factory) as session:
            claim = jobs.claim(session, job.id, owner="bench", lease_s=3600)
        assert claim
        return claim

    def decide(self, claim: Claim) -> float:
        """Take one decision, from the claim to the pinned donor; return its milliseconds."""
        start = time.perf_counter()
        planner.decide(self.factory, claim, CARD, Spec(), self.embedder, self.settings)
        return (time.perf_counter() - start) * 1e3

    def space(self) -> Namespace:
        job = self.accept("a fox")
        with transaction(self.factory) as session:
            space = open_space(session, job, CARD, Spec(), self.embedder.name, self.embedder.dim, self.settings)
            space.byte_budget = 10**15
            return space


@pytest.fixture
def bench(session_factory: Factory, database_url: str) -> Bench:
    settings = WorkerSettings.model_validate({"DATABASE_URL": database_url})
    phrases = [f"{look} {thing}" for look in LOOKS for thing in THINGS] + PLACES
    embedder = load_embedder()
    return Bench(factory=session_factory, embedder=embedder, settings=settings, phrases=phrases, rng=random.Random(0))


def fill(bench: Bench, space: Namespace, num_entries: int) -> dict[str, float]:
    """Put entries, their entities and their events in place of those before, as a bulk load does: indexes come last.

    Returns the seconds that the rows, the HNSW index and the other indexes took.
    """
    seconds = {}
    with transaction(bench.factory) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL maintenance_work_mem = '2GB'"))
        session.execute(text("ALTER TABLE cache_entities SET (autovacuum_enabled = false)"))
        session.execute(text("TRUNCATE cache_events, cache_pins, cache_entities, cache_entries"))
        indexes = {row.name: row.definition for row in session.execute(text(_INDEXES))}
        for name in indexes:
            session.execute(text(f"DROP INDEX {name}"))
        values = {"space": space.id, "number": num_entries, "bytes": ENTRY_BYTES}
        with timed(seconds, "load_s"):
            for statement in (_ENTRIES, _ENTITIES, _EVENTS, _LEDGER):
                session.execute(text(statement), values)
        with timed(seconds, "index_s"):
            session.execute(text(indexes.pop(HNSW)))
        with timed(seconds, "other_indexes_s"):
            for definition in indexes.values():
                session.execute(text(definition))
    with bench.factory() as session:
        session.execute(text("ANALYZE"))
        session.commit()
    return seconds


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long a block takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def store_phrases(bench: Bench) -> None:
    """Keep the vectors of real phrases where `_ENTITIES` mixes from."""
    vectors = bench.embedder.embed(bench.phrases)
    rows = [
        {"id": number, "text": phrase, "vector": "[" + ",".join(map(str, vector)) + "]"}
        for number, (phrase, vector) in enumerate(zip(bench.phrases, vectors, strict=True))
    ]
    with transaction(bench.factory) as session:
        session.execute(text("CREATE TABLE phrases (id int PRIMARY KEY, text text, embedding vector(384))"))
        session.execute(text("INSERT INTO phrases VALUES (:id, :text, CAST(:vector AS vector))"), rows)


_INDEXES = """
    SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE tablename IN ('cache_entries', 'cache_entities', 'cache_events') AND indexname LIKE 'ix\\_%'
"""
_ENTRIES = """
    INSERT INTO cache_entries (namespace_id, tenant, donor_job_id, donor_fence, prompt, name, num_bytes, schema_version,
                               tensors, seed, full_seconds, status, published_at, last_used, seconds_saved, use)
    SELECT :space, 'ada', gen_random_uuid(), 1, 'made', 'latents/' || n, :bytes, 1, '{}', 0, 5, 'resident',
           now() - n * interval '1 second', now() - n * interval '1 second', 4, 4
    FROM generate_series(1, :number) AS n
"""
_ENTITIES = """
    INSERT INTO cache_entities (entry_id, namespace_id, text, head, attributes, kind, dims, embedding)
    SELECT made.id, :space, a.text || ' ' || k, split_part(a.text, ' ', -1), '{}', 'object', 384,
           l2_normalize(a.embedding + a.embedding + a.embedding + b.embedding + c.embedding)
    FROM (SELECT id, k, floor(random() * size)::int AS a, floor(random() * size)::int AS b,
                 floor(random() * size)::int AS c
          FROM cache_entries, generate_series(1, 3) AS k, (SELECT count(*) AS size FROM phrases) AS counted
          WHERE k < 3 OR hashtext(cache_entries.id::text) % 2 = 0) AS made
    JOIN phrases a ON a.id = made.a JOIN phrases b ON b.id = made.b JOIN phrases c ON c.id = made.c
"""
_EVENTS = """
    INSERT INTO cache_events (namespace_id, entry_id, kind, num_bytes, detail)
    SELECT :space, id, 'insert', :bytes, '{"seconds_saved": 4}' FROM cache_entries
"""
_LEDGER = """
    UPDATE namespaces SET bytes_used = CAST(:number AS bigint) * :bytes,
                          num_entities = (SELECT count(*) FROM cache_entities) WHERE id = :space
"""


def decisions(bench: Bench, prompts: Sequence[str]) -> dict[str, float]:
    """Milliseconds of whole decisions, as a job sees them, and their mean processor time here and in Postgres."""
    claims = [bench.claim(prompt) for prompt in prompts]
    before = processor_s(bench)
    times = sorted(bench.decide(claim) for claim in claims)
    cpu_ms = (processor_s(bench) - before) * 1e3 / len(times)
    with transaction(bench.factory) as session:
        session.execute(text("TRUNCATE cache_pins"))
    last = times[min(len(times) - 1, int(len(times) * 0.99))]
    return {"p50_ms": statistics.median(times), "p99_ms": last, "cpu_ms": cpu_ms}


def processor_s(bench: Bench) -> float:
    """Processor seconds so far, of this process and of its Postgres connections: what other work does not stretch."""
    with bench.factory() as session:
        pids = session.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")).all()
    served = [psutil.Process(pid).cpu_times() for pid in pids if psutil.pid_exists(pid)]
    return time.process_time() + sum(times.user + times.system for times in served)


def parts(bench: Bench) -> dict[str, float]:
    """Median milliseconds of the parts, from the recorded decisions."""
    with bench.factory() as session:
        rows = session.scalars(text("SELECT timings FROM lookups ORDER BY id DESC LIMIT 50")).all()
    return {name: statistics.median(row[name] for row in rows) * 1e3 for name in rows[0]}


def recall(bench: Bench, space: Namespace) -> dict[str, float]:
    """Share of the exact neighbours that the index finds, and how often the nearest is among them."""
    queries = bench.embedder.embed(bench.rng.sample(bench.phrases, NUM_RECALL))
    found, first, search_ms = 0, 0, []
    with bench.factory() as session:
        for query in queries:
            near: dict[str, list[tuple[UUID, str]]] = {}
            for search in ("exact", "hnsw"):
                start = time.perf_counter()
                rows = cache.neighbours(session, space, [query], limit=PER_ENTITY, search=search)
                near[search] = [(row.entry_id, row.text) for row in rows]
            search_ms.append((time.perf_counter() - start) * 1e3)
            found += len(set(near["exact"]) & set(near["hnsw"]))
            first += near["exact"][0] in near["hnsw"]
    return {
        "recall": found / (len(queries) * PER_ENTITY),
        "nearest": first / len(queries),
        "hnsw_ms": statistics.median(search_ms),
    }


def churn(bench: Bench, space: Namespace) -> None:
    """Evict a fifth of the entries and whatever is nearest to each place, without a vacuum."""
    with transaction(bench.factory) as session:
        held = cache.lock(session, space.id)
        ids = set(session.scalars(select(CacheEntry.id).order_by(CacheEntry.name).limit(held.num_entities // 12)))
        for query in bench.embedder.embed(PLACES):
            ids |= {row.entry_id for row in cache.neighbours(session, held, [query], limit=50, search="hnsw")}
        cache.gone(
            session, held, [row.id for row in cache.evict(session, held, list(ids), policy="lru", reason="bench")]
        )


def evictions(bench: Bench, space: Namespace, policy: str) -> dict[str, float]:
    """Seconds to read the history, then evictions a second, one at a time: choose, withdraw, give the bytes back."""
    histories: room.Histories = {}
    with transaction(bench.factory) as session:
        session.execute(update(Namespace).where(Namespace.id == space.id).values(policy=policy))
    times = []
    for _ in range(NUM_EVICTIONS + 1):
        start = time.perf_counter()
        with transaction(bench.factory) as session:
            room.read_ahead(session, session.get_one(Namespace, space.id), histories)
        with transaction(bench.factory) as session:
            held = cache.lock(session, space.id)
            held.byte_budget = held.bytes_used
            leaving = room.make(session, held, histories, num_bytes=ENTRY_BYTES)
        with transaction(bench.factory) as session:
            assert cache.gone(session, cache.lock(session, space.id), [row.id for row in leaving]) == ENTRY_BYTES
        times.append(time.perf_counter() - start)
    with transaction(bench.factory) as session:
        cache.lock(session, space.id).byte_budget = 10**15
    return {f"{policy}_first_s": times[0], f"{policy}_per_s": NUM_EVICTIONS / sum(times[1:])}


def measure(bench: Bench, space: Namespace, num_entries: int) -> dict[str, float]:
    """All figures at one size, printed as they come: the large sizes take minutes."""
    figures: dict[str, float] = {}

    def note(prefix: str, found: Mapping[str, float]) -> None:
        figures.update({prefix + name: value for name, value in found.items()})
        print(f"  {num_entries}", *(f"{prefix}{name} {value:.3f}" for name, value in found.items()), flush=True)

    def fresh() -> Namespace:
        with bench.factory() as session:
            return session.get_one(Namespace, space.id)

    note("", fill(bench, space, num_entries))
    decisions(bench, [bench.known_prompt() for _ in range(5)])  # warm
    note("known_", decisions(bench, [bench.known_prompt() for _ in range(NUM_KNOWN)]))
    note("known_part_", parts(bench))
    note("new_", decisions(bench, [bench.new_prompt() for _ in range(NUM_NEW)]))
    note("", recall(bench, fresh()))
    churn(bench, space)
    note("churn_", recall(bench, fresh()))
    for policy in ("lru", "coverage"):
        note("", evictions(bench, space, policy))
    return figures


@pytest.mark.timeout(3600)
def test_decisions_and_evictions(bench: Bench) -> None:
    store_phrases(bench)
    space = bench.space()
    results = {size: measure(bench, space, size) for size in SIZES}

    print()
    for name in results[SIZES[0]]:
        print(f"  {name:18}" + "".join(f"{results[size][name]:14.3f}" for size in SIZES))
    rounded = {size: {name: round(value, 4) for name, value in found.items()} for size, found in results.items()}
    print(json.dumps({"benchmark": "cache", "entries": rounded, **machine()}))
    assert all(found["churn_nearest"] >= 0.9 for found in results.values())


def test_cache_attention_costs_next_to_nothing() -> None:
    """Processor time of a whole fast run at the shipped size, with and without in turn: other work does not count."""
    torch.manual_seed(0)
    network = STDiT3(**stdit3_small_config()).eval()
    redraw(network)
    torch.set_num_threads(1)
    size = Conditioning(height=64, width=64, num_frames=16, fps=8)
    noise = torch.randn(1, 4, 16, 16, 16)
    caption = Caption(embeds=torch.randn(1, 1, 16, 64), mask=torch.ones(1, 16, dtype=torch.long))
    schedule = Schedule(num_steps=8, time_shift="none")
    donor = Donor(tensors={latent_name(2): torch.randn_like(noise)}, timesteps={latent_name(2): 875.0})
    hooks: list[StepHook] = [CacheAttention().bind([donor], [0.0] * 8)]

    def run(lent: list[StepHook]) -> float:
        start = time.process_time()
        for _ in denoise(network, noise, caption, schedule, conditioning=size, hooks=lent):
            pass
        return time.process_time() - start

    run(hooks)
    pairs = [(run([]), run(hooks)) for _ in range(5)]

    extra = statistics.median(lent / plain for plain, lent in pairs) - 1
    plain_s = statistics.median(plain for plain, _ in pairs)
    print(f"\n  Cache Attention at 3 of 8 steps: {extra:+.1%} of {plain_s:.2f} s processor time (budget +3%)")
    figures = {"extra": round(extra, 4), "plain_s": round(plain_s, 3)}
    print(json.dumps({"benchmark": "cache_attention", **figures, **machine()}))


def models() -> dict[str, Any]:
    """The tiny model, and the small one where it is installed."""
    small = SHIPPED / "small"
    found = {"tiny": tiny()}
    if (small / "chai.json").exists():
        card = model_cards.load(SHIPPED)["small"]
        found["small"] = ChaiPipeline.from_pretrained(small / card.source)
    return found


def full_run(pipeline: Any, prompt: str) -> Donor:
    """Run 30 steps and keep what the paper's fast run reads."""
    full, fast = pipeline.schedule(30), pipeline.schedule(8)
    size = pipeline.config.height, pipeline.config.width, pipeline.config.num_frames
    recorder = Recorder(kept_steps(["nearest"], full.timesteps(*size), fast.timesteps(*size)), seed=1)
    list(pipeline.steps(prompt, full, seed=1, hooks=[recorder]))
    return recorder.donor()


def fast_run(pipeline: Any, prompt: str, donor: Donor | None) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Return the latents and the frames of eight steps with Cache Attention."""
    hooks = [] if donor is None else [CacheAttention().bind([donor], [0.0] * 8)]
    for step in pipeline.steps(prompt, pipeline.schedule(8), seed=2, hooks=hooks):
        latents = step.latents
    return latents, pipeline.decode(latents, pipeline.config.num_frames).astype(float)


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_what_fewer_bits_cost() -> None:
    """Error of stored latents, and what it does to a fast run, next to what the donor itself does to it."""
    rows = []
    for name, pipeline in models().items():
        donor = full_run(pipeline, "a red circle in the snow")
        prompt = "a red circle in the grass"
        (wanted, frames), (alone, alone_frames) = (fast_run(pipeline, prompt, lent) for lent in (donor, None))
        effect = relative(alone, wanted), float(np.abs(alone_frames - frames).mean())
        rows.append((name, "no donor", 0, 0.0, *effect))
        for precision in PRECISIONS:
            packed = pack(donor, fingerprint="f", precision=precision)
            back = unpack(packed.content, sha256=packed.sha256, fingerprint="f", shape=tuple(wanted.shape[1:]))
            error = max(relative(back.get(key), donor.get(key)) for key in donor.tensors)
            latents, pixels = fast_run(pipeline, prompt, back)
            change = relative(latents, wanted), float(np.abs(pixels - frames).mean())
            rows.append((name, precision, len(packed.content), error, *change))
    print("\n  model   kept as        bytes  error of latents  change of the run  of its pixels (0..255)")
    for name, precision, num_bytes, error, change, pixels in rows:
        print(f"  {name:6}  {precision:9} {num_bytes:10}  {error:16.5f}  {change:17.5f}  {pixels:22.4f}")
    print(json.dumps({"benchmark": "precision", "rows": rows, **machine()}))


def machine() -> dict[str, object]:
    return {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
