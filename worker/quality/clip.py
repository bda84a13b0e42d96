"""CLIPScore of a video (Hessel et al. 2021): how well its frames fit a prompt, by a CLIP model on this machine."""

from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel

from worker.models.registry import LOADING

MAX_FRAMES = 8  # spread evenly over the video
WEIGHT = 2.5  # the paper's: stretches cosines to about 0..1
# Mean and deviation of the colours that CLIP was trained on.
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipScorer:
    """A CLIP model with its tokenizer, on the CPU."""

    def __init__(self, model: Any, tokenizer: Any) -> None:  # Any: transformers gives no useful types
        self._model = model.eval()
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a CLIP model; raise OSError or ValueError if the folder holds none. The network is not used."""
        with LOADING:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            return cls(model, AutoTokenizer.from_pretrained(folder, local_files_only=True))

    @torch.no_grad()
    def score(self, prompt: str, frames: NDArray[np.uint8]) -> float:
        """Return the mean over frames (T, H, W, 3) of 2.5 max(cos(frame, prompt), 0)."""
        config = self._model.config
        words = self._tokenizer(
            [prompt], return_tensors="pt", truncation=True, max_length=config.text_config.max_position_embeddings
        )
        found = self._model(
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
            pixel_values=_pixels(frames, config.vision_config.image_size),
        )
        cosines = F.cosine_similarity(found.image_embeds, found.text_embeds)
        return float(WEIGHT * cosines.clamp(min=0).mean())


@cache
def scorer(folder: Path) -> ClipScorer:
    """Return the scorer of a folder, loaded once per process."""
    return ClipScorer.load(folder)


def _pixels(frames: NDArray[np.uint8], side: int) -> Tensor:
    """Fit the short side, crop to the centre, normalise colours."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES)).round().astype(int)
    video = torch.from_numpy(frames[chosen]).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)
    height, width = video.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    video = F.interpolate(video, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    video = video[..., top : top + side, left : left + side]  # (T, 3, side, side)
    return (video - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_DEVIATION).view(3, 1, 1)
