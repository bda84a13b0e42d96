"""Golden tensors of Open-Sora 1.2 for the engine's tests, and tiny pipelines of diffusers in folders."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from worker.models.opensora.stdit3 import STDiT3

GOLDEN = Path(__file__).parents[2] / "golden" / "opensora12"


class Golden:
    """Reads the recorded vectors; tensors are copied to fresh memory, because reading the file mapping directly can
    change the last digits."""

    def tensors(self, path: str) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in load_file(GOLDEN / f"{path}.safetensors").items()}

    def json(self, path: str) -> Any:
        return json.loads((GOLDEN / f"{path}.json").read_text())

    def caption(self, embeds: torch.Tensor, mask: torch.Tensor | None = None) -> SimpleNamespace:
        return SimpleNamespace(embeds=embeds, mask=mask)

    def stdit3(self, model: str) -> STDiT3:
        transformer = STDiT3.from_config(self.json(f"stdit3/{model}/config"))
        transformer.load_state_dict(self.tensors(f"stdit3/{model}/weights"))
        return transformer.eval()


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder in which a pipeline was saved."""
    from tests import more_tiny_pipelines as tiny  # builds all that diffusers has: not for every test here

    folder = tmp_path_factory.mktemp("pipelines")

    @cache
    def save(name: str) -> Path:
        tiny.ALL[name]().save_pretrained(folder / name)
        return folder / name

    return save
