"""Results of a bulk run as files: JSONL, CSV and, with pyarrow, Parquet."""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from cli import places
from shared import results as rows
from shared.results import Result


def write(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write `results.csv`, `results.jsonl` and, with pyarrow, `results.parquet`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "results.jsonl") as stream:
        stream.write(rows.jsonl(results))
    with replacing(folder / "results.csv") as stream:
        stream.write(rows.csv_header() + rows.csv_rows(results))
    files = [folder / "results.csv", folder / "results.jsonl"]
    return files + ([_parquet(folder / "results.parquet", results)] if importlib.util.find_spec("pyarrow") else [])


@contextmanager
def replacing(file: Path) -> Iterator[TextIO]:
    """Provide a stream whose text becomes `file` if the block succeeds, whole or not at all."""
    with places.whole(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def exit_code(results: Sequence[Result], *, num_bad_lines: int) -> int:
    """Return 1 if a video is missing, else 2 if a line was left out as unusable, else 0."""
    if any(result.status != "completed" for result in results):
        return 1
    return 2 if num_bad_lines else 0


def _parquet(file: Path, results: Sequence[Result]) -> Path:
    from pyarrow import parquet  # type: ignore[import-not-found,unused-ignore]  # optional, and it brings no types

    with places.whole(file) as partial:
        parquet.write_table(rows.parquet_table(results), partial)
    return file
