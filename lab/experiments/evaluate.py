"""`chai lab eval`: variants over fresh prompts, and the files with their results."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from lab.experiments.experiment import Experiment, Model, prepare
from lab.experiments.report import COLUMNS, Results, Row, as_json, contact_sheet, plot, rows
from lab.experiments.variants import (
    FULL,
    PAPER_WAYS,
    QUADRATIC,
    WAYS,
    Variant,
    donor_controls,
    plain,
    plain_controls,
    schedules,
    short_list,
    within_controls,
)
from shared.model_cards import load
from worker.cache.decisions.types import HitKind
from worker.models.embedders import load_embedder
from worker.models.fingerprint import identify
from worker.models.opensora.pipeline import ChaiPipeline

__all__ = ["COLUMNS", "PRESETS", "Evaluation", "load_model", "run", "write"]

Report = Callable[[int, str], object]  # called with the number of clips made and the current activity


def quick() -> list[Variant]:
    """The paper's plan and its controls beside a few plain schedules."""
    eight = plain(8)
    attention = WAYS["CA"].on(eight)
    resume = WAYS["resume from 1"].on(plain(5))
    few = [plain(2), plain(4), eight, plain(15), plain(29)]
    unguided = [plain(n, unguided_steps=1) for n in (2, 3, 4, 8)]
    return [*few, *unguided, *within_controls(), attention, resume, *donor_controls([attention, resume])]


def reuse() -> list[Variant]:
    """The search for ways of reuse at few steps, beside the best schedules without a donor."""
    bases = [plain(n, **QUADRATIC) for n in (1, 2, 3, 4, 5)]
    return [*bases, *(way.on(base) for base in bases[1:] for way in WAYS.values() if way.suits(base))]


def full() -> list[Variant]:
    """Every plain schedule, the ways of reuse that the search kept, the paper's plan, and all controls."""
    paper = [way.on(plain(8)) for way in (WAYS["CA"], PAPER_WAYS[0])]
    few = short_list()
    return [*plain_controls(), *within_controls(), *paper, *few, *donor_controls([*paper[:1], *few])]


def goal() -> list[Variant]:
    """The few plans that the goal is claimed for, their controls, and the plain schedules of equal cost or less."""
    few = [WAYS["resume from 1"].on(plain(n, **QUADRATIC)) for n in (3, 4)]
    return [*plain_controls((), (2, 3, 4)), plain(8, **QUADRATIC), *few, *donor_controls(few)]


PRESETS: dict[str, Callable[[], list[Variant]]] = {
    "quick": quick,
    "schedules": schedules,
    "reuse": reuse,
    "full": full,
    "goal": goal,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The results of an evaluation."""

    experiment: Experiment
    results: Results
    rows: list[Row]
    facts: dict[str, Any]  # how it was measured

    def summary(self) -> dict[str, Any]:
        """Everything in plain values."""
        return as_json(self.rows, **self.facts)


def load_model(folder: Path) -> Model:
    """A pipeline folder with the figures of its card."""
    card = load(folder.parent)[folder.name]
    pipeline = ChaiPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)  # type: ignore[no-untyped-call]
    return Model(
        pipeline=pipeline,
        full_steps=card.full_steps,
        fast_steps=card.fast_steps,
        guidance_scale=card.guidance_scale,
    )


def run(
    folder: Path,
    variants: Sequence[Variant],
    *,
    num_prompts: int,
    num_stored: int,
    seed: int,
    progress: Report | None = None,
) -> Evaluation:
    """Run full mode and every variant; the same arguments give the same clips."""
    model, tell = load_model(folder), progress or (lambda done, text: None)
    began, num_made = perf_counter(), 0

    def made(count: int) -> None:
        nonlocal num_made
        num_made += count
        tell(num_made, f"full runs, {num_made} clips")

    embedder = load_embedder()
    experiment = prepare(model, embedder, num_stored=num_stored, num_prompts=num_prompts, seed=seed, progress=made)
    results: dict[str, tuple[Variant, Any]] = {FULL.name: (FULL, experiment.full_outcomes())}
    for i, variant in enumerate(variants):
        results[variant.name] = (variant, experiment.run(variant))
        num_made += num_prompts
        tell(num_made, f"{i + 1} of {len(variants)} plans: {variant.name}")
    facts = {
        "model": folder.name,
        "revision": identify(model.pipeline).revision,
        "seed": seed,
        "prompts": num_prompts,
        "stored": num_stored,
        "guidance_scale": model.guidance_scale,
        "embedder": embedder.name,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "wall_s": round(perf_counter() - began, 1),
    }
    return Evaluation(experiment=experiment, results=results, rows=rows(experiment, results), facts=facts)


def write(found: Evaluation, folder: Path) -> list[Path]:
    """Write `results.json`, `front.png` and, if reuse ran, `sheet.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "results.json", folder / "front.png"]
    files[0].write_text(json.dumps(found.summary(), indent=1) + "\n")
    plot(found.rows, files[1])
    reusing = [variant for variant, _ in found.results.values() if variant.recipe.reuse][:1]
    asked = [
        question
        for case in (HitKind.SCENE, HitKind.OBJECT, HitKind.BOTH)
        for question in found.experiment.cases().get(case, [])[:3]
    ]
    if reusing and asked:
        names = [f"{reusing[0].recipe.num_steps} steps", reusing[0].name]
        columns = {
            name: {outcome.question: outcome for outcome in found.results[name][1]}
            for name in names
            if name in found.results
        }
        files.append(folder / "sheet.png")
        contact_sheet(found.experiment, columns, asked, files[-1])
    return files
