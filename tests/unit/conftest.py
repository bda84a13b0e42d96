"""What tests of several parts read."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from worker.models.embedders import load_embedder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights and MiniLM's tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 30522, "eos_token_id": 102},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)  # of some seeds the random network finds every picture unlike every prompt: cosines below 0
    CLIPModel(config).save_pretrained(folder)
    load_embedder()._tokenizer.save_pretrained(folder)
    return folder
