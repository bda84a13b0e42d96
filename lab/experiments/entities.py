"""How well entities are extracted from prompts and matched: `chai lab entities FILE`.

Four questions, each answered from the project's own label files (tests/data) and from prompts given by path, which are
never copied: how much of extraction is right; which thresholds suit an embedder; how many of a stream of prompts hit
(the paper's protocol: 100 prompts to warm up, 1,000 counted, a cache of a tenth of them, LRU), and what labelled hits
are worth; whether unlike prompts in any language match.
"""

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.cache.decisions.comparison import compare
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit, look_up
from worker.cache.decisions.types import Neighbour
from worker.models.embedder import Embedder
from worker.prompts.entities import extract
from worker.prompts.types import EntityKind, Extraction

DATA = Path("tests/data")
WARM_UP, COUNTED, CAPACITY = 100, 1_000, 110
Row = dict[str, Any]


@dataclass(slots=True)
class Store:
    """Stored entities and their vectors, searched exactly; the least recently used entry is evicted first."""

    embedder: Embedder
    capacity: int
    entries: OrderedDict[str, tuple[float, Extraction, NDArray[np.float32]]] = field(default_factory=OrderedDict)
    uses: Counter[str] = field(default_factory=Counter)

    def taken_apart(self, prompt: str) -> tuple[Extraction, NDArray[np.float32]]:
        """A prompt's extraction and the vectors of its entities."""
        found = extract(prompt)
        texts = [entity.lookup_text for entity in found.entities]
        vectors = np.array(self.embedder.embed(texts), dtype=np.float32).reshape(len(texts), self.embedder.dim)
        return found.knowing([self.embedder.knows(text) for text in texts]), vectors

    def keep(self, name: str, at: float, found: Extraction, vectors: NDArray[np.float32]) -> None:
        """Store an entry; the least recently used one makes room."""
        self.entries[name] = (at, found, vectors)
        self.uses[name] = 0
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
                likeness, uses = float(line[i]), self.uses[name]
                yield Neighbour.of(entity, query=query, entry_id=name, similarity=likeness, created=at, uses=uses)


# --- hit rate ---------------------------------------------------------------------------------------------------------


def stream(
    prompts: Sequence[str], embedder: Embedder, settings: MatchSettings, *, capacity: int = CAPACITY
) -> list[tuple[str, Hit]]:
    """Each prompt after the warm-up and its hit; a miss is stored, a hit makes its donor the latest used."""
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
            store.uses[hit.donors[0]] += 1
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


# --- labelled hits ----------------------------------------------------------------------------------------------------

HIT_LABELS = ("right", "person", "vague", "related", "wrong")  # docs/entity-labels.md


def hit_figures(
    rows: Sequence[Row], prompts: Sequence[str], embedder: Embedder, settings: MatchSettings
) -> dict[str, float]:
    """Which labelled hits remain with `settings`, and the share of each label among them.

    A row names its prompt, the donor that was judged and the entries that matched, oldest first; the prompt is looked
    up among these. Rows with a prompt that is not among `prompts` do not count. `kept` is the share of rows that hit
    the judged donor, `other` the share that hit another one, whose label is unknown.
    """
    known = {fingerprint(prompt): prompt for prompt in prompts}
    found = [row for row in rows if known.keys() >= {row["wanted"], row["donor"], *row["entries"]}]
    named = sorted({sha for row in found for sha in (row["wanted"], *row["entries"])})  # vectors depend on their batch
    read = {sha: Store(embedder, 1).taken_apart(known[sha]) for sha in named}
    kept: Counter[str] = Counter()
    for row in found:
        store = Store(embedder, len(row["entries"]))
        for at, sha in enumerate(row["entries"]):
            store.keep(sha, at, *read[sha])
        wanted, vectors = read[row["wanted"]]
        donors = look_up(wanted, list(store.neighbours(vectors, settings.neighbours_per_entity)), settings).donors
        kept["none" if not donors else row["label"] if donors[0] == row["donor"] else "other"] += 1
    number = sum(kept[label] for label in HIT_LABELS)
    shares = {label: round(kept[label] / max(1, number), 4) for label in HIT_LABELS}
    whole = max(1, len(found))
    return {"hits": len(found), "kept": round(number / whole, 4), "other": round(kept["other"] / whole, 4), **shares}


# --- extraction -------------------------------------------------------------------------------------------------------


def fingerprint(prompt: str) -> str:
    """The hash that represents another person's prompt in a label file."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def labelled(path: Path, prompts: Sequence[str] = ()) -> list[Row]:
    """The rows of a label file with their prompts: the file's own, or those of `prompts` named by fingerprint."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    known = {fingerprint(prompt): prompt for prompt in prompts}
    return [
        row | {"prompt": row.get("prompt") or known[row["sha"]]}
        for row in rows
        if ("prompt" in row or row["sha"] in known) and not row.get("unclear")
    ]


def parts(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by their use: development, read since, held back. Rows that do not say are `all`."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.get("part", "all"), []).append(row)
    return found


def extraction_figures(rows: Sequence[Row]) -> dict[str, float]:
    """Precision and recall of entity texts, and the share of right kinds among them (docs/entity-labels.md)."""
    wrong = missing = right = kinds = 0
    for row in rows:
        found = judged(row)
        right, kinds = right + len(found.right), kinds + found.num_kinds
        wrong, missing = wrong + len(found.wrong), missing + len(found.missing)
    return {
        "prompts": len(rows),
        "precision": right / max(1, right + wrong),
        "recall": right / max(1, right + missing),
        "kind": kinds / max(1, right),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The entities found in a prompt, compared with its labels; optional labels are in none of the lists."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]  # found, but not labelled
    missing: tuple[str, ...]  # labelled, but not found
    num_kinds: int  # how many of the right ones also have the right kind


def judged(row: Row) -> Judged:
    """The entities that the extractor finds in a labelled prompt, sorted by its labels."""
    entities = extract(row["prompt"]).entities
    found = {entity.text: entity.kind.value for entity in entities if entity.kind is not EntityKind.PROMPT}
    names = [(label, {label["text"], *label.get("or", ())}) for label in row["entities"]]
    wanted = [(label, texts) for label, texts in names if not label.get("optional")]
    known = {text for _, texts in names for text in texts}
    right = {text: label for label, texts in wanted for text in found if text in texts}
    return Judged(
        right=tuple(label["text"] for label, texts in wanted if texts & found.keys()),
        wrong=tuple(text for text in found if text not in known),
        missing=tuple(label["text"] for label, texts in wanted if not texts & found.keys()),
        num_kinds=len({label["text"] for text, label in right.items() if label["kind"] == found[text]}),
    )


# --- pairs ------------------------------------------------------------------------------------------------------------


def pair_figures(embedder: Embedder, settings: MatchSettings) -> dict[str, int]:
    """How many labelled pairs of phrases match, among those that mean the same and among the others."""
    count = {"same": 0, "same matched": 0, "other": 0, "other matched": 0}
    for line in (DATA / "phrase_pairs.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            relation, left, right, *_ = line.split("\t")
            count[relation] += 1
            count[f"{relation} matched"] += _matches(f"a {left}", f"a {right}", embedder, settings)
    return count


def _matches(left: str, right: str, embedder: Embedder, settings: MatchSettings) -> bool:
    """Whether any entity of one prompt matches one of the other."""
    store = Store(embedder, 1)
    store.keep("donor", 0, *store.taken_apart(left))
    found, vectors = store.taken_apart(right)
    near = store.neighbours(vectors, settings.neighbours_per_entity)
    return any(compare(found, neighbour, settings).is_match for neighbour in near)


def swapped_figures(
    embedder: Embedder, settings: MatchSettings, *, languages: Sequence[str] = (), things: int = 8
) -> dict[str, dict[str, float]]:
    """Hits among prompts that differ only in a thing or its colour, by language: the hardest unlike ones."""
    figures: dict[str, dict[str, float]] = {}
    for language, words in json.loads((DATA / "swapped_prompts.json").read_text()).items():
        if languages and language not in languages:
            continue
        pairs = [(thing, colour) for thing in words["things"][:things] for colour in words["colours"][:things]]
        prompts = [words["form"].format(thing=thing, colour=colour) for thing, colour in pairs]
        figures[language] = _hits_among(prompts, embedder, settings)
    return figures


def unlike_figures(embedder: Embedder, settings: MatchSettings) -> dict[str, dict[str, float]]:
    """Hits among prompts about different things, by language."""
    figures: dict[str, dict[str, float]] = {}
    for language, words in json.loads((DATA / "unlike_prompts.json").read_text()).items():
        prompts = [words["form"].format(thing) for thing in words["things"]]
        figures[language] = _hits_among(prompts, embedder, settings)
    return figures


def crossed_figures(embedder: Embedder, settings: MatchSettings, *, num_things: int = 8) -> dict[str, dict[str, float]]:
    """Hits between coloured things in English and in each other language: the same thing, and different ones."""
    data = json.loads((DATA / "crossed_prompts.json").read_text())
    english = _forms(data["en"], num_things)
    figures: dict[str, dict[str, float]] = {}
    store = Store(embedder, 1)
    asked = {key: store.taken_apart(prompt) for key, prompt in english.items()}
    for language in data.keys() - {"en"}:
        count = {"same": 0, "same hits": 0, "other": 0, "other hits": 0}
        for key, prompt in _forms(data[language], num_things).items():
            store.keep("donor", 0, *store.taken_apart(prompt))
            for other, (found, vectors) in asked.items():
                near = list(store.neighbours(vectors, settings.neighbours_per_entity))
                kind = "same" if key == other else "other"
                count[kind] += 1
                count[f"{kind} hits"] += bool(look_up(found, near, settings).donors)
        figures[language] = dict(count)
    return figures


def _forms(words: Row, num_things: int) -> dict[tuple[int, int], str]:
    """Each coloured thing in a language, by the numbers of thing and colour."""
    return {
        (i, k): words["form"].format(thing=thing, colour=colour)
        for i, thing in enumerate(words["things"][:num_things])
        for k, colour in enumerate(words["colours"])
    }


def _hits_among(prompts: Sequence[str], embedder: Embedder, settings: MatchSettings) -> dict[str, float]:
    """How many of all pairs of prompts hit, with only the first of each pair stored."""
    store = Store(embedder, 1)
    read = [store.taken_apart(prompt) for prompt in prompts]
    pairs = hits = 0
    for (left, rows), (right, vectors) in combinations(read, 2):
        store.entries.clear()
        store.keep("donor", 0, left, rows)
        near = list(store.neighbours(vectors, settings.neighbours_per_entity))
        pairs, hits = pairs + 1, hits + bool(look_up(right, near, settings).donors)
    return {"pairs": pairs, "hits": hits}


# --- command ----------------------------------------------------------------------------------------------------------


def measure(
    prompts: Sequence[str],
    embedder: Embedder,
    *,
    settings: MatchSettings | None = None,
    samples: int = 3,
    coverages: Sequence[float] = (),
    sampled: int = 0,
) -> Row:
    """All figures from the label files, generated prompts and these prompts, as plain JSON."""
    settings = settings or MatchSettings.of_embedder(embedder.name, {})
    result: Row = {"embedder": embedder.name, "extraction": {}}
    for path in sorted(DATA.glob("entities*.jsonl")):
        if rows := labelled(path, prompts):
            result["extraction"][path.stem] = {name: extraction_figures(part) for name, part in parts(rows).items()}
    for path in sorted(DATA.glob("hits*.jsonl")) if prompts else ():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        result.setdefault("labelled hits", {})[path.stem] = hit_figures(rows, prompts, embedder, settings)
    result["pairs"] = pair_figures(embedder, settings)
    result["unlike"] = unlike_figures(embedder, settings)
    result["swapped"] = swapped_figures(embedder, settings)
    result["crossed"] = crossed_figures(embedder, settings)
    if len(prompts) >= WARM_UP + COUNTED:
        tried = {coverage: replace(settings, min_coverage=coverage) for coverage in coverages}
        result["hit rate"] = {
            str(chosen.min_coverage): hit_rates(prompts, embedder, chosen, samples)
            for chosen in (settings, *tried.values())
        }
        result["hits"] = sampled_hits(prompts, embedder, settings, sampled)
    return result


def sampled_hits(prompts: Sequence[str], embedder: Embedder, settings: MatchSettings, number: int) -> list[Row]:
    """Hits chosen at random, for a person to judge."""
    if not number:
        return []
    hits = [(prompt, hit) for prompt, hit in stream(_sample(prompts, 99), embedder, settings) if hit.donors]
    chosen = np.random.default_rng(99).permutation(len(hits))[:number]
    return [
        {
            "prompt": hits[i][0],
            "donor": hits[i][1].donors[0],
            "matched": [[match.text, match.donor_text, round(match.similarity, 3)] for match in hits[i][1].matched],
            "coverage": round(hits[i][1].coverage, 3),
        }
        for i in chosen
    ]
