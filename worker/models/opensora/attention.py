"""Attention as STDiT3 uses it: modulation, scaled dot product, rotary positions, and keys taken from cached latents.

Tensors in a block are (B, T, S, C): batch, latent frames, tokens per frame, channels. Heads are split off only
around the dot product, where the layout is (rows, H, tokens, d).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from worker.models.video_model import CachedLatents

TILE = 128  # queries that a GPU's fused kernels process at once, even if there are fewer


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d) + mask) v over (rows, H, tokens, d)."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same for a handful of tokens, as products and sums that a compiler turns into one kernel.

    The kernels behind `attend` work on 64 queries at a time: with four frames they do sixteen times the work, and on an
    H200 they were half of a training step.
    """
    scores = (q[..., :, None, :] * k[..., None, :, :]).sum(-1) * q.shape[-1] ** -0.5  # (rows, H, tokens, tokens)
    out: Tensor = (scores.softmax(-1)[..., None] * v[..., None, :, :]).sum(-2)
    return out.to(v.dtype)


def attend_frames(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """The same over (rows, H, T, d) of T frames; with a bias, for as many heads at once as it was made for."""
    length = q.shape[2] if bias is None else bias.shape[-1]
    rows, keys, values = (part.reshape(len(part), -1, length, part.shape[-1]) for part in (q, k, v))
    return attend(rows, keys, values, bias).reshape(q.shape)


def bias_of_heads(num_heads: int, num_frames: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """Return the bias (1, 1, N T, N T) that joins N heads of T frames into one row, in which no head sees another.

    N is the largest divisor of the number of heads that fits a tile; None if that is one. A GPU does the work of a
    whole tile however little is in it: on an H100, 16 heads of 21 frames took 274 us separately, 145 as rows of 63 and
    107 as rows of 105.
    """
    at_once = max(n for n in range(1, max(TILE // num_frames, 1) + 1) if num_heads % n == 0)
    if at_once == 1:
        return None
    head = torch.arange(at_once * num_frames, device=device) // num_frames
    bias = torch.zeros(len(head), len(head), dtype=dtype, device=device).masked_fill(head[:, None] != head, -torch.inf)
    return F.pad(bias, (0, 16 - len(head) % 16))[None, None, :, : len(head)]  # aligned rows, as kernels need


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without learned weights, then scale and shift; one kernel if all tokens share scale and shift."""
    if shift.numel() == x.shape[-1]:
        return F.layer_norm(x, (x.shape[-1],), 1 + scale.flatten(), shift.flatten(), eps=1e-6)
    return torch.addcmul(shift, F.layer_norm(x, (x.shape[-1],), eps=1e-6), 1 + scale)


def rotary_table(freqs: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of frame index times frequency for `rotate`, float32, each (T, d)."""
    frames = torch.arange(num_frames, device=freqs.device, dtype=torch.float32)
    angles = torch.outer(frames, freqs.detach().float())  # (T, d/2)
    sin = angles.sin()
    return angles.cos().repeat_interleave(2, -1), torch.stack([-sin, sin], dim=-1).flatten(-2)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate neighbouring channel pairs (2k, 2k+1) of (rows, H, T, d) by the table's angle of their frame.

    Each channel times the cosine, plus the other of its pair times the signed sine: three kernels without a compiler,
    and half the bytes that separate formulas for even and odd channels move. The float32 sum is written directly in the
    dtype of x, except where gradients are needed, which do not allow it.
    """
    cos, sin = table
    others = rearrange(x, "... (k pair) -> ... k pair", pair=2).flip(-1).flatten(-2)
    out = None if torch.is_grad_enabled() else torch.empty_like(others)
    return torch.addcmul(x * cos, others, sin, out=out).to(x.dtype)


def cached_keys(
    own: tuple[Tensor, Tensor], donors: list[tuple[Tensor, Tensor]], cached: CachedLatents
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Choose the keys and values of Cache Attention, and the bias over them.

    Spatial attention has no positions on keys, so their order does not matter.

    Args:
        own: key and value of the current latent, (rows, H, S, d) with rows = batch x frames.
        donors: the same for each donor, with as many rows.
        cached: the options.

    Returns:
        k, v (rows, H, N, d) and an additive mask (1, 1, 1, N), or None when every key counts alike.
    """
    parts = [own, *donors] if cached.extend else donors
    k, v = (torch.cat(side, dim=2) if len(side) > 1 else side[0] for side in zip(*parts, strict=True))
    if cached.bias == 0 or not cached.extend:
        return k, v, None
    bias = k.new_full((1, 1, 1, k.shape[2]), cached.bias)
    bias[..., : own[0].shape[2]] = 0.0
    return k, v, bias


def split_heads(x: Tensor, num_parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Cut a joint projection (..., parts H d) into parts of (..., H, d)."""
    return rearrange(x, "... (n H d) -> n ... H d", n=num_parts, H=num_heads).unbind(0)
