"""What of a pipeline shapes its latents, as short texts that can be compared."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_SAMPLE = 64  # values of each tensor that enter the fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Two models of one identity make the same latents of the same noise and prompt."""

    revision: str  # fingerprint of weights and configuration
    latent_dtype: str  # that the transformer runs in


def identify(pipeline: Any) -> ModelIdentity:  # Any: ChaiPipeline, whose parts diffusers leaves untyped
    """Return the identity of a pipeline; reads a few values of each tensor, so that it takes no time on a GPU."""
    digest = hashlib.sha256()
    for part in (pipeline.transformer, pipeline.vae):
        config = {name: repr(value) for name, value in part.config.items() if not name.startswith("_")}
        digest.update(json.dumps(config, sort_keys=True).encode())
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode() + str(tuple(tensor.shape)).encode() + _sample(tensor))
    return ModelIdentity(revision=digest.hexdigest()[:16], latent_dtype=str(pipeline.transformer.dtype).split(".")[-1])


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    values: bytes = flat[:: max(1, flat.numel() // _SAMPLE)].float().cpu().numpy().tobytes()
    return values
