"""LoRAs of a card: added to the networks of a pipeline; what does not fit there is reported."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, list_repo_files
from safetensors import SafetensorError, safe_open

from shared.logs import first_line
from shared.model_cards import Lora, ModelCard
from worker.models.diffusers import attention
from worker.models.diffusers.source import SourceError
from worker.models.video_model import and_others, not_finite_weights

logger = logging.getLogger(__name__)

_USUAL = "pytorch_lora_weights.safetensors"  # as diffusers saves them
_OF_TRAINING = {"scheduler", "optimizer", "checkpoint"}  # in names of files that are not LoRAs


def add(pipeline: Any, card: ModelCard, beside: Path | None) -> dict[str, str]:
    """Add the LoRAs of a card, those beside it first; return what is left out of each, by `LoRA` and its source.

    Raises:
        SourceError: a LoRA is missing, broken, or of another kind of model.
        ValueError: the pipeline takes none, or has no such network.
    """
    names = [f"lora_{number}" for number in range(len(card.loras))]
    left_out: dict[str, str] = {}
    for name, lora in zip(names, card.loras, strict=True):
        if unread := _add_lora(pipeline, card, lora, name, beside):
            said = f"left out, for {unread}"
            logger.warning("%s: LoRA %s: %s", card.name, lora.source, said)
            left_out[f"LoRA {lora.source}"] = said
    if names:
        pipeline.set_adapters(names, [lora.weight for lora in card.loras])
    return left_out


def _add_lora(pipeline: Any, card: ModelCard, lora: Lora, name: str, beside: Path | None) -> str:
    """Add a LoRA under a name; return which parts of it are left out and why; empty if none."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"{card.name}: {type(pipeline).__name__} takes no LoRAs; leave `loras` out of the card")
    networks = attention.networks_of([part for part, loaded in pipeline.components.items() if loaded is not None])
    if lora.network not in (None, *networks):
        raise ValueError(
            f"{card.name}: LoRA {lora.source}: network {lora.network!r} is none of this {type(pipeline).__name__}; "
            f"there are {', '.join(networks)}"
        )
    here = None if beside is None else beside / lora.source
    file = _file(card, lora, lora.source if here is None or not here.exists() else str(here))
    given = _load_lora(pipeline, card, lora, name, file)
    changed = {part for part, adapters in pipeline.get_list_adapters().items() if name in adapters}
    if not changed or lora.network not in (None, *changed):
        raise SourceError(
            f"{card.name}: LoRA {lora.source} has no weights for the networks of a {type(pipeline).__name__}: it "
            f"belongs to another kind of model; take it out of `loras`{_or_renamed(pipeline, file)}"
        )
    added = _weights_of(pipeline, changed, name)
    if gaps := [key for key, tensor in added.items() if tensor.is_meta]:
        raise SourceError(
            f"{card.name}: LoRA {lora.source} is not whole: it lacks {and_others(gaps)}; fetch or save it again"
        )
    if broken := [key for key, tensor in added.items() if not tensor.isfinite().all()]:
        raise SourceError(f"{card.name}: LoRA {lora.source}: {not_finite_weights(broken, added[broken[0]].dtype)}")
    texts = changed - {*networks}  # whose layers have other names in the file
    unread = sorted({_layer(key) for key in given if key.split(".")[0] not in texts} - {*map(_layer, added)})
    reasons = {
        f"this {type(pipeline).__name__} has none such": unread,
        "diffusers reads no DoRA of this form, and adds it as a plain LoRA": _dora_scales(file),
        "diffusers adds no such changes of norms, biases and embeddings": _lost_differences(file, given),
    }
    return "; ".join(f"{reason}: {and_others(names)}" for reason, names in reasons.items() if names)


def _file(card: ModelCard, lora: Lora, at: str) -> Path:
    """Return the file of a LoRA, fetching it if it is in a repository; raise SourceError."""
    if Path(at).is_file():
        return Path(at)
    try:
        if Path(at).is_dir():
            return Path(at) / (lora.file or _only(card, lora, [path.name for path in sorted(Path(at).iterdir())]))
        return Path(hf_hub_download(at, lora.file or _only(card, lora, list_repo_files(at))))
    except SourceError:
        raise
    except Exception as error:  # of the hub or its HTTP library
        raise _unloaded(card, lora, first_line(error)) from error


def _only(card: ModelCard, lora: Lora, names: Sequence[str]) -> str:
    """Return the only one of these files that holds a LoRA; of several, diffusers would take any."""
    held = [name for name in names if name.endswith(".safetensors") and not _OF_TRAINING & {*re.split(r"\W|_", name)}]
    if _USUAL in held or len(held) == 1:
        return _USUAL if _USUAL in held else held[0]
    if held:
        raise _unloaded(card, lora, f"it holds {and_others(held)}: give one as its `file`")
    raise _unloaded(card, lora, "it holds no .safetensors file")


def _dora_scales(file: Path) -> list[str]:
    """Return the layers whose magnitudes are in LyCORIS's form, which diffusers drops."""
    with safe_open(file, "pt") as weights:
        keys = weights.keys()
        return sorted(name.removesuffix(".dora_scale") for name in keys if name.endswith(".dora_scale"))


def _lost_differences(file: Path, given: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the changes that a file holds in full, not as two factors, and that were not applied."""
    with safe_open(file, "pt") as weights:
        whole = {name: weights.get_tensor(name) for name in weights.keys() if name.endswith((".diff", ".diff_b"))}  # noqa: SIM118
    return sorted(
        name
        for name, change in whole.items()
        if change.any() and not any(torch.equal(change, tensor) for tensor in given.values())
    )


def _or_renamed(pipeline: Any, file: Path) -> str:
    """Return further advice if weights are not named, as in diffusers, after the parts of a pipeline."""
    foreign: list[str] = []
    with suppress(SafetensorError, OSError), safe_open(file, "pt") as weights:
        foreign = sorted(name for name in weights.keys() if name.split(".")[0] not in pipeline.components)  # noqa: SIM118
    return f", or save it under the names of diffusers: {foreign[0]} is none that it knows here" if foreign else ""


def _unloaded(card: ModelCard, lora: Lora, reason: str, *, more: str = "") -> SourceError:
    return SourceError(f"{card.name}: LoRA {lora.source} could not be loaded ({reason}); check `loras`{more}")


def _load_lora(pipeline: Any, card: ModelCard, lora: Lora, name: str, file: Path) -> dict[str, torch.Tensor]:
    """Load a LoRA from its file and return its weights by the names that the pipeline gives them."""
    into = {"load_into_transformer_2": True} if lora.network == "transformer_2" else {}
    try:
        with _noting(pipeline) as given:
            pipeline.load_lora_weights(str(file), adapter_name=name, use_safetensors=True, **into)
    except Exception as error:  # of files, the hub, or libraries that do not fit each other
        if "PEFT" in str(error):
            raise ValueError(f"{card.name}: LoRAs need the package peft; run `pip install peft`") from error
        said = " ".join(line.strip() for line in str(error).splitlines()[:2])  # torch names thousands, one a line
        said = f"it lacks {said}" if isinstance(error, KeyError) else said
        raise _unloaded(card, lora, said, more=_or_renamed(pipeline, file)) from error
    return given


@contextmanager
def _noting(pipeline: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Record the weights of a LoRA by the names that the pipeline gives them."""
    read, noted = pipeline.lora_state_dict, dict[str, torch.Tensor]()

    def noting(*args: Any, **options: Any) -> Any:
        found = read(*args, **options)
        weights = found[0] if isinstance(found, tuple) else found
        weights |= _absent_biases(weights)
        noted.update(weights)
        return found

    pipeline.lora_state_dict = noting
    try:
        yield noted
    finally:
        del pipeline.lora_state_dict


def _absent_biases(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return zeros for layers that have no bias while others do: peft gives all of them one, of arbitrary values."""
    end = ".lora_B.bias"
    if not any(name.endswith(end) for name in weights):
        return {}
    layers = {name.removesuffix(".lora_B.weight"): tensor for name, tensor in weights.items() if "lora_B.w" in name}
    return {f"{layer}{end}": tensor[:, 0] * 0 for layer, tensor in layers.items() if f"{layer}{end}" not in weights}


def _weights_of(pipeline: Any, parts: Collection[str], adapter: str) -> dict[str, torch.Tensor]:
    """Return the weights of an adapter in a pipeline's parts."""
    return {
        f"{part}.{key}": tensor
        for part in parts
        for key, tensor in getattr(pipeline, part).state_dict().items()
        if adapter in key.split(".")
    }


def _layer(weight: str) -> str:
    """Return which layer a weight of a LoRA changes, without the name of the part."""
    layer = re.sub(r"[._](lora|lokr)[._].*", "", weight).replace(".processor", "").partition(".")[2]
    return re.sub(r"\.to_out$", ".to_out.0", layer)  # old names lack the number
