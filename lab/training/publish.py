"""A trained run as a model that the service can use: pipeline folder, card and figures."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.toy_world.captions import Split, sample_captions
from lab.toy_world.rich import captions as rich_captions
from lab.toy_world.rich import checker as rich_checker
from lab.toy_world.worlds import known_world
from lab.training.measure import Accuracy, measure
from lab.training.train import Run, export
from lab.training.train_rich import RichRun
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.schedule import Schedule

FULL_STEPS = 30
FRESH = 1_000_000  # seed of the captions and noise of the closing measurement
CALIBRATED = 777_000  # seed of the captions of `prompts.txt`
NUM_PROMPTS = 480  # in it, as the bounds of a calibration need some hundreds
KINDS: dict[str, tuple[Split, float]] = {  # what is measured: split and share of captions with two things
    "one thing": (Split.TRAIN, 0.0),
    "two things": (Split.TRAIN, 1.0),
    "held-out pairs": (Split.HELD_OUT, 0.0),
}
RICH_KINDS: dict[str, tuple[Split, tuple[float, ...]]] = {  # split and shares of captions with one, two, three things
    "one thing": (Split.TRAIN, (1, 0, 0)),
    "two things": (Split.TRAIN, (0, 1, 0)),
    "three things": (Split.TRAIN, (0, 0, 1)),
    "held-out pairs": (Split.HELD_OUT, (1, 0, 0)),
}


def write(run: Run, folder: Path, *, num_clips: int) -> dict[str, Accuracy]:
    """Write pipeline, card, `prompts.txt` and `training.json` (recipe, cost, accuracies); return those by kind."""
    pipeline = run.pipeline()
    export(pipeline, folder)
    (folder / "chai.json").write_text(json.dumps(card(pipeline, folder.name), indent=2) + "\n")
    (folder / "prompts.txt").write_text(prompts(pipeline))
    figures = rich_figures(pipeline, num_clips) if isinstance(run, RichRun) else small_figures(pipeline, num_clips)
    training = {
        "recipe": asdict(run.recipe),
        "steps": run.step,
        "clips_seen": run.step * run.recipe.batch_size,
        "seconds": round(run.seconds),
        "num_steps": FULL_STEPS,
        "guidance_scale": known_world(pipeline.clip_shape).guidance_scale,
        "accuracy": {kind: asdict(figure) for kind, figure in figures.items()},
    }
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    return figures


def small_figures(pipeline: ChaiPipeline, num_clips: int) -> dict[str, Accuracy]:
    """How well a model of the small world follows fresh captions, by kind."""
    schedule = _full_schedule(pipeline)
    return {
        kind: measure(pipeline, sample_captions(FRESH, num_clips, split, pairs=pairs), schedule, seed=FRESH)
        for kind, (split, pairs) in KINDS.items()
    }


def rich_figures(pipeline: ChaiPipeline, num_clips: int) -> dict[str, Accuracy]:
    """How well a model of the rich world follows fresh captions, by kind."""
    schedule, check = _full_schedule(pipeline), rich_checker.check
    asked = {
        kind: rich_captions.sample_captions(FRESH, num_clips, split, mix=rich_captions.Mix(counts=counts))
        for kind, (split, counts) in RICH_KINDS.items()
    }
    return {kind: measure(pipeline, some, schedule, seed=FRESH, check=check) for kind, some in asked.items()}


def _full_schedule(pipeline: ChaiPipeline) -> Schedule:
    return pipeline.schedule(FULL_STEPS, known_world(pipeline.clip_shape).guidance_scale)


def prompts(pipeline: ChaiPipeline) -> str:
    """The list that the model is calibrated on: captions of its world, a line each."""
    drawn = known_world(pipeline.clip_shape).captions(CALIBRATED, 2 * NUM_PROMPTS)
    texts = list(dict.fromkeys(caption.text for caption in drawn))[:NUM_PROMPTS]
    return "\n".join(
        (f"# Captions of the model's world, seed {CALIBRATED}: the first {NUM_PROMPTS} that differ.", *texts, "")
    )


def card(pipeline: ChaiPipeline, name: str) -> dict[str, Any]:
    """The card of the model, to lie in the model's folder."""
    config: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    world = known_world(pipeline.clip_shape)
    return {
        "name": name,
        "title": world.title,
        "source": ".",
        "sizes": [f"{config.width}x{config.height}"],
        "fps": config.fps,
        "frames": [config.num_frames],
        "full_steps": FULL_STEPS,
        "fast_steps": 8,
        "guidance_scale": world.guidance_scale,
        "examples": list(world.examples),
    }


def columns(figures: Mapping[str, Accuracy]) -> tuple[str, ...]:
    """The head of the table of `rows`."""
    return ("clips", *next(iter(figures.values())).attributes, "mean", "to manifold", "to prompt")


def rows(figures: Mapping[str, Accuracy]) -> list[tuple[str, ...]]:
    """The accuracies as table rows."""
    return [
        (
            f"{kind} ({figure.num_clips})",
            *(f"{figure.attributes[name]:.2f}" for name in figure.attributes),
            f"{figure.mean:.3f}",
            f"{figure.manifold_distance:.3f}",
            f"{figure.prompt_distance:.3f}",
        )
        for kind, figure in figures.items()
    ]
