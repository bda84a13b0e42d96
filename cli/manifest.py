"""Lists of prompts for a bulk run: one prompt a line, CSV with a header, or JSONL. Reading decides nothing else.

Lines that cannot be used are kept with their number and the reason; a run leaves them out and says so.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import BadInput

Values = dict[str, Any]  # Any: a cell is text, a JSON value may be a number

WHOLE_FIELDS = ("seed", "num_inference_steps", "fps")
NUMBER_FIELDS = ("guidance_scale",)
TEXT_FIELDS = ("prompt", "negative_prompt", "model", "size", "seconds", "mode")
FIELDS = ("custom_id", *TEXT_FIELDS, *WHOLE_FIELDS, *NUMBER_FIELDS, "metadata")
LONGEST_FILE = 200 * 2**20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One usable line."""

    number: int  # in the file, from 1
    custom_id: str
    request: Values  # the body of POST /v1/videos

    @property
    def item(self) -> Values:
        """The line as POST /v1/batches/{id}/items takes it."""
        return {"custom_id": self.custom_id, **self.request}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """One line left out."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole file, read."""

    key: str  # the same content, options and take have the same key
    take: int
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]
    duplicates: tuple[BadLine, ...]  # lines that say again what an earlier one said


def read(file: Path, options: Mapping[str, Any], *, take: int = 1) -> Manifest:
    """Read a list; `options` (fields of a request) hold for every line that does not say otherwise.

    `take` tells runs of the same list apart. Raises `BadInput` when nothing in the file can be used.
    """
    content = _content(file)
    rows = list(_rows_of(file)(content))
    if not rows:
        raise BadInput(f"{file} holds no prompts; write one a line")
    lines, bad, duplicates = _sorted_out(rows, options)
    if not lines:
        raise BadInput(f"no line of {file} can be used; line {bad[0].number}: {bad[0].reason}")
    key = hashlib.sha256(_canonical([content, dict(options), take]).encode()).hexdigest()
    return Manifest(key=key, take=take, lines=tuple(lines), bad=tuple(bad), duplicates=tuple(duplicates))


Row = tuple[int, Values | str]  # line number; values, or the reason why there are none


def _content(file: Path) -> str:
    try:
        if file.stat().st_size > LONGEST_FILE:
            raise BadInput(f"{file} has {file.stat().st_size} bytes; split it into files of at most {LONGEST_FILE}")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 ({error}); convert it, say with iconv -t utf-8") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error


def _rows_of(file: Path) -> Callable[[str], Iterator[Row]]:
    readers = {".txt": _text_rows, ".csv": _csv_rows, ".jsonl": _json_rows}
    if reader := readers.get(file.suffix.lower()):
        return reader
    raise BadInput(f"{file}: cannot tell what a {file.suffix or 'nameless'} file is; use {', '.join(readers)}")


def _text_rows(content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), 1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            yield number, {"prompt": prompt}


def _csv_rows(content: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    _check_header(reader.fieldnames or ())
    try:
        for row in reader:
            if None in row:
                yield reader.line_num, "more cells than the header names; quote a prompt that holds commas"
            else:
                yield reader.line_num, {name: cell.strip() for name, cell in row.items() if cell and cell.strip()}
    except csv.Error as error:
        yield reader.line_num, f"broken CSV ({error}); the rest of the file was not read"


def _check_header(names: Iterable[str]) -> None:
    names = list(names)
    if "prompt" not in names:
        raise BadInput(f"the CSV header {names} has no column prompt; known columns are {', '.join(FIELDS)}")
    if unknown := [name for name in names if name not in FIELDS]:
        raise BadInput(f"unknown columns {', '.join(unknown)} in the CSV header; known are {', '.join(FIELDS)}")


def _json_rows(content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield number, f"broken JSON ({error})"
            continue
        yield number, _flat(value) if isinstance(value, dict) else 'not a JSON object; write {"prompt": …}'


def _flat(value: Values) -> Values:
    """Take lines of the OpenAI batch format too: `{custom_id, method, url, body}`."""
    body = value.get("body")
    return {"custom_id": value.get("custom_id"), **body} if isinstance(body, dict) else value


def _sorted_out(rows: Iterable[Row], options: Mapping[str, Any]) -> tuple[list[Line], list[BadLine], list[BadLine]]:
    lines: dict[str, Line] = {}
    bad, duplicates = [], []
    for number, values in rows:
        try:
            line = _line(number, values, options)
        except ValueError as error:
            bad.append(BadLine(number=number, reason=str(error)))
            continue
        first = lines.setdefault(line.custom_id, line)
        if first is line:
            continue
        if first.request == line.request:
            duplicates.append(BadLine(number=number, reason=f"the same as line {first.number}"))
        else:
            reason = f"custom_id {line.custom_id!r} was used on line {first.number} for another request"
            bad.append(BadLine(number=number, reason=reason))
    return list(lines.values()), bad, duplicates


def _line(number: int, values: Values | str, options: Mapping[str, Any]) -> Line:
    if isinstance(values, str):
        raise ValueError(values)
    if unknown := [name for name in values if name not in FIELDS]:
        raise ValueError(f"unknown fields {', '.join(unknown)}; known are {', '.join(FIELDS)}")
    request = {**options, **{name: _typed(name, value) for name, value in values.items() if value is not None}}
    custom_id = request.pop("custom_id", None)
    if not str(request.get("prompt", "")).strip():
        raise ValueError("prompt is empty; say what the video shows")
    return Line(number=number, custom_id=custom_id or _content_id(request), request=request)


def _typed(name: str, value: object) -> object:
    if name in WHOLE_FIELDS:
        return _number(name, value, int)
    if name in NUMBER_FIELDS:
        return _number(name, value, float)
    if name == "metadata":
        return value
    if isinstance(value, (dict, list)):
        raise ValueError(f"{name} {value!r} is not text")
    return str(value)


def _number(name: str, value: object, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(str(value))
    except ValueError:
        raise ValueError(f"{name} {value!r} is not a {'whole ' if kind is int else ''}number") from None
    return number


def _content_id(request: Values) -> str:
    """Name a line by what it asks for: it keeps its name when lines are added above it."""
    return "line-" + hashlib.sha256(_canonical(request).encode()).hexdigest()[:16]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
