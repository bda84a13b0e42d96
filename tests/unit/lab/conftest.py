"""A network in the file that LPIPS is computed with."""

from pathlib import Path

import numpy as np
import pytest
import torch

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet with random weights under torchvision's names, without its 200 MB classifier."""
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    rng, weights = np.random.default_rng(1), {}
    for layer, shape in SHAPES.items():
        spread = (2 / np.prod(shape[1:])) ** 0.5
        weights[f"features.{layer}.weight"] = torch.from_numpy(rng.normal(0, spread, shape).astype(np.float32))
        weights[f"features.{layer}.bias"] = torch.from_numpy(rng.normal(0, 0.1, shape[0]).astype(np.float32))
    torch.save(weights | {"classifier.6.bias": torch.zeros(1000)}, file)
    return file
