"""Golden tensors of Open-Sora 1.2 for the engine's tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from worker.models.opensora.presets import stdit3_xl2_config, tiny_transformer
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.stdit3 import STDiT3

GOLDEN = Path(__file__).parents[2] / "golden" / "opensora12"


@dataclass
class Caption:
    """Text features without a text encoder."""

    embeds: torch.Tensor
    mask: torch.Tensor | None = None


class Golden:
    """Reads the recorded vectors; tensors are copied to fresh memory, because reading the file mapping directly can
    change the last digits."""

    def tensors(self, path: str) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in load_file(GOLDEN / f"{path}.safetensors").items()}

    def json(self, path: str) -> Any:
        return json.loads((GOLDEN / f"{path}.json").read_text())

    def caption(self, embeds: torch.Tensor, mask: torch.Tensor | None = None) -> Caption:
        return Caption(embeds, mask)

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


@pytest.fixture
def small_run() -> Any:
    """Arguments of a run of four steps of a tiny random transformer, with changes."""

    def arguments(batch: int = 1, num_steps: int = 4, **changes: Any) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(11)
        return {
            "transformer": tiny_transformer(seed=5),
            "noise": torch.randn(batch, 4, 3, 6, 4, generator=generator),
            "caption": Caption(torch.randn(batch, 1, 8, 16, generator=generator)),
            "schedule": Schedule(num_steps=num_steps, time_shift="none"),
            "conditioning": Conditioning(height=48, width=32, num_frames=12, fps=8),
        } | changes

    return arguments


@pytest.fixture
def count_operations() -> Any:
    """Floating-point operations of one forward of the released width at 240p and 51 frames, by shapes alone."""

    def count(depth: int, *, batch: int, keep_keys: bool = True, **options: Any) -> int:
        with torch.device("meta"):
            transformer = STDiT3(**stdit3_xl2_config() | {"depth": depth})
            x, features = torch.empty(batch, 4, 15, 30, 53), torch.empty(batch, 1, 300, 4096)
            numbers = {"timestep": torch.empty(batch), "fps": torch.empty(1)}
        if keep_keys:
            features = transformer.pack_caption(features, None, batch, keep_keys=True)
        with FlopCounterMode(display=False) as counter:
            transformer(x, y=features, height=240, width=426, **numbers, **options)
        return counter.get_total_flops()

    return count
