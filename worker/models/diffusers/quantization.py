"""Weights in fewer bits, as a card asks for them: stored in 8 bits, or by one of diffusers' back ends."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from shared.model_cards import ModelCard
from worker.models.diffusers import attention, source


def of_parts(card: ModelCard, found: source.Source) -> dict[str, Any]:
    """Return the configuration of quantisation for the parts; raise ValueError for an unknown part or back end."""
    if not isinstance(card.quantization, Mapping):
        return {}
    given = {"backend": None, "options": {}, "parts": attention.networks_of(found.parts), **card.quantization}
    try:
        if unknown := set(given) - {"backend", "options", "parts"}:
            raise ValueError(f"unknown {sorted(unknown)}; known are backend, options, parts")
        if not isinstance(given["parts"], list | tuple) or not isinstance(given["options"], Mapping):
            raise ValueError("parts is a list of names, and options is an object")
        return {part: _of_part(found, part, given["backend"], given["options"]) for part in given["parts"]}
    except Exception as error:  # each back end has its own errors for a refused option or a missing package
        raise ValueError(f"{card.name}: quantization {dict(card.quantization)}: {error}") from error


def _of_part(found: source.Source, part: str, backend: Any, options: Mapping[str, Any]) -> Any:
    """Return the configuration with which the library of a part quantises it: options of the two libraries differ."""
    from diffusers.quantizers import auto as of_diffusers
    from transformers.quantizers import auto as of_transformers

    if part not in found.parts:
        raise ValueError(f"{part!r} is no part of this {found.pipeline}; there are {', '.join(found.parts)}")
    library = found.parts[part][0]
    of_library: Any = of_transformers if library == "transformers" else of_diffusers
    kinds = of_library.AUTO_QUANTIZATION_CONFIG_MAPPING
    if backend not in kinds:
        raise ValueError(f"backend {backend!r} is unknown to {library}; there are {', '.join(kinds)}")
    made = kinds[backend](**options)
    _refuse_unread(made, backend, options)
    return made


def _refuse_unread(made: Any, backend: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that a configuration neither takes by name nor keeps: it drops them."""
    takes = inspect.signature(type(made).__init__).parameters.values()
    named = [one.name for one in takes if one.kind is not one.VAR_KEYWORD and one.name != "self"]
    for option in options:
        if named and option not in (*named, *vars(made)):
            raise ValueError(f"{option!r} is no option of {backend}; there are {', '.join(named)}")


def apply(pipeline: Any, card: ModelCard) -> None:
    """Store the weights of the networks in 8 bits if the card says so; raise ValueError for another word."""
    if card.quantization in (None, "none") or isinstance(card.quantization, Mapping):
        return
    if card.quantization != "float8":
        raise ValueError(
            f"{card.name}: quantization {card.quantization!r} is unknown; use float8 (weights wait in 8 bits), or "
            "a back end of diffusers: {'backend': 'bitsandbytes_4bit', 'options': {...}, 'parts': ['transformer']}"
        )
    for network in attention.transformers(pipeline):
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype)
