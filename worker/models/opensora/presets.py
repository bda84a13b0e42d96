"""Models by size: the released one, the small one that ships, and a tiny one with random weights for tests."""

from string import ascii_lowercase, digits
from typing import Any

import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import PatchVAE


def stdit3_xl2_config() -> dict[str, Any]:
    """Config of the released Open-Sora 1.2 transformer (1.2 G parameters)."""
    return {
        "hidden_size": 1152,
        "depth": 28,
        "num_heads": 16,
        "caption_channels": 4096,
        "model_max_length": 300,
        "qk_norm": True,
        "freeze_y_embedder": True,
    }


def stdit3_small_config() -> dict[str, Any]:
    """Config of a transformer that makes clips in seconds on two CPU cores (about 2 M parameters)."""
    return {
        "hidden_size": 128,
        "depth": 3,
        "num_heads": 4,
        "caption_channels": 64,
        "model_max_length": 16,
        "qk_norm": True,
        "pred_sigma": False,
        "input_sq_size": 64,
        "exact_timesteps": True,
    }


def stdit3_tiny_config() -> dict[str, Any]:
    """Config of a transformer for tests: milliseconds per step."""
    return {
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "caption_channels": 16,
        "model_max_length": 8,
        "qk_norm": True,
        "pred_sigma": True,
        "input_sq_size": 64,
    }


def tiny_transformer(seed: int = 0) -> STDiT3:
    """Build the tiny transformer with random weights, all of them non-zero so that every part has an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer: STDiT3 = STDiT3(**stdit3_tiny_config())
        redraw(transformer)
    transformer.eval()
    return transformer


def redraw(model: torch.nn.Module) -> None:
    """Redraw every trainable parameter: weights by fan-in, biases near zero, gains near one."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() > 1 and "table" not in name:
            std = parameter[0].numel() ** -0.5
            torch.nn.init.normal_(parameter, std=std)
        else:
            rest = 1.0 if name.endswith("norm.weight") else 0.0
            torch.nn.init.normal_(parameter, mean=rest, std=0.2)


def tiny(seed: int = 0) -> ChaiPipeline:
    """Build a random pipeline for tests: 32 x 32 pixels, 8 or more frames, milliseconds per step."""
    transformer = tiny_transformer(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = PatchVAE(patch_time=4, patch_space=4, num_channels=4, std=[6.0] * 4)
        vae.set_projection(torch.linalg.qr(torch.randn(192, 4))[0].T)
        tokenizer = letter_tokenizer()
        text_encoder = T5EncoderModel(
            T5Config(vocab_size=len(tokenizer), d_model=16, d_ff=32, d_kv=8, num_layers=1, num_heads=2)
        )
    defaults: dict[str, Any] = {"height": 32, "width": 32, "num_frames": 17, "fps": 8, "time_shift": "none"}
    pipeline = ChaiPipeline(transformer, vae, text_encoder, tokenizer, **defaults)
    pipeline.captions.cuts = False  # its limit of eight letters would cut every prompt
    return pipeline


def letter_tokenizer() -> T5Tokenizer:
    """Build a tokenizer that needs no file: one token per letter, digit or blank."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*special, *((letter, -3.0) for letter in ascii_lowercase + digits)], extra_ids=0)
