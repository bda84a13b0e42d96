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
from worker.models.base import VideoModel
from worker.runtime import load_model
from worker.settings import WorkerSettings

STEP_S = 0.1
DECODE_S = 5.0


class Slow:
    """A model with a pause behind every step."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            time.sleep(STEP_S)
            yield step


class Late(Slow):
    """A model with quick steps and a slow decoder."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        return self._model.sample(*args, **options)

    def decode(self, *args: Any, **options: Any) -> Any:
        time.sleep(DECODE_S)
        return self._model.decode(*args, **options)


class Poison(Slow):
    """A model that takes its process with it in the second step."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            if step.index == 1:
                os.abort()
            yield step


class Greedy(Slow):
    """A model that asks for more memory than there is."""

    def sample(self, *args: Any, **options: Any) -> Iterator[Any]:
        for step in self._model.sample(*args, **options):
            if step.index == 1:
                step.latents.new_empty(2**50)
            yield step


FAULTS = {"random-tiny": lambda model: model, "slow": Slow, "late": Late, "poison": Poison, "greedy": Greedy}


def load(card: ModelCard, settings: WorkerSettings) -> VideoModel:
    return FAULTS[card.source](load_model(replace(card, source="random-tiny"), settings))


def run(name: str) -> int:
    """Be a worker until SIGTERM."""
    return main(name=name, load=load)
