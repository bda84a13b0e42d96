"""How many decisions a minute a replay takes, once its prompts are taken apart and compared.

Prompts name one of some hundred things, in a room that holds a few of them: about every second one hits.
Prints a table for people and one line of JSON for programs.
"""

import json
import os
import platform
import random
from pathlib import Path

import pytest

from worker.cache import planner
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.simulation import prepare, study
from worker.cache.simulation.play import Capacity, Setup
from worker.cache.simulation.prepare import Request
from worker.models.embedders import load_embedder

pytestmark = pytest.mark.bench

WORDS = json.loads((Path(__file__).parents[1] / "data/unlike_prompts.json").read_text())["en"]["things"]
ADJECTIVES = ["", "", "", "red ", "old ", "huge ", "wooden ", "glass ", "golden ", "broken "]
PLACES = [
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    " in a forest",
    " on a beach",
    " in a kitchen",
    " at night",
    " in a city street",
    " on the moon",
]
NUM_PROMPTS, NUM_REPLAYS = 1_100, 40
POLICIES = ("lru", "lfu", "gdsf", "sieve", "s3fifo", "coverage")


def prompts() -> list[str]:
    rng = random.Random(4)
    return [f"a {rng.choice(ADJECTIVES)}{rng.choice(WORDS)}{rng.choice(PLACES)}" for _ in range(NUM_PROMPTS)]


def test_bench_simulate_decisions_a_minute() -> None:
    settings = MatchSettings.of_embedder("use-multilingual-v3", {})
    requests = [Request(prompt=prompt, at=0.0) for prompt in prompts()]
    floor = settings.related_threshold
    prepared = prepare.prepare(requests, extract=planner.extractor(), embedder=load_embedder(), floor=floor)
    samples = [study.Sample.of(range(NUM_PROMPTS))] * NUM_REPLAYS
    found = {}
    for policy in POLICIES:
        setup = Setup(capacity=Capacity(share=0.02), policy=policy, settings=settings)
        ran = study.study(prepared, [setup], samples[: NUM_REPLAYS if policy != "coverage" else 4], warmup=100)
        found[policy] = round(ran.decisions_per_minute)
        print(f"{policy:<10}{found[policy]:>12,} decisions a minute, hit rate {ran.figures[0].hit_rate:.3f}")
    print(json.dumps({"benchmark": "simulate", "cores": os.cpu_count(), "machine": platform.machine(), **found}))
