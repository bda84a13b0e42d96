"""A real worker whose cards may name models that misbehave.

The models denoise for real, at tiny size; what is added is the weakness that a test is about.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shared.model_cards import ModelCard
from worker.app import main
from worker.runtime import Pipeline, load_pipeline
from worker.settings import WorkerSettings

STEP_S = 0.1
DECODE_S = 5.0


class Slow:
    """A model with a pause behind every step."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._pipeline.steps(*args, **options):
            time.sleep(STEP_S)
            yield step


class Late(Slow):
    """A model with quick steps and a slow decoder."""

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        return self._pipeline.steps(*args, **options)

    def decode(self, *args: Any, **options: Any) -> Any:
        time.sleep(DECODE_S)
        return self._pipeline.decode(*args, **options)


class Poison(Slow):
    """A model that takes its process with it in the second step."""

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._pipeline.steps(*args, **options):
            if step.index == 1:
                os.abort()
            yield step


class Greedy(Slow):
    """A model that asks for more memory than there is."""

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._pipeline.steps(*args, **options):
            if step.index == 1:
                step.latents.new_empty(2**50)
            yield step


FAULTS = {"random-tiny": lambda pipeline: pipeline, "slow": Slow, "late": Late, "poison": Poison, "greedy": Greedy}


def load(card: ModelCard, settings: WorkerSettings) -> Pipeline:
    return FAULTS[card.source](load_pipeline(replace(card, source="random-tiny"), settings))


def run(name: str) -> int:
    """Be a worker until SIGTERM."""
    return main(name=name, load=load)
