"""Training of the small model: a rectified flow on clips of the procedural world that are drawn on the fly.

Batch number n of a run depends only on the seed and n, so an interrupted run that is resumed sees the same data.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import T5EncoderModel

from lab.toy_world.captions import Caption, caption_of, sample_captions, sample_spec
from lab.toy_world.reading import (
    MAX_TOKENS,
    TEXT_CHANNELS,
    Lessons,
    Words,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
    tokenize,
)
from lab.toy_world.world import FPS, GRID, NUM_FRAMES, SIDE, Spec, draw_layout, render
from lab.training.runs import move_average, read, write
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.small_vae import SmallVAE
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.vae import PatchVAE

LATENT_CHANNELS = 16
FINE_GRID = 4  # of the clips that give the VAE's directions, so that it can show more places than the world has

Vae = PatchVAE | SmallVAE
Course = tuple[tuple[int, float], ...]  # (step, value from that step on), in the order of the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the weights.

    A run has four legs. In the first it learns what things and scenes look like; in the others each clip is near its
    noise, so that the noise decides where things go and no thing is drawn in two places.
    """

    seed: int = 0
    lessons: Lessons = field(default_factory=Lessons)  # of the text encoder, before everything else
    width: int = 128  # channels of the transformer, 32 per head
    depth: int = 3  # pairs of a spatial and a temporal block
    batch_size: int = 48
    matrix_lr: float = 3e-3  # Muon, for the matrices of the blocks
    other_lr: float = 1.5e-3  # AdamW, for everything else
    # share of the learning rates, linear in between; the run ends with the last
    rate: Course = (
        *((0, 0.01), (99, 1.0), (5600, 1.0), (7000, 0.0)),
        *((7050, 0.69), (10_200, 0.0)),
        *((10_250, 0.485), (11_900, 0.0)),
        *((11_950, 0.485), (13_600, 0.0)),
    )
    pairs: Course = ((0, 0.0), (2500, 0.5), (7000, 0.3), (10_200, 0.45))  # share of the clips with two things
    layouts: Course = ((0, 1), (7000, 8))  # number drawn for each clip; the nearest to its noise is learned
    caption_dropout: float = 0.1
    time_mean: float = 1.3  # t = sigmoid(normal(mean, std)), 1 = noise; where the prompt decides, t is above 0.9
    time_std: float = 1.6
    ema_decay: float = 0.998

    @property
    def num_steps(self) -> int:
        """Length of the run."""
        return self.rate[-1][0]

    def stretched(self, num_steps: int) -> Self:
        """The same course over another number of steps."""
        rate, pairs, layouts = (
            tuple((round(step * num_steps / self.num_steps), value) for step, value in course)
            for course in (self.rate, self.pairs, self.layouts)
        )
        return replace(self, rate=rate, pairs=pairs, layouts=layouts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one step learns from."""

    video: Tensor  # (B, 3, T, H, W) in [-1, 1]
    words: Words
    dropped: Tensor  # bool (B,), rows that see the null caption
    noise: Tensor  # (B, C, T', h, w)
    time: Tensor  # (B,) in 0..1

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(
            video=self.video.to(device),
            words=self.words.to(device),
            dropped=self.dropped.to(device),
            noise=self.noise.to(device),
            time=self.time.to(device),
        )


def new_transformer(
    recipe: Recipe,
    latent: Sequence[int] = (LATENT_CHANNELS, NUM_FRAMES // 2, SIDE // 4, SIDE // 4),
    *,
    side: int = SIDE,
    patch: int = 2,
    max_tokens: int = MAX_TOKENS,
) -> STDiT3:
    """New weights for latents (C, T', h, w) of clips of `side` pixels; a token is patch x patch of their positions.

    Sets torch's global seed.
    """
    torch.manual_seed(recipe.seed)
    transformer: STDiT3 = STDiT3(
        input_size=tuple(latent[1:]),
        input_sq_size=side,
        in_channels=latent[0],
        patch_size=(1, patch, patch),
        hidden_size=recipe.width,
        depth=recipe.depth,
        num_heads=recipe.width // 32,
        pred_sigma=False,
        caption_channels=TEXT_CHANNELS,
        model_max_length=max_tokens,
        qk_norm=True,
        exact_timesteps=True,
    )
    transformer.initialize_weights()
    return transformer


def new_vae(num_clips: int = 2000) -> PatchVAE:
    """A VAE by principal directions of 2 x 4 x 4 blocks of clips, with channel scales between raw and white.

    Channels are divided by the square root of their deviation: raw channels would hide the edges of shapes behind flat
    colour, white ones would give the faintest detail the weight of a colour.
    """
    projection, mean, scale = _directions(num_clips)
    vae: PatchVAE = PatchVAE(
        patch_time=2, patch_space=4, num_channels=LATENT_CHANNELS, mean=mean.tolist(), std=scale.tolist()
    )
    vae.set_projection(projection)
    return vae


@cache
def _directions(num_clips: int) -> tuple[Tensor, Tensor, Tensor]:
    """Directions (channel, value of a block), and each channel's mean and scale; shared by all runs of a process."""
    rng = np.random.default_rng(2024)
    video = _to_video([caption.spec for caption in sample_captions(2024, num_clips)], rng, grid=FINE_GRID)
    blocks = rearrange(video, "b c (t i) (h j) (w k) -> (b t h w) (c i j k)", i=2, j=4, k=4).double()
    values, directions = torch.linalg.eigh(torch.cov(blocks.T))
    projection = directions.T.flip(0)[:LATENT_CHANNELS].float()
    scale = values.flip(0)[:LATENT_CHANNELS] ** 0.25
    scale = scale * (values.flip(0)[:LATENT_CHANNELS] / scale**2).mean() ** 0.5
    return projection, projection @ blocks.mean(0).float(), scale


def _value(course: Course, step: int) -> float:
    """The value of a course at a step."""
    return next(value for start, value in reversed(course) if step >= start)


def _to_video(specs: list[Spec], rng: np.random.Generator, *, grid: int = GRID) -> Tensor:
    clips = np.stack([render(spec, draw_layout(spec, rng, grid=grid)) for spec in specs])
    return rearrange(torch.from_numpy(clips), "b t h w c -> b c t h w").float() / 127.5 - 1


class Batches:
    """The endless sequence of training batches of a recipe, for the latents of a VAE."""

    def __init__(self, recipe: Recipe, vae: Vae):
        self.recipe = recipe
        self.vae = vae
        self.tokenizer = new_tokenizer()

    def at(self, step: int) -> Batch:
        """Batch number `step`."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, step))
        captions = [self._caption(step, rng) for _ in range(recipe.batch_size)]
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        n = recipe.batch_size
        texts = [caption.text for caption in captions]
        words = tokenize(self.tokenizer, texts, word_dropout=recipe.lessons.word_dropout, generator=generator)
        dropped = torch.rand(n, generator=generator) < recipe.caption_dropout
        noise = torch.randn(n, LATENT_CHANNELS, NUM_FRAMES // 2, SIDE // 4, SIDE // 4, generator=generator)
        return Batch(
            video=self._videos([caption.spec for caption in captions], noise, int(_value(recipe.layouts, step)), rng),
            words=words,
            dropped=dropped,
            noise=noise,
            time=torch.sigmoid(torch.randn(n, generator=generator) * recipe.time_std + recipe.time_mean),
        )

    def _caption(self, step: int, rng: np.random.Generator) -> Caption:
        spec = sample_spec(rng, pairs=_value(self.recipe.pairs, step))
        return caption_of(spec, rng, tell_sizes=rng.random() >= self.recipe.lessons.sizes_untold)

    @torch.no_grad()
    def _videos(self, specs: list[Spec], noise: Tensor, num_layouts: int, rng: np.random.Generator) -> Tensor:
        """One clip of each spec: of `num_layouts` drawn, the one whose latent is nearest to the clip's noise.

        A small case of pairing by optimal transport within a batch (Tong et al. 2023, arXiv:2302.00482): a caption
        leaves only the layout open, so only layouts are paired.
        """
        videos = torch.stack([_to_video(specs, rng) for _ in range(num_layouts)], dim=1)  # (B, N, 3, T, H, W)
        latents = self.vae.encode(videos.flatten(0, 1)).reshape(*videos.shape[:2], *noise.shape[1:])
        nearest = (latents - noise[:, None]).flatten(2).square().sum(2).argmin(1)
        return videos[torch.arange(len(specs)), nearest]


@torch.no_grad()
def text_features(text_encoder: T5EncoderModel, transformer: STDiT3, batch: Batch) -> Tensor:
    """Text features (B, 1, L, Cc), the null caption's in the rows that are dropped."""
    text = text_encoder(input_ids=batch.words.ids, attention_mask=batch.words.mask).last_hidden_state  # (B, L, Cc)
    null = transformer.y_embedder.y_embedding[: text.shape[1]].to(text)
    return torch.where(batch.dropped[:, None, None], null, text)[:, None]


def flow_loss(transformer: STDiT3, text_encoder: T5EncoderModel, vae: Vae, batch: Batch) -> Tensor:
    """Mean squared error of the velocity, which points from noise to data."""
    data = vae.encode(batch.video)
    t = batch.time[:, None, None, None, None]
    x = (1 - t) * data + t * batch.noise
    size = torch.full((1,), float(SIDE), device=x.device)
    fps = torch.full((len(x),), float(FPS), device=x.device)
    with sdpa_kernel(SDPBackend.MATH), torch.autocast(x.device.type, torch.bfloat16):
        text = text_features(text_encoder, transformer, batch)
        velocity = transformer(x, 1000 * batch.time, text, batch.words.mask, fps=fps, height=size, width=size)
    loss: Tensor = (velocity.float() - (data - batch.noise)).square().mean()
    return loss


def learning_rate_at(recipe: Recipe, step: int) -> float:
    """Share of the full learning rate."""
    steps, shares = zip(*recipe.rate, strict=True)
    return float(np.interp(step, steps, shares))


def split_parameters(transformer: STDiT3) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices inside the blocks, for Muon, and the rest, for AdamW."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in transformer.named_parameters():
        if parameter.requires_grad:
            is_matrix = "_blocks." in name and parameter.ndim == 2 and "table" not in name
            (matrices if is_matrix else others).append(parameter)
    return matrices, others


def optimizers(transformer: STDiT3, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the rest."""
    matrices, others = split_parameters(transformer)
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]


class Run:
    """A training run: weights, their moving average, the optimisers and the number of steps done.

    Without a trained text encoder, a new run begins by training one.
    """

    def __init__(self, recipe: Recipe, device: str = "cpu", *, text_encoder: T5EncoderModel | None = None):
        self.recipe = recipe
        self.device = torch.device(device)
        self.vae: Vae = new_vae()
        self.batches = Batches(recipe, copy.deepcopy(self.vae))
        self._begin(text_encoder or learn_to_read(recipe.lessons).encoder, new_transformer(recipe))

    def _begin(self, text_encoder: T5EncoderModel, transformer: STDiT3) -> None:
        self.text_encoder = text_encoder
        self.transformer = transformer
        for module in (self.vae, self.text_encoder, self.transformer):
            nn.Module.to(module, self.device)
        self.average = copy.deepcopy(self.transformer).requires_grad_(False)
        self.optimizers = self._optimizers()
        self.full_rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        self.step = 0
        self.seconds = 0.0  # spent in steps, over all sessions of the run

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return optimizers(self.transformer, self.recipe)

    def advance(self) -> float:
        """Learn from the next batch and return its loss."""
        started = time.monotonic()
        loss = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]
        share = learning_rate_at(self.recipe, self.step)
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group, full in zip(groups, self.full_rates, strict=True):
            group["lr"] = share * full
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        move_average(self.average, self.transformer, self.step, self.recipe.ema_decay)
        self.seconds += time.monotonic() - started
        return float(loss.detach())

    def _loss(self) -> Tensor:
        return flow_loss(self.transformer, self.text_encoder, self.vae, self.batches.at(self.step).to(self.device))

    def save(self, path: Path) -> None:
        """Write everything needed to resume, replacing `path` in one step."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "seconds": self.seconds,
            "vae": self.vae.state_dict(),  # eigenvectors may differ in sign on another machine
            "text_encoder": self.text_encoder.state_dict(),
            "transformer": self.transformer.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        write(state, path)

    @classmethod
    def resume(cls, path: Path, *, num_steps: int | None = None, device: str = "cpu") -> "Run":
        """The run in a file written by `save`, with the length of its recipe or another.

        Raises ValueError as `read` does.
        """
        recipe, state = read(path, lambda own: Recipe(**{**own, "lessons": Lessons(**own["lessons"])}), device)
        recipe = recipe if num_steps is None else recipe.stretched(num_steps)
        run = cls(recipe, device, text_encoder=new_text_encoder().requires_grad_(False))
        run.restore(state)
        return run

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `save` wrote."""
        self.step, self.seconds = state["step"], state["seconds"]
        for vae in self._vaes:
            vae.load_state_dict(state["vae"])
        self.text_encoder.load_state_dict(state["text_encoder"])
        self.transformer.load_state_dict(state["transformer"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    @property
    def _vaes(self) -> tuple[nn.Module, ...]:
        return (self.vae, self.batches.vae)

    def pipeline(self) -> ChaiPipeline:
        """The averaged weights as a pipeline of their own."""
        return ChaiPipeline(
            copy.deepcopy(self.average).cpu(),
            copy.deepcopy(self.vae).cpu(),
            copy.deepcopy(self.text_encoder).cpu(),
            new_tokenizer(),
            time_shift="none",
            height=SIDE,
            width=SIDE,
            num_frames=NUM_FRAMES,
            fps=FPS,
        )


def export(pipeline: ChaiPipeline, folder: Path) -> None:
    """Write a pipeline folder; the parts trained by gradients are in float16, half the size, and load as float32."""
    pipeline = copy.deepcopy(pipeline)
    pipeline.transformer.half()
    if isinstance(pipeline.vae, SmallVAE):
        pipeline.vae.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
