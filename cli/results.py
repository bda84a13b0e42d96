"""Results of a bulk run: one row a line, as JSONL, CSV and, where pyarrow is, Parquet."""

import csv
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from cli.receipt import Receipt

STAGES = ("load", "decide", "fetch", "encode", "denoise", "decode", "compress", "store", "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of a run. It joins the list by `line` or `custom_id`; None is what the service does not say."""

    line: str | None  # its number in the list, behind the name of the file where there were several
    custom_id: str
    video: str  # its id
    prompt: str
    status: str
    reused: bool  # the video of an earlier run of this list
    mode: str | None  # asked for
    path: str | None  # taken: fast or full
    matched: str  # entities of the prompt that the cache knew
    similarity: float | None  # of the best match
    donor: str | None  # the video whose latents were used
    seed: int | None
    steps: int | None
    seconds: float | None  # of work, without waiting
    wait_s: float | None  # in the queue
    saved_s: float | None  # by a fast run, against measured full ones
    load_s: float | None  # from here on, seconds by stage
    decide_s: float | None
    fetch_s: float | None
    encode_s: float | None
    denoise_s: float | None
    decode_s: float | None
    compress_s: float | None
    store_s: float | None
    keep_s: float | None
    file: str | None
    error: str | None
    error_code: str | None

    @classmethod
    def of(cls, video: Mapping[str, Any], batch_id: str, *, file: str | None, error: str | None = None) -> "Result":
        """Read a video object in the list of a run; `error` is what befell its file."""
        receipt, cache = Receipt.of(video), video.get("cache") or {}
        stage_s = (video.get("usage") or {}).get("stage_s") or {}
        return cls(
            line=video.get("line"),
            custom_id=video["custom_id"],
            video=video["id"],
            prompt=video["prompt"],
            status=receipt.status,
            reused=video["batch_id"] != batch_id,
            mode=receipt.mode,
            path=receipt.path,
            matched=receipt.matched,
            similarity=receipt.similarity,
            donor=", ".join(cache.get("donors") or []) or None,
            seed=receipt.seed,
            steps=receipt.num_steps,
            seconds=receipt.run_s,
            wait_s=receipt.queue_wait_s,
            saved_s=receipt.saved_s,
            **{f"{stage}_s": stage_s.get(stage) for stage in STAGES},
            file=file,
            error=error or receipt.error,
            error_code=(video.get("error") or {}).get("code"),
        )

    @property
    def place(self) -> tuple[bool, str, int]:
        """Where it stands among the others: by file and number, those without a number last."""
        file, _, number = (self.line or "").rpartition(":")
        return (False, file, int(number)) if re.fullmatch("[0-9]{1,18}", number) else (True, self.line or "", 0)


def write(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write `results.csv`, `results.jsonl` and, with pyarrow, `results.parquet`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) for result in results]
    with replacing(folder / "results.jsonl") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with replacing(folder / "results.csv") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    files = [folder / "results.csv", folder / "results.jsonl"]
    return files + ([_parquet(folder / "results.parquet", rows)] if importlib.util.find_spec("pyarrow") else [])


@contextmanager
def replacing(file: Path) -> Iterator[TextIO]:
    """Give a stream whose text becomes `file` when the block ends well, whole or not at all."""
    partial = file.with_name(file.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        yield stream
    partial.replace(file)


def exit_code(results: Sequence[Result], *, num_bad_lines: int) -> int:
    """Return 1 when a video is missing, else 2 when a line was left out as unusable, else 0."""
    if any(result.status != "completed" for result in results):
        return 1
    return 2 if num_bad_lines else 0


def _parquet(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    import pyarrow  # type: ignore[import-not-found,unused-ignore]  # optional, and it brings no types
    from pyarrow import parquet

    kinds = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_(), "str": pyarrow.string()}
    columns = [(field.name, kinds[_kind(field.type)]) for field in fields(Result)]  # typed, though all values be none
    partial = file.with_name(file.name + ".part")
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=pyarrow.schema(columns)), partial)
    partial.replace(file)
    return file


def _kind(type_: object) -> str:
    name = type_ if isinstance(type_, str) else getattr(type_, "__name__", str(type_))
    return name.split(" | ")[0]


def _harmless(value: object) -> object:
    """Keep a spreadsheet from running a prompt as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
