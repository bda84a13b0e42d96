"""Training of a model of the rich world: a rectified flow on latents that are made once and kept in files.

Each clip is used many times, each time with other noise and mostly with another caption. Several layouts of each spec
are kept, and the one nearest to the noise is learned, as in the small model's later legs. Batch number n depends only
on the seed, the files, the kind of device and n.

On a GPU, clips are drawn and encoded there, and a whole step, including the optimisers', is one recording: launching
its thousands of small kernels one by one takes three times as long as running them.
"""

import contextlib
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import T5EncoderModel

from lab.toy_world.reading import (
    Lessons,
    Words,
    learn_to_read,
    new_text_encoder,
    new_tokenizer,
)
from lab.toy_world.rich.captions import Mix, caption_of, sample_spec
from lab.toy_world.rich.painting import paint, row_of
from lab.toy_world.rich.reading import MAX_TOKENS, RICH_WORLD
from lab.toy_world.rich.world import FPS, NUM_FRAMES, SIDE, Spec, draw_layout
from lab.training.muon import StackedMuon
from lab.training.recording import RecordedStep
from lab.training.runs import decay_at, read
from lab.training.train import Course, Recipe, Run, Vae, learning_rate_at, new_transformer, split_parameters
from worker.models.opensora.blocks import PackedCaption
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.small_vae import SmallVAE
from worker.models.opensora.stdit3 import STDiT3

Latents = NDArray[np.float16]  # (specs, layouts, C, T', h, w)
Captions = NDArray[np.int16]  # (specs, captions, MAX_TOKENS), token numbers, padded
Drawn = tuple[NDArray[np.int16], Captions]  # clips in the form of `row_of`, (specs, layouts, ROW), and their captions
_PART = 32  # specs encoded between two records of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RichRecipe(Recipe):
    """Everything that decides the weights except the VAE and the number of clips in the files. Made for one GPU."""

    lessons: Lessons = field(default_factory=lambda: Lessons(num_steps=1200))
    counts: tuple[float, ...] = (0.3, 0.35, 0.35)  # of clips with one, two and three things; more of the hard ones
    patch: int = 1  # positions of a latent along each side of a token; with two, a thing would be four tokens
    width: int = 192
    depth: int = 4
    batch_size: int = 128
    rate: Course = ((0, 0.01), (399, 1.0), (12_000, 1.0), (24_000, 0.0))
    time_mean: float = 0.8
    time_std: float = 1.4
    ema_decay: float = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The parameters of a store's contents."""

    seed: int
    specs: int
    layouts: int  # clips of each spec
    captions: int  # of each spec
    sizes_untold: float  # share of captions that mention no size
    counts: tuple[float, ...]  # shares of specs with one, two and three things

    def spec_at(self, index: int) -> Spec:
        """The spec with this number."""
        return sample_spec(np.random.default_rng((self.seed, 3, index)), mix=Mix(counts=self.counts))

    def drawn(self, specs: range) -> Drawn:
        """The random choices for some specs: what their clips show, and captions."""
        rows, texts = [], []
        for index in specs:
            spec, rng = self.spec_at(index), np.random.default_rng((self.seed, 4, index))
            rows.append([row_of(spec, draw_layout(spec, rng)) for _ in range(self.layouts)])
            told = rng.random(self.captions) >= self.sizes_untold
            texts += [caption_of(spec, rng, tell_sizes=bool(tell)).text for tell in told]
        ids = new_tokenizer(RICH_WORLD)(texts, padding="max_length", max_length=MAX_TOKENS)["input_ids"]
        return np.array(rows), np.array(ids, dtype=np.int16).reshape(len(specs), self.captions, MAX_TOKENS)


def encoded(vae: SmallVAE, rows: NDArray[np.int16]) -> Latents:
    """Latents (specs, layouts, C, T', h, w) of clips (specs, layouts, ROW), drawn and encoded on the VAE's device."""
    device = vae.mean.device
    clips = torch.from_numpy(rows).flatten(0, 1).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):  # many CPUs are slow at it
        parts = [vae.encode(paint(part)).half() for part in torch.split(clips, 256)]
    latents = torch.cat(parts)
    return np.asarray(latents.reshape(*rows.shape[:2], *latents.shape[1:]).cpu().numpy())


class Store:
    """Files of latents and captions that grow spec by spec."""

    def __init__(self, folder: Path, source: Source, shape: tuple[int, ...]):
        folder.mkdir(parents=True, exist_ok=True)
        self.source = source
        self.file = folder / "latents.npy"
        self._note = folder / "latents.json"
        captions = folder / "captions.npy"
        wanted = json.loads(json.dumps(asdict(source) | {"shape": shape}))
        if not self._note.exists():
            _new_file(self.file, (source.specs, source.layouts, *shape), np.float16)
            _new_file(captions, (source.specs, source.captions, MAX_TOKENS), np.int16)
            self._write(wanted | {"done": 0})
        self._state: dict[str, Any] = json.loads(self._note.read_text())
        kept = {name: value for name, value in self._state.items() if name != "done"}
        if kept != wanted:
            raise ValueError(f"{self.file} holds {kept}, not {wanted}; choose another folder")
        self.latents: Latents = np.load(self.file, mmap_mode="r+")
        self.captions: Captions = np.load(captions, mmap_mode="r+")

    @property
    def done(self) -> int:
        """Number of specs whose clips are in the files."""
        return int(self._state["done"])

    def fill(self, vae: SmallVAE, *, workers: int = 0) -> Iterator[int]:
        """Make what is missing; yields the number of specs done, now and then.

        Random choices are made in `workers` processes (0 = in this one), clips and latents here, on the VAE's device.
        An interrupted store resumes where it was.
        """
        total = self.source.specs
        parts = [range(start, min(start + _PART, total)) for start in range(self.done, total, _PART)]
        with _mapper(workers) as map_parts:
            for part, (rows, captions) in zip(parts, map_parts(self.source.drawn, parts), strict=True):
                self.latents[part.start : part.stop] = encoded(vae, rows)
                self.captions[part.start : part.stop] = captions
                self._state["done"] = part.stop
                self._write(self._state)
                yield part.stop

    def _write(self, state: dict[str, Any]) -> None:
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(state) + "\n")
        partial.replace(self._note)


def _new_file(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()


@contextlib.contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`map` in this many processes, which end after their current work."""
    if not workers:
        yield map
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RichBatch:
    """What one step learns from."""

    data: Tensor  # (B, C, T', h, w)
    words: Words
    dropped: Tensor  # bool (B,), rows that see the null caption
    noise: Tensor  # as data
    time: Tensor  # (B,) in 0..1

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the batch."""
        return self.data, self.words.ids, self.words.mask, self.dropped, self.noise, self.time


class RichBatches:
    """The endless sequence of training batches of a recipe from a store, drawn on a device that holds all of it."""

    def __init__(self, recipe: RichRecipe, store: Store, device: torch.device):
        self.recipe = recipe
        self.device = device
        self.latents = torch.from_numpy(store.latents[: store.done]).to(device)
        self.captions = torch.from_numpy(store.captions[: store.done]).to(device)
        tokenizer = new_tokenizer(RICH_WORLD)
        self.padding, self.unknown = tokenizer.pad_token_id, tokenizer.unk_token_id

    def at(self, step: int) -> RichBatch:
        """Batch number `step`."""
        recipe, n = self.recipe, self.recipe.batch_size
        generator = torch.Generator(self.device).manual_seed(recipe.seed * 1_000_003 + step)
        drawn: dict[str, Any] = {"generator": generator, "device": self.device}
        rows = torch.randint(len(self.latents), (n,), **drawn)
        ids = self.captions[rows, torch.randint(self.captions.shape[1], (n,), **drawn)].long()
        mask = ids != self.padding
        unknown = mask & (torch.rand(ids.shape, **drawn) < recipe.lessons.word_dropout)
        layouts = self.latents[rows].float()  # (B, layouts, C, T', h, w)
        noise = torch.randn(n, *layouts.shape[2:], **drawn)
        nearest = (layouts - noise[:, None]).flatten(2).square().sum(2).argmin(1)
        return RichBatch(
            data=layouts[torch.arange(n, device=self.device), nearest],
            words=Words(ids=ids.masked_fill(unknown, self.unknown), mask=mask.long()),
            dropped=torch.rand(n, **drawn) < recipe.caption_dropout,
            noise=noise,
            time=torch.sigmoid(torch.randn(n, **drawn) * recipe.time_std + recipe.time_mean),
        )


def new_rich_transformer(recipe: RichRecipe, shape: Sequence[int]) -> STDiT3:
    """New weights for latents (C, T', h, w). Sets torch's global seed."""
    return new_transformer(recipe, shape, side=SIDE, patch=recipe.patch, max_tokens=MAX_TOKENS)


def rich_loss(transformer: STDiT3, text_encoder: T5EncoderModel, batch: RichBatch) -> Tensor:
    """Mean squared error of the velocity, which points from noise to data."""
    t = batch.time[:, None, None, None, None]
    x = (1 - t) * batch.data + t * batch.noise
    fps = torch.full((len(x),), float(FPS), device=x.device)
    with _fast_attention(x.device), torch.autocast(x.device.type, torch.bfloat16):
        with torch.no_grad():
            text = text_encoder(input_ids=batch.words.ids, attention_mask=batch.words.mask).last_hidden_state
        null = transformer.y_embedder.y_embedding[: text.shape[1]].to(text)
        text = torch.where(batch.dropped[:, None, None], null, text)
        # Not `pack_caption`, which waits for the device to get the length of the longest caption.
        caption = PackedCaption(
            tokens=transformer.y_embedder(text[:, None]).flatten(1, 2), mask=batch.words.mask[:, None, None] != 0
        )
        velocity = transformer(x, 1000 * batch.time, caption, fps=fps, height=float(SIDE), width=float(SIDE))
    loss: Tensor = (velocity.float() - (batch.data - batch.noise)).square().mean()
    return loss


def _fast_attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, plain products are the fastest way to train attention over so few tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


def rich_pipeline(transformer: STDiT3, vae: Vae, text_encoder: T5EncoderModel) -> ChaiPipeline:
    """The networks of a model of the rich world as a pipeline."""
    return ChaiPipeline(
        transformer,
        vae,
        text_encoder,
        new_tokenizer(RICH_WORLD),
        time_shift="none",
        spacing="quadratic",
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
        self.stored = RichBatches(recipe, store, self.device)
        transformer = new_rich_transformer(recipe, store.latents.shape[2:])
        self._begin(text_encoder or learn_to_read(recipe.lessons, RICH_WORLD).encoder, transformer)
        self.recorded: RecordedStep[RichBatch] | None = None
        if self.device.type == "cuda":
            for block in self.transformer.blocks:
                nn.Module.compile(block)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        matrices, others = split_parameters(self.transformer)
        recipe = self.recipe
        return [
            StackedMuon(matrices, lr=recipe.matrix_lr, weight_decay=0.01),
            torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.99), weight_decay=0.0),
        ]

    def advance(self) -> float:
        """Learn from the next batch and return its loss."""
        if self.device.type != "cuda":
            return super().advance()
        started = time.monotonic()
        if self.recorded is None:
            self.recorded = RecordedStep(
                self.stored.at(self.step), self._loss_of, self.transformer, self.average, self.optimizers
            )
        share = learning_rate_at(self.recipe, self.step)
        self.step += 1
        loss = self.recorded.run(
            [share * full for full in self.full_rates], decay=decay_at(self.step, self.recipe.ema_decay)
        )
        self.recorded.take(self.stored.at(self.step))  # drawn while the device learns
        found = float(loss)
        self.seconds += time.monotonic() - started
        return found

    def _loss(self) -> Tensor:
        return self._loss_of(self.stored.at(self.step))

    def _loss_of(self, batch: RichBatch) -> Tensor:
        return rich_loss(self.transformer, self.text_encoder, batch)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `save` wrote, on any device."""
        super().restore(state)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if "capturable" in group:
                    group["capturable"] = self.device.type == "cuda"

    @property
    def _vaes(self) -> tuple[nn.Module, ...]:
        return (self.vae,)

    @classmethod
    def go_on(cls, path: Path, store: Store, *, num_steps: int | None = None, device: str = "cpu") -> "RichRun":
        """The run in a file of `save`, with the length of its recipe or another; raises ValueError as `read` does."""
        recipe, state = read(path, lambda own: RichRecipe(**{**own, "lessons": Lessons(**own["lessons"])}), device)
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
