"""LPIPS of two videos (Zhang et al. 2018, version 0.1): distances of AlexNet's features, weighted to agree with people.

AlexNet's ImageNet weights come from a file of the user's. The weights of its features (`lpips_heads.safetensors`, 5 kB)
are those of the package `lpips` 0.1.4, whose terms are in `lpips_heads.txt`. The package itself is not used: it needs
torchvision, whose wheels on PyPI are built for CUDA and break transformers next to a torch for CPUs.
"""

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

HEADS = Path(__file__).with_name("lpips_heads.safetensors")
MIN_SIDE = 64  # pixels; below 31 AlexNet's pools have nothing left, and just above they leave one feature per frame
_BATCH = 8  # frames at a time
_TAPS = (0, 2, 5, 8, 10, 12)  # layers of AlexNet between which features are taken, each after a ReLU
# Mean and deviation of ImageNet's colours, for pixels from -1 to 1.
_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def _trunk() -> nn.Sequential:
    """AlexNet up to its fifth ReLU, layers numbered as torchvision's `features`."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


class Lpips:
    """AlexNet with LPIPS's heads, on the CPU."""

    def __init__(self, trunk: nn.Sequential) -> None:
        self._slices = [trunk[start:stop] for start, stop in pairwise(_TAPS)]
        heads = load_file(HEADS)
        self._heads = [heads[f"lin{index}"] for index in range(len(self._slices))]  # each (1, C, 1, 1)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Load torchvision's AlexNet weights, of which `features.*` are read.

        Raises OSError if the file cannot be read, and ValueError if it holds something else.
        """
        trunk = _trunk()
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
            prefix = "features."
            trunk.load_state_dict({name.removeprefix(prefix): found[name] for name in found if name.startswith(prefix)})
        except OSError:
            raise
        except Exception as error:  # torch's reader fails in many ways on other bytes
            raise ValueError("holds no AlexNet; name torchvision's alexnet-owt-7be5be79.pth") from error
        return cls(trunk.eval())

    @torch.no_grad()
    def distance(self, ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> float:
        """Return the mean over frames of LPIPS of two videos (T, H, W, 3): 0 for equal ones.

        Frames with a short side below 64 pixels are scaled up to 64, bilinearly.
        """
        a, b = _pixels(ours), _pixels(theirs)
        batches = [slice(start, start + _BATCH) for start in range(0, len(a), _BATCH)]
        return float(torch.cat([self._of_frames(a[part], b[part]) for part in batches]).mean())

    def _of_frames(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """LPIPS of each pair of frames, (N,), from pixels (N, 3, H, W)."""
        total = torch.zeros(len(ours))
        for layers, head in zip(self._slices, self._heads, strict=True):
            ours, theirs = layers(ours), layers(theirs)
            errors = (_unit(ours) - _unit(theirs)).square()  # (N, C, H', W')
            total += (errors * head).sum(1).mean((1, 2))
        return total


def weights_in(path: Path) -> Path:
    """Return the file with AlexNet's weights: `path`, or the one in that folder. Raises ValueError for a folder."""
    if not path.is_dir():
        return path
    files = sorted([*path.glob("alexnet*.pth"), *path.glob("alexnet*.pt")])
    if not files:
        raise ValueError("holds no AlexNet; put torchvision's alexnet-owt-7be5be79.pth there")
    return files[0]


@cache
def network(file: Path) -> Lpips:
    """Return the network of a file, loaded once per process."""
    return Lpips.load(file)


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _pixels(frames: NDArray[np.uint8]) -> Tensor:
    """Colours normalised, frames big enough: (T, 3, H, W)."""
    video = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    height, width = video.shape[-2:]
    if (scale := MIN_SIDE / min(height, width)) > 1:
        video = F.interpolate(video, size=(round(height * scale), round(width * scale)), mode="bilinear")
    return (video - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_DEVIATION).view(3, 1, 1)
