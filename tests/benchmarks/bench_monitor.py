"""Does the monitor find a plan that really hurts? The small trained model, judged by the checker of its world.

The table of the model says for one kind of hit: start at the third of four steps from the WHOLE of the donor's latent,
so that what is not shared shows through. For the other it says what docs/evaluation.md found to do no harm. Every job
with a donor is checked; the monitor is to raise the threshold of the first plan and to leave the second one alone.

CHAI_BENCH_MONITOR_JOBS jobs of each kind, by default 50; CHAI_BENCH_MONITOR_SEED draws others. Prints a table for
people and a line of JSON for programs. The same seed and number of jobs give the same losses and moves on the same
machine.
"""

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import acceptance, quality_checks
from db.models import Job, PlanRow, QualityCheck
from db.namespaces import fingerprint
from db.session import transaction
from db.states import CheckStatus
from lab.toy_world.captions import Caption, caption_of, sample_captions, share_object, share_scene
from lab.toy_world.world import FPS, NUM_FRAMES, SIDE, Spec
from shared.generation import RunPath
from shared.storage import Storage
from worker.cache.decisions.planning import Recipe
from worker.cache.decisions.types import HitKind
from worker.cache.namespaces import identity
from worker.jobs.attempt import generate
from worker.quality.evidence import mean_of
from worker.quality.shadow_reruns import check
from worker.quality.thresholds import Loss, threshold_of
from worker.runtime import Runtime
from worker.settings import WorkerSettings

pytestmark = pytest.mark.bench

NUM_STORED = 16
NUM_JOBS = int(os.environ.get("CHAI_BENCH_MONITOR_JOBS", "50"))
SEED = int(os.environ.get("CHAI_BENCH_MONITOR_SEED", "0"))
SIZE = {"width": SIDE, "height": SIDE, "num_frames": NUM_FRAMES, "fps": FPS}

HARMFUL = Recipe(
    path=RunPath.FAST,
    num_steps=4,
    reuse="resume",
    reuse_options={"skipped_steps": 2},
    source="calibrated",
)
HARMLESS = Recipe(
    path=RunPath.FAST,
    num_steps=4,
    schedule={"spacing": "quadratic"},
    reuse="resume",
    reuse_options={"skipped_steps": 1, "lend": "shared"},
    source="calibrated",
)
Redraw = Callable[[Spec, np.random.Generator], Spec]
REDRAWS: dict[HitKind, Redraw] = {HitKind.OBJECT: share_object, HitKind.SCENE: share_scene}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Checks of one kind of hit: those that were in use, or those that a raised threshold refused."""

    checks: int
    full_accuracy: float  # mean share of the attributes that full mode shows as asked
    fast_accuracy: float  # the same with the donor
    loss: float | None = None  # the mean of full less fast; None of fewer than two checks
    error: float | None = None  # of the loss

    def __str__(self) -> str:
        lost = "" if self.loss is None else f", loss {self.loss:+.3f} ± {self.error:.3f}"
        return f"{self.checks} checks: full {self.full_accuracy:.3f}, with the donor {self.fast_accuracy:.3f}{lost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of one kind of hit."""

    used: Side
    refused: Side | None
    moves: list[str]
    threshold: float  # in the end

    def lines(self) -> Iterator[str]:
        """The figures for people."""
        yield f"hits in use, {self.used}"
        yield from self.moves or ["no move"]
        yield f"hits refused, {self.refused or 'none'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A worker's process with the small model, and the captions that it is asked for."""

    runtime: Runtime
    rng: np.random.Generator

    def calibrate(self, plans: Mapping[HitKind, Recipe]) -> None:
        """Put plans where `chai calibrate` puts them."""
        model = self.runtime.model("small")
        held = identity(self.runtime.card("small"), model.fingerprint, self.runtime.loaded_embedder().name, **SIZE)
        key = fingerprint(held)
        with transaction(self.runtime.factory) as session:
            for kind, recipe in plans.items():
                plan = {"recipes": [recipe.to_dict()]}
                session.add(PlanRow(namespace_key=key, kind=kind.value, plan=plan, quality={}, cost={}))

    def run(self, caption: Caption, **values: Any) -> None:
        """Run a job, then its check where it left one: nothing else waits."""
        given = {"tenant": "ada", "model": "small", "prompt": caption.text, "seed": int(self.rng.integers(1 << 31))}
        with transaction(self.runtime.factory) as session:
            job, _ = acceptance.accept(session, Job(**given, **SIZE, **values))
        generate(self.runtime, job.id)
        check(self.runtime, job.id)

    def run_sharing(self, stored: Sequence[Caption], redraw: Redraw) -> None:
        """Run a job that shares something with a stored run, in other words."""
        spec = stored[int(self.rng.integers(len(stored)))].spec
        self.run(caption_of(redraw(spec, self.rng), self.rng))


@pytest.fixture
def world(database_url: str, session_factory: sessionmaker[Session], storage_url: str) -> Iterator[World]:
    settings = WorkerSettings.model_validate(
        {"DATABASE_URL": database_url, "STORAGE_URL": storage_url, "device": "cpu", "monitor_share": 1.0}
    )
    runtime = Runtime(settings=settings, owner="bench", factory=session_factory, storage=Storage(storage_url))
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield World(runtime=runtime, rng=np.random.default_rng(SEED))
    torch.set_num_threads(num_threads)


def found(session: Session, kind: HitKind) -> Found:
    """Read what the monitor wrote about a kind of hit."""
    query = select(QualityCheck).where(QualityCheck.kind == kind.value).order_by(QualityCheck.id)
    checks = list(session.scalars(query))
    assert {one.status for one in checks} == {CheckStatus.DONE}
    assert {one.judge for one in checks} == {"checker"}
    row = session.scalars(select(PlanRow).where(PlanRow.kind == kind.value)).one()
    threshold = threshold_of([Recipe.from_dict(recipe) for recipe in row.plan["recipes"]])
    used, refused = ([one for one in checks if one.is_refused is side] for side in (False, True))
    assert threshold is not None
    return Found(
        used=side_of(used),
        refused=side_of(refused) if refused else None,
        moves=[told(move, checks) for move in row.quality.get("monitor", [])],
        threshold=threshold,
    )


def side_of(checks: Sequence[QualityCheck]) -> Side:
    """Put checks together."""
    fast, full = (fmean(getattr(one, name) for one in checks) for name in ("fast_score", "full_score"))
    lost = [Loss(similarity=one.similarity, loss=one.loss or 0.0) for one in checks]
    known = mean_of([one.loss for one in lost]) if len(lost) > 1 else None
    evidence = {"loss": known.mean, "error": known.error} if known else {}
    return Side(checks=len(checks), full_accuracy=full, fast_accuracy=fast, **evidence)


def told(move: dict[str, Any], checks: Sequence[QualityCheck]) -> str:
    """Say a move for people."""
    at = datetime.fromisoformat(move["at"])
    number = sum(one.ended_at is not None and one.ended_at <= at for one in checks)
    seen = move["evidence"]
    loss = f"{seen['mean']:+.3f} ± {seen['error']:.3f}"
    return f"threshold {move['old']:g} -> {move['new']:g} after check {number}: {seen['count']} checks lost {loss}"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("harmed", REDRAWS)
def test_the_monitor_turns_against_a_harmful_plan_and_leaves_a_harmless_one(world: World, harmed: HitKind) -> None:
    plans = {kind: HARMFUL if kind is harmed else HARMLESS for kind in REDRAWS}
    world.calibrate(plans)
    stored = sample_captions(SEED, NUM_STORED, pairs=0.0)
    for caption in stored:
        world.run(caption, mode="full")
    for _ in range(NUM_JOBS):
        for redraw in REDRAWS.values():
            world.run_sharing(stored, redraw)

    with world.runtime.factory() as session:
        results = {kind: found(session, kind) for kind in plans}
        spent = quality_checks.seconds(session)
    show(harmed, results, *spent)
    assert all((result.threshold > 0) is (kind is harmed) for kind, result in results.items())


def show(harmed: HitKind, results: Mapping[HitKind, Found], checks_s: float, jobs_s: float) -> None:
    """Print the figures, for people and for programs."""
    print()
    for kind, result in results.items():
        print(f"  {kind.value}, a {'harmful' if kind is harmed else 'harmless'} plan:", *result.lines(), sep="\n    ")
    print(f"  checks took {checks_s:.0f} s beside {jobs_s:.0f} s of jobs")
    figures = {kind.value: asdict(result) for kind, result in results.items()}
    asked = {"harmed": harmed.value, "jobs": NUM_JOBS * len(results), "seed": SEED}
    spent = {"checks_s": round(checks_s, 1), "jobs_s": round(jobs_s, 1)}
    print(json.dumps({"benchmark": "monitor", **asked, **figures, **spent, **machine()}))


def machine() -> dict[str, object]:
    return {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
