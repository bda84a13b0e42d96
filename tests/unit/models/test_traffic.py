"""The uncompiled network's kernels and bytes on a GPU, against a budget: neither grows back unseen."""

import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from lab.benchmarks.engine import T5_XXL
from lab.benchmarks.traffic import Traffic, counted
from worker.models.opensora.blocks import PackedCaption
from worker.models.opensora.compilation import GPU_CHUNKS, GPU_DECODE_BATCH
from worker.models.opensora.presets import stdit3_xl2_config
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import OpenSoraVAE

HEIGHT, WIDTH, FRAMES, CAPTION_TOKENS = 240, 426, 72, 300
GB = 1e9


def on_meta(make) -> nn.Module:
    with torch.device("meta"):
        return nn.Module.to(make(), torch.bfloat16).eval()


def guided_step() -> Traffic:
    """A forward of both halves at 240p, whose caption was read before."""
    network, vae = on_meta(lambda: STDiT3(**stdit3_xl2_config())), on_meta(OpenSoraVAE)
    with torch.device("meta"), torch.no_grad():
        latents = torch.empty(2, 4, *vae.latent_size(FRAMES, HEIGHT, WIDTH))
        tokens = torch.empty(2, CAPTION_TOKENS, 1152, dtype=torch.bfloat16)
        keys = tuple(block.cross_attn.keys_values(tokens) for block in network.blocks)
        caption = PackedCaption(tokens=tokens, mask=None, keys_values=keys)
        with counted() as traffic:
            network(latents, torch.empty(2), caption, fps=torch.empty(1), height=HEIGHT, width=WIDTH)
    return traffic


def decoding() -> Traffic:
    vae = on_meta(OpenSoraVAE)
    vae.decode_batch, vae.chunks_at_once = GPU_DECODE_BATCH, GPU_CHUNKS
    with torch.device("meta"), torch.no_grad():
        latents = torch.empty(1, 4, *vae.latent_size(FRAMES, HEIGHT, WIDTH))
        with counted() as traffic:
            vae.decode(latents, FRAMES)
    return traffic


def text_of_30_tokens() -> Traffic:
    encoder = on_meta(lambda: T5EncoderModel(T5Config(**T5_XXL)))
    with torch.device("meta"), torch.no_grad(), counted() as traffic:
        encoder(input_ids=torch.ones(1, 30, dtype=torch.long))
    return traffic


@pytest.mark.parametrize(
    ("run", "most_kernels", "most_gb"),  # of what is neither a matrix product nor attention
    [(guided_step, 1615, 107.9), (decoding, 1063, 159.5), (text_of_30_tokens, 896, 0.6)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_piece_of_the_model_launches_and_moves_no_more_than_this(run, most_kernels, most_gb):
    traffic = run()

    assert traffic.num_kernels <= most_kernels
    assert traffic.pointwise_bytes / GB <= most_gb


def test_a_view_costs_nothing_and_a_kernel_its_inputs_and_outputs():
    with counted() as traffic:
        x = torch.empty(4, 8, device="meta").transpose(0, 1)
        x + torch.empty(1, 4, device="meta").expand(8, 4)

    assert dict(traffic.kernels) == {"add": 1}
    assert traffic.pointwise_bytes == 4 * (32 + 4 + 32)
