"""The interface of what turns phrases into vectors; those that there are stand in `worker.models.embedders`."""

from collections.abc import Sequence
from typing import Protocol


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

    def knows(self, phrase: str) -> bool:
        """Whether most of its words are known; the vectors of other phrases may agree about nothing."""
