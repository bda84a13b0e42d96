"""The interface of embedders, which turn phrases into vectors; `worker.models.embedders` has the implementations."""

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Turns phrases into vectors."""

    @property
    def name(self) -> str:
        """Names the vector space: vectors of different names must not be compared."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, phrases: Sequence[str]) -> list[list[float]]:
        """One vector of unit length for each phrase, in order."""

    def knows(self, phrase: str) -> bool:
        """Whether most of the phrase's words are known; otherwise its vector may resemble any other by chance."""
