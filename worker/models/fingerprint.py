"""What of a pipeline shapes its latents, as short texts that can be compared.

A fingerprint names what caches and calibrated plans belong to, so it must not change with a library that does the same
in other words: of what transformers loads, only what it does counts, and not how a version of it is told so.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.models.video_model import Fingerprint

_SAMPLE = 64  # values of each tensor that enter the fingerprint
_OF_THE_PIPELINE = ("time_shift", "spacing", "aesthetic_score")  # the rest is what a call gets that names none
_OF_AN_ENCODER = (  # of its configuration: what the same weights compute another text with
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
    """Return 16 hex digits of the parts of a pipeline by name, and of what else was chosen.

    Of each part: its configuration, its weights, or what a tokenizer makes of words. Reads a few values of each
    tensor, so that it takes no time on a GPU.
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
    """Raise OSError where weights are no numbers: whatever such a model makes is black.

    Looks at the values that enter a fingerprint, so it finds weights that are broken as a whole; what a single value
    spoils, `require_finite` finds in the first video.
    """
    weights = (
        (f"{name}.{key}", tensor)
        for name, part in sorted(parts.items())
        if isinstance(part, nn.Module)
        for key, tensor in part.named_parameters()
    )
    if broken := [(name, tensor.dtype) for name, tensor in weights if not _sample(tensor).isfinite().all()]:
        (first, dtype), others = broken[0], len(broken) - 1
        raise OSError(
            f"{source}: {first}{f' and {others} more' if others else ''} hold values that are no numbers in "
            f"{str(dtype).split('.')[-1]}; fetch or save it again, or give another dtype"
        )


def _text(values: Mapping[str, Any]) -> bytes:
    told = {name: repr(value) for name, value in values.items() if not name.startswith("_")}
    return json.dumps(told, sort_keys=True).encode()


def _settings(part: Any) -> Mapping[str, Any]:
    """Return what a part goes by, besides weights."""
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
