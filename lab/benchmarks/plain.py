"""The same models written plainly: the baseline for the engine's speed, and an independent check of its numbers.

Nothing is fused, kept or shared: attention is two matrix products around a float32 softmax, norms and modulation are
separate operations, captions are packed and positions computed again at every step, frames are decoded one at a time.
"""

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from worker.models.opensora.blocks import Block, HeadNorm, SelfAttention
from worker.models.opensora.sampler import Caption, Conditioning
from worker.models.opensora.schedule import NUM_TIMESTEPS, Schedule
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import OpenSoraVAE, PatchVAE


@torch.no_grad()
def plain_steps(
    transformer: STDiT3, noise: Tensor, caption: Caption, schedule: Schedule, conditioning: Conditioning
) -> Iterator[Tensor]:
    """The latents (B, C, T, h, w) after each guided step."""
    times = [*conditioning.timesteps(transformer, schedule), 0.0]
    latents = noise.float()
    captions = torch.cat([caption.embeds, transformer.null_caption(len(noise)).to(caption.embeds)])
    masks = None if caption.mask is None else caption.mask.repeat(2, 1)
    for step in range(schedule.num_steps):
        time = torch.full((2 * len(noise),), times[step], device=noise.device)
        out = plain_forward(transformer, torch.cat([latents, latents]), time, captions, masks, conditioning)
        conditional, unconditional = out[:, : noise.shape[1]].chunk(2)
        velocity = unconditional + schedule.guidance(step) * (conditional - unconditional)
        latents = latents + velocity * ((times[step] - times[step + 1]) / NUM_TIMESTEPS)
        yield latents


def plain_forward(
    model: STDiT3, x: Tensor, timestep: Tensor, captions: Tensor, masks: Tensor | None, conditioning: Conditioning
) -> Tensor:
    """What STDiT3 predicts, (B, Cout, T, h, w) float32, with caption features (B, 1, L, C) and masks (B, L)."""
    dtype, width, shape = model.dtype, model.config["hidden_size"], x.shape
    if not model.config["exact_timesteps"]:
        timestep = timestep.to(dtype)
    x = nn.functional.pad(x.to(dtype), (0, shape[-1] % 2, 0, shape[-2] % 2))
    rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
    x = rearrange(model.x_embedder.proj(x), "B C T h w -> B T (h w) C")
    x = x + _position(rows, columns, width, conditioning, model).to(x)
    fps = torch.full_like(timestep, conditioning.fps)
    embedding = model.t_embedder(timestep, dtype) + model.fps_embedder(fps.to(dtype), dtype)
    modulation = rearrange(model.t_block(embedding), "B (n C) -> B n C", n=6)
    kept = masks if masks is not None else torch.ones(captions.shape[0], captions.shape[2], device=x.device)
    tokens = [row[mask != 0] for row, mask in zip(model.y_embedder(captions.to(dtype))[:, 0], kept, strict=True)]
    for index, block in enumerate(model.blocks):
        x = _block(block, x, modulation, tokens, model.rope.freqs if index % 2 else None)
    shift, scale = (model.final_layer.scale_shift_table + embedding[:, None]).chunk(2, dim=1)
    x = model.final_layer.linear(_norm(x) * (1 + scale[:, None]) + shift[:, None])
    out = rearrange(x, "B T (h w) (p q C) -> B C T (h p) (w q)", h=rows, p=2, q=2)
    return out[..., : shape[-2], : shape[-1]].float()


def _block(block: Block, x: Tensor, modulation: Tensor, tokens: list[Tensor], freqs: Tensor | None) -> Tensor:
    parts = (block.scale_shift_table + modulation)[:, :, None, None].unbind(1)  # six of (B, 1, 1, C)
    shift1, scale1, gate1, shift2, scale2, gate2 = parts
    x = x + gate1 * _self_attention(block.attn, _norm(x) * (1 + scale1) + shift1, freqs)
    cross = block.cross_attn
    rows = []
    for row, caption in zip(x, tokens, strict=True):
        q = rearrange(cross.q_linear(row), "T S (H d) -> H (T S) d", H=cross.num_heads)
        k, v = rearrange(cross.kv_linear(caption), "L (n H d) -> n H L d", n=2, H=cross.num_heads)
        rows.append(cross.proj(rearrange(_attention(q, k, v), "H (T S) d -> T S (H d)", T=x.shape[1])))
    x = x + torch.stack(rows)
    hidden = block.mlp.fc1(_norm(x) * (1 + scale2) + shift2)
    gelu = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    out: Tensor = x + gate2 * block.mlp.fc2(gelu)
    return out


def _self_attention(attn: SelfAttention, x: Tensor, freqs: Tensor | None) -> Tensor:
    is_spatial = freqs is None
    rows = rearrange(x, "B T S C -> (B T) S C" if is_spatial else "B T S C -> (B S) T C").contiguous()
    q, k, v = rearrange(attn.qkv(rows), "R N (n H d) -> n R H N d", n=3, H=attn.num_heads)
    q, k = (_rms(part, norm) for part, norm in ((q, attn.q_norm), (k, attn.k_norm)))
    if freqs is not None:
        q, k = _rotate(q, freqs), _rotate(k, freqs)
    back = "(B T) S C -> B T S C" if is_spatial else "(B S) T C -> B T S C"
    out: Tensor = rearrange(attn.proj(rearrange(_attention(q, k, v), "R H N d -> R N (H d)")), back, B=len(x))
    return out


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return logits.float().softmax(-1).to(v.dtype) @ v


def _norm(x: Tensor) -> Tensor:
    mean = x.float().mean(-1, keepdim=True)
    variance = ((x.float() - mean) ** 2).mean(-1, keepdim=True)
    return ((x.float() - mean) / torch.sqrt(variance + 1e-6)).to(x.dtype)


def _rms(x: Tensor, norm: nn.Module) -> Tensor:
    if not isinstance(norm, HeadNorm):
        return x
    scaled: Tensor = (x.float() / torch.sqrt((x.float() ** 2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * norm.weight
    return scaled


def _rotate(x: Tensor, freqs: Tensor) -> Tensor:
    angles = torch.outer(torch.arange(x.shape[-2], device=x.device).float(), freqs.float())  # (T, d/2)
    pairs = torch.view_as_complex(rearrange(x.float(), "... (k pair) -> ... k pair", pair=2).contiguous())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


def _position(rows: int, columns: int, width: int, conditioning: Conditioning, model: STDiT3) -> Tensor:
    area = torch.tensor([conditioning.height, conditioning.width], dtype=model.dtype).float().prod().item()
    scale = math.sqrt(area) / model.config["input_sq_size"]
    side = round(math.sqrt(rows * columns))
    freqs = (10000.0 ** (-torch.arange(0, width // 2, 2).float() / (width // 2))).to(model.dtype).float()
    places = torch.cartesian_prod(torch.arange(rows) / rows, torch.arange(columns) / columns) * side / scale
    angles = places.flip(1)[..., None] * freqs  # (S, 2, C/4), the column first
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (S, C)


@torch.no_grad()
def plain_decode(vae: OpenSoraVAE | PatchVAE, latents: Tensor, num_frames: int) -> Tensor:
    """The video (B, 3, num_frames, H, W), spatial frames one at a time."""
    if isinstance(vae, PatchVAE):
        video: Tensor = vae.decode(latents, num_frames)
        return video
    spatial = vae.decode_time(latents, num_frames) / vae.config["spatial_latent_multiplier"]
    frames = [vae.spatial_vae.decode(spatial[:, :, index]) for index in range(num_frames)]
    return torch.stack(frames, dim=2)
