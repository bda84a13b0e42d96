"""How well prompts are taken apart and matched: `python -m lab.experiments.entities --prompts FILE`.

Four questions, each answered from label files of the project's own (tests/data) and from prompts given by path, which
are never copied: what of extraction is right; which thresholds an embedder has; how many of a stream of prompts hit
(the paper's protocol: 100 prompts to warm up, 1,000 counted, a cache of a tenth of them, LRU); whether unlike prompts
in any language match. Prints tables and ends with one line of JSON.
"""

import argparse
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.cache.decisions.entities import extract
from worker.cache.decisions.matching import Hit, MatchSettings, compare, look_up
from worker.cache.decisions.types import Entity, EntityKind, Extraction, Neighbour
from worker.models.embedders import Embedder, load_embedder

DATA = Path("tests/data")
WARM_UP, COUNTED, CAPACITY = 100, 1_000, 110
Row = dict[str, Any]


@dataclass(slots=True)
class Store:
    """Stored entities and their vectors, searched exactly; the least recently used entry goes first."""

    embedder: Embedder
    capacity: int
    entries: OrderedDict[str, tuple[float, Extraction, NDArray[np.float32]]] = field(default_factory=OrderedDict)

    def taken_apart(self, prompt: str) -> tuple[Extraction, NDArray[np.float32]]:
        """A prompt and the vectors of its entities."""
        found = extract(prompt)
        texts = [entity.lookup_text for entity in found.entities]
        vectors = np.array(self.embedder.embed(texts), dtype=np.float32).reshape(len(texts), self.embedder.dim)
        return found.knowing([self.embedder.knows(text) for text in texts]), vectors

    def keep(self, name: str, at: float, found: Extraction, vectors: NDArray[np.float32]) -> None:
        """Store an entry; the oldest in use gives way."""
        self.entries[name] = (at, found, vectors)
        while len(self.entries) > self.capacity:
            self.entries.popitem(last=False)

    def neighbours(self, vectors: NDArray[np.float32], limit: int) -> Iterator[Neighbour]:
        """The nearest stored entities of each vector."""
        stored = [
            (name, at, entity, row)
            for name, (at, found, rows) in self.entries.items()
            for entity, row in zip(found.entities, rows, strict=True)
        ]
        if not stored or not len(vectors):
            return
        scores = vectors @ np.stack([row for *_, row in stored]).T  # (Q, N)
        for query, line in enumerate(scores):
            for i in np.argsort(-line, kind="stable")[:limit]:
                name, at, entity, _ = stored[i]
                yield _neighbour(query, name, at, entity, float(line[i]))


def _neighbour(query: int, name: str, at: float, entity: Entity, similarity: float) -> Neighbour:
    return Neighbour(
        query=query,
        entry_id=name,
        text=entity.text,
        head=entity.head,
        attributes=entity.stored_attributes,
        kind=entity.kind,
        similarity=similarity,
        created=at,
    )


# --- hit rate ---------------------------------------------------------------------------------------------------------


def stream(
    prompts: Sequence[str], embedder: Embedder, settings: MatchSettings, *, capacity: int = CAPACITY
) -> list[tuple[str, Hit]]:
    """Each prompt after the warm-up and its hit; a miss leaves its latents, a hit makes its donor young again."""
    store = Store(embedder, capacity)
    answers: list[tuple[str, Hit]] = []
    for number, prompt in enumerate(prompts):
        found, vectors = store.taken_apart(prompt)
        near = list(store.neighbours(vectors, settings.neighbours_per_entity))
        hit = look_up(found, near, settings)
        if number >= WARM_UP:
            answers.append((prompt, hit))
        if hit.donors:
            store.entries.move_to_end(hit.donors[0])
        if not hit.donors and found.entities:
            store.keep(prompt, number, found, vectors)
    return answers


def hit_rates(prompts: Sequence[str], embedder: Embedder, settings: MatchSettings, samples: int) -> list[float]:
    """The share of hits in random samples of the prompts, 100 to warm up and 1,000 counted."""
    return [
        sum(bool(hit.donors) for _, hit in stream(_sample(prompts, seed), embedder, settings)) / COUNTED
        for seed in range(samples)
    ]


def _sample(prompts: Sequence[str], seed: int) -> list[str]:
    chosen = np.random.default_rng(seed).permutation(len(prompts))[: WARM_UP + COUNTED]
    return [prompts[i] for i in chosen]


# --- extraction -------------------------------------------------------------------------------------------------------


def fingerprint(prompt: str) -> str:
    """What stands for a prompt of other people in a label file."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def labelled(path: Path, prompts: Sequence[str] = ()) -> list[Row]:
    """The rows of a label file with their prompts: its own, or those of `prompts` that it names by fingerprint."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    known = {fingerprint(prompt): prompt for prompt in prompts}
    return [
        row | {"prompt": row.get("prompt") or known[row["sha"]]}
        for row in rows
        if "prompt" in row or row["sha"] in known
    ]


def extraction_figures(rows: Sequence[Row]) -> dict[str, float]:
    """Precision and recall of entity texts that must be equal, and the share of right kinds among them."""
    found = wanted = right = kinds = 0
    for row in rows:
        entities = extract(row["prompt"]).entities
        got = {entity.text: entity.kind.value for entity in entities if entity.kind is not EntityKind.PROMPT}
        labels = {entity["text"]: entity["kind"] for entity in row["entities"]}
        found, wanted = found + len(got), wanted + len(labels)
        right += len(got.keys() & labels.keys())
        kinds += len(got.items() & labels.items())
    return {
        "prompts": len(rows),
        "precision": right / max(1, found),
        "recall": right / max(1, wanted),
        "kind": kinds / max(1, right),
    }


# --- pairs ------------------------------------------------------------------------------------------------------------


def pair_figures(embedder: Embedder, settings: MatchSettings) -> dict[str, int]:
    """Of labelled pairs of phrases, how many of those that are the same match, and how many of those that are not."""
    count = {"same": 0, "same matched": 0, "other": 0, "other matched": 0}
    for line in (DATA / "phrase_pairs.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            relation, left, right, *_ = line.split("\t")
            count[relation] += 1
            count[f"{relation} matched"] += _matches(f"a {left}", f"a {right}", embedder, settings)
    return count


def _matches(left: str, right: str, embedder: Embedder, settings: MatchSettings) -> bool:
    """Whether any entity of one prompt stands in for one of the other."""
    store = Store(embedder, 1)
    store.keep("donor", 0, *store.taken_apart(left))
    found, vectors = store.taken_apart(right)
    near = store.neighbours(vectors, settings.neighbours_per_entity)
    return any(compare(found, neighbour, settings).is_match for neighbour in near)


def unlike_figures(embedder: Embedder, settings: MatchSettings) -> dict[str, dict[str, float]]:
    """Hits among prompts about different things, by language; they share places, which therefore do not count."""
    figures: dict[str, dict[str, float]] = {}
    for language, words in json.loads((DATA / "unlike_prompts.json").read_text()).items():
        prompts = [words["form"].format(thing) for thing in words["things"]]
        store = Store(embedder, len(prompts))
        read = [store.taken_apart(prompt) for prompt in prompts]
        pairs = hits = 0
        for (left, rows), (right, vectors) in combinations(read, 2):
            store.entries.clear()
            store.keep("donor", 0, left, rows)
            near = list(store.neighbours(vectors, settings.neighbours_per_entity))
            pairs, hits = pairs + 1, hits + bool(look_up(right, near, settings).donors)
        figures[language] = {"pairs": pairs, "hits": hits}
    return figures


# --- command ----------------------------------------------------------------------------------------------------------


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file: one a line, or one JSON object a line with `prompt`."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    return [json.loads(line)["prompt"] for line in lines] if path.suffix == ".jsonl" else lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m lab.experiments.entities", description=__doc__)
    parser.add_argument("--prompts", type=Path, help="prompts of other people: one a line, or JSON lines")
    parser.add_argument("--embedder", default="use")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--coverage", type=float, action="append", default=[], help="try another least coverage too")
    given = parser.parse_args(arguments)
    embedder = load_embedder(given.embedder)
    settings = MatchSettings.of_embedder(embedder.name, {})
    result: Row = {"embedder": embedder.name, "extraction": {}}
    prompts = read_prompts(given.prompts) if given.prompts else []
    for path in sorted(DATA.glob("entities*.jsonl")):
        if rows := labelled(path, prompts):
            result["extraction"][path.stem] = extraction_figures(rows)
    result["pairs"] = pair_figures(embedder, settings)
    result["unlike"] = unlike_figures(embedder, settings)
    if prompts:
        tried = {coverage: replace(settings, min_coverage=coverage) for coverage in given.coverage}
        result["hit rate"] = {
            str(chosen.min_coverage): hit_rates(prompts, embedder, chosen, given.samples)
            for chosen in (settings, *tried.values())
        }
    for name, value in result.items():
        print(f"{name:12} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
