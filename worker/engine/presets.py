"""Models by size: the released one, the small one that ships, and a tiny one with random weights for tests."""

from typing import Any

import torch

from worker.engine.stdit3 import STDiT3


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
    """Build the tiny transformer with random weights, all of them non-zero so that no part of it is silent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer: STDiT3 = STDiT3(**stdit3_tiny_config())
        redraw(transformer)
    transformer.eval()
    return transformer


def redraw(model: torch.nn.Module) -> None:
    """Draw every trainable parameter anew: weights by fan-in, biases near zero, gains near one."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() > 1 and "table" not in name:
            std = parameter[0].numel() ** -0.5
            torch.nn.init.normal_(parameter, std=std)
        else:
            rest = 1.0 if name.endswith("norm.weight") else 0.0
            torch.nn.init.normal_(parameter, mean=rest, std=0.2)
