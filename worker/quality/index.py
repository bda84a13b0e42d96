"""The service's look-up without a database: the same extraction and decisions, but a matrix product as the search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from worker.cache import planner
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit, look_up
from worker.cache.decisions.types import Neighbour
from worker.models.embedder import Embedder
from worker.prompts.entities import extract
from worker.prompts.types import Extraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look-up finds for a prompt."""

    extraction: Extraction
    neighbours: tuple[Neighbour, ...]
    hit: Hit


class Index:
    """Entities of stored runs as vectors; entry number i is the i-th run that was added."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        settings: MatchSettings | None = None,
        read: Callable[[str], Extraction] = extract,
    ) -> None:
        """Compare under `settings` what `read` finds in prompts (`extract`, or `whole_prompt` as in NIRVANA)."""
        self.settings = settings or MatchSettings.of_embedder(embedder.name, {})
        self._embedder = embedder
        self._read = read
        self._rows: list[Neighbour] = []
        self._vectors: list[NDArray[np.float64]] = []
        self._num_entries = 0

    def add(self, prompt: str) -> None:
        """Store the entities of one more run."""
        extraction, vectors = planner.embed(self._embedder, self._read(prompt))
        for entity, vector in zip(extraction.entities, vectors, strict=True):
            self._vectors.append(np.asarray(vector))  # converted once: lists of floats are slow to read
            self._rows.append(
                Neighbour.of(
                    entity,
                    query=0,
                    entry_id=str(self._num_entries),
                    similarity=0.0,
                    created=float(self._num_entries),
                )
            )
        self._num_entries += 1

    def find(self, prompt: str, *, but: int | None = None) -> Found:
        """Look a prompt up among all entries, or all but one."""
        extraction, vectors = planner.embed(self._embedder, self._read(prompt))
        neighbours = tuple(self._near(vectors, None if but is None else str(but)))
        return Found(extraction=extraction, neighbours=neighbours, hit=look_up(extraction, neighbours, self.settings))

    def _near(self, vectors: list[list[float]], but: str | None) -> Iterator[Neighbour]:
        if not self._rows or not vectors:
            return
        similarities = np.asarray(vectors) @ np.asarray(self._vectors).T  # (queries, rows)
        for query, row in enumerate(similarities):
            nearest = (i for i in np.argsort(-row, kind="stable") if self._rows[i].entry_id != but)
            for i, _ in zip(nearest, range(self.settings.neighbours_per_entity), strict=False):
                yield replace(self._rows[i], query=query, similarity=float(row[i]))
