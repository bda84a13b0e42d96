"""More pipelines of diffusers with random weights: each is held, called or guided in a way of its own."""

from typing import Any

import torch
from diffusers import (
    AllegroPipeline,
    AllegroTransformer3DModel,
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLAllegro,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LattePipeline,
    LatteTransformer3DModel,
    MotionAdapter,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.guiders import ClassifierFreeGuidance
from tokenizers.processors import TemplateProcessing
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    Gemma2Config,
    Gemma2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    T5Config,
    T5EncoderModel,
)

from tests import tiny_pipelines
from tests.tiny_pipelines import WIDTH, text_encoder, tokenizer, wan_vae

SIZES = {
    "allegro": (16, 16, 8),
    "animatediff": (16, 16, 4),
    "hunyuan": (16, 16, 9),
    "hunyuan15": (16, 16, 9),
    "latte": (16, 16, 16),
    "sana": (32, 32, 9),
    "skyreels": (32, 32, 9),
    "forcing": (32, 32, 9),
}
CALLS = {"sana": {"use_resolution_binning": False}}  # what a card has to add for something so small
_SMALL: dict[str, Any] = {"intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 64}
_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def _t5() -> T5EncoderModel:
    encoder: T5EncoderModel = text_encoder(T5Config, T5EncoderModel)
    return encoder


def _clip() -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**_SMALL, **_IDS, hidden_size=8, num_hidden_layers=2, projection_dim=8)).eval()


def _short() -> PreTrainedTokenizerFast:
    words = tokenizer()
    words.model_max_length = 77
    return words


def _ending() -> PreTrainedTokenizerFast:
    """A tokenizer that ends even an empty prompt, as real ones do."""
    words = tokenizer()
    words._tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return words


def _image_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=2,
    ).eval()


def allegro() -> AllegroPipeline:
    """Sampled by a scheduler whose latents are x + s e, decoded in pieces only."""
    torch.manual_seed(0)
    return AllegroPipeline(
        tokenizer=tokenizer(),
        text_encoder=_t5(),
        vae=AutoencoderKLAllegro(
            down_block_types=("AllegroDownBlock3D",) * 4,
            up_block_types=("AllegroUpBlock3D",) * 4,
            block_out_channels=(8,) * 4,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        ).eval(),
        scheduler=EulerAncestralDiscreteScheduler(),
        transformer=AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=1,
            cross_attention_dim=24,
            sample_width=8,
            sample_height=8,
            sample_frames=8,
            caption_channels=WIDTH,
        ).eval(),
    )


def animatediff() -> AnimateDiffPipeline:
    """A unet of pictures with a part for motion."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=2,
        attention_head_dim=4,
    )
    motion = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
    )
    return AnimateDiffPipeline(
        unet=unet,
        motion_adapter=motion,
        scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=False),
        vae=_image_vae(),
        text_encoder=_clip(),
        tokenizer=_short(),
    )


def hunyuan() -> HunyuanVideoPipeline:
    """Guidance is an input of the network."""
    torch.manual_seed(0)
    llama = LlamaModel(LlamaConfig(**_SMALL, **_IDS, hidden_size=16, num_hidden_layers=3)).eval()
    return HunyuanVideoPipeline(
        text_encoder=llama,
        tokenizer=tokenizer(),
        text_encoder_2=_clip(),
        tokenizer_2=_short(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4
        ).eval(),
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=1,
            guidance_embeds=True,
            text_embed_dim=16,
            pooled_projection_dim=8,
            rope_axes_dim=(2, 4, 4),
        ).eval(),
    )


def hunyuan15() -> HunyuanVideo15Pipeline:
    """Guided by a part of the pipeline, with two kinds of embeddings, and told of by no callback."""
    torch.manual_seed(0)
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    qwen = Qwen2_5_VLTextConfig(
        **_SMALL, hidden_size=16, num_hidden_layers=2, num_key_value_heads=2, rope_scaling=rope, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    words = tokenizer()
    words.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    letters = T5Config(vocab_size=400, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return HunyuanVideo15Pipeline(
        text_encoder=Qwen2_5_VLTextModel(qwen).eval(),
        tokenizer=words,
        text_encoder_2=T5EncoderModel(letters).eval(),
        tokenizer_2=ByT5Tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
        vae=AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=2,
            downsample_match_channel=False,
            upsample_match_channel=False,
        ).eval(),
        transformer=HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            text_embed_dim=16,
            text_embed_2_dim=WIDTH,
            image_embed_dim=12,
            rope_axes_dim=(2, 2, 4),
            target_size=16,
            task_type="t2v",
        ).eval(),
    )


def latte() -> LattePipeline:
    """Calls its length `video_length`, and embeddings that it is given it does not understand."""
    torch.manual_seed(0)
    return LattePipeline(
        tokenizer=_ending(),
        text_encoder=_t5(),
        vae=_image_vae(),
        scheduler=DDIMScheduler(),
        transformer=LatteTransformer3DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=WIDTH,
            in_channels=4,
            cross_attention_dim=24,
            out_channels=8,
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
        ).eval(),
    )


def sana() -> SanaVideoPipeline:
    """Calls its length `frames`; its negative prompt is "" unless it is told otherwise."""
    torch.manual_seed(0)
    gemma = Gemma2Config(**_SMALL, **_IDS, head_dim=16, hidden_size=8, num_hidden_layers=1, num_key_value_heads=2)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    return SanaVideoPipeline(
        tokenizer=tokenizer(),
        text_encoder=Gemma2Model(gemma).eval(),
        vae=wan_vae(),
        scheduler=DPMSolverMultistepScheduler(**flow),
        transformer=SanaVideoTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=8,
            sample_size=8,
            rope_max_seq_len=32,
        ).eval(),
    )


def skyreels(kind: Any = SkyReelsV2Pipeline) -> Any:
    torch.manual_seed(0)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 8.0}
    return kind(
        tokenizer=tokenizer(),
        text_encoder=_t5(),
        vae=wan_vae(),
        scheduler=UniPCMultistepScheduler(**flow),
        transformer=SkyReelsV2Transformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
            rope_max_seq_len=32,
        ).eval(),
    )


KINDS = {
    "allegro": allegro,
    "animatediff": animatediff,
    "hunyuan": hunyuan,
    "hunyuan15": hunyuan15,
    "latte": latte,
    "sana": sana,
    "skyreels": skyreels,
}
ALL = {**tiny_pipelines.FAMILIES, **KINDS, "forcing": lambda: skyreels(SkyReelsV2DiffusionForcingPipeline)}
