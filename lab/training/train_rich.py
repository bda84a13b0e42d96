"""Training of a model of the rich world: a rectified flow on latents that are made once and kept in a file.

Drawing and encoding a clip costs half as much as learning from it, so each clip is learned from many times, every time
under another caption and other noise. Several layouts of each spec are kept, and the one nearest to the noise is
learned, as in the small model's later legs. Batch number n depends on the seed, the file and n only.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import T5EncoderModel

from lab.toy_world.reading import (
    TEXT_CHANNELS,
    Lessons,
    Words,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
    tokenize,
)
from lab.toy_world.rich.captions import caption_of, sample_spec
from lab.toy_world.rich.reading import MAX_TOKENS, RICH_WORLD
from lab.toy_world.rich.world import FPS, NUM_FRAMES, SIDE, Spec
from lab.training.train import Recipe, Run, Vae
from lab.training.train_vae import to_video
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.small_vae import SmallVAE
from worker.models.opensora.stdit3 import STDiT3

Latents = NDArray[np.float16]  # (specs, layouts, C, T', h, w)
_PART = 32  # specs that are encoded between two notes of how far the file is


@dataclass(frozen=True, slots=True, kw_only=True)
class RichRecipe(Recipe):
    """Everything that decides the weights but the VAE and the number of clips in the file."""

    lessons: Lessons = field(default_factory=lambda: Lessons(num_steps=1200))
    width: int = 160
    batch_size: int = 32
    rate: tuple[tuple[int, float], ...] = ((0, 0.01), (99, 1.0), (12_000, 1.0), (20_000, 0.0))
    time_mean: float = 0.8
    time_std: float = 1.4


def spec_at(seed: int, index: int) -> Spec:
    """The spec number `index` of a file of latents."""
    return sample_spec(np.random.default_rng((seed, 3, index)))


class Store:
    """A file of latents that grows: clip after clip of spec after spec, with several layouts of each."""

    def __init__(self, folder: Path, *, seed: int, num_specs: int, num_layouts: int, shape: tuple[int, ...]):
        folder.mkdir(parents=True, exist_ok=True)
        self.seed = seed
        self._note = folder / "latents.json"
        self.file = folder / "latents.npy"
        wanted = {"seed": seed, "specs": num_specs, "layouts": num_layouts, "shape": list(shape)}
        if not self._note.exists():
            whole = (num_specs, num_layouts, *shape)
            np.lib.format.open_memmap(self.file, mode="w+", dtype=np.float16, shape=whole).flush()
            self._write(wanted | {"done": 0})
        self._state: dict[str, Any] = json.loads(self._note.read_text())
        kept = {name: value for name, value in self._state.items() if name != "done"}
        if kept != wanted:
            raise ValueError(f"{self.file} holds {kept}, not {wanted}; choose another folder")
        self.latents: Latents = np.load(self.file, mmap_mode="r+")

    @property
    def done(self) -> int:
        """Specs whose clips are in the file."""
        return int(self._state["done"])

    def fill(self, vae: SmallVAE) -> Iterator[int]:
        """Encode what is missing; yields the number of specs done, now and then."""
        while self.done < len(self.latents):
            end = min(self.done + _PART, len(self.latents))
            for index in range(self.done, end):
                rng = np.random.default_rng((self.seed, 4, index))
                video = to_video([spec_at(self.seed, index)] * self.latents.shape[1], rng)
                with torch.autocast("cpu", torch.bfloat16):
                    self.latents[index] = vae.encode(video).float().numpy()
            self._state["done"] = end
            self._write(self._state)
            yield end

    def _write(self, state: dict[str, Any]) -> None:
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(state) + "\n")
        partial.replace(self._note)


@dataclass(frozen=True, slots=True, kw_only=True)
class RichBatch:
    """What one step learns from."""

    data: Tensor  # (B, C, T', h, w)
    words: Words
    dropped: Tensor  # bool (B,), rows that see the null caption
    noise: Tensor  # as data
    time: Tensor  # (B,) in 0..1

    def to(self, device: torch.device) -> "RichBatch":
        """The same on another device."""
        return RichBatch(
            data=self.data.to(device),
            words=self.words.to(device),
            dropped=self.dropped.to(device),
            noise=self.noise.to(device),
            time=self.time.to(device),
        )


class RichBatches:
    """The endless sequence of training batches of a recipe from a file of latents."""

    def __init__(self, recipe: RichRecipe, store: Store):
        self.recipe = recipe
        self.store = store
        self.tokenizer = new_tokenizer(RICH_WORLD)

    def at(self, step: int) -> RichBatch:
        """Batch number `step`."""
        recipe, n = self.recipe, self.recipe.batch_size
        rng = np.random.default_rng((recipe.seed, 5, step))
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        indices = rng.integers(self.store.done, size=n)
        specs = [spec_at(self.store.seed, int(index)) for index in indices]
        told = rng.random(n) >= recipe.lessons.sizes_untold
        texts = [caption_of(spec, rng, tell_sizes=bool(tell)).text for spec, tell in zip(specs, told, strict=True)]
        words = tokenize(self.tokenizer, texts, word_dropout=recipe.lessons.word_dropout, generator=generator)
        dropped = torch.rand(n, generator=generator) < recipe.caption_dropout
        noise = torch.randn(n, *self.store.latents.shape[2:], generator=generator)
        layouts = torch.from_numpy(self.store.latents[indices].astype(np.float32))  # (B, layouts, C, T', h, w)
        nearest = (layouts - noise[:, None]).flatten(2).square().sum(2).argmin(1)
        return RichBatch(
            data=layouts[torch.arange(n), nearest],
            words=words,
            dropped=dropped,
            noise=noise,
            time=torch.sigmoid(torch.randn(n, generator=generator) * recipe.time_std + recipe.time_mean),
        )


def new_rich_transformer(recipe: RichRecipe, shape: tuple[int, ...]) -> STDiT3:
    """Fresh weights for latents (C, T', h, w). Sets torch's global seed."""
    torch.manual_seed(recipe.seed)
    transformer: STDiT3 = STDiT3(
        input_size=shape[1:],
        input_sq_size=SIDE,
        in_channels=shape[0],
        hidden_size=recipe.width,
        depth=recipe.depth,
        num_heads=recipe.width // 32,
        pred_sigma=False,
        caption_channels=TEXT_CHANNELS,
        model_max_length=MAX_TOKENS,
        qk_norm=True,
        exact_timesteps=True,
    )
    transformer.initialize_weights()
    return transformer


def rich_loss(transformer: STDiT3, text_encoder: T5EncoderModel, batch: RichBatch) -> Tensor:
    """Mean squared error of the velocity, which points from noise to data."""
    t = batch.time[:, None, None, None, None]
    x = (1 - t) * batch.data + t * batch.noise
    size = torch.full((1,), float(SIDE), device=x.device)
    fps = torch.full((len(x),), float(FPS), device=x.device)
    with sdpa_kernel(SDPBackend.MATH), torch.autocast(x.device.type, torch.bfloat16):
        with torch.no_grad():
            text = text_encoder(input_ids=batch.words.ids, attention_mask=batch.words.mask).last_hidden_state
            null = transformer.y_embedder.y_embedding[: text.shape[1]].to(text)
            text = torch.where(batch.dropped[:, None, None], null, text)[:, None]
        velocity = transformer(x, 1000 * batch.time, text, batch.words.mask, fps=fps, height=size, width=size)
    loss: Tensor = (velocity.float() - (batch.data - batch.noise)).square().mean()
    return loss


def rich_pipeline(transformer: STDiT3, vae: Vae, text_encoder: T5EncoderModel) -> ChaiPipeline:
    """The networks of a model of the rich world as a pipeline."""
    return ChaiPipeline(
        transformer,
        vae,
        text_encoder,
        new_tokenizer(RICH_WORLD),
        time_shift="none",
        height=SIDE,
        width=SIDE,
        num_frames=NUM_FRAMES,
        fps=FPS,
    )


class RichRun(Run):
    """A training run on the latents of a file."""

    def __init__(
        self,
        recipe: RichRecipe,
        vae: SmallVAE,
        store: Store,
        *,
        device: str = "cpu",
        text_encoder: T5EncoderModel | None = None,
    ):
        self.recipe = recipe
        self.device = torch.device(device)
        self.vae = vae
        self.latents = RichBatches(recipe, store)
        transformer = new_rich_transformer(recipe, store.latents.shape[2:])
        self._begin(text_encoder or learn_to_read(recipe.lessons, RICH_WORLD).encoder, transformer)

    def _loss(self) -> Tensor:
        return rich_loss(self.transformer, self.text_encoder, self.latents.at(self.step).to(self.device))

    @property
    def _vaes(self) -> tuple[nn.Module, ...]:
        return (self.vae,)

    @classmethod
    def go_on(cls, path: Path, store: Store, *, num_steps: int | None = None, device: str = "cpu") -> "RichRun":
        """The run of a file of `save`, to the length of its recipe or another one."""
        state = torch.load(path, map_location=device, weights_only=True)
        recipe = RichRecipe(**{**state["recipe"], "lessons": Lessons(**state["recipe"]["lessons"])})
        recipe = recipe if num_steps is None else recipe.stretched(num_steps)
        reader = new_text_encoder(RICH_WORLD).requires_grad_(False)
        run = cls(recipe, SmallVAE(), store, device=device, text_encoder=reader)
        run.restore(state)
        return run

    def pipeline(self) -> ChaiPipeline:
        """The averaged weights as a pipeline of their own."""
        return rich_pipeline(
            copy.deepcopy(self.average).cpu(), copy.deepcopy(self.vae).cpu(), copy.deepcopy(self.text_encoder).cpu()
        )
