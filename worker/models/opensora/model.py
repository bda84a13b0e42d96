"""Open-Sora 1.2 and models of its architecture as a `VideoModel`."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.generation import GenerationParams
from shared.model_cards import ModelCard, sides
from worker.models import device as devices
from worker.models.fingerprint import identify, require_numbers
from worker.models.opensora import optimization
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import tiny
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.text import Caption
from worker.models.registry import EngineOptions
from worker.models.text_cache import text_cache
from worker.models.video_model import (
    Fingerprint,
    Sampling,
    Step,
    StepHook,
    not_finite,
    require_finite,
    why_no_such_block,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What the network reads."""

    caption: Caption
    negative: Caption | None = None  # None: the model's null caption


class OpenSoraModel(devices.OnDevice):
    """A pipeline behind the interface of jobs."""

    def __init__(
        self, pipeline: ChaiPipeline, card: ModelCard, engine: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.pipeline = pipeline
        self.card = card
        self.engine = engine
        self.fingerprint: Fingerprint = identify(pipeline)

    @property
    def device(self) -> torch.device:
        """The device that latents live on."""
        device: torch.device = self.pipeline.transformer.device
        return device

    @property
    def prepares_aside(self) -> bool:
        """False if T5 needs the memory that denoising takes."""
        return not self.pipeline.captions.offload

    def refuses(self, way: str, options: Mapping[str, Any]) -> str | None:
        """Refuse only blocks that do not exist: this network supports every way of reuse."""
        if "cache_attention" not in way.split("+"):
            return None
        own = options.get("cache_attention", options)
        return why_no_such_block(own, len(self.pipeline.transformer.spatial_blocks))

    def latent_shape(self, params: GenerationParams) -> tuple[int, int, int, int]:
        """Return channels, frames, height and width of one latent; raise ValueError for an impossible size."""
        return self.pipeline.latent_shape(height=params.height, width=params.width, num_frames=params.num_frames)

    def timesteps(self, params: GenerationParams, sampling: Sampling) -> list[float]:
        """Return the noise level (0..1000) of each step as the network gets it."""
        conditioning = Conditioning(
            height=params.height, width=params.width, num_frames=params.num_frames, fps=params.fps
        )
        return conditioning.timesteps(self.pipeline.transformer, self._schedule(sampling))

    def guidance(self, sampling: Sampling) -> list[float]:
        """Return the guidance scale of each step."""
        schedule = self._schedule(sampling)
        return [schedule.guidance(index) for index in range(sampling.num_steps)]

    def reads(self, prompt: str) -> str:
        """Return the part of a prompt that T5 gets: cleaned, and cut at its limit of tokens."""
        return self.pipeline.captions.read(prompt)

    def encode(self, params: GenerationParams) -> Encoding:
        """Return the captions of the prompt and of the negative prompt."""
        away = params.negative_prompt
        return Encoding(
            caption=self.pipeline.encode_prompt([params.prompt]),
            negative=self.pipeline.encode_prompt([away]) if away else None,
        )

    def sample(
        self,
        encoding: Encoding,
        params: GenerationParams,
        sampling: Sampling,
        *,
        seed: int,
        hooks: Sequence[StepHook] = (),
    ) -> Generator[Step]:
        """Denoise; yield after every step, the device at most one step behind."""
        optimization.take_sizes_apart()
        steps = self.pipeline.steps(
            encoding.caption,
            self._schedule(sampling),
            height=params.height,
            width=params.width,
            num_frames=params.num_frames,
            fps=params.fps,
            seed=seed,
            negative=encoding.negative,
            hooks=hooks,
        )
        return devices.paced(steps, self.device)

    def decode(self, latents: Tensor, params: GenerationParams) -> NDArray[np.uint8]:
        """Return the frames (T, H, W, 3)."""
        return np.concatenate(list(self.decode_parts(latents, params)))

    def decode_parts(self, latents: Tensor, params: GenerationParams) -> Iterator[NDArray[np.uint8]]:
        """Yield the same frames in order, as many at a time as the VAE decodes together."""
        require_finite(bool(latents.isfinite().all()), self.card)
        try:
            yield from self.pipeline.decode_parts(latents, params.num_frames)
        except FloatingPointError as error:
            raise not_finite(self.card) from error

    def _schedule(self, sampling: Sampling) -> Schedule:
        return self.pipeline.schedule(sampling.num_steps, sampling.guidance_scale, **sampling.options)


def load(card: ModelCard, source: str, options: EngineOptions) -> OpenSoraModel:
    """Load a folder or hub name with the engine's options; `random-tiny` needs no files."""
    device = devices.choose(options.device)
    if source == "random-tiny":
        return OpenSoraModel(tiny().to(device), card)
    pipeline = ChaiPipeline.from_pretrained(source)
    require_numbers(f"{card.name}: {source}", pipeline.components)
    wanted = optimization.options(
        device,
        mode=options.mode,
        dtype=options.dtype,
        text=options.text,
        warm=sizes_of(card),
        second_device=options.second_device,
    )
    outcome = optimization.optimize(pipeline, wanted, device)
    pipeline.captions.on_disk = text_cache(
        options.text_cache, encoder=pipeline.captions.revision, max_bytes=options.text_cache_bytes
    )
    return OpenSoraModel(pipeline, card, outcome.told())


def sizes_of(card: ModelCard) -> tuple[VideoSize, ...]:
    """Return one size of each kind that a card offers: a video and, where frames may be 1, an image.

    One of each kind is enough: compiled blocks take any size, but a single frame has compiled code of its own.
    """
    width, height = sides(card.default_size)
    counts = [card.default_frames]
    if 1 in card.frames and card.default_frames != 1:
        counts.append(1)
    return tuple(VideoSize(height=height, width=width, num_frames=count) for count in counts)
