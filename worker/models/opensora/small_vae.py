"""A small trained VAE: 4 x 8 x 8 pixels of a clip become one latent vector.

Pixels enter and leave in blocks of 2 x 4 x 4, because convolutions over single pixels would be most of the work on a
CPU.
Convolutions alternate between space and time. Each residual branch normalises what it reads over channels, one
position at a time: without that, training fell apart at useful learning rates.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401  # diffusers looks in this module for it
from einops import rearrange
from torch import Tensor, nn

from worker.models.opensora.vae import Autoencoder

_BLOCK = (2, 4, 4)  # frames, rows and columns of pixels that enter and leave as one position
_TIME, _SPACE = 4, 8  # frames and pixels along a side of one position of a latent


class MixBlock(nn.Module):
    """Normalise - convolution over space - SiLU - convolution over time, added to the input, (B, C, T, H, W)."""

    def __init__(self, width: int):
        super().__init__()
        self.space = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)  # type: ignore[arg-type]  # it has a bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.time(F.silu(self.space(_normalised(x))))
        return out


def _normalised(x: Tensor) -> Tensor:
    """The channels (B, C, T, H, W) of each position with mean 0 and variance 1."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


class SmallVAE(Autoencoder):
    """A trained VAE of at most two million parameters for clips of few frames and pixels.

    `mean` and `std` (one value per latent channel) normalise the latents. Encoding draws no noise; noise that is added
    in training only keeps latents apart from each other.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        num_channels: int = 16,
        fine_width: int = 64,
        coarse_width: int = 144,
        fine_blocks: int = 1,  # on positions of 2 x 4 x 4 pixels; the decoder has one more
        coarse_blocks: int = 2,  # on positions of 4 x 8 x 8 pixels; the decoder has one more
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        pixels = 3 * _BLOCK[0] * _BLOCK[1] * _BLOCK[2]
        self.latent_channels = num_channels
        self.register_buffer("mean", _per_channel("mean", mean, num_channels, 0.0))
        self.register_buffer("std", _per_channel("std", std, num_channels, 1.0))
        self.encoder = nn.Sequential(
            nn.Conv3d(pixels, fine_width, 1),
            *(MixBlock(fine_width) for _ in range(fine_blocks)),
            nn.Conv3d(fine_width, coarse_width, 2, stride=2),
            *(MixBlock(coarse_width) for _ in range(coarse_blocks)),
            nn.Conv3d(coarse_width, num_channels, 1),
        )
        self.decoder_coarse = nn.Sequential(
            nn.Conv3d(num_channels, coarse_width, 1),
            *(MixBlock(coarse_width) for _ in range(coarse_blocks + 1)),
            nn.Conv3d(coarse_width, 8 * fine_width, 1),
        )
        self.decoder_fine = nn.Sequential(
            *(MixBlock(fine_width) for _ in range(fine_blocks + 1)),
            nn.Conv3d(fine_width, pixels, (1, 3, 3), padding=(0, 1, 1)),
        )

    def latent_size(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, height and width. Raises ValueError for a number that is not a multiple of 4 or 8."""
        for name, value, unit in (
            ("num_frames", num_frames, _TIME),
            ("height", height, _SPACE),
            ("width", width, _SPACE),
        ):
            if value % unit:
                raise ValueError(
                    f"{name} {value} is not a multiple of {unit}; try {max(unit, round(value / unit) * unit)}"
                )
        return num_frames // _TIME, height // _SPACE, width // _SPACE

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of one latent."""
        return (self.latent_channels, *self.latent_size(num_frames, height, width))

    def to_raw(self, video: Tensor) -> Tensor:
        """Latents (B, C, T/4, H/8, W/8) as the encoder makes them, not normalised, of a video (B, 3, T, H, W)."""
        i, j, k = _BLOCK
        blocks = rearrange(video, "b c (t i) (h j) (w k) -> b (c i j k) t h w", i=i, j=j, k=k)
        raw: Tensor = self.encoder(blocks.contiguous(memory_format=torch.channels_last_3d))
        return raw

    def from_raw(self, raw: Tensor) -> Tensor:
        """The video (B, 3, T, H, W) of latents that are not normalised."""
        i, j, k = _BLOCK
        coarse = self.decoder_coarse(raw.contiguous(memory_format=torch.channels_last_3d))
        fine = rearrange(coarse, "b (c i j k) t h w -> b c (t i) (h j) (w k)", i=2, j=2, k=2)
        blocks = self.decoder_fine(fine.contiguous(memory_format=torch.channels_last_3d))
        video: Tensor = rearrange(blocks, "b (c i j k) t h w -> b c (t i) (h j) (w k)", c=3, i=i, j=j, k=k)
        return video

    @torch.no_grad()
    def encode(self, video: Tensor, *, generator: torch.Generator | None = None, sample: bool = True) -> Tensor:
        """Latents (B, C, T/4, H/8, W/8) of a video (B, 3, T, H, W) in [-1, 1].

        `generator` and `sample` have no effect: nothing is drawn.
        """
        del generator, sample
        self.latent_size(*video.shape[2:])
        latents: Tensor = (self.to_raw(video.to(self.mean)) - self.mean) / self.std
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """The video (B, 3, num_frames, H, W) of latents (B, C, T', h, w)."""
        if latents.shape[2] * _TIME != num_frames:
            raise ValueError(
                f"num_frames {num_frames} does not fit {latents.shape[2]} latent frames; they hold "
                f"{latents.shape[2] * _TIME} frames"
            )
        return self.from_raw(latents.to(self.mean) * self.std + self.mean)

    def decode_parts(self, latents: Tensor, num_frames: int) -> Iterator[Tensor]:
        """The whole video as one part."""
        yield self.decode(latents, num_frames)


def _per_channel(name: str, values: Sequence[float] | None, num_channels: int, default: float) -> Tensor:
    if values is None:
        return torch.full((1, num_channels, 1, 1, 1), default)
    if len(values) != num_channels:
        raise ValueError(f"{name} has {len(values)} values; give one for each of {num_channels} channels")
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1, 1)
