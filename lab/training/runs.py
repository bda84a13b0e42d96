"""What all training runs share: the loop that also saves, the moving average, the file."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

R = TypeVar("R")  # of recipe


class Trained(Protocol):
    """A run of any kind."""

    step: int
    seconds: float

    @property
    def recipe(self) -> Any:
        """The recipe, which has `num_steps`."""
        ...

    def advance(self) -> float:
        """Learn from the next batch and return its loss."""
        ...

    def save(self, path: Path) -> None:
        """Write everything needed to resume."""
        ...


class Diverged(Exception):
    """The loss of a step is not finite, and neither are the weights from then on."""

    def __init__(self, step: int, loss: float, checkpoint: Path):
        way_out = f"go on from {checkpoint} with --resume" if checkpoint.exists() else "begin again with another --seed"
        super().__init__(f"the loss of step {step} is {loss}, and nothing is learned from then on; {way_out}")


def fit(run: Trained, checkpoint: Path, *, save_every_s: float = 120.0) -> Iterator[float]:
    """Train to the end of the recipe, saving now and then; yields the loss of each step.

    Raises Diverged at the first loss that is not finite; the file stays as last saved.
    """
    saved = time.monotonic()
    while run.step < run.recipe.num_steps:
        loss = run.advance()
        if not math.isfinite(loss):
            raise Diverged(run.step, loss, checkpoint)
        yield loss
        if time.monotonic() - saved >= save_every_s:
            run.save(checkpoint)
            saved = time.monotonic()
    run.save(checkpoint)


def decay_at(step: int, decay: float) -> float:
    """Share of the averaged weights that stays after `step`: less in the first steps than `decay` says."""
    return min(decay, step / (step + 10))


def move_average(average: nn.Module, weights: nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights towards those after `step`."""
    move = get_ema_multi_avg_fn(decay_at(step, decay))  # type: ignore[no-untyped-call]
    move(list(average.parameters()), list(weights.parameters()), step)


def write(state: Mapping[str, Any], path: Path) -> None:
    """Write the state of a run, replacing `path` in one step."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def read(path: Path, recipe: Callable[[Any], R], device: str = "cpu") -> tuple[R, dict[str, Any]]:
    """Return the recipe, built by `recipe` from the stored values, and the state in a file.

    Raises ValueError for a file that is truncated, of another kind of run, or of another version.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch's reader fails in many ways on other bytes
        raise ValueError(f"{path} is no checkpoint, or not the whole of one; start a new run") from error
    try:
        return recipe(state["recipe"]), state
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds the recipe of another version; start a new run") from error
