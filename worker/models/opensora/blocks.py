"""The blocks of STDiT3, and what they read and report.

A block is attention inside a latent frame (spatial) or across frames at one position (temporal), then the caption, then
an MLP; shifts, scales and gates come from the timestep:

    x <- x + g1 * SelfAttention(LN(x) * (1 + b1) + a1)
    x <- x + CrossAttention(x, caption)
    x <- x + g2 * MLP(LN(x) * (1 + b2) + a2)

Hidden states stay (B, T, S, C) throughout: everything but the dot products is pointwise over tokens, so no block
transposes more than its queries, keys and values.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from worker.models.opensora.attention import (
    attend,
    attend_few,
    attend_frames,
    cached_keys,
    modulate,
    rotate,
    split_heads,
)
from worker.models.video_model import CachedLatents

FEW = 4  # latent frames up to which temporal attention is trained without the fused kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedCaption:
    """A caption as cross-attention reads it; it depends on the prompt only, so one run computes it once."""

    tokens: Tensor  # (B, L, C) projected; the kept tokens of each row come first
    mask: Tensor | None  # bool (B, 1, 1, L), True = a token of this row; None when every row has L tokens
    keys_values: tuple[tuple[Tensor, Tensor], ...] = ()  # per block in forward order, (B, H, L, d); empty = not kept

    def rows(self, count: int) -> "PackedCaption":
        """Return the caption of the first `count` rows of the batch."""
        if count == len(self.tokens):
            return self
        return self.map(lambda part: part[:count])

    def map(self, change: Callable[[Tensor], Tensor]) -> "PackedCaption":
        """Return the caption with `change` applied to every tensor."""
        return PackedCaption(
            tokens=change(self.tokens),
            mask=None if self.mask is None else change(self.mask),
            keys_values=tuple((change(k), change(v)) for k, v in self.keys_values),
        )


class Frames(NamedTuple):
    """What attention across frames reads besides hidden states."""

    rotary: tuple[Tensor, Tensor]  # see `rotary_table`
    bias: Tensor | None = None  # see `bias_of_heads`


@dataclass(slots=True, kw_only=True)
class Taps:
    """What one forward reports besides its output: the caller sets what it wants and reads the results."""

    change: bool = False  # report what the blocks added to the hidden state, (B, T, S, C)
    temporal_attention_of: int | None = None  # report the gated temporal attention of this block, (B, T, S, C)
    results: dict[str, Tensor] = field(default_factory=dict)


class Mlp(nn.Module):
    """Linear, GELU (tanh form), linear."""

    def __init__(self, in_features: int, hidden_features: int, out_features: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.fc2 = nn.Linear(hidden_features, out_features)
        self.joined_on: str | None = None  # type of device whose first product also applies the GELU (`linear_gelu`)

    def forward(self, x: Tensor) -> Tensor:
        is_joined = x.device.type == self.joined_on and not torch.is_grad_enabled()
        hidden = linear_gelu(self.fc1, x) if is_joined else F.gelu(self.fc1(x), approximate="tanh")
        out: Tensor = self.fc2(hidden)
        return out


def linear_gelu(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return the GELU of a linear layer with a bias in one kernel, without gradients.

    On a GPU it is the tanh form, of the product's sum before rounding; on a CPU torch has the exact form.
    """
    rows = torch._addmm_activation(linear.bias, x.flatten(0, -2), linear.weight.t(), use_gelu=True)
    return rows.view(*x.shape[:-1], -1)


class HeadNorm(nn.Module):
    """Root-mean-square norm over the channels of a head, computed in float32."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), eps=1e-6)  # they differ under autocast


class SelfAttention(nn.Module):
    """Attention inside each frame (no positions), or across frames if `frames` is given."""

    def __init__(self, hidden_size: int, num_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.q_norm = HeadNorm(hidden_size // num_heads) if qk_norm else nn.Identity()
        self.k_norm = HeadNorm(hidden_size // num_heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(
        self,
        x: Tensor,
        frames: Frames | None = None,
        cached: CachedLatents | None = None,
    ) -> Tensor:
        out = self._spatial(x, cached) if frames is None else self._temporal(x, frames)
        projected: Tensor = self.proj(out)
        return projected  # (B, T, S, C)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, without positions."""
        q, k, v = split_heads(self.qkv(x), 3, self.num_heads)
        return self.q_norm(q), self.k_norm(k), v  # each (B, T, S, H, d)

    def _spatial_heads(self, x: Tensor) -> list[Tensor]:
        return [rearrange(part, "B T S H d -> (B T) H S d") for part in self.heads(x)]

    def _spatial(self, x: Tensor, cached: CachedLatents | None) -> Tensor:
        q, k, v = self._spatial_heads(x)
        out = attend(q, k, v) if cached is None else self._cache_attention(q, k, v, cached)
        return rearrange(out, "(B T) H S d -> B T S (H d)", B=x.shape[0])

    def _cache_attention(self, q: Tensor, k: Tensor, v: Tensor, cached: CachedLatents) -> Tensor:
        rows = q.shape[0] if cached.rows is None else cached.rows * cached.tokens[0].shape[1]
        own = (k[:rows], v[:rows])
        donors = []
        for tokens in cached.tokens:
            _, donor_k, donor_v = self._spatial_heads(tokens)
            repeats = (rows // donor_k.shape[0], 1, 1, 1)
            donors.append((donor_k.repeat(repeats), donor_v.repeat(repeats)))
        out = attend(q[:rows], *cached_keys(own, donors, cached))
        if cached.blend < 1:
            out = torch.lerp(attend(q[:rows], *own), out, cached.blend)
        return out if rows == q.shape[0] else torch.cat([out, attend(q[rows:], k[rows:], v[rows:])])

    def _temporal(self, x: Tensor, frames: Frames) -> Tensor:
        # In the layout of the dot product from the start, so that norms and rotation need no copies of their own.
        q, k, v = rearrange(self.qkv(x), "B T S (n H d) -> n (B S) H T d", n=3, H=self.num_heads).unbind(0)
        q, k = rotate(self.q_norm(q), frames.rotary), rotate(self.k_norm(k), frames.rotary)
        is_few = torch.is_grad_enabled() and x.is_cuda and x.shape[1] <= FEW
        out = attend_few(q, k, v) if is_few else attend_frames(q, k, v, frames.bias)
        return rearrange(out, "(B S) H T d -> B T S (H d)", B=x.shape[0])


class CrossAttention(nn.Module):
    """Attention of video tokens to the caption tokens of their own sample."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_linear = nn.Linear(hidden_size, hidden_size)
        self.kv_linear = nn.Linear(hidden_size, 2 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Project caption tokens (B, L, C) to keys and values, each (B, H, L, d)."""
        k, v = split_heads(self.kv_linear(tokens), 2, self.num_heads)
        return k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        q = rearrange(self.q_linear(x), "B T S (H d) -> B H (T S) d", H=self.num_heads)
        out = rearrange(attend(q, k, v, mask), "B H (T S) d -> B T S (H d)", T=x.shape[1])
        projected: Tensor = self.proj(out)
        return projected  # (B, T, S, C)


class Block(nn.Module):
    """What spatial and temporal blocks share. Each kind has its own `forward`, so that each is compiled separately."""

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float, qk_norm: bool) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, hidden_size) / hidden_size**0.5)
        self.attn = SelfAttention(hidden_size, num_heads, qk_norm)
        self.cross_attn = CrossAttention(hidden_size, num_heads)
        self.mlp = Mlp(hidden_size, int(hidden_size * mlp_ratio), hidden_size)

    def six(self, modulation: Tensor) -> tuple[Tensor, ...]:
        """Return shift, scale and gate of self-attention, then of the MLP."""
        return (self.scale_shift_table + modulation).unbind(-2)

    def rest(
        self,
        x: Tensor,
        modulation: tuple[Tensor, ...],
        caption: tuple[Tensor, Tensor],
        caption_mask: Tensor | None,
    ) -> Tensor:
        """What comes after self-attention: the caption and the MLP."""
        *_, shift, scale, gate = modulation
        x = x + self.cross_attn(x, *caption, caption_mask)
        return torch.addcmul(x, gate, self.mlp(modulate(x, shift, scale)))  # (B, T, S, C)


class SpatialBlock(Block):
    """Attention inside each frame, where Cache Attention may read a donor."""

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        caption: tuple[Tensor, Tensor],
        caption_mask: Tensor | None,
        cached: CachedLatents | None = None,
    ) -> Tensor:
        six = self.six(modulation)
        shift, scale, gate, *_ = six
        if cached is not None:
            tokens = tuple(modulate(c, shift[: len(c)], scale[: len(c)]) for c in cached.tokens)
            cached = replace(cached, tokens=tokens)
        x = torch.addcmul(x, gate, self.attn(modulate(x, shift, scale), None, cached))
        return self.rest(x, six, caption, caption_mask)


class TemporalBlock(Block):
    """Attention across frames at one position."""

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        caption: tuple[Tensor, Tensor],
        caption_mask: Tensor | None,
        frames: Frames,
        taps: Taps | None = None,
    ) -> Tensor:
        six = self.six(modulation)
        shift, scale, gate, *_ = six
        attention = self.attn(modulate(x, shift, scale), frames)
        if taps is not None and taps.temporal_attention_of is not None:
            taps.results["temporal_attention"] = gate * attention
        return self.rest(torch.addcmul(x, gate, attention), six, caption, caption_mask)
