"""The network's kernels and bytes on a GPU, uncompiled and compiled, against a budget: neither grows back unseen."""

import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from lab.benchmarks.engine import T5_XXL
from lab.benchmarks.traffic import Traffic, counted
from worker.models.opensora.attention import rotary_table
from worker.models.opensora.blocks import Frames, PackedCaption
from worker.models.opensora.optimization import GPU_CHUNKS, GPU_DECODE_BATCH, join_gelu
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
    join_gelu(network.blocks, "meta")
    with torch.device("meta"), torch.no_grad():
        latents = torch.empty(2, 4, *vae.latent_size(FRAMES, HEIGHT, WIDTH))
        tokens = torch.empty(2, CAPTION_TOKENS, 1152, dtype=torch.bfloat16)
        keys = tuple(block.cross_attn.keys_values(tokens) for block in network.blocks)
        caption = PackedCaption(tokens=tokens, mask=None, keys_values=keys)
        with counted() as traffic:
            network(latents, torch.empty(1), caption, fps=torch.empty(1), height=HEIGHT, width=WIDTH)
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
    [(guided_step, 1390, 72.7), (decoding, 1063, 159.5), (text_of_30_tokens, 896, 0.6)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_piece_of_the_model_launches_and_moves_no_more_than_this(run, most_kernels, most_gb):
    traffic = run()

    assert traffic.num_kernels <= most_kernels
    assert traffic.pointwise_bytes / GB <= most_gb


def as_compiled(module: nn.Module, *inputs) -> Traffic:
    from lab.benchmarks.compiled_traffic import compiled  # loads a compiler, with warnings of its own

    return compiled(module, *inputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_blocks_launch_and_move_no_more_than_this():
    """Of a guided step; beside products and attention."""
    network = on_meta(lambda: STDiT3(**stdit3_xl2_config() | {"depth": 1}))
    join_gelu(network.blocks, "cpu")  # the compiler is asked as for one
    with torch.device("meta"), torch.no_grad():
        frames, height, width = on_meta(OpenSoraVAE).latent_size(FRAMES, HEIGHT, WIDTH)
        hidden = torch.empty(2, frames, -(-height // 2) * -(-width // 2), 1152, dtype=torch.bfloat16)
        modulation = torch.empty(1, 1, 1, 6, 1152, dtype=torch.bfloat16)
        keys = network.blocks[0].cross_attn.keys_values(torch.empty(2, CAPTION_TOKENS, 1152, dtype=torch.bfloat16))
        seen = Frames(rotary_table(network.rope.freqs, frames))

    spatial = as_compiled(network.blocks[0], hidden, modulation, keys, None)
    temporal = as_compiled(network.blocks[1], hidden, modulation, keys, None, seen)

    assert (spatial.kernels["addmm"], spatial.kernels["_addmm_activation"], spatial.kernels["attention"]) == (5, 1, 2)
    assert spatial.num_kernels + temporal.num_kernels <= 29
    assert stdit3_xl2_config()["depth"] * (spatial.pointwise_bytes + temporal.pointwise_bytes) / GB <= 40.7


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_sum_is_one_kernel_that_reads_its_input_once_and_writes_its_result():
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 1) * (x - 1)

    traffic = as_compiled(Sum(), torch.empty(4, 8, device="meta"))

    assert (traffic.num_kernels, traffic.pointwise_bytes) == (1, 2 * 4 * 32)


def test_a_view_costs_nothing_and_a_kernel_its_inputs_and_outputs():
    with counted() as traffic:
        x = torch.empty(4, 8, device="meta").transpose(0, 1)
        row = torch.empty(1, 4, device="meta").expand(8, 4)
        x + row
        torch.mul(x, row, out=torch.empty(8, 4, device="meta"))

    assert dict(traffic.kernels) == {"add": 1, "mul": 1}
    assert traffic.pointwise_bytes == 2 * 4 * (32 + 4 + 32)
