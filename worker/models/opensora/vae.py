"""From pixels to latents and back: the two-stage VAE of Open-Sora 1.2 and a fixed one for small models.

A video is (B, 3, T, H, W) in [-1, 1]; latents are (B, C, T', h, w) with about zero mean and unit variance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from torch import Tensor, nn

from worker.models import device as devices

TENSORS_AT_ONCE = 3  # at the widest place of the spatial decoder: a convolution's input, its output, and the shortcut
# The SDXL layout: 3 -> 4 channels, 8x smaller.
SPATIAL: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.13025,
}
TEMPORAL: dict[str, Any] = {
    "in_out_channels": 4,
    "latent_embed_dim": 4,
    "embed_dim": 4,
    "filters": 128,
    "num_res_blocks": 4,
    "channel_multipliers": [1, 2, 2, 4],
    "temporal_downsample": [False, True, True],
    "num_groups": 32,
}


class _One:
    """A divisor that leaves a tensor as it is and launches no kernel."""

    def __rtruediv__(self, dividend: Tensor) -> Tensor:
        return dividend


def _divide_by_no_ones(module: nn.Module) -> None:
    """Skip the division at the end of each block of diffusers: its factor is one in this model."""
    for part in module.modules():
        for factor in ("output_scale_factor", "rescale_output_factor"):
            if getattr(part, factor, None) == 1.0:
                setattr(part, factor, _One())


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingNoise:
    """The Gaussian drawn by the two stages of encoding, for runs that must be repeated exactly."""

    spatial: Tensor  # (B*T, 4, h, w), all frames of the first video first
    temporal: Tensor  # (B, 4, T', h, w)


class CausalConv3d(nn.Module):
    """A 3-D convolution that sees only earlier frames: zeros go in front in time and around in space."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, time_stride: int = 1, bias: bool = True):
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - time_stride, 0)  # width, height, time
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=(time_stride, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, self.padding))
        return out


class ResBlock(nn.Module):
    """norm - SiLU - conv, twice, beside a 1 x 1 x 1 convolution of the raw input where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels)
        self.conv1 = CausalConv3d(in_channels, out_channels, 3, bias=False)
        self.norm2 = nn.GroupNorm(num_groups, out_channels)
        self.conv2 = CausalConv3d(out_channels, out_channels, 3, bias=False)
        if in_channels != out_channels:
            self.conv3 = CausalConv3d(in_channels, out_channels, 1, bias=False)
        self.is_widening = in_channels != out_channels

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = h + (self.conv3(x) if self.is_widening else x)
        return out


def _res_blocks(in_channels: int, out_channels: int, count: int, num_groups: int) -> nn.ModuleList:
    widths = [in_channels] + [out_channels] * count
    return nn.ModuleList(ResBlock(a, b, num_groups) for a, b in pairwise(widths))


def _through(blocks: Any, x: Tensor) -> Tensor:  # Any: indexing a ModuleList of lists gives a bare Module
    for block in blocks:
        x = block(x)
    return x


class TemporalEncoder(nn.Module):
    """4x fewer frames: (B, 4, T, h, w) to the moments (B, 8, T/4, h, w)."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        groups, count = config["num_groups"], config["num_res_blocks"]
        widths = [config["filters"] * m for m in config["channel_multipliers"]]
        self.conv_in = CausalConv3d(config["in_out_channels"], config["filters"], 3, bias=False)
        self.block_res_blocks = nn.ModuleList(
            _res_blocks(a, b, count, groups) for a, b in pairwise([config["filters"], *widths])
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, width, 3, time_stride=2) if halve else nn.Identity()
            for width, halve in zip(widths, config["temporal_downsample"], strict=False)
        )
        self.res_blocks = _res_blocks(widths[-1], widths[-1], count, groups)
        self.norm1 = nn.GroupNorm(groups, widths[-1])
        self.conv2 = CausalConv3d(widths[-1], 2 * config["latent_embed_dim"], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level, blocks in enumerate(self.block_res_blocks):
            x = _through(blocks, x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        x = _through(self.res_blocks, x)
        out: Tensor = self.conv2(F.silu(self.norm1(x)))
        return out


class TemporalDecoder(nn.Module):
    """4x more frames: (B, 4, T/4, h, w) to (B, 4, T, h, w). Lists are stored shallow first and run from the end."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        groups, count = config["num_groups"], config["num_res_blocks"]
        widths = [config["filters"] * m for m in config["channel_multipliers"]]
        self.conv1 = CausalConv3d(config["embed_dim"], widths[-1], 3)
        self.res_blocks = _res_blocks(widths[-1], widths[-1], count, groups)
        self.block_res_blocks = nn.ModuleList(
            _res_blocks(a, b, count, groups) for a, b in zip([*widths[1:], widths[-1]], widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, 2 * width, 3) if double else nn.Identity()
            for width, double in zip(widths[1:], config["temporal_downsample"], strict=True)
        )
        self.doubles = tuple(config["temporal_downsample"])
        self.norm1 = nn.GroupNorm(groups, widths[0])
        self.conv_out = CausalConv3d(widths[0], config["in_out_channels"], 3)

    def forward(self, x: Tensor) -> Tensor:
        x = _through(self.res_blocks, self.conv1(x))
        for level in reversed(range(len(self.block_res_blocks))):
            x = _through(self.block_res_blocks[level], x)
            if level > 0 and self.doubles[level - 1]:
                x = rearrange(self.conv_blocks[level - 1](x), "b (c j) t h w -> b c (t j) h w", j=2)
        out: Tensor = self.conv_out(F.silu(self.norm1(x)))
        return out


class TemporalVAE(nn.Module):
    """The second stage, one chunk of frames at a time."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        channels = config["latent_embed_dim"]
        self.factor = 2 ** sum(config["temporal_downsample"])
        self.encoder = TemporalEncoder(config)
        self.quant_conv = CausalConv3d(2 * channels, 2 * config["embed_dim"], 1)
        self.post_quant_conv = CausalConv3d(config["embed_dim"], channels, 1)
        self.decoder = TemporalDecoder(config)

    def moments(self, x: Tensor) -> Tensor:
        """Mean and log variance (B, 8, ceil(T/4), h, w) of a chunk, padded in front with empty frames."""
        missing = -x.shape[2] % self.factor
        out: Tensor = self.quant_conv(self.encoder(F.pad(x, (0, 0, 0, 0, missing, 0))))
        return out

    def decode(self, z: Tensor, num_frames: int) -> Tensor:
        """The last `num_frames` frames (B, 4, num_frames, h, w) of a decoded chunk."""
        frames: Tensor = self.decoder(self.post_quant_conv(z))
        return frames[:, :, -num_frames % self.factor :]


class SpatialVAE(nn.Module):
    """Holds the per-frame autoencoder under the name that published checkpoints give it."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.module = AutoencoderKL(**config)

    def moments(self, frames: Tensor) -> Tensor:
        """Mean and log variance (N, 8, h, w) of frames (N, 3, H, W)."""
        module: Any = self.module
        out: Tensor = module.quant_conv(module.encoder(frames))
        return out

    def decode(self, z: Tensor) -> Tensor:
        """Frames (N, 3, 8h, 8w) of latents (N, 4, h, w)."""
        module: Any = self.module
        out: Tensor = module.decoder(module.post_quant_conv(z))
        return out


def _sample(moments: Tensor, noise: Tensor) -> Tensor:
    """mean + standard deviation * noise, with the log variance clamped to [-30, 20]."""
    mean, log_variance = moments.chunk(2, dim=1)
    return mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * noise


def _draw(moments: Tensor, generator: torch.Generator | None) -> Tensor:
    shape = (moments.shape[0], moments.shape[1] // 2, *moments.shape[2:])
    device = moments.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=device, dtype=moments.dtype).to(moments.device)


class Autoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Lets a buffer and a config entry share a name; diffusers would answer with the entry and warn."""

    def __getattr__(self, name: str) -> Any:
        return nn.Module.__getattr__(self, name)

    @property
    def _config(self) -> Any:  # diffusers declares a dict and returns one with attributes
        return self.config


class OpenSoraVAE(Autoencoder):
    """The VAE of Open-Sora 1.2: 8x smaller in space frame by frame, then 4x shorter in time in chunks of 17 frames.

    Kept from the released model, because its weights expect it: the spatial latents are multiplied by 0.18215 although
    that autoencoder's own factor is 0.13025; chunks are normalised on their own; the padding of a short chunk is in
    front; both stages sample while encoding.

    `decode_batch` is the number of frames in one call of the spatial decoder, fewer where they would not fit what is
    free on the device; `chunks_at_once` that of whole chunks in one call of the temporal one. Both change no value.
    """

    _supports_gradient_checkpointing = False

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        spatial_autoencoder_kl: dict[str, Any] | None = None,
        temporal: dict[str, Any] | None = None,
        micro_frame_size: int = 17,
        micro_batch_size: int = 4,
        shift: Sequence[float] = (-0.10, 0.34, 0.27, 0.98),
        scale: Sequence[float] = (3.85, 2.32, 2.33, 3.06),
        spatial_latent_multiplier: float = 0.18215,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self.spatial_vae = SpatialVAE(spatial_autoencoder_kl or SPATIAL)
        _divide_by_no_ones(self.spatial_vae)
        self.temporal_vae = TemporalVAE(temporal or TEMPORAL)
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1, 1))
        self.decode_batch, self.chunks_at_once = micro_batch_size, 1
        # Checkpoints older than diffusers 0.15 call the attention weights query, key, value and proj_attn.
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            lambda module, state_dict, *_: module._fix_state_dict_keys_on_load(state_dict)
        )

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.shift.shape[1])

    def latent_size(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, height and width of a video of that many frames and pixels."""
        frames = sum(-(-chunk // self.temporal_vae.factor) for chunk in self._chunks(num_frames))
        return frames, height // self._reduction, width // self._reduction

    @torch.no_grad()
    def encode(
        self,
        video: Tensor,
        *,
        generator: torch.Generator | None = None,
        noise: EncodingNoise | None = None,
        sample: bool = True,
    ) -> Tensor:
        """Latents (B, 4, T', h, w) of a video (B, 3, T, H, W) in [-1, 1].

        Noise is drawn from `generator` in the order of the released model (spatial in groups of `micro_batch_size`
        frames, then temporal per chunk) unless `noise` holds it; `sample=False` takes the mean in both stages.
        """
        frames = rearrange(video.to(self.dtype), "b c t h w -> (b t) c h w")
        z = torch.cat(list(self._encode_frames(frames, generator, noise, sample)))
        z = rearrange(z * self._config.spatial_latent_multiplier, "(b t) c h w -> b c t h w", b=video.shape[0])
        z = torch.cat(list(self._encode_chunks(z, generator, noise, sample)), dim=2)
        latents: Tensor = (z - self.shift) / self.scale
        return latents

    def _encode_frames(
        self, frames: Tensor, generator: torch.Generator | None, noise: EncodingNoise | None, sample: bool
    ) -> Iterator[Tensor]:
        start = 0
        for group in torch.split(frames, self._config.micro_batch_size):
            moments = self.spatial_vae.moments(group)
            given = None if noise is None else noise.spatial[start : start + len(group)]
            yield self._posterior(moments, generator, given, sample)
            start += len(group)

    def _encode_chunks(
        self, z: Tensor, generator: torch.Generator | None, noise: EncodingNoise | None, sample: bool
    ) -> Iterator[Tensor]:
        start = 0
        for chunk in torch.split(z, self._config.micro_frame_size, dim=2):
            moments = self.temporal_vae.moments(chunk)
            given = None if noise is None else noise.temporal[:, :, start : start + moments.shape[2]]
            yield self._posterior(moments, generator, given, sample)
            start += moments.shape[2]

    @staticmethod
    def _posterior(moments: Tensor, generator: torch.Generator | None, given: Tensor | None, sample: bool) -> Tensor:
        if not sample:
            return moments.chunk(2, dim=1)[0]
        return _sample(moments, _draw(moments, generator) if given is None else given.to(moments))

    @torch.no_grad()
    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """The video (B, 3, num_frames, 8h, 8w), about [-1, 1], of latents (B, 4, T', h, w).

        Raises ValueError if `num_frames` does not fit the number of latent frames.
        """
        return torch.cat(list(self.decode_parts(latents, num_frames)), dim=2)

    @torch.no_grad()
    def decode_parts(self, latents: Tensor, num_frames: int) -> Iterator[Tensor]:
        """The decoded video in parts of up to `decode_batch` frames, so that a caller can write while it decodes."""
        z = self.decode_time(latents, num_frames) / self._config.spatial_latent_multiplier
        fitting = frames_that_fit(devices.free_bytes(z.device), self._bytes_of_a_frame(z), most=self.decode_batch)
        per_video = max(1, fitting // len(z))
        num_parts = -(-z.shape[2] // per_video)
        for part in z.tensor_split(num_parts, dim=2):  # of similar size: a compiler makes separate code for one frame
            frames = self.spatial_vae.decode(rearrange(part, "b c t h w -> (b t) c h w"))
            yield rearrange(frames, "(b t) c h w -> b c t h w", b=len(z))

    @torch.no_grad()
    def decode_time(self, latents: Tensor, num_frames: int) -> Tensor:
        """The first half of decoding: scaled spatial latents (B, 4, num_frames, h, w)."""
        self._check_frames(latents.shape[2], num_frames)
        z = latents.to(self.dtype) * self.scale + self.shift
        per_chunk = -(-self._config.micro_frame_size // self.temporal_vae.factor)
        parts, counts = torch.split(z, per_chunk, dim=2), self._chunks(num_frames)
        decoded: list[Tensor] = []
        while len(decoded) < len(parts):
            start = len(decoded)
            alike = sum(count == counts[start] for count in counts[start : start + self.chunks_at_once])
            together = self.temporal_vae.decode(torch.cat(parts[start : start + alike]), counts[start])
            decoded += together.chunk(alike)
        return torch.cat(decoded, dim=2)

    def _bytes_of_a_frame(self, z: Tensor) -> int:
        """About how many bytes one frame of latents (..., h, w) takes at the widest place of the spatial decoder."""
        spatial: Any = self.spatial_vae.module
        channels = int(spatial.config.block_out_channels[:2][-1])  # of the last block, at full size
        return TENSORS_AT_ONCE * channels * z.shape[-2] * z.shape[-1] * self._reduction**2 * z.element_size()

    @property
    def _reduction(self) -> int:
        spatial: Any = self.spatial_vae.module
        return int(2 ** (len(spatial.config.block_out_channels) - 1))

    def _chunks(self, num_frames: int) -> list[int]:
        size = self._config.micro_frame_size
        return [min(size, num_frames - start) for start in range(0, num_frames, size)]

    def _check_frames(self, num_latents: int, num_frames: int) -> None:
        expected = self.latent_size(num_frames, 8, 8)[0]
        if num_latents != expected:
            raise ValueError(
                f"num_frames {num_frames} needs {expected} latent frames, got {num_latents}; "
                "pass the number of frames that the latents were made for"
            )


def frames_that_fit(free_bytes: int | None, bytes_of_a_frame: int, *, most: int) -> int:
    """Return how many frames to decode in one call: at most `most`, in half of the free memory; at least one.

    None stands for a device that does not report its free memory.
    """
    if free_bytes is None:
        return most
    return max(1, min(most, free_bytes // 2 // bytes_of_a_frame))


class PatchVAE(Autoencoder):
    """A fixed linear VAE for small models: blocks of pixels (`patch_time` by `patch_space` squared) become channels.

    Nothing is learned and, without a projection, nothing is lost. `mean` and `std` (one value per latent channel)
    normalise the latents. With `num_channels` given, the blocks are projected onto that many orthonormal directions
    (rows of the buffer `projection`, set by `set_projection`), which keeps only what lies in their span.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        patch_time: int = 1,
        patch_space: int = 4,
        in_channels: int = 3,
        num_channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        block = in_channels * patch_time * patch_space**2
        channels = block if num_channels is None else num_channels
        if channels > block:
            raise ValueError(f"num_channels {channels} is more than the {block} values of a block; use at most {block}")
        self.latent_channels = channels
        self.register_buffer("mean", self._per_channel("mean", mean, 0.0))
        self.register_buffer("std", self._per_channel("std", std, 1.0))
        if num_channels is not None:
            self.register_buffer("projection", torch.eye(block)[:channels].clone())

    def _per_channel(self, name: str, values: Sequence[float] | None, default: float) -> Tensor:
        if values is None:
            return torch.full((1, self.latent_channels, 1, 1, 1), default)
        if len(values) != self.latent_channels:
            raise ValueError(f"{name} has {len(values)} values; give one for each of {self.latent_channels} channels")
        return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)

    def set_projection(self, rows: Tensor) -> None:
        """Use these orthonormal directions (num_channels, block). Raises ValueError if they are not orthonormal."""
        error = (rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype)).abs().max().item()
        if error > 1e-4:
            raise ValueError(f"projection rows are not orthonormal (error {error:.1e}); orthonormalise them, say by QR")
        self.projection.copy_(rows)

    def latent_size(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, height and width. Raises ValueError if a side is not a multiple of the patch."""
        side = self._config.patch_space
        for name, value in (("height", height), ("width", width)):
            if value % side:
                nearest = max(side, round(value / side) * side)
                raise ValueError(f"{name} {value} is not a multiple of {side}; try {nearest}")
        return math.ceil(num_frames / self._config.patch_time), height // side, width // side

    @torch.no_grad()
    def encode(self, video: Tensor, *, generator: torch.Generator | None = None, sample: bool = True) -> Tensor:
        """Latents (B, C, T', h, w) of a video (B, 3, T, H, W); the first frame is repeated in front of a short block.

        `generator` and `sample` have no effect: nothing is drawn.
        """
        del generator, sample
        frames, height, width = self.latent_size(*video.shape[2:])
        missing = frames * self._config.patch_time - video.shape[2]
        video = torch.cat([video[:, :, :1].expand(-1, -1, missing, -1, -1), video], dim=2).to(self.mean)
        z = rearrange(video, "b c (t i) (h j) (w k) -> b (c i j k) t h w", t=frames, h=height, w=width)
        if self._config.num_channels is not None:
            z = torch.einsum("bdthw,cd->bcthw", z, self.projection)
        latents: Tensor = (z - self.mean) / self.std
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """The video (B, 3, num_frames, H, W) of latents (B, C, T', h, w)."""
        expected = math.ceil(num_frames / self._config.patch_time)
        if latents.shape[2] != expected:
            raise ValueError(f"num_frames {num_frames} needs {expected} latent frames, got {latents.shape[2]}")
        z = latents.to(self.mean) * self.std + self.mean
        if self._config.num_channels is not None:
            z = torch.einsum("bcthw,cd->bdthw", z, self.projection)
        side = self._config.patch_space
        video: Tensor = rearrange(
            z, "b (c i j k) t h w -> b c (t i) (h j) (w k)", c=self._config.in_channels, j=side, k=side
        )
        return video[:, :, -num_frames:]  # (B, 3, num_frames, H, W)

    def decode_parts(self, latents: Tensor, num_frames: int) -> Iterator[Tensor]:
        """The whole video as one part."""
        yield self.decode(latents, num_frames)


def to_uint8(video: Tensor) -> Tensor:
    """Frames (B, T, H, W, 3), uint8, of a video (B, 3, T, H, W): clamp to [-1, 1], map to 0..255, add 0.5, truncate."""
    unit = (video.float().clamp(-1, 1) + 1) / 2
    return rearrange((unit * 255 + 0.5).clamp(0, 255).to(torch.uint8), "b c t h w -> b t h w c")
