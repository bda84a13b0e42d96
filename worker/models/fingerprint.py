"""Fingerprints: everything in a pipeline that shapes its latents, as short texts that can be compared.

Caches and calibrated plans belong to a fingerprint, so it must not change when a library merely spells the same thing
differently: for parts that transformers loads, only their behaviour counts, not how a version configures it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.models.video_model import Fingerprint, not_finite_weights

_SAMPLE = 64  # values of each tensor that enter the fingerprint
_OF_THE_PIPELINE = ("time_shift", "spacing", "aesthetic_score")  # the rest are defaults of a call
_OF_AN_ENCODER = (  # settings with which the same weights compute other features of a text
    *("num_heads", "num_attention_heads", "num_key_value_heads", "feed_forward_proj", "hidden_act"),
    *("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "rope_parameters"),
    *("relative_attention_num_buckets", "relative_attention_max_distance"),
)
_OF_A_TOKENIZER = ("model_max_length", "padding_side", "truncation_side", "chat_template")
_PROBE = "Two  RED foxes, naïve_ones (№42): 猫が跑步 at Żółw's 3.5th café… привет, supercalifragilistic 🐱-house!\n"


def identify(pipeline: Any) -> Fingerprint:  # Any: ChaiPipeline, whose parts diffusers leaves untyped
    """Return the fingerprint of a pipeline."""
    own = {name: pipeline.config[name] for name in _OF_THE_PIPELINE}
    return Fingerprint(
        revision=revision(pipeline.components, own), latent_dtype=str(pipeline.transformer.dtype).split(".")[-1]
    )


def revision(parts: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:  # Any: of diffusers and transformers
    """Return a hash, 16 hex digits, of the named parts of a pipeline and of the other choices.

    Of each part, it covers the configuration and weights, or what a tokenizer makes of words. It reads a few values of
    each tensor, so it takes no time on a GPU.
    """
    digest = hashlib.sha256(_text(chosen))
    for name, part in sorted(parts.items()):
        digest.update(name.encode() + _text(_settings(part)))
        if isinstance(part, nn.Module):
            for key, tensor in sorted(part.state_dict().items()):
                digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(_sample(tensor).numpy().tobytes())
    return digest.hexdigest()[:16]


def require_numbers(source: str, parts: Mapping[str, Any]) -> None:  # Any: as above
    """Raise OSError for weights that are not finite: such a model makes nothing but black.

    Looks at the values that enter a fingerprint, so it finds weights that are broken as a whole; the damage of a single
    value is found by `require_finite` in the first video.
    """
    weights = (
        (f"{name}.{key}", tensor)
        for name, part in sorted(parts.items())
        if isinstance(part, nn.Module)
        for key, tensor in part.named_parameters()
    )
    if broken := {name: tensor.dtype for name, tensor in weights if not _sample(tensor).isfinite().all()}:
        raise OSError(f"{source}: {not_finite_weights([*broken], next(iter(broken.values())))}")


def _text(values: Mapping[str, Any]) -> bytes:
    told = {name: repr(value) for name, value in values.items() if not name.startswith("_")}
    return json.dumps(told, sort_keys=True).encode()


def _settings(part: Any) -> Mapping[str, Any]:
    """Return the settings of a part that matter besides its weights."""
    config = getattr(part, "config", {})
    if hasattr(config, "get_text_config"):  # of transformers
        return {name: getattr(config.get_text_config(), name, None) for name in _OF_AN_ENCODER}
    tokenizer = getattr(part, "tokenizer", part)  # a processor has one
    if hasattr(tokenizer, "get_vocab"):
        read = {
            "vocabulary": sorted(tokenizer.get_vocab().items()),
            "probe": tokenizer(_PROBE, verbose=False).input_ids,
        }
        return read | {name: getattr(tokenizer, name, None) for name in _OF_A_TOKENIZER}
    return {"class": type(part).__name__, **config}


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLE)].float().cpu()
