"""What tests of several parts read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel

from worker.models.embedders import load_embedder
from worker.models.opensora.presets import stdit3_xl2_config, tiny_transformer
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.stdit3 import STDiT3

# Shapes of its convolutions, by number of the layer.
ALEXNET = {
    0: (64, 3, 11, 11),
    3: (192, 64, 5, 5),
    6: (384, 192, 3, 3),
    8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet with random weights under torchvision's names, without its 200 MB classifier."""
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    rng, weights = np.random.default_rng(1), {}
    for layer, shape in ALEXNET.items():
        spread = (2 / np.prod(shape[1:])) ** 0.5
        weights[f"features.{layer}.weight"] = torch.from_numpy(rng.normal(0, spread, shape).astype(np.float32))
        weights[f"features.{layer}.bias"] = torch.from_numpy(rng.normal(0, 0.1, shape[0]).astype(np.float32))
    torch.save(weights | {"classifier.6.bias": torch.zeros(1000)}, file)
    return file


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights and MiniLM's tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 30522, "eos_token_id": 102},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)  # of some seeds the random network finds every picture unlike every prompt: cosines below 0
    CLIPModel(config).save_pretrained(folder)
    load_embedder("minilm")._tokenizer.save_pretrained(folder)
    return folder


@dataclass
class Caption:
    """Text features without a text encoder."""

    embeds: torch.Tensor
    mask: torch.Tensor | None = None


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
