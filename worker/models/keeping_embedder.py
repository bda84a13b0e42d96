"""What all embedders share: they keep the vectors of the last phrases, and tell whether a phrase is known."""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

USE = "use"  # the name of the default
NUM_KEPT = 8192  # phrases; 1.5 KB each with 384 dimensions
MAX_UNKNOWN = 0.05  # share of a phrase's tokens: above it, phrases about different things share their vector


class EmbedderError(RuntimeError):
    """An embedder that cannot be loaded; the message says which one can."""


class KeepingEmbedder(ABC):
    """An embedder that keeps the vectors of the last phrases."""

    def __init__(self, name: str, *, dim: int, num_kept: int = NUM_KEPT):
        self.name = name
        self.dim = dim
        self._num_kept = num_kept
        self._lock = threading.Lock()  # a request may come while a job is being planned
        self._kept: OrderedDict[str, np.ndarray[Any, Any]] = OrderedDict()
        self._share = lru_cache(num_kept)(self._unknown_share)

    @abstractmethod
    def _forward(self, phrases: list[str]) -> list[np.ndarray[Any, Any]]:
        """Unit vectors of phrases."""

    @abstractmethod
    def _unknown_share(self, phrase: str) -> float:
        """Share of the tokens of a phrase that are unknown."""

    def embed(self, phrases: Sequence[str]) -> list[list[float]]:
        """One vector of unit length for each phrase, in order."""
        with self._lock:
            missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._kept]
            fresh = dict(zip(missing, self._forward(missing), strict=True)) if missing else {}
            vectors = [fresh[phrase] if phrase in fresh else self._kept[phrase] for phrase in phrases]
            self._keep(dict(zip(phrases, vectors, strict=True)))
        return [vector.tolist() for vector in vectors]

    def knows(self, phrase: str) -> bool:
        """Whether most of the phrase's words are known; otherwise its vector may resemble any other by chance."""
        with self._lock:
            return self._share(phrase) <= MAX_UNKNOWN

    def _keep(self, vectors: dict[str, np.ndarray[Any, Any]]) -> None:
        for phrase, vector in vectors.items():
            self._kept[phrase] = vector
            self._kept.move_to_end(phrase)
        while len(self._kept) > self._num_kept:
            self._kept.popitem(last=False)
