"""A trained run as a model that the service can use: pipeline folder, card and figures."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.toy_world.captions import Split, sample_captions
from lab.toy_world.checker import ATTRIBUTES
from lab.toy_world.world import FPS, NUM_FRAMES, SIDE
from lab.training.measure import Accuracy, measure
from lab.training.train import Run, export

GUIDANCE = 1.5  # of the card and of the closing measurement
FULL_STEPS = 30
FRESH = 1_000_000  # seed of the captions and noise of the closing measurement
COLUMNS = (*ATTRIBUTES, "mean", "to manifold", "to prompt")
KINDS: dict[str, tuple[Split, float]] = {  # what is measured: split and share of captions with two things
    "one thing": (Split.TRAIN, 0.0),
    "two things": (Split.TRAIN, 1.0),
    "held-out pairs": (Split.HELD_OUT, 0.0),
}


def write(run: Run, folder: Path, *, num_clips: int) -> dict[str, Accuracy]:
    """Write pipeline, card and `training.json` (recipe, cost, accuracies), and return the accuracies by kind."""
    pipeline = run.pipeline()
    export(pipeline, folder)
    (folder / "chai.json").write_text(json.dumps(card(folder.name), indent=2) + "\n")
    schedule = pipeline.schedule(FULL_STEPS, GUIDANCE)
    figures = {
        kind: measure(pipeline, sample_captions(FRESH, num_clips, split, pairs=pairs), schedule, seed=FRESH)
        for kind, (split, pairs) in KINDS.items()
    }
    training = {
        "recipe": asdict(run.recipe),
        "steps": run.step,
        "clips_seen": run.step * run.recipe.batch_size,
        "seconds": round(run.seconds),
        "num_steps": FULL_STEPS,
        "guidance_scale": GUIDANCE,
        "accuracy": {kind: asdict(figure) for kind, figure in figures.items()},
    }
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    return figures


def card(name: str) -> dict[str, Any]:
    """What the service reads about the model; its folder is the card's own."""
    return {
        "name": name,
        "title": "A small trained model of a procedural world",
        "source": ".",
        "sizes": [f"{SIDE}x{SIDE}"],
        "fps": FPS,
        "frames": [NUM_FRAMES],
        "full_steps": FULL_STEPS,
        "fast_steps": 8,
        "guidance_scale": GUIDANCE,
    }


def rows(figures: Mapping[str, Accuracy]) -> list[tuple[str, ...]]:
    """The accuracies as table rows."""
    return [
        (
            f"{kind} ({figure.num_clips})",
            *(f"{figure.attributes[name]:.2f}" for name in ATTRIBUTES),
            f"{figure.mean:.3f}",
            f"{figure.manifold_distance:.3f}",
            f"{figure.prompt_distance:.3f}",
        )
        for kind, figure in figures.items()
    ]
