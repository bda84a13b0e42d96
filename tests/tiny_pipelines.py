"""Pipelines of diffusers with random weights: the real classes, a few kilobytes, made without a download."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

WORDS = ("a", "an", "the", "red", "blue", "old", "fox", "whale", "robot", "runs", "sleeps", "in", "forest", "sea")
WIDTH = 32  # of text features
SIZES = {"wan": (32, 32, 5), "wan22": (32, 32, 5), "wan5b": (32, 32, 5), "ltx": (64, 64, 9), "cogvideox": (32, 32, 5)}


def tokenizer() -> PreTrainedTokenizerFast:
    known = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def text_encoder(config: type, encoder: type) -> Any:
    values = {"vocab_size": 64, "d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return encoder(config(**values)).eval()


def wan_transformer(**values: Any) -> WanTransformer3DModel:
    given = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": WIDTH,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
        "rope_max_seq_len": 32,
    }
    return WanTransformer3DModel(**given | values).eval()


def wan_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    ).eval()


def wan(*, scheduler: Any = None, two: bool = False, expand_timesteps: bool = False) -> WanPipeline:
    torch.manual_seed(0)
    return WanPipeline(
        tokenizer=tokenizer(),
        text_encoder=text_encoder(UMT5Config, UMT5EncoderModel),
        vae=wan_vae(),
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0),
        transformer=wan_transformer(),
        transformer_2=wan_transformer() if two else None,
        boundary_ratio=0.875 if two else None,
        expand_timesteps=expand_timesteps,
    )


def ltx() -> LTXPipeline:
    torch.manual_seed(0)
    blocks = {
        "latent_channels": 8,
        "block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8, 8),
        "layers_per_block": (1, 1, 1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1, 1, 1),
    }
    return LTXPipeline(
        tokenizer=tokenizer(),
        text_encoder=text_encoder(T5Config, T5EncoderModel),
        vae=AutoencoderKLLTXVideo(**blocks).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1),
        transformer=LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=2,
            caption_channels=WIDTH,
        ).eval(),
    )


def cogvideox() -> CogVideoXPipeline:
    torch.manual_seed(0)
    return CogVideoXPipeline(
        tokenizer=tokenizer(),
        text_encoder=text_encoder(T5Config, T5EncoderModel),
        vae=AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
        ).eval(),
        scheduler=CogVideoXDDIMScheduler(
            prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
        ),
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=WIDTH,
            num_layers=2,
            sample_width=4,
            sample_height=4,
            sample_frames=5,
        ).eval(),
    )


FAMILIES = {
    "wan": wan,
    "wan22": lambda: wan(two=True),
    "wan5b": lambda: wan(expand_timesteps=True),
    "ltx": ltx,
    "cogvideox": cogvideox,
}


def save(name: str, folder: Path) -> Path:
    FAMILIES[name]().save_pretrained(folder)
    return folder
