"""LoRAs as other programs save them: under the names of a model's authors, or kohya's."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.generation import GenerationParams
from shared.model_cards import Lora, ModelCard
from tests import more_tiny_pipelines as tiny
from tests import tiny_pipelines
from worker.models import registry
from worker.models.diffusers.source import SourceError
from worker.models.registry import EngineOptions
from worker.models.video_model import Sampling

SIZES = {**tiny_pipelines.SIZES, **tiny.SIZES}
RANK, STEPS = 2, 2
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
OF_WAN = {  # layers of a block, and what Wan's authors call them
    **{f"attn1.{to}": f"self_attn.{name}" for to, name in zip(ATTENTION, "qkvo", strict=True)},
    **{f"attn2.{to}": f"cross_attn.{name}" for to, name in zip(ATTENTION, "qkvo", strict=True)},
    **{"ffn.net.0.proj": "ffn.0", "ffn.net.2": "ffn.2"},
}
LAYERS = {  # of each pipeline: those that its LoRA changes
    "wan": [f"blocks.{block}.{layer}" for block in (0, 1) for layer in OF_WAN],
    "skyreels": [f"blocks.0.{layer}" for layer in OF_WAN],
    "ltx": ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.ff.net.2"],
    "hunyuan": [f"transformer_blocks.0.attn.{to}" for to in ATTENTION],
    "animatediff": [f"down_blocks.0.attentions.0.transformer_blocks.0.attn1.{to}" for to in ("to_q", "to_out.0")],
}
Pairs = dict[str, tuple[Tensor, Tensor]]  # layer → A (rank, in), B (out, rank)


def _of_wan(layer: str) -> str:
    _, block, own = layer.split(".", 2)
    return f"blocks.{block}.{OF_WAN[own]}"


def of_diffusers(pairs: Pairs, part: str = "transformer") -> dict[str, Tensor]:
    return {
        f"{part}.{layer}.lora_{side}.weight": one
        for layer, pair in pairs.items()
        for side, one in zip("AB", pair, strict=True)
    }


def of_authors(pairs: Pairs) -> dict[str, Tensor]:
    return {key.replace("transformer.", "diffusion_model.", 1): one for key, one in of_diffusers(pairs).items()}


def of_wan_authors(pairs: Pairs) -> dict[str, Tensor]:
    return of_authors({_of_wan(layer): pair for layer, pair in pairs.items()})


def with_alpha(pairs: Pairs, name: Callable[[str], str]) -> dict[str, Tensor]:
    """Half the rank, so twice the weights make up for it."""
    found: dict[str, Tensor] = {}
    for layer, (down, up) in pairs.items():
        found |= {f"{name(layer)}.lora_down.weight": down, f"{name(layer)}.lora_up.weight": 2 * up}
        found[f"{name(layer)}.alpha"] = torch.tensor(RANK / 2)
    return found


def of_kohya(pairs: Pairs) -> dict[str, Tensor]:
    return with_alpha(pairs, lambda layer: f"lora_unet_{layer.replace('.', '_')}")


def of_hunyuan_authors(pairs: Pairs) -> dict[str, Tensor]:
    """Queries, keys and values in one matrix, with one A for all three."""
    queries, keys, values, out = pairs.values()
    joint = {"double_blocks.0.img_attn_qkv": (queries[0], torch.cat([queries[1], keys[1], values[1]]))}
    return of_authors({**joint, "double_blocks.0.img_attn_proj": out})


FORMS: dict[str, tuple[str, Callable[[Pairs], dict[str, Tensor]]]] = {
    "wan of its authors": ("wan", of_wan_authors),
    "wan of its authors, with alpha": (
        "wan",
        lambda pairs: with_alpha(pairs, lambda layer: f"diffusion_model.{_of_wan(layer)}"),
    ),
    "wan of kohya": (
        "wan",
        lambda pairs: of_kohya({_of_wan(layer): pair for layer, pair in pairs.items()}),
    ),
    "skyreels of wan's authors": ("skyreels", of_wan_authors),
    "ltx of its authors": ("ltx", of_authors),
    "hunyuan of its authors": ("hunyuan", of_hunyuan_authors),
    "animatediff of kohya": ("animatediff", of_kohya),
}


def load(folder: Path, name: str, **values: Any) -> Any:
    width, height, frames = SIZES[name]
    given = {"sizes": (f"{width}x{height}",), "fps": 8, "frames": (frames,), "full_steps": STEPS, "fast_steps": 2}
    given |= {"guidance_scale": 1.0, "family": "diffusers", "source": str(folder)}
    return registry.load(ModelCard(name=name, title=name, **given | values), folder, EngineOptions(device="cpu"))


def sampled(model: Any) -> Tensor:
    width, height, frames = SIZES[model.card.name]
    size = {"width": width, "height": height, "num_frames": frames, "fps": 8}
    params = GenerationParams(prompt="a red fox runs", model=model.card.name, **size)
    steps = model.sample(model.encode(params), params, Sampling(num_steps=STEPS, guidance_scale=1.0), seed=3)
    latents: Tensor = [*steps][-1].latents
    return latents


def pairs_of(folder: Path, name: str) -> Pairs:
    """Draw a LoRA for the layers of a network; of queries, keys and values one A."""
    pipeline = load(folder, name).pipeline
    network = pipeline.unet if name == "animatediff" else pipeline.transformer
    drawn = torch.Generator().manual_seed(5)
    found: Pairs = {}
    for layer in LAYERS[name]:
        linear = network.get_submodule(layer)
        down = torch.randn(RANK, linear.in_features, generator=drawn)
        if name == "hunyuan" and layer.endswith(("to_k", "to_v")):
            down = found[LAYERS[name][0]][0].clone()
        found[layer] = (down, torch.randn(linear.out_features, RANK, generator=drawn))
    return found


def with_lora(folder: Path, name: str, weights: Mapping[str, Tensor], file: Path) -> Any:
    save_file({key: tensor.clone() for key, tensor in weights.items()}, file)
    return load(folder, name, loras=(Lora(source=str(file)),))


@pytest.mark.parametrize("form", FORMS)
def test_a_lora_of_other_names_changes_the_model_as_that_of_diffusers_names(folder_of, tmp_path, form) -> None:
    name, saved_as = FORMS[form]
    folder = folder_of(name)
    pairs = pairs_of(folder, name)
    own = of_diffusers(pairs, "unet" if name == "animatediff" else "transformer")

    other = with_lora(folder, name, saved_as(pairs), tmp_path / "other.safetensors")
    same = with_lora(folder, name, own, tmp_path / "own.safetensors")

    assert (other.engine, same.engine) == ({}, {})
    assert torch.allclose(sampled(other), sampled(same), atol=1e-4)
    assert (sampled(other) - sampled(load(folder, name))).norm() > 0.01


@pytest.mark.parametrize(
    ("form", "deeper", "said"),
    [
        ("wan of its authors", ("blocks.0", "blocks.9"), "blocks.9.attn1.to_k and 9 more"),
        ("wan of kohya", ("blocks_0", "blocks_2"), "blocks.2.attn1.to_k and 9 more"),
        ("ltx of its authors", ("blocks.0", "blocks.9"), "transformer_blocks.9.attn1.to_q"),
        ("hunyuan of its authors", ("blocks.0", "blocks.9"), "transformer_blocks.9.attn.to_k and 3 more"),
        (
            "animatediff of kohya",
            ("down_blocks_0", "down_blocks_1"),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0 and 1 more",
        ),
    ],
)
def test_layers_that_a_network_has_not_are_named_whatever_they_are_called(
    folder_of, tmp_path, form, deeper, said
) -> None:
    name, saved_as = FORMS[form]
    weights = saved_as(pairs_of(folder_of(name), name))
    weights |= {key.replace(*deeper): tensor for key, tensor in weights.items() if deeper[0] in key}

    model = with_lora(folder_of(name), name, weights, tmp_path / "lora.safetensors")

    [left_out] = model.engine.values()
    assert left_out == f"left out, for this {type(model.pipeline).__name__} has none such: {said}"


def test_biases_that_a_lora_changes_are_added_where_it_has_them(folder_of, tmp_path) -> None:
    pairs, folder = pairs_of(folder_of("wan"), "wan"), folder_of("wan")
    plain = of_wan_authors(pairs)
    change = {"diffusion_model.blocks.0.self_attn.q.diff_b": torch.linspace(-1, 1, 24)}

    model = with_lora(folder, "wan", plain | change, tmp_path / "biased.safetensors")

    assert model.engine == {}
    by_hand = with_lora(folder, "wan", plain, tmp_path / "plain.safetensors")
    by_hand.pipeline.transformer.blocks[0].attn1.to_q.base_layer.bias.data += torch.linspace(-1, 1, 24)
    assert torch.allclose(sampled(model), sampled(by_hand), atol=1e-4)


@pytest.mark.parametrize("lost", ["blocks.0.norm3.diff", "blocks.0.norm3.diff_b", "time_projection.1.diff_b"])
def test_changes_that_diffusers_drops_are_named(folder_of, tmp_path, lost) -> None:
    """Those of zeros are nothing to lose."""
    plain = of_wan_authors(pairs_of(folder_of("wan"), "wan"))
    key = f"diffusion_model.{lost}"
    models = [
        with_lora(folder_of("wan"), "wan", plain | {key: torch.full((24,), value)}, tmp_path / f"{value}.safetensors")
        for value in (1.0, 0.0)
    ]

    said = f"left out, for diffusers adds no such changes of norms, biases and embeddings: {key}"
    assert [[*model.engine.values()] for model in models] == [[said], []]


@pytest.mark.parametrize(
    ("name", "saved_as", "said"),
    [
        (
            "ltx",
            of_kohya,
            r"has no weights for the networks of a LTXPipeline: it belongs to another kind of model; take it out of "
            r"`loras`, or save it under the names of diffusers: lora_unet_\S+\.alpha is none that it knows here$",
        ),
        (
            "wan",
            lambda pairs: {k: one for k, one in FORMS["wan of kohya"][1](pairs).items() if "self_attn" in k},
            r"could not be loaded \(it lacks 'blocks_0_cross_attn_q.lora_down.weight'\); check `loras`, or save it "
            r"under the names of diffusers: lora_unet_blocks_0_self_attn_k.alpha is none that it knows here$",
        ),
        ("wan", lambda _: {"alpha": torch.ones(1)}, r"could not be loaded \([^\n]*\); check `loras`, or save it under"),
    ],
)
def test_names_that_diffusers_cannot_read_are_named(folder_of, tmp_path, name, saved_as, said) -> None:
    weights, file = saved_as(pairs_of(folder_of(name), name)), tmp_path / "lora.safetensors"

    with pytest.raises(SourceError, match=rf"^{name}: LoRA {re.escape(str(file))} {said}"):
        with_lora(folder_of(name), name, weights, file)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_lora_of_values_that_are_no_numbers_is_refused(folder_of, tmp_path, value) -> None:
    weights, file = of_diffusers(pairs_of(folder_of("wan"), "wan")), tmp_path / "lora.safetensors"
    weights["transformer.blocks.0.attn1.to_q.lora_B.weight"][3, 1] = value

    with pytest.raises(
        SourceError,
        match=rf"^wan: LoRA {re.escape(str(file))}: transformer.blocks.0.attn1.to_q.lora_B.lora_0.weight hold values "
        "that are no numbers in float32; fetch or save it again, or give another dtype$",
    ):
        with_lora(folder_of("wan"), "wan", weights, file)


def test_weights_that_are_no_numbers_are_refused(folder_of, tmp_path) -> None:
    shutil.copytree(folder_of("wan"), tmp_path / "wan")
    file = tmp_path / "wan" / "transformer" / "diffusion_pytorch_model.safetensors"
    broken = {"blocks.0.attn1.to_q.weight": torch.nan, "blocks.1.ffn.net.2.bias": torch.inf}
    weights = load_file(file)
    save_file({key: one * broken.get(key, 1.0) for key, one in weights.items()}, file, {"format": "pt"})

    with pytest.raises(
        OSError,
        match=rf"^wan: {tmp_path / 'wan'}: transformer.blocks.0.attn1.to_q.weight and 1 more hold values that are no "
        "numbers in float32; fetch or save it again, or give another dtype$",
    ):
        load(tmp_path / "wan", "wan")
