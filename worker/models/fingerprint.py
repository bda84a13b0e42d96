"""What of a pipeline shapes its latents, as short texts that can be compared."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from worker.models.base import Fingerprint

_SAMPLE = 64  # values of each tensor that enter the fingerprint


def identify(pipeline: Any) -> Fingerprint:  # Any: ChaiPipeline, whose parts diffusers leaves untyped
    """Return the fingerprint of a pipeline."""
    parts = (pipeline.transformer, pipeline.vae)
    configs = [part.config for part in parts]
    if pipeline.config.spacing != "uniform":
        configs.append({"spacing": pipeline.config.spacing})
    return Fingerprint(
        revision=revision(configs, [*parts, pipeline.text_encoder]),
        latent_dtype=str(pipeline.transformer.dtype).split(".")[-1],
    )


def revision(configs: Sequence[Any], modules: Sequence[nn.Module]) -> str:  # Any: configurations of diffusers
    """Return 16 hex digits of configurations and weights.

    Reads a few values of each tensor, so that it takes no time on a GPU.
    """
    digest = hashlib.sha256()
    for config in configs:
        values = {name: repr(value) for name, value in config.items() if not name.startswith("_")}
        digest.update(json.dumps(values, sort_keys=True).encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + str(tuple(tensor.shape)).encode() + _sample(tensor))
    return digest.hexdigest()[:16]


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    values: bytes = flat[:: max(1, flat.numel() // _SAMPLE)].float().cpu().numpy().tobytes()
    return values
