"""From prompt to frames: transformer, VAE and text encoder as one diffusers pipeline.

`ChaiPipeline` is called like any diffusers pipeline, or in parts to see the steps:

    caption = pipeline.encode_prompt(["a corgi surfing a wave"])
    for step in pipeline.steps(caption, pipeline.schedule(num_steps=30), height=240, width=426, num_frames=72, seed=1):
        ...
    frames = pipeline.decode(step.latents, 72)

The same seed gives the same video on the same device, alone or after other jobs: noise is drawn on the CPU from the
seed, prompts are encoded one at a time, and nothing is kept between runs but encoded prompts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from worker.models.opensora import hub
from worker.models.opensora.caption import append_scores
from worker.models.opensora.sampler import Conditioning, Network, denoise
from worker.models.opensora.schedule import Schedule
from worker.models.opensora.sizes import IMAGE_FPS, check_size
from worker.models.opensora.text import Caption, CaptionEncoder
from worker.models.opensora.vae import OpenSoraVAE, to_uint8
from worker.models.video_model import Step, StepHook

Frames = NDArray[np.uint8]
OutputType = Literal["pil", "np", "uint8", "latent"]
OnStepEnd = Callable[["ChaiPipeline", int, float, dict[str, Tensor]], object]


@dataclass
class ChaiPipelineOutput(BaseOutput):
    """The videos of one call."""

    frames: Any  # by output type: list of lists of images, (B, T, H, W, 3) float32 0..1 or uint8, or latents


class ChaiPipeline(DiffusionPipeline):
    """Text to video with STDiT3.

    Args:
        transformer: STDiT3.
        vae: OpenSoraVAE or PatchVAE.
        text_encoder, tokenizer: a T5EncoderModel and its tokenizer.
        time_shift: how the model's timesteps depend on size and length (see `worker.models.opensora.schedule`).
        spacing: default spacing of the steps (`SPACINGS` there).
        aesthetic_score: appended to every prompt, as the released model was trained; None appends nothing.
        height, width, num_frames, fps: defaults of a call.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"  # type: ignore[assignment]  # diffusers declares None

    def __init__(
        self,
        transformer: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        time_shift: str | float = "opensora",  # a TimeShift; diffusers checks these types itself
        spacing: str = "uniform",  # a Spacing
        aesthetic_score: float | None = None,
        height: int = 240,
        width: int = 426,
        num_frames: int = 51,
        fps: int | float = 24,
    ):
        super().__init__()
        self.register_modules(  # type: ignore[no-untyped-call]
            transformer=transformer, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(  # type: ignore[no-untyped-call]
            time_shift=time_shift,
            spacing=spacing,
            aesthetic_score=aesthetic_score,
            height=height,
            width=width,
            num_frames=num_frames,
            fps=fps,
        )
        self.schedule()  # raises ValueError for an unknown time shift or spacing
        for module in (transformer, vae, text_encoder):
            module.requires_grad_(False).eval()
        self.network: Any = transformer  # what the steps call; `optimization` may put a faster one here
        self.captions = CaptionEncoder(text_encoder, tokenizer, num_tokens=transformer.config.model_max_length)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any) -> "ChaiPipeline":
        """Load a saved pipeline, or the released Open-Sora 1.2 by the name or folder of its transformer.

        Takes the arguments of diffusers (`revision`, `dtype` or its older name `torch_dtype`, ...). A folder or the
        files of a repository are checked before anything is loaded: weights.ModelFilesError names what is missing,
        truncated or foreign.
        """
        source = str(pretrained_model_name_or_path)
        if "torch_dtype" in kwargs:
            kwargs["dtype"] = kwargs.pop("torch_dtype")
        if hub.is_opensora(source):
            return cls(**hub.load_opensora(source, **kwargs))
        if not Path(source).is_dir():
            download = {name: kwargs.pop(name) for name in ("revision", "local_files_only") if name in kwargs}
            source = str(hub.fetch(source, **download))
        hub.check_pipeline(Path(source))
        loaded: ChaiPipeline = super().from_pretrained(source, use_safetensors=True, **kwargs)
        return loaded

    def schedule(self, num_steps: int = 30, guidance_scale: float = 7.0, **options: Any) -> Schedule:
        """A schedule with this model's time shift and spacing, unless `options` name others."""
        own = {"time_shift": self._own.time_shift, "spacing": self._own.spacing}
        return Schedule.of(num_steps, guidance_scale, own | options)

    def encode_prompt(
        self, prompt: str | Sequence[str], *, motion_score: float | None = None, camera_motion: str | None = None
    ) -> Caption:
        """The caption of prompts as users write them: scored, cleaned, encoded, on the transformer's device."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        score = self._own.aesthetic_score
        texts = [append_scores(p, aesthetic=score, motion=motion_score, camera_motion=camera_motion) for p in prompts]
        return self.captions(texts).to(self.transformer.device)

    def noise(
        self,
        seed: int | Sequence[int],
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
    ) -> Tensor:
        """The noise (B, C, T, h, w) of the seeds, one video each, in the transformer's dtype.

        Drawn on the CPU, so that a seed means the same noise on every device.
        """
        seeds = [seed] if isinstance(seed, int) else seed
        shape = self.latent_shape(height=height, width=width, num_frames=num_frames)
        rows = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.stack(rows).to(self.transformer.device, self.transformer.dtype)

    def latent_shape(
        self, *, height: int | None = None, width: int | None = None, num_frames: int | None = None
    ) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of one latent. Raises ValueError for an impossible size."""
        height, width, num_frames = self._size(height, width, num_frames)
        if isinstance(self.vae, OpenSoraVAE) and self._own.time_shift == "opensora":
            check_size(height, width, num_frames)
        return (self.vae.latent_channels, *self.vae.latent_size(num_frames, height, width))

    def steps(
        self,
        caption: Caption | str | Sequence[str],
        schedule: Schedule,
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        fps: float | None = None,
        seed: int | Sequence[int] = 0,
        noise: Tensor | None = None,
        negative: Caption | None = None,
        hooks: Sequence[StepHook] = (),
        network: Network | None = None,
        frame_mask: Tensor | None = None,
        start: int = 0,
        generator: torch.Generator | None = None,
    ) -> Iterator[Step]:
        """Denoise step by step; the latents of the last step are the video.

        Args:
            caption: what `encode_prompt` returned, or prompts.
            schedule: number of steps, guidance and spacing.
            height, width, num_frames, fps: pixels, frames and frames per second; None = the pipeline's own.
            seed: of the initial noise, one for each prompt.
            noise: (B, C, T, h, w) instead of the seed's, or the latent that enters step `start`.
            negative: captions that guidance leads away from; None = the model's null caption.
            hooks, network, frame_mask, start, generator: see `worker.models.opensora.sampler.denoise`.
        """
        caption = caption if isinstance(caption, Caption) else self.encode_prompt(caption)
        height, width, num_frames = self._size(height, width, num_frames)
        if noise is None:
            seeds = [seed] * len(caption.mask) if isinstance(seed, int) else seed
            noise = self.noise(seeds, height=height, width=width, num_frames=num_frames)
        fps = IMAGE_FPS if num_frames == 1 else fps or self._own.fps
        return denoise(
            self.network,
            noise,
            caption,
            schedule,
            conditioning=Conditioning(height=height, width=width, num_frames=num_frames, fps=fps),
            negative=negative,
            hooks=hooks,
            network=network,
            frame_mask=frame_mask,
            start=start,
            generator=generator,
        )

    def decode(self, latents: Tensor, num_frames: int) -> Frames:
        """Frames (T, H, W, 3) of the latents of one video, (C, T', h, w) or (1, C, T', h, w)."""
        return np.concatenate(list(self.decode_parts(latents, num_frames)))

    def decode_parts(self, latents: Tensor, num_frames: int) -> Iterator[Frames]:
        """The same frames in order, a few at a time, for writing while decoding goes on.

        Raises FloatingPointError if values of the decoder are not finite: rounded, they would be black.
        """
        latents = latents[None] if latents.dim() == 4 else latents
        if len(latents) != 1:
            raise ValueError(f"decode takes the latents of one video, got {len(latents)}; call it for each")
        for part in self.vae.decode_parts(latents, num_frames):
            if not part.isfinite().all():
                raise FloatingPointError("the decoder made values that are no numbers")
            yield to_uint8(part)[0].cpu().numpy()

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        num_inference_steps: int = 30,
        guidance_scale: float = 7.0,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        fps: float | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
    ) -> ChaiPipelineOutput | tuple[Any]:
        """Make one video for each prompt, in the conventions of diffusers.

        Args:
            prompt: one prompt or several.
            num_inference_steps, guidance_scale: of the schedule; `steps` takes any schedule.
            height, width, num_frames, fps: None = the pipeline's own.
            seed: of the noise of all prompts; or
            generator: draws the noise; or
            latents: the noise itself. Without any of the three the noise is random.
            callback_on_step_end: called with pipeline, step index, timestep and {"latents": ...}; it may look, and stop
                the run by raising, but what it returns is not used.
            output_type: "pil" images, "np" float32 in 0..1, "uint8", or "latent".
            return_dict: False returns a tuple.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        height, width, num_frames = self._size(height, width, num_frames)
        noise = latents
        if noise is None:
            noise = self._draw(len(prompts), seed, generator, (height, width, num_frames))
        schedule = self.schedule(num_inference_steps, guidance_scale)
        steps = self.steps(prompts, schedule, height=height, width=width, num_frames=num_frames, fps=fps, noise=noise)
        with self.progress_bar(total=num_inference_steps) as bar:
            for step in steps:
                if callback_on_step_end is not None:
                    callback_on_step_end(self, step.index, step.timestep, {"latents": step.latents})
                bar.update()
        frames = step.latents if output_type == "latent" else self._output(step.latents, num_frames, output_type)
        return ChaiPipelineOutput(frames=frames) if return_dict else (frames,)

    def _draw(
        self, count: int, seed: int | None, generator: torch.Generator | None, size: tuple[int, int, int]
    ) -> Tensor:
        height, width, num_frames = size
        if seed is not None and generator is not None:
            raise ValueError("seed and generator both name the noise; give one of them")
        if generator is None:
            generator = torch.Generator()
            if seed is None:
                generator.seed()
            else:
                return self.noise([seed] * count, height=height, width=width, num_frames=num_frames)
        shape = (count, *self.latent_shape(height=height, width=width, num_frames=num_frames))
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return noise.to(self.transformer.device, self.transformer.dtype)

    def _output(self, latents: Tensor, num_frames: int, output_type: OutputType) -> Any:
        videos = [self.decode(row, num_frames) for row in latents]
        if output_type == "pil":
            return [[Image.fromarray(frame) for frame in video] for video in videos]
        stacked = np.stack(videos)  # (B, T, H, W, 3)
        return stacked if output_type == "uint8" else stacked.astype(np.float32) / 255

    def _size(self, height: int | None, width: int | None, num_frames: int | None) -> tuple[int, int, int]:
        return height or self._own.height, width or self._own.width, num_frames or self._own.num_frames

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """The default shape of its clips: (T, H, W, 3)."""
        return self._own.num_frames, self._own.height, self._own.width, 3

    @property
    def _own(self) -> Any:  # diffusers declares a dict and returns one with attributes
        return self.config
