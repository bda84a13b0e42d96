"""Entries for benchmarks of the cache, with the word frequencies of real prompts, and their way into a database.

`CHAI_BENCH_PROMPTS` names a file of prompts, one a line or JSON lines with a `prompt`; the extractor makes phrases of
them. Without it, phrases of our own follow Zipf's law. More entries than prompts repeat the prompts, with as many
phrases exchanged for new ones as the prompts themselves bring new ones. The phrases of prompts are embedded; a new one
lies between two others, as embedding a million takes hours.
"""

import io
import json
import os
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from worker.prompts.entities import extractor

PART = 10_000  # vectors made at once
NUM_HELD_BACK = 1_000  # prompts that are asked for and not stored
THINGS = (
    "fox wolf cat dog horse robot sailor car ship lamp chair bird turtle balloon bicycle piano dancer tree clock kite "
    "castle dragon knight child woman man train bridge flower river boat lion tiger bear whale spider bee candle tower"
)
LOOKS = (
    "red blue green white black tiny old wooden golden striped broken shiny furry sleepy giant silver purple young "
    "rusty glowing"
)
PLACES = "forest desert beach library kitchen street harbour mountain meadow city"
DOING = "running sleeping jumping waiting singing falling turning shining"


@dataclass(slots=True)
class Corpus:
    """Texts with their vectors, and entries as numbers of texts."""

    dims: int
    prompts: list[str]  # held back
    texts: list[str] = field(default_factory=list)
    vectors: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float16))
    entries: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def num_entities(self) -> int:
        return sum(map(len, self.entries))


def prompts() -> list[str]:
    """Prompts by path, or our own: the n-th thing, look and place one time in n."""
    path = os.environ.get("CHAI_BENCH_PROMPTS")
    if path:
        lines = Path(path).read_text().splitlines()
        return [json.loads(line)["prompt"] if line.startswith("{") else line for line in lines if line.strip()]
    rng = random.Random(0)

    def word(given: str) -> str:
        words = given.split()
        return rng.choices(words, [1 / n for n in range(1, len(words) + 1)])[0]

    return [
        f"a {word(LOOKS)} {word(THINGS)} and a {word(DOING)} {word(THINGS)} in a {word(LOOKS)} {word(PLACES)}"
        for _ in range(20_000)
    ]


def corpus(embedder: Any, num_entries: int) -> Corpus:
    """Return so many entries."""
    rng, given = random.Random(0), prompts()
    rng.shuffle(given)
    found = Corpus(dims=embedder.dim, prompts=given[:NUM_HELD_BACK])
    extract = extractor("lexicon")
    stored = [[entity.text for entity in extract(prompt).entities] for prompt in given[NUM_HELD_BACK:][:num_entries]]
    counts = Counter(name for texts in stored for name in texts)
    number = {name: index for index, (name, _) in enumerate(counts.most_common())}
    found.texts += number
    found.entries += [tuple(number[name] for name in texts) for texts in stored]
    once = sum(count == 1 for count in counts.values()) / max(1, counts.total())  # how often a phrase is a new one
    while len(found.entries) < num_entries:
        kept = found.entries[rng.randrange(len(stored))]
        found.entries.append(tuple(_new(found, rng) if rng.random() < once else index for index in kept))
    _embed(found, embedder, len(number))
    return found


def _new(found: Corpus, rng: random.Random) -> int:
    """Add a phrase of two others."""
    one, other = (found.texts[rng.randrange(len(found.texts))].split() for _ in range(2))
    found.texts.append(f"{one[0]} {' '.join(other[-2:])} {len(found.texts)}")
    return len(found.texts) - 1


def _embed(found: Corpus, embedder: Any, num_real: int) -> None:
    """In half precision, as they are stored, and part by part: a million vectors are a gigabyte."""
    known = np.asarray(embedder.embed(found.texts[:num_real]), dtype=np.float32)
    found.vectors = np.empty((len(found.texts), found.dims), dtype=np.float16)
    found.vectors[: len(known)] = known
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(known), size=(len(found.texts) - len(known), 2))
    for start in range(0, len(pairs), PART):
        part = pairs[start : start + PART]
        noise = rng.normal(size=(len(part), found.dims)).astype(np.float32) / np.sqrt(found.dims)
        mixed = 0.8 * known[part[:, 0]] + 0.5 * known[part[:, 1]] + 0.3 * noise
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        found.vectors[len(known) + start :][: len(part)] = mixed


def load(
    session: Session, found: Corpus, space_ids: Sequence[UUID], entries: Sequence[tuple[int, ...]], *, num_bytes: int
) -> None:
    """Put entries into namespaces in turn, as publishing leaves them."""
    cursor = session.connection().connection.cursor()
    places = [(space_ids[index % len(space_ids)], uuid4(), entry) for index, entry in enumerate(entries)]
    session.execute(text("CREATE TEMP TABLE IF NOT EXISTS given (space uuid, entry uuid, number int, text text)"))
    session.execute(text("CREATE TEMP TABLE IF NOT EXISTS given_vectors (text text, embedding halfvec)"))
    lines = (
        f"{space}\t{id_}\t{number}\t{_plain(found.texts[number])}\n" for space, id_, entry in places for number in entry
    )
    cursor.copy_expert("COPY given FROM STDIN", _Lines(lines))
    used = sorted({number for _, _, entry in places for number in entry})
    cursor.copy_expert("COPY given_vectors FROM STDIN (FORMAT binary)", _Lines(_binary(found, used)))
    session.execute(text("CREATE INDEX ON given_vectors (text)"))
    for statement in _STATEMENTS:
        session.execute(text(statement), {"bytes": num_bytes, "dims": found.dims})
    session.execute(text("DROP TABLE given, given_vectors"))


def _plain(name: str) -> str:
    return name.replace("\\", "").replace("\t", " ")


def _binary(found: Corpus, numbers: Sequence[int]) -> Iterator[bytes]:
    yield b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
    size = 4 + 2 * found.dims
    for number in numbers:
        name = _plain(found.texts[number]).encode()
        vector = found.vectors[number].astype(">f2").tobytes()
        yield struct.pack(">hi", 2, len(name)) + name + struct.pack(">ihh", size, found.dims, 0) + vector
    yield struct.pack(">h", -1)


class _Lines(io.RawIOBase):
    """What an iterator gives, as a file to read from."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts

    def read(self, size: int = -1) -> Any:
        taken: list[Any] = []
        length = 0
        for part in self._parts:
            taken.append(part)
            length += len(part)
            if length >= size > 0:
                break
        if not taken:
            return b""
        return b"".join(taken) if isinstance(taken[0], bytes) else "".join(taken).encode()


_STATEMENTS = (
    "INSERT INTO cache_entries (id, namespace_id, tenant, donor_job_id, donor_fence, prompt, name, num_bytes, "
    "schema_version, tensors, seed, full_seconds, status, published_at, last_used, seconds_saved, use, priority) "
    "SELECT entry, space, 'ada', gen_random_uuid(), 1, 'made', 'latents/' || entry, :bytes, 1, '{}', 0, 5, 'resident', "
    "at, at, 4, 4, 4.0 / :bytes FROM (SELECT entry, space, now() - random() * interval '1 day' AS at "
    "FROM (SELECT DISTINCT entry, space FROM given) AS made) AS dated",
    "INSERT INTO cache_entities (entry_id, namespace_id, text, head, attributes, kind, dims, is_copy) "
    "SELECT entry, space, text, split_part(text, ' ', -1), '{}', 'object', :dims, true FROM given",
    "INSERT INTO cache_entities (namespace_id, text, head, attributes, kind, dims, embedding) "
    "SELECT space, text, '', '{}', 'vector', :dims, embedding FROM (SELECT DISTINCT space, text FROM given) AS named "
    "JOIN given_vectors USING (text)",
    "INSERT INTO cache_events (namespace_id, entry_id, kind, num_bytes, detail) "
    "SELECT DISTINCT space, entry, 'insert', :bytes, '{\"seconds_saved\": 4}'::jsonb FROM given",
    "UPDATE namespaces SET bytes_used = made.number * :bytes, num_entities = made.entities FROM (SELECT space, "
    "count(DISTINCT entry) AS number, count(*) AS entities FROM given GROUP BY space) AS made WHERE made.space = id",
)
