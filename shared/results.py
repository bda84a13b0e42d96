"""Results of a bulk run, one row per line, from video objects; as JSONL, CSV and, with pyarrow, Parquet."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared import json_lines
from shared.receipts import Receipt

STAGES = ("load", "decide", "fetch", "encode", "turn", "denoise", "decode", "compress", "store", "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of a run. `line` or `custom_id` joins it to the list; None for values that the service does not give."""

    line: str | None  # its number in the list, after the file's name if there were several
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
    turn_s: float | None  # waiting for the device, which another job had
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
        """Read a video object in the list of a run; `error` says why its file is missing."""
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
    def place(self) -> "Place":
        """Its position among the others."""
        return place(self.line)


Place = tuple[bool, str, int]


def place(line: str | None) -> Place:
    """Return a line's position in its list: by file and number, those without a number last."""
    file, _, number = (line or "").rpartition(":")
    return (False, file, int(number)) if re.fullmatch("[0-9]{1,18}", number) else (True, line or "", 0)


def jsonl(results: Sequence[Result]) -> str:
    """Return the lines of some results."""
    return "".join(json_lines.line(asdict(result)) + "\n" for result in results)


def csv_header() -> str:
    """Return the first line of a table of results."""
    return _csv([[field.name for field in fields(Result)]])


def csv_rows(results: Sequence[Result]) -> str:
    """Return the lines of some results in such a table."""
    return _csv([[_harmless(value) for value in asdict(result).values()] for result in results])


def parquet_schema() -> Any:  # Any: pyarrow brings no types
    """Return the columns of a Parquet table, typed even if all values are None; raises `ImportError`."""
    import pyarrow  # type: ignore[import-not-found,unused-ignore]  # optional

    kinds = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_(), "str": pyarrow.string()}
    return pyarrow.schema([(field.name, kinds[_kind(field.type)]) for field in fields(Result)])


def parquet_table(results: Sequence[Result]) -> Any:  # Any: as above
    """Return some results as a table of that schema."""
    import pyarrow  # type: ignore[import-not-found,unused-ignore]  # optional

    return pyarrow.Table.from_pylist([asdict(result) for result in results], schema=parquet_schema())


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _kind(type_: object) -> str:
    name = type_ if isinstance(type_, str) else getattr(type_, "__name__", str(type_))
    return name.split(" | ")[0]


def _harmless(value: object) -> object:
    """Keep a spreadsheet from running a prompt as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
