"""What the order of a list is worth: `python -m lab.experiments.nights FILE...`.

Runs each list of prompts through the service's own extraction, look-up and decision, in the order of the file and in
the planned one, with room for a few videos, for many, and for all; for one worker and for several. Makes no videos.
Prints a table and ends with one line of JSON.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np

from shared.generation import Mode, RunPath
from worker.cache import nights, planner
from worker.cache.decisions import planning
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.nights import Line, Room
from worker.models.embedder import Embedder
from worker.models.embedders import load_embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One list in one order."""

    list: str
    order: str
    num_workers: int
    capacity: int | None  # entries kept at once; None = all
    num_lines: int
    num_fast: int
    similarity: float  # mean over the fast lines, of the weakest match
    order_s: float  # seconds that finding the order took


def measured(name: str, prompts: Sequence[str], embedder: Embedder, capacities: Sequence[int | None]) -> Iterator[Row]:
    """Run a list in both orders through caches of several sizes."""
    lines = [_line(index, prompt, embedder) for index, prompt in enumerate(prompts)]
    settings = MatchSettings.of_embedder(embedder.name, {})
    for num_workers in (1, 4):
        start = time.perf_counter()
        planned = nights.arrange(lines, Room(), settings, num_workers=num_workers)
        order_s = time.perf_counter() - start
        for capacity in capacities:
            for order, indexes, seconds in (("file", range(len(lines)), 0.0), ("planned", planned, order_s)):
                runs = nights.run(lines, indexes, Room(capacity=capacity), settings, num_workers=num_workers)
                fast = [plan.similarity or 0.0 for _, plan in runs if plan.path is RunPath.FAST]
                yield Row(
                    list=name,
                    order=order,
                    num_workers=num_workers,
                    capacity=capacity,
                    num_lines=len(lines),
                    num_fast=len(fast),
                    similarity=round(fmean(fast), 3) if fast else 0.0,
                    order_s=round(seconds, 1),
                )


def _line(index: int, prompt: str, embedder: Embedder) -> Line:
    extraction, vectors = planner.embed(embedder, planner.extractor("lexicon")(prompt))
    shape = (len(vectors), embedder.dim)
    return Line(
        id=str(index),
        mode=Mode.AUTO,
        extraction=extraction,
        vectors=np.asarray(vectors, dtype=np.float32).reshape(shape),
        table=planning.PAPER,
    )


def _prompts(file: Path) -> Iterator[str]:
    for text in file.read_text(encoding="utf-8").splitlines():
        if text.strip():
            yield json.loads(text)["prompt"] if file.suffix == ".jsonl" else text.strip()


def main() -> None:
    """Measure the given lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path, help=".txt, one prompt a line, or .jsonl with a field prompt")
    parser.add_argument("--lines", type=int, default=1000, help="how many of each list, from its beginning")
    parser.add_argument("--capacity", type=int, nargs="+", default=[10, 30, 100], help="videos kept at once")
    parser.add_argument("--embedder", default="use")
    asked = parser.parse_args()
    embedder, rows = load_embedder(asked.embedder), []
    print(f"{'list':32} {'workers':>7} {'kept':>5} {'order':>8} {'fast':>6} {'similarity':>10} {'seconds':>8}")
    for file in asked.files:
        prompts = list(islice(_prompts(file), asked.lines))
        for row in measured(file.name, prompts, embedder, [*asked.capacity, None]):
            rows.append(row)
            kept = "all" if row.capacity is None else row.capacity
            share = row.num_fast / row.num_lines
            print(
                f"{row.list:32} {row.num_workers:7} {kept!s:>5} {row.order:>8} {share:6.1%} "
                f"{row.similarity:10.3f} {row.order_s:8.1f}",
                flush=True,
            )
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
