"""STDiT3, the diffusion transformer of Open-Sora 1.2.

The state dict has the keys of the released checkpoint and the config has its names, so a released folder loads
unchanged. The network alternates spatial blocks (attention inside a latent frame) and temporal blocks (attention
across frames at one position); both read the caption.

In bfloat16 the released network was trained and run with parameters, rotary and position frequencies and the
*timestep* rounded to bfloat16 (above 512 a multiple of 4). The default does the same, because this checkpoint never saw
other phases of the fastest sinusoids in training; `exact_timesteps=True` in the config keeps the timestep in float32
for models that were trained that way.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from torch import Tensor, nn

from worker.models.opensora import sparse
from worker.models.opensora.attention import bias_of_heads, modulate, rotary_table
from worker.models.opensora.blocks import Block, Frames, Mlp, PackedCaption, SpatialBlock, Taps, TemporalBlock
from worker.models.video_model import CachedLatents, Computed

FREQUENCY_DIM = 256  # size of the sinusoid in front of the timestep and fps embedders


class PatchEmbed(nn.Module):
    """Patches of the latent as tokens; a convolution whose kernel is its stride, computed as one matrix product."""

    def __init__(self, patch_size: tuple[int, int, int], in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv3d(in_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        _, ph, pw = self.patch_size
        x = F.pad(x, (0, -x.shape[-1] % pw, 0, -x.shape[-2] % ph))
        patches = rearrange(x, "B C T (h p) (w q) -> B T (h w) (C p q)", p=ph, q=pw)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # (B, T, S, C)


class ScalarEmbedder(nn.Module):
    """Embedding of one number per sample: sinusoid (cosine first), then a small network."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCY_DIM, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))

    def forward(self, value: Tensor, dtype: torch.dtype) -> Tensor:
        half = FREQUENCY_DIM // 2
        freqs = torch.exp(-math.log(10000) / half * torch.arange(half, device=value.device, dtype=torch.float32))
        angles = value.float()[:, None] * freqs  # (B, 128)
        embedded: Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))
        return embedded  # (B, C)


class CaptionEmbedder(nn.Module):
    """Projection of text features; it also stores the null caption, a buffer of the checkpoint."""

    y_embedding: Tensor

    def __init__(self, caption_channels: int, hidden_size: int, num_tokens: int) -> None:
        super().__init__()
        self.y_proj = Mlp(caption_channels, hidden_size, hidden_size)
        self.register_buffer("y_embedding", torch.randn(num_tokens, caption_channels) / caption_channels**0.5)

    def forward(self, y: Tensor) -> Tensor:
        out: Tensor = self.y_proj(y)
        return out


class FinalLayer(nn.Module):
    """The last modulation and the projection of each token to its patch."""

    def __init__(self, hidden_size: int, patch_volume: int, out_channels: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(2, hidden_size) / hidden_size**0.5)
        self.linear = nn.Linear(hidden_size, patch_volume * out_channels)

    def forward(self, x: Tensor, embedding: Tensor, embedding0: Tensor | None, x_mask: Tensor | None) -> Tensor:
        shift, scale = (self.scale_shift_table + embedding[:, None, None, None]).unbind(-2)  # (B, 1, 1, C)
        x = modulate(x, shift, scale)
        if embedding0 is not None and x_mask is not None:
            # Upstream modulates kept frames a second time, on top of the first. Sampling puts these frames back
            # afterwards, so it shows only in the raw output; kept for equality.
            shift0, scale0 = (self.scale_shift_table + embedding0[:, None, None, None]).unbind(-2)
            x = torch.where(x_mask[:, :, None, None], x, modulate(x, shift0, scale0))
        out: Tensor = self.linear(x)
        return out  # (B, T, S, p q Cout)


class RotaryFrequencies(nn.Module):
    """The frequencies of temporal positions; stored in the checkpoint, never trained."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        freqs = 10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        self.freqs = nn.Parameter(freqs, requires_grad=False)


class STDiT3(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """The transformer: velocity of a noisy video latent, given timestep, caption, frame rate and size."""

    _supports_gradient_checkpointing = True
    _no_split_modules: Any = ("SpatialBlock", "TemporalBlock")
    _gradient_checkpointing_func: Any  # set by enable_gradient_checkpointing

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        input_size: Sequence[int | None] = (None, None, None),
        input_sq_size: int = 512,
        in_channels: int = 4,
        patch_size: Sequence[int] = (1, 2, 2),
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        class_dropout_prob: float = 0.1,
        pred_sigma: bool = True,
        drop_path: float = 0.0,
        caption_channels: int = 4096,
        model_max_length: int = 300,
        qk_norm: bool = True,
        enable_flash_attn: bool = False,
        enable_layernorm_kernel: bool = False,
        enable_sequence_parallelism: bool = False,
        only_train_temporal: bool = False,
        freeze_y_embedder: bool = False,
        skip_y_embedder: bool = False,
        exact_timesteps: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _check_config(tuple(patch_size), hidden_size, num_heads)
        self.out_channels = in_channels * 2 if pred_sigma else in_channels
        self.gradient_checkpointing = False
        self.caption_bucket: int | None = None  # packed captions are padded to a multiple of this many tokens
        self.tiled_on = "cuda"  # type of device whose attention processes a tile of queries at once
        self.rope = RotaryFrequencies(hidden_size // num_heads)
        self.x_embedder = PatchEmbed((1, patch_size[1], patch_size[2]), in_channels, hidden_size)
        self.t_embedder = ScalarEmbedder(hidden_size)
        self.fps_embedder = ScalarEmbedder(hidden_size)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 6 * hidden_size))
        self.y_embedder = CaptionEmbedder(caption_channels, hidden_size, model_max_length)
        self.spatial_blocks = nn.ModuleList(
            SpatialBlock(hidden_size, num_heads, mlp_ratio, qk_norm) for _ in range(depth)
        )
        self.temporal_blocks = nn.ModuleList(
            TemporalBlock(hidden_size, num_heads, mlp_ratio, qk_norm) for _ in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, math.prod(patch_size), self.out_channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | PackedCaption,
        mask: Tensor | Sequence[int] | None = None,
        *,
        fps: Tensor,
        height: Tensor | float,
        width: Tensor | float,
        x_mask: Tensor | None = None,
        cached: CachedLatents | None = None,
        computed: Computed | None = None,
        change: Tensor | None = None,
        taps: Taps | None = None,
        **ignored: Any,  # num_frames and ar: upstream passes them and its network does not use them
    ) -> Tensor:
        """Predict the velocity (first `in_channels` channels) and, with `pred_sigma`, as many more channels.

        Args:
            x: latent (B, C, T, H, W).
            timestep: (B,), on the scale 0..1000; (1,) when all rows share it, which spares a kernel at each norm.
            y: text features (B, 1, L, caption_channels), or what `pack_caption` made of them. With
                `skip_y_embedder`, packed features (1, sum of lengths, hidden_size).
            mask: (b, L), non-zero = the token counts; b divides B. With `skip_y_embedder`, the lengths.
            fps: frames per second, (b,), repeated over the timesteps; b divides their number.
            height, width: size of the video in pixels (of the first sample, when tensors).
            x_mask: bool (B, T); False = this frame is known and treated as having timestep 0.
            cached: Cache Attention in the blocks that it names; None = the plain model.
            computed: which tokens the blocks run over; those left out come back as they were embedded, and their
                predictions are meaningless. Not together with `cached`, `taps` or `x_mask`. None = all.
            change: (B, T, S, C) to add instead of running the blocks (see `lab.baselines.adacache`).
            taps: what else to report.

        Returns:
            float32 (B, out_channels, T, H, W).
        """
        dtype, batch = self.x_embedder.proj.weight.dtype, x.shape[0]
        position = self._position(x, height, width, dtype)
        hidden = self.x_embedder(x.to(dtype)) + position  # (B, T, S, C)
        embedding, embedding0, modulation = self._modulation(timestep, fps, x_mask, dtype)
        if change is not None:
            hidden = hidden + change
        else:
            caption = y if isinstance(y, PackedCaption) else self.pack_caption(y, mask, batch)
            if cached is not None:
                cached = self._embed_cached(cached, x, position, dtype)
            start = hidden
            if computed is None:
                hidden = self._blocks(hidden, modulation, caption, cached, taps)
            else:
                _check_alone(cached, taps, x_mask)
                rotary = rotary_table(self.rope.freqs, x.shape[2])
                patch = self.x_embedder.patch_size[1:]
                hidden = sparse.run_blocks(self.blocks, hidden, modulation, caption, rotary, computed, patch)
            if taps is not None and taps.change:
                taps.results["change"] = hidden - start
        out = self.final_layer(hidden, embedding, embedding0, x_mask)
        return self._unpatch(out, x.shape).float()

    def pack_caption(
        self, y: Tensor, mask: Tensor | Sequence[int] | None, batch: int, *, keep_keys: bool = False
    ) -> PackedCaption:
        """Project text features and drop the tokens that the mask drops.

        Reads the lengths on the host (one synchronisation), so do it once per prompt. With `keep_keys` the keys and
        values of every block are computed too, and no step repeats them. Nothing kept is a view: compiled code treats
        views differently, and a recording reads copies.

        Raises:
            ValueError: a row of the mask keeps no token.
        """
        dtype = self.x_embedder.proj.weight.dtype
        if self._config.skip_y_embedder:
            rows = list(torch.split(y.to(dtype)[0], [int(n) for n in mask or ()]))
        else:
            tokens = self.y_embedder(y.to(dtype)).flatten(1, 2)  # (B, L, C)
            rows = _kept_rows(tokens, mask, batch)
        caption = _pad_rows(rows, self.caption_bucket)
        if not keep_keys:
            return caption
        pairs = (block.cross_attn.keys_values(caption.tokens) for block in self.blocks)
        kept = tuple((k.contiguous(), v.contiguous()) for k, v in pairs)
        return replace(caption, keys_values=kept)

    def null_caption(self, batch: int) -> Tensor:
        """Return the stored null caption as text features (B, 1, L, caption_channels)."""
        null: Tensor = self.y_embedder.y_embedding[None, None].expand(batch, -1, -1, -1)
        return null

    @property
    def _config(self) -> Any:  # diffusers declares a dict and returns one with attributes
        return self.config

    @property
    def blocks(self) -> list[Block]:
        """All blocks in forward order: spatial 0, temporal 0, spatial 1, and so on."""
        pairs = zip(self.spatial_blocks, self.temporal_blocks, strict=True)
        return [cast(Block, block) for pair in pairs for block in pair]

    def initialize_weights(self) -> None:
        """Draw weights for training from scratch: every residual branch and the output start at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.data.flatten(1))
        for narrow in (self.t_embedder.mlp[0], self.t_embedder.mlp[2], self.fps_embedder.mlp[0], self.t_block[1]):
            nn.init.normal_(cast(nn.Linear, narrow).weight, std=0.02)
        silent = [part for b in self.blocks for part in (b.attn.proj, b.cross_attn.proj, b.mlp.fc2)]
        for linear in (*silent, self.fps_embedder.mlp[2], self.final_layer.linear):
            nn.init.zeros_(cast(nn.Linear, linear).weight)

    def _position(self, x: Tensor, height: Tensor | float, width: Tensor | float, dtype: torch.dtype) -> Tensor:
        _, ph, pw = self.x_embedder.patch_size
        grid = (math.ceil(x.shape[-2] / ph), math.ceil(x.shape[-1] / pw))
        scale = math.sqrt(_first(height) * _first(width)) / self._config.input_sq_size
        return position_embedding(grid, scale, self._config.hidden_size, dtype, x.device)

    def _modulation(
        self, timestep: Tensor, fps: Tensor, x_mask: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        if not self._config.exact_timesteps:
            timestep = timestep.to(dtype)
        fps = self.fps_embedder(fps.to(dtype).repeat(len(timestep) // len(fps)), dtype)
        embedding = self.t_embedder(timestep, dtype) + fps  # (B, C) or (1, C)
        modulation = self._six(embedding)
        if x_mask is None:
            return embedding, None, modulation
        embedding0 = self.t_embedder(torch.zeros_like(timestep), dtype) + fps
        modulation = torch.where(x_mask[:, :, None, None, None], modulation, self._six(embedding0))
        return embedding, embedding0, modulation  # the third (B or 1, 1, 1, 6, C) above, here (B, T, 1, 6, C)

    def _six(self, embedding: Tensor) -> Tensor:
        six: Tensor = rearrange(self.t_block(embedding), "B (n C) -> B 1 1 n C", n=6)
        return six

    def _embed_cached(self, cached: CachedLatents, x: Tensor, position: Tensor, dtype: torch.dtype) -> CachedLatents:
        for latent in cached.latents:
            if latent.shape[1:] != x.shape[1:]:
                raise ValueError(
                    f"cached latent has shape {tuple(latent.shape[1:])} and the current one {tuple(x.shape[1:])}; "
                    "Cache Attention needs a donor of the same size and length"
                )
            rows = cached.rows or len(x)
            if rows % len(latent):
                raise ValueError(
                    f"{len(latent)} cached latents cannot be shared out over {rows} rows of the batch; "
                    "pass one, or one for each prompt"
                )
        tokens = tuple(self.x_embedder(latent.to(x.device, dtype)) + position for latent in cached.latents)
        return replace(cached, tokens=tokens)

    def _blocks(
        self,
        x: Tensor,
        modulation: Tensor,
        caption: PackedCaption,
        cached: CachedLatents | None,
        taps: Taps | None,
    ) -> Tensor:
        frames = self._frames(x)
        for i, block in enumerate(self.blocks):
            pair, is_temporal = divmod(i, 2)
            kv = caption.keys_values[i] if caption.keys_values else block.cross_attn.keys_values(caption.tokens)
            if is_temporal:
                wanted = taps if taps is not None and taps.temporal_attention_of == pair else None
                x = self._run(block, x, modulation, kv, caption.mask, frames, wanted)
            else:
                keys = cached if cached is not None and cached.acts_in(pair) else None
                x = self._run(block, x, modulation, kv, caption.mask, keys)
        return x

    def _frames(self, x: Tensor) -> Frames:
        rotary = rotary_table(self.rope.freqs, x.shape[1])
        if x.device.type != self.tiled_on or torch.is_grad_enabled():  # training takes another path
            return Frames(rotary)
        return Frames(rotary, bias_of_heads(self._config.num_heads, x.shape[1], x.dtype, x.device))

    def _run(self, block: Block, *inputs: Any) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            out: Tensor = self._gradient_checkpointing_func(block, *inputs)
        else:
            out = block(*inputs)
        return out

    def _unpatch(self, x: Tensor, shape: torch.Size) -> Tensor:
        _, ph, pw = self.x_embedder.patch_size
        h = math.ceil(shape[-2] / ph)
        x = rearrange(x, "B T (h w) (p q C) -> B C T (h p) (w q)", h=h, p=ph, q=pw)
        return x[..., : shape[-2], : shape[-1]]


def _check_alone(*others: object) -> None:
    if any(other is not None for other in others):
        raise ValueError("computing some tokens goes with neither cached latents, taps nor a frame mask; leave one out")


@functools.lru_cache(maxsize=8)
def position_embedding(
    grid: tuple[int, int], scale: float, hidden_size: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Spatial position of each token of a frame, (1, 1, S, C); a token's vector is [column part, row part].

    `scale` is the square root of the pixel area over the size of the training square: it makes coordinates agree
    between resolutions.
    """
    rows, columns = grid
    side = round(math.sqrt(rows * columns))
    freqs = 10000.0 ** (-torch.arange(0, hidden_size // 2, 2, device=device).float() / (hidden_size // 2))
    freqs = freqs.to(dtype).float()  # upstream casts this buffer with the model
    halves = []
    for count in (columns, rows):
        coordinate = torch.arange(count, device=device).float() / scale * (side / count)
        angles = torch.outer(coordinate, freqs)
        halves.append(torch.cat([angles.sin(), angles.cos()], dim=-1))  # (count, C/2)
    column_part = halves[0][None].expand(rows, -1, -1)
    row_part = halves[1][:, None].expand(-1, columns, -1)
    return torch.cat([column_part, row_part], dim=-1).flatten(0, 1)[None, None].to(dtype)


def _check_config(patch_size: tuple[int, ...], hidden_size: int, num_heads: int) -> None:
    if len(patch_size) != 3 or patch_size[0] != 1:
        raise ValueError(f"patch_size {patch_size} is not supported; time is never patched, use (1, 2, 2)")
    if hidden_size % num_heads or (hidden_size // num_heads) % 2:
        raise ValueError(
            f"hidden_size {hidden_size} over num_heads {num_heads} must be an even whole number: "
            "rotary positions turn pairs of channels"
        )
    if hidden_size % 4:
        raise ValueError(f"hidden_size {hidden_size} is not a multiple of 4, which the spatial position needs")


def _kept_rows(tokens: Tensor, mask: Tensor | Sequence[int] | None, batch: int) -> list[Tensor]:
    if mask is None:
        return list(tokens)
    kept = torch.as_tensor(mask, device=tokens.device) != 0
    kept = kept.repeat(batch // kept.shape[0], 1)
    empty = [i for i, n in enumerate(kept.sum(1).tolist()) if n == 0]
    if empty:
        raise ValueError(f"the caption mask keeps no token in row {empty[0]}; every caption needs at least one token")
    return [row[keep] for row, keep in zip(tokens, kept, strict=True)]


def _pad_rows(rows: list[Tensor], bucket: int | None) -> PackedCaption:
    """Stack rows of different length; shorter rows are padded and masked.

    With a bucket, the length is a multiple of it and there is always a mask, so that compiled code sees few shapes.
    """
    lengths = [len(row) for row in rows]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, L, C)
    if bucket is None and min(lengths) == max(lengths):
        return PackedCaption(tokens=tokens, mask=None)
    tokens = F.pad(tokens, (0, 0, 0, -tokens.shape[1] % (bucket or 1)))
    mask = torch.arange(tokens.shape[1]) < torch.tensor(lengths).view(-1, 1, 1, 1)
    return PackedCaption(tokens=tokens, mask=mask.to(tokens.device))


def _first(value: Tensor | float) -> float:
    return float(value.flatten()[0]) if isinstance(value, Tensor) else float(value)
