"""How many floating-point operations the parts of a model take: 2 for each multiply-add of a matrix product or
convolution, nothing else counted."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5EncoderModel

from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.stdit3 import FREQUENCY_DIM
from worker.models.opensora.vae import OpenSoraVAE


def transformer_operations(config: Any, size: VideoSize | tuple[int, int], caption_tokens: int) -> int:
    """Operations of one forward of one sample (one half of guidance).

    `config` is that of STDiT3, `size` a video size or (latent frames, tokens per frame), `caption_tokens` the tokens
    that the mask keeps.
    """
    frames, per_frame = size if isinstance(size, tuple) else size.tokens
    width, tokens = config["hidden_size"], frames * per_frame
    features = 2 * FREQUENCY_DIM * width + 8 * width * width  # two scalars embedded, six modulations
    per_caption_token = config["caption_channels"] * width + width * width
    linears = tokens * width * width * (4 + 2 + 2 * config["mlp_ratio"])  # self, cross, MLP
    cross = 2 * caption_tokens * width * width + 2 * tokens * caption_tokens * width
    attention = 2 * tokens * (per_frame + frames) * width  # one spatial and one temporal block
    patch = tokens * width * _patch_values(config)
    blocks = config["depth"] * (2 * (linears + cross) + attention)
    return int(2 * (blocks + features + caption_tokens * per_caption_token + patch))


def _patch_values(config: Any) -> int:
    """Values of a token's patch going in and coming out."""
    channels = config["in_channels"]
    return int(4 * (channels + (2 * channels if config["pred_sigma"] else channels)))


def counted(run: Callable[[], Any]) -> int:
    """Operations of a call, counted as it runs; on the "meta" device nothing is computed."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def decode_operations(vae: OpenSoraVAE, size: VideoSize) -> int:
    """Operations of decoding one video."""
    with torch.device("meta"):
        copy = OpenSoraVAE.from_config(vae.config)
        latents = torch.empty(1, vae.latent_channels, *size.latent)
    return counted(lambda: copy.decode(latents, size.num_frames))


def text_operations(config: Any, num_tokens: int) -> int:
    """Operations of encoding one prompt with a T5 of this config."""
    with torch.device("meta"):
        model = T5EncoderModel(config)
        ids = torch.zeros(1, num_tokens, dtype=torch.int64)
    return counted(lambda: model(input_ids=ids))
