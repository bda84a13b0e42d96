"""Parses, embeds and compares prompts before anything is replayed, and caches the results on disk.

Extractions are cached by prompt, vectors by phrase, lists of near phrases by the set of phrases; each under a
fingerprint of what made it, so that another version of the extractor or another embedder starts from scratch.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache as once
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from shared.generation import Mode
from worker import prompts
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Table
from worker.models.embedder import Embedder
from worker.prompts.entities import Extractor
from worker.prompts.types import Entity, Extraction, FallbackReason

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much
Vectors = np.ndarray[Any, Any]

BLOCK = 1024  # vectors compared at once; phrases embedded between two reports
WORDS = (
    "textblob",
    "wordfreq",
    "jieba",
    "janome",
    "pymorphy3",
    "pymorphy3-dicts-ru",
)  # packages that extractions depend on


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A prompt of a trace, with what is known of it. A recorded one has what its decision was based on."""

    prompt: str
    at: float  # seconds; when it was decided
    tenant: str = "all"
    size: str = ""  # of the video; different sizes never share
    num_bytes: int | None = None  # of the latents that a full run leaves; None: the default of the replay
    mode: Mode = Mode.AUTO
    extraction: Extraction | None = None
    settings: MatchSettings | None = None
    table: Table | None = None
    entry_id: str | None = None  # of its latents
    leaves: bool = True  # whether a full run of it enters the cache
    seconds_saved: float | None = None  # by one hit on its entry
    budget: int | None = None  # of its namespace, in bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A trace, ready to be replayed under any settings whose thresholds are at least `floor`."""

    requests: Sequence[Request]
    extractions: Sequence[Extraction]
    vectors: Sequence[Sequence[int]]  # by request: the number of each entity's phrase
    kinds: Sequence[Sequence[int]]  # by request: the number of each entity, leaving aside its marks of the whole prompt
    entities: Sequence[tuple[Entity, FallbackReason | None]]  # by that number
    near: Sequence[Sequence[tuple[float, int]]]  # by phrase: likeness and number of phrases near it, nearest first
    floor: float


class Shelf:
    """A file that caches extractions of prompts and vectors of phrases."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._rows = sqlite3.connect(":memory:" if folder is None else folder / "phrases.sqlite", timeout=60)
        self._rows.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of those keys that have one."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            found |= dict(self._rows.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part))  # noqa: S608
        return found

    def put(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Store values under their keys."""
        with self._rows:
            self._rows.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)


def prepare(
    requests: Sequence[Request],
    *,
    extract: Extractor,
    embedder: Embedder,
    floor: float,
    extractor: str = "lexicon",
    folder: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Prepared:
    """Parse prompts, embed their entities and compare them; what `folder` already holds is not done again.

    `extractor` is the name of `extract`. Likenesses below `floor` are left out. Reading and writing `folder` may raise
    OSError or sqlite3.Error.
    """
    with closing(Shelf(folder)) as shelf:
        extractions = _extractions(shelf, requests, extract, extractor, progress)
        texts = list(dict.fromkeys(entity.lookup_text for found in extractions for entity in found.entities))
        vectors, known = _vectors(shelf, texts, embedder, progress)
    near = _near(folder, texts, vectors, embedder.name, floor, progress)
    number = {text: index for index, text in enumerate(texts)}
    knows = dict(zip(texts, known, strict=True))
    extractions = [found.knowing([knows[entity.lookup_text] for entity in found.entities]) for found in extractions]
    kinds: dict[tuple[Entity, FallbackReason | None], int] = {}
    return Prepared(
        requests=requests,
        extractions=extractions,
        vectors=[[number[entity.lookup_text] for entity in found.entities] for found in extractions],
        kinds=[
            [
                kinds.setdefault((replace(entity, context=()), found.fallback_reason), len(kinds))
                for entity in found.entities
            ]
            for found in extractions
        ],
        entities=list(kinds),
        near=near,
        floor=floor,
    )


def _extractions(
    shelf: Shelf, requests: Sequence[Request], extract: Extractor, extractor: str, progress: Progress
) -> list[Extraction]:
    prompts = list(dict.fromkeys(request.prompt for request in requests if request.extraction is None))
    if not prompts:
        return [request.extraction for request in requests if request.extraction is not None]
    mark = f"{rules()}/{extractor}"
    keys = {prompt: _key(mark, prompt) for prompt in prompts}
    kept = shelf.get(list(keys.values()))
    found = {prompt: Extraction.from_dict(json.loads(kept[key])) for prompt, key in keys.items() if key in kept}
    missing = [prompt for prompt in prompts if prompt not in found]
    for part in _parts(missing, "prompts taken apart", progress):
        new = {prompt: extract(prompt) for prompt in part}
        shelf.put((keys[prompt], json.dumps(taken.to_dict()).encode()) for prompt, taken in new.items())
        found |= new
    return [request.extraction or found[request.prompt] for request in requests]


def _vectors(
    shelf: Shelf, texts: Sequence[str], embedder: Embedder, progress: Progress
) -> tuple[Vectors, Sequence[bool]]:
    """Return unit vectors (N, dim), and which of them mean something."""
    keys = [_key(f"vector/{embedder.name}/{embedder.dim}", text) for text in texts]
    kept = shelf.get(keys)
    missing = [index for index, key in enumerate(keys) if key not in kept]
    for part in _parts(missing, "phrases embedded", progress):
        vectors = embedder.embed([texts[index] for index in part])
        new = {
            keys[index]: bytes([embedder.knows(texts[index])]) + np.asarray(vector, dtype="<f4").tobytes()
            for index, vector in zip(part, vectors, strict=True)
        }
        shelf.put(new.items())
        kept |= new
    rows = [kept[key] for key in keys]
    stacked = np.frombuffer(b"".join(row[1:] for row in rows), dtype="<f4").reshape(len(rows), embedder.dim)
    return stacked, [bool(row[0]) for row in rows]


Near = list[list[tuple[float, int]]]


def _near(
    folder: Path | None, texts: Sequence[str], vectors: Vectors, embedder: str, floor: float, progress: Progress
) -> Near:
    mark = hashlib.sha256("\0".join((embedder, f"{floor:.6f}", *texts)).encode("utf-8", "replace")).hexdigest()
    file = None if folder is None else folder / f"near-{mark[:32]}.npz"
    if file is not None and file.exists():
        with np.load(file) as kept:
            return _lists(kept["counts"], kept["numbers"], kept["likeness"])
    counts, numbers, likeness = _compared(vectors, floor, progress)
    if file is not None:
        partial = file.with_suffix(".part.npz")
        np.savez(partial, counts=counts, numbers=numbers, likeness=likeness)
        partial.replace(file)
    return _lists(counts, numbers, likeness)


def _compared(vectors: Vectors, floor: float, progress: Progress) -> tuple[Vectors, Vectors, Vectors]:
    """Return for each vector how many others reach the floor, and their numbers and likenesses, nearest first."""
    counts, numbers, likeness = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for start in range(0, len(vectors), BLOCK):
        cosines = np.minimum(vectors[start : start + BLOCK] @ vectors.T, 1.0)  # (block, N)
        np.fill_diagonal(cosines[:, start:], 1.0)
        rows, columns = np.nonzero(cosines >= floor)
        found = cosines[rows, columns]
        order = np.lexsort((columns, -found, rows))
        counts.append(np.bincount(rows, minlength=len(cosines)))
        numbers.append(columns[order].astype(np.int32))
        likeness.append(found[order])
        progress("phrases compared", min(start + BLOCK, len(vectors)), len(vectors))
    return np.concatenate(counts), np.concatenate(numbers), np.concatenate(likeness)


def _lists(counts: Vectors, numbers: Vectors, likeness: Vectors) -> Near:
    pairs = list(zip(likeness.tolist(), numbers.tolist(), strict=True))
    ends = np.cumsum(counts).tolist()
    return [pairs[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]


def _parts(items: Sequence[Any], what: str, progress: Progress) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BLOCK):
        yield items[start : start + BLOCK]
        progress(what, min(start + BLOCK, len(items)), len(items))


def _key(mark: str, text: str) -> bytes:
    return hashlib.sha256(f"{mark}\0{text}".encode("utf-8", "surrogatepass")).digest()[:16]


@once
def rules(folder: Path = Path(prompts.__file__).parent) -> str:
    """Return a fingerprint of everything that extractions depend on: code and words, here and in packages."""
    digest = hashlib.sha256()
    for file in sorted(file for kind in ("*.py", "*.txt") for file in folder.rglob(kind)):
        digest.update(file.read_bytes())
    for package, release in _releases(WORDS).items():
        digest.update(f"{package} {release}".encode())
    return digest.hexdigest()


def _releases(packages: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
