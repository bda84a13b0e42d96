"""STDiT3 over some of its tokens: those left out keep their keys and values from the last full forward.

A full forward (`active` is None) is the plain network to the bit, and keeps the keys and values of its self-attention.
A sparse one carries only the active tokens (B, 1, N, C) through every linear layer. In a spatial block they attend to
all tokens of their frame, in a temporal block to all frames of their place; the keys and values of the others are those
of the last full forward of the same run: stale, but never from another run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from worker.models.opensora.attention import attend, modulate, rotate
from worker.models.opensora.blocks import Block, PackedCaption
from worker.models.video_model import Computed

Rotary = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIndex:
    """Where the active tokens of a frame grid (T, S) are; each of N numbers, in the order of the grid."""

    tokens: Tensor  # in the flattened grid
    frames: Tensor
    column: Tensor  # of the place, among the places that are active in any frame
    places: Tensor  # (P,) those places
    per_frame: list[int]  # how many tokens of each frame; their sum is N

    @classmethod
    def of(cls, active: Tensor) -> Self:
        """Return the index of a mask, bool (T, S)."""
        frames, places = active.nonzero().unbind(1)
        ever = active.any(0)
        return cls(
            tokens=frames * active.shape[1] + places,
            frames=frames,
            column=(ever.cumsum(0) - 1)[places],
            places=ever.nonzero()[:, 0],
            per_frame=active.sum(1).tolist(),
        )


def tokens_of(cells: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the tokens (T, S) of `patch` rows and columns of a latent that hold any of some cells (T, H, W), bool."""
    padded = F.max_pool2d(cells[:, None].float(), patch, ceil_mode=True)
    return padded.flatten(1) > 0


def is_usable(computed: Computed, batch: int) -> bool:
    """Whether a sparse forward is possible: the last full one must have kept as many rows."""
    return computed.active is not None and bool(computed.kept) and len(computed.kept[0][0]) >= batch


def run_blocks(
    blocks: Sequence[Block],
    x: Tensor,
    modulation: Tensor,
    caption: PackedCaption,
    rotary: Rotary,
    computed: Computed,
    patch: tuple[int, int],
) -> Tensor:
    """Run all blocks over x (B, T, S, C); return it with the active tokens updated and the others unchanged.

    patch: latent cells of a token, in height and width. Raises ValueError for active cells of another latent.
    """
    if computed.active is None or not is_usable(computed, len(x)):
        computed.kept.clear()
        return _all_blocks(blocks, x, modulation, caption, _keeping(rotary, computed))
    active = tokens_of(computed.active, patch)
    if active.shape != x.shape[1:3]:
        raise ValueError(f"active cells are of {tuple(active.shape)} tokens; the latent has {tuple(x.shape[1:3])}")
    index = TokenIndex.of(active)
    hidden = x.flatten(1, 2)[:, None, index.tokens]  # (B, 1, N, C)
    hidden = _all_blocks(blocks, hidden, modulation, caption, _sparse(x.shape, rotary, computed, index))
    out = x.flatten(1, 2).clone()
    out[:, index.tokens] = hidden[:, 0]
    return out.view_as(x)


Attend = Callable[[Block, Tensor, int], Tensor]  # block, modulated tokens, number of the block → attention's output


def _all_blocks(
    blocks: Sequence[Block], x: Tensor, modulation: Tensor, caption: PackedCaption, attention: Attend
) -> Tensor:
    for number, block in enumerate(blocks):
        six = block.six(modulation)
        shift, scale, gate, *_ = six
        kv = caption.keys_values[number] if caption.keys_values else block.cross_attn.keys_values(caption.tokens)
        x = torch.addcmul(x, gate, block.attn.proj(attention(block, modulate(x, shift, scale), number)))
        x = block.rest(x, six, kv, caption.mask)
    return x


def _keeping(rotary: Rotary, computed: Computed) -> Attend:
    """Attention of all tokens, as in the plain network; keys and values are kept as (B, T S, H, d)."""
    table = (rotary[0][:, None, None], rotary[1][:, None, None])  # (T, 1, 1, d)

    def attention(block: Block, x: Tensor, number: int) -> Tensor:
        q, k, v = block.attn.heads(x)  # (B, T, S, H, d)
        if number % 2:
            q, k = rotate(q, table), rotate(k, table)
        computed.kept.append((k.flatten(1, 2), v.flatten(1, 2)))
        rows, back = ("(B S) H T d", "B T S (H d)") if number % 2 else ("(B T) H S d", "B T S (H d)")
        q, k, v = (rearrange(part, f"B T S H d -> {rows}") for part in (q, k, v))
        return rearrange(attend(q, k, v), f"{rows} -> {back}", B=x.shape[0])

    return attention


def _sparse(shape: torch.Size, rotary: Rotary, computed: Computed, index: TokenIndex) -> Attend:
    batch, num_frames, num_places = shape[:3]
    cos, sin = (part[index.frames, None] for part in rotary)  # (N, 1, d)

    def attention(block: Block, x: Tensor, number: int) -> Tensor:
        q, k, v = (part[:, 0] for part in block.attn.heads(x))  # (B, N, H, d)
        if number % 2:
            q, k = rotate(q, (cos, sin)), rotate(k, (cos, sin))
        keys, values = (kept[:batch] for kept in computed.kept[number])
        keys[:, index.tokens], values[:, index.tokens] = k, v
        keys, values = (part.view(batch, num_frames, num_places, *part.shape[2:]) for part in (keys, values))
        out = (_over_frames if number % 2 else _within_frames)(q, keys, values, index)
        return out.flatten(2)[:, None]  # (B, 1, N, C)

    return attention


def _within_frames(q: Tensor, k: Tensor, v: Tensor, index: TokenIndex) -> Tensor:
    """Each active token over all tokens of its frame: q (B, N, H, d), k and v (B, T, S, H, d) → (B, N, H, d)."""
    parts = torch.split(q, index.per_frame, dim=1)
    found = [
        attend(part.transpose(1, 2), k[:, t].transpose(1, 2), v[:, t].transpose(1, 2)).transpose(1, 2)
        for t, part in enumerate(parts)
        if part.shape[1]
    ]
    return torch.cat(found, dim=1)


def _over_frames(q: Tensor, k: Tensor, v: Tensor, index: TokenIndex) -> Tensor:
    """Each active token over all frames of its place, computed for the places that are active in any frame."""
    at = (slice(None), index.frames, index.column)
    queries = q.new_zeros(q.shape[0], k.shape[1], len(index.places), *q.shape[2:])  # (B, T, P, H, d)
    queries[at] = q
    parts = (queries, k[:, :, index.places], v[:, :, index.places])
    rows = (rearrange(part, "B T P H d -> (B P) H T d") for part in parts)
    return rearrange(attend(*rows), "(B P) H T d -> B T P H d", B=q.shape[0])[at]
