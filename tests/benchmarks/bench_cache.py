"""What the cache costs: a decision, what the index misses, an eviction, Cache Attention itself.

`CHAI_BENCH_ENTRIES` names the sizes, by default 10000; 100000 takes minutes to load. `CHAI_BENCH_PROMPTS` names a file
of prompts whose phrases, as often as they come, make the entries (`cache_corpus.py`); without it they are our own. One
database holds three shapes at once: a popular namespace with all the entries, a small one beside it, with a twentieth,
and many, which share half as many. Prints a table for people and one line of JSON for programs.
"""

import json
import os
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import cache_corpus
import numpy as np
import psutil
import pytest
import torch
from cache_corpus import Corpus
from numpy.typing import NDArray
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, cache, cache_search, jobs, namespaces
from db.jobs import Claim
from db.models import CacheEntry, Job, Namespace
from db.session import by_message, transaction
from shared import model_cards
from shared.generation import GenerationParams, Mode
from shared.model_cards import ModelCard
from shared.settings import ROOT
from worker.cache import planner, room
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan
from worker.cache.decisions.types import Neighbour
from worker.cache.eviction import POLICIES
from worker.cache.namespaces import SpaceSettings, open_space
from worker.models.embedders import load_embedder
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import redraw, stdit3_small_config, tiny
from worker.models.opensora.sampler import Conditioning, denoise
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.text import Caption
from worker.models.video_model import StepHook
from worker.prompts.entities import extractor
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.codec import PRECISIONS, pack, unpack
from worker.reuse.donor import Donor, latent_name
from worker.reuse.own_trajectory import OwnTrajectory
from worker.reuse.recorder import Recorder, kept_steps
from worker.settings import WorkerSettings

pytestmark = pytest.mark.bench

SIZES = [int(size) for size in os.environ.get("CHAI_BENCH_ENTRIES", "10000").split(",")]
NUM_DECISIONS, NUM_QUERIES, NUM_EVICTIONS = 100, 200, 50
ENTRY_BYTES = 100_000
SMALL_SHARE, MANY_SHARE, MANY_EACH = 20, 2, 200  # entries: a twentieth, a half, so many in each of many
SHIPPED = ROOT / "worker" / "cards"
CARD = ModelCard(name="small", title="Small", source="small", sizes=("64x64",), fps=8, frames=(16,))
TABLES = ("cache_entries", "cache_entities", "cache_events")

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
    rng: random.Random

    def accept(self, prompt: str, tenant: str) -> Job:
        size = {"width": 64, "height": 64, "num_frames": 16, "fps": 8}
        with transaction(self.factory) as session:
            return acceptance.accept(session, Job(tenant=tenant, prompt=prompt, model="small", **size))[0]

    def claim(self, prompt: str, tenant: str) -> Claim:
        job = self.accept(prompt, tenant)
        with transaction(self.factory) as session:
            claim = jobs.claim(session, job.id, owner="bench", lease_s=3600)
        assert claim
        return claim

    def decide(self, claim: Claim) -> float:
        """Take one decision, from the claim to the pinned donor; return its milliseconds."""
        start = time.perf_counter()
        params = GenerationParams.of(claim.job)
        planner.decide(self.factory, claim, params, CARD, Spec(), self.embedder, self.settings)
        return (time.perf_counter() - start) * 1e3

    def space(self, tenant: str) -> Namespace:
        job = self.accept("a fox", tenant)
        with transaction(self.factory) as session:
            known = open_space(session, job, CARD, Spec(), self.embedder.name, self.embedder.dim, self.settings)
            space = session.get_one(Namespace, known.space.id)
            space.byte_budget = 10**15
            return space


@pytest.fixture
def bench(session_factory: Factory, database_url: str) -> Bench:
    settings = WorkerSettings.model_validate({"DATABASE_URL": database_url})
    return Bench(factory=session_factory, embedder=load_embedder(), settings=settings, rng=random.Random(0))


def fill(bench: Bench, found: Corpus) -> tuple[dict[str, list[UUID]], dict[str, float]]:
    """Put the three shapes in place of what is there, as a bulk load does: indexes come last.

    Returns the namespaces of each shape, and the seconds that the rows, the HNSW index and the other indexes took.
    """
    number = len(found.entries)
    many = [f"tenant {n}" for n in range(max(1, number // MANY_SHARE // MANY_EACH))]
    owners = {"popular": ["popular"], "small": ["small"], "many": many}
    shapes = {name: [bench.space(owner).id for owner in tenants] for name, tenants in owners.items()}
    seconds: dict[str, float] = {}
    with transaction(bench.factory) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL maintenance_work_mem = '2GB'"))
        session.execute(text("SET LOCAL work_mem = '256MB'"))
        session.execute(text(f"TRUNCATE cache_pins, {', '.join(TABLES)}"))
        indexes = {row.name: row.definition for row in session.execute(text(_INDEXES), {"tables": list(TABLES)})}
        for name in indexes:
            session.execute(text(f"DROP INDEX {name}"))
        with timed(seconds, "load_s"):
            shares = {"popular": 1, "small": SMALL_SHARE, "many": MANY_SHARE}
            for name, ids in shapes.items():
                entries = found.entries[: number // shares[name]]
                cache_corpus.load(session, found, ids, entries, num_bytes=ENTRY_BYTES)
        with timed(seconds, "hnsw_s"):
            session.execute(text(indexes.pop(f"ix_cache_entities_hnsw_{found.dims}")))
        with timed(seconds, "other_indexes_s"):
            for definition in indexes.values():
                session.execute(text(definition))
    analyze(bench)
    return shapes, seconds


def analyze(bench: Bench) -> None:
    """Do what autovacuum does once it comes by."""
    with bench.factory() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        session.execute(text(f"VACUUM ANALYZE {', '.join(TABLES)}"))


_INDEXES = """
    SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE tablename = ANY(:tables) AND indexname LIKE 'ix\\_%'
"""


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long a block takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def new_prompt(bench: Bench) -> str:
    """Three entities that were never embedded: letters that no phrase had."""
    made = ["".join(bench.rng.choices("bcdfglmnprstv", k=3)) + "o" for _ in range(3)]
    return f"a {made[0]} fox and a {made[1]} horse in a {made[2]} forest"


def decisions(bench: Bench, prompts: Sequence[str], tenants: Sequence[str]) -> dict[str, float]:
    """Milliseconds of whole decisions, as a job sees them; processor time here and in Postgres; statements of one."""
    claims = [bench.claim(prompt, bench.rng.choice(tenants)) for prompt in prompts]
    before = processor_s(bench)
    with statements(bench) as seen:
        times = sorted(bench.decide(claim) for claim in claims)
    cpu_ms = (processor_s(bench) - before) * 1e3 / len(times)
    with bench.factory() as session:
        recent = session.scalars(text("SELECT reason FROM lookups ORDER BY id DESC LIMIT :n"), {"n": len(times)}).all()
    with transaction(bench.factory) as session:
        session.execute(text("TRUNCATE cache_pins"))
    last = times[min(len(times) - 1, int(len(times) * 0.95))]
    figures = {"p50_ms": statistics.median(times), "p95_ms": last, "cpu_ms": cpu_ms}
    return {
        **figures,
        "statements": seen["statements"] / len(times),
        "commits": seen["commits"] / len(times),
        "hit_share": recent.count("entity_hit") / len(recent),
    }


@contextmanager
def statements(bench: Bench) -> Iterator[dict[str, int]]:
    """Count what is sent to Postgres meanwhile."""
    engine, seen = bench.factory.kw["bind"], {"statements": 0, "commits": 0}

    def count(name: str) -> Callable[..., None]:
        def add(*_: object) -> None:
            seen[name] += 1

        return add

    listeners = {"before_cursor_execute": count("statements"), "commit": count("commits")}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    yield seen
    for name, listener in listeners.items():
        event.remove(engine, name, listener)


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


def against_exact(bench: Bench, ids: Sequence[UUID], found: Corpus) -> dict[str, float]:
    """Hits that the default search loses against exact search, other donors, recall, and milliseconds of either."""
    matching, extract = MatchSettings.of_embedder(bench.embedder.name, {}), extractor("lexicon")
    asked = [planner.embed(bench.embedder, extract(prompt)) for prompt in bench.rng.sample(found.prompts, NUM_QUERIES)]
    hits = lost = other = same = wanted = 0
    times: dict[str, list[float]] = {"exact": [], "auto": []}
    with bench.factory() as session:
        for extraction, vectors in asked:
            space = session.get_one(Namespace, bench.rng.choice(ids))
            plan_by = partial(planning.decide, Mode.AUTO, extraction, table=planning.PAPER, settings=matching)
            near, plans = {}, {}
            for search, taken in times.items():
                start = time.perf_counter()
                own, watch = SpaceSettings(search=search), planner.Stopwatch()
                rows, plans[search] = planner.look_up(session, space, own, extraction, vectors, plan_by, watch)
                taken.append((time.perf_counter() - start) * 1e3)
                near[search] = rows
            entries = {search: {(row.query, row.entry_id) for row in rows} for search, rows in near.items()}
            same, wanted = same + len(entries["exact"] & entries["auto"]), wanted + len(entries["exact"])
            exact, auto = plans["exact"].donors, plans["auto"].donors
            hits, lost, other = hits + bool(exact), lost + bool(exact and not auto), other + (exact != auto)
            if exact and not auto:
                print_lost(plans, near)
    milliseconds = {f"search_{search}_ms": statistics.median(taken) for search, taken in times.items()}
    return {"hits": hits, "hits_lost": lost, "other_donors": other, "recall": same / max(1, wanted), **milliseconds}


def print_lost(plans: Mapping[str, Plan], near: Mapping[str, Sequence[Neighbour]]) -> None:
    """Print what a lost hit rests on: a stored text, the how-manieth nearest it is; and how far the search came."""
    for match in plans["exact"].matched:
        exact, auto = (
            {row.text: row.similarity for row in near[search] if row.query == match.query}
            for search in ("exact", "auto")
        )
        found = "found" if match.donor_text in auto else "not found"
        rank, furthest = list(exact).index(match.donor_text) + 1, min(auto.values(), default=1)
        print(
            f"  lost: {match.text!r}, text no. {rank} {match.donor_text!r} at {match.similarity:.4f}: {found}", end=" "
        )
        print(f"among {len(auto)} of {furthest:.4f} and more; {plans['auto'].reason}", flush=True)


def phrases(bench: Bench, found: Corpus) -> list[str]:
    """What prompts that are not stored ask for, as often as they do."""
    extract = extractor("lexicon")
    texts = [entity.text for prompt in found.prompts[:NUM_QUERIES] for entity in extract(prompt).entities]
    return bench.rng.sample(texts, min(NUM_QUERIES, len(texts)))


def churn(bench: Bench, space_id: UUID, found: Corpus) -> None:
    """Evict a tenth of the entries and whatever is nearest to ten phrases, without a vacuum."""
    with transaction(bench.factory) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        held = namespaces.lock(session, space_id)
        own = select(CacheEntry.id).where(CacheEntry.namespace_id == space_id).order_by(CacheEntry.name)
        ids = set(session.scalars(own.limit(len(found.entries) // 10)))
        for query in bench.embedder.embed(phrases(bench, found)[:10]):
            ids |= {row.entry_id for row in cache_search.neighbours(session, held, [query], limit=50)}
        went = cache.evict(session, held, list(ids), policy="lru", reason="bench")
        cache.gone(session, space_id, [row.id for row in went])


def evictions(bench: Bench, space_id: UUID, policy: str) -> dict[str, float]:
    """Evictions a second, one at a time and many in one commit, of a worker that has just started.

    Choose, withdraw, give the bytes back. And the first one's milliseconds, and the processor's and statements of one.
    """
    histories: room.Histories = {}

    def evict(number: int) -> float:
        start = time.perf_counter()
        with transaction(bench.factory) as session:
            held = namespaces.lock(session, space_id)
            leaving = room.make(session, held, histories, bytes_needed=number * ENTRY_BYTES)
        with by_message(bench.factory) as session:
            freed = cache.gone(session, space_id, [row.id for row in leaving])
        assert freed == number * ENTRY_BYTES
        return time.perf_counter() - start

    with transaction(bench.factory) as session:
        session.execute(update(Namespace).where(Namespace.id == space_id).values(policy=policy))
    first_s, before = evict(1), processor_s(bench)
    with statements(bench) as seen:
        times = [evict(1) for _ in range(NUM_EVICTIONS)]
    cpu_ms = (processor_s(bench) - before) * 1e3 / NUM_EVICTIONS
    figures = {"per_s": NUM_EVICTIONS / sum(times), "batch_per_s": NUM_EVICTIONS / evict(NUM_EVICTIONS)}
    figures |= {"first_ms": first_s * 1e3, "cpu_ms": cpu_ms, "statements": seen["statements"] / NUM_EVICTIONS}
    return {f"{policy}_{name}": value for name, value in figures.items()}


def sizes(bench: Bench) -> dict[str, float]:
    """Megabytes: of this process at most, of tables with their indexes, of the HNSW index."""
    with bench.factory() as session:
        tables = {name: session.scalar(text(f"SELECT pg_total_relation_size('{name}')")) for name in TABLES}
        hnsw = session.scalar(text(f"SELECT pg_relation_size('ix_cache_entities_hnsw_{bench.embedder.dim}')"))
    figures = {f"{name}_mb": (size or 0) / 1e6 for name, size in tables.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"process_mb": peak, **figures, "hnsw_mb": (hnsw or 0) / 1e6}


def measure(bench: Bench, num_entries: int) -> dict[str, float]:
    """All figures at one size, printed as they come: the large sizes take minutes."""
    figures: dict[str, float] = {}

    def note(prefix: str, seen: Mapping[str, float]) -> None:
        figures.update({prefix + name: value for name, value in seen.items()})
        print(f"  {num_entries}", *(f"{prefix}{name} {value:.3f}" for name, value in seen.items()), flush=True)

    with timed(figures, "corpus_s"):
        found = cache_corpus.corpus(bench.embedder, num_entries)
    note("", {"entities": found.num_entities, "texts": len(found.texts), "corpus_s": figures["corpus_s"]})
    shapes, seconds = fill(bench, found)
    note("", seconds)
    note("", sizes(bench))
    tenants = {"popular": ["popular"], "small": ["small"], "many": [f"tenant {n}" for n in range(len(shapes["many"]))]}
    prompts = bench.rng.sample(found.prompts, NUM_DECISIONS)
    for shape, ids in shapes.items():
        note(f"{shape}_", against_exact(bench, ids, found))
        decisions(bench, prompts, tenants[shape])  # warm, and the phrases known
        note(f"{shape}_known_", decisions(bench, prompts, tenants[shape]))
        note(f"{shape}_known_part_", parts(bench))
        note(f"{shape}_new_", decisions(bench, [new_prompt(bench) for _ in range(NUM_DECISIONS)], tenants[shape]))
    for policy in POLICIES:
        if policy != "none":
            note("", evictions(bench, shapes["popular"][0], policy))
    churn(bench, shapes["popular"][0], found)
    note("churn_", against_exact(bench, shapes["popular"], found))
    return figures


@pytest.mark.timeout(3600)
def test_decisions_and_evictions(bench: Bench) -> None:
    results = {size: measure(bench, size) for size in SIZES}

    print()
    for name in results[SIZES[0]]:
        print(f"  {name:34}" + "".join(f"{results[size][name]:14.3f}" for size in SIZES))
    rounded = {size: {name: round(value, 4) for name, value in seen.items()} for size, seen in results.items()}
    print(json.dumps({"benchmark": "cache", "entries": rounded, **machine()}))
    assert all(seen[f"{shape}_hits_lost"] == 0 for seen in results.values() for shape in ("popular", "small", "many"))


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
    """The tiny model, and those that ship where they are installed."""
    found = {"tiny": tiny()}
    for name in ("small", "rich"):
        if (SHIPPED / name / "chai.json").exists():
            card = model_cards.load(SHIPPED)[name]
            found[name] = ChaiPipeline.from_pretrained(SHIPPED / name / card.source)
    return found


WAYS = {"Cache Attention": CacheAttention(), "its trajectory": OwnTrajectory(skipped_steps=2)}
PAIRS = (  # what a donor shows, what is asked for
    ("a red circle in the snow", "a red circle in the grass"),
    ("a blue star moves left", "a green star moves left"),
    ("two yellow squares at night", "two yellow squares on sand"),
    ("a big purple triangle", "a big purple triangle and a small white circle"),
)


def full_run(pipeline: Any, prompt: str) -> Donor:
    """Run 30 steps and keep what fast runs of eight read."""
    full, fast = timesteps(pipeline, 30), timesteps(pipeline, 8)
    recorder = Recorder(kept_steps(["nearest"], full, fast), levels=[fast[2]], seed=1)
    list(pipeline.steps(prompt, pipeline.schedule(30), seed=1, hooks=[recorder]))
    return recorder.donor()


def fast_run(pipeline: Any, prompt: str, hook: StepHook | None) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Return the latents and the frames of eight steps."""
    for step in pipeline.steps(prompt, pipeline.schedule(8), seed=2, hooks=[hook] if hook else []):
        latents = step.latents
    return latents, pipeline.decode(latents, pipeline.config.num_frames).astype(float)


def timesteps(pipeline: Any, num_steps: int) -> list[float]:
    size = pipeline.config.height, pipeline.config.width, pipeline.config.num_frames
    return pipeline.schedule(num_steps).timesteps(*size)[:-1]


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_what_fewer_bits_cost() -> None:
    """Error of stored latents, and what it does to fast runs, next to what the donor itself does to them."""
    kept = ("no donor", *PRECISIONS)
    table = {}
    for name, pipeline in models().items():
        levels, found = timesteps(pipeline, 8), {precision: [] for precision in kept}
        for shown, prompt in PAIRS:
            donor = full_run(pipeline, shown)
            alone = fast_run(pipeline, prompt, None)
            runs = {way: fast_run(pipeline, prompt, hook.bind([donor], levels)) for way, hook in WAYS.items()}
            found["no donor"].append([0, 0.0, *changes(runs, dict.fromkeys(WAYS, alone))])
            for precision in PRECISIONS:
                packed = pack(donor, fingerprint="f", precision=precision)
                back = unpack(packed.content, sha256=packed.sha256, fingerprint="f", shape=tuple(alone[0].shape[1:]))
                error = max(relative(back.get(key), donor.get(key)) for key in donor.tensors)
                lent = {way: fast_run(pipeline, prompt, hook.bind([back], levels)) for way, hook in WAYS.items()}
                found[precision].append([len(packed.content), error, *changes(runs, lent)])
        table |= {(name, precision): np.mean(rows, axis=0) for precision, rows in found.items()}
    print("\n                             error of       change of the run, of its pixels (0..255)")
    print(f"  model  kept as       bytes   latents  {'':4}" + "".join(f"{way:>28}" for way in WAYS))
    for (name, precision), (num_bytes, error, *change) in table.items():
        figures = "".join(
            f"{latents:18.5f}{pixels:10.4f}" for latents, pixels in zip(change[::2], change[1::2], strict=True)
        )
        print(f"  {name:5}  {precision:9}  {num_bytes:8.0f}  {error:8.5f}  {figures}")
    rows = [[*key, *row] for key, row in table.items()]
    print(json.dumps({"benchmark": "precision", "rows": rows, **machine()}))


def changes(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[float]:
    """How far each run is from the wanted one: relative, of its latents; mean absolute, of its pixels."""
    for way, (latents, pixels) in wanted.items():
        yield relative(found[way][0], latents)
        yield float(np.abs(found[way][1] - pixels).mean())


def machine() -> dict[str, object]:
    return {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
