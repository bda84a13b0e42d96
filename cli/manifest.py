"""Lists of prompts for a bulk run, divided into usable and unusable lines. Reading decides nothing else.

Unusable lines are kept with their number and the reason; a run leaves them out and says so.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from chai_client import encoding
from chai_client.encoding import shortened, shown
from cli.errors import BadInput
from cli.prompt_lists import FIELDS, NUMBER_FIELDS, WHOLE_FIELDS, PromptFile, Values, read_lists
from shared.numerals import plain

_DECIMALS = re.compile(r"(?<=\d)\.0+\s*$", re.ASCII)  # decimals of an integer
LONGEST_LINE = 2**20  # bytes of JSON: far more than the service accepts, but small enough for many per request


class Order(StrEnum):
    """In which order the lines of a list run."""

    PLANNED = "planned"  # so that most of them find a donor
    FILE = "file"  # in the order of the list


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One usable line."""

    number: int  # in its file, from 1
    file: str = ""  # named where there are several
    custom_id: str
    request: Values  # the body of POST /v1/videos

    @property
    def label(self) -> str:
        """Its position as the service stores it: `12`, or `cats.txt:12` if there are several lists."""
        return f"{Path(self.file).name[:200]}:{self.number}" if self.file else str(self.number)

    @property
    def item(self) -> Values:
        """The line as POST /v1/bulk-runs/{id}/items accepts it."""
        return {"custom_id": self.custom_id, **self.request}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """One line left out."""

    number: int
    reason: str
    file: str = ""  # named where there are several

    @property
    def place(self) -> str:
        """Its position in words."""
        return f"line {self.number}" + (f" of {self.file}" if self.file else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole file, read."""

    key: str  # the same content, options and take have the same key
    take: int
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]
    duplicates: tuple[BadLine, ...]  # lines that repeat an earlier one


def read(source: Path, options: Mapping[str, Any], *, take: int = 1) -> Manifest:
    """Read the lists at `source`: a file, a folder, or `-`.

    `options` (fields of a request) are defaults for every line; `take` distinguishes runs of the same list. Raises
    `BadInput` if no line can be used.
    """
    files = read_lists(source)
    if not any(file.rows for file in files):
        raise BadInput(f"{files[0].name if len(files) == 1 else source} holds no prompts; write one a line")
    lines, bad, duplicates = _sorted_out(_placed(files), options)
    if not lines:
        raise BadInput(f"no line of {source} can be used; {bad[0].place}: {bad[0].reason}")
    return Manifest(
        key=_key(files, options, take), take=take, lines=tuple(lines), bad=tuple(bad), duplicates=tuple(duplicates)
    )


def _key(files: Sequence[PromptFile], options: Mapping[str, Any], take: int) -> str:
    content = files[0].content if len(files) == 1 else [file.content for file in files]
    text = _canonical([content, dict(options), take])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    number: int
    file: str
    values: Values | str


def _placed(files: Sequence[PromptFile]) -> Iterator[_Placed]:
    for file in files:
        for number, values in file.rows:
            yield _Placed(number=number, file=file.name if len(files) > 1 else "", values=values)


def _sorted_out(rows: Iterable[_Placed], options: Mapping[str, Any]) -> tuple[list[Line], list[BadLine], list[BadLine]]:
    lines: dict[str, Line] = {}
    bad, duplicates = [], []
    for row in rows:
        try:
            line = _line(row, options)
        except ValueError as error:
            bad.append(BadLine(number=row.number, file=row.file, reason=str(error)))
            continue
        first = lines.setdefault(line.custom_id, line)
        if first is line:
            continue
        before = BadLine(number=first.number, file=first.file, reason="").place
        if first.request == line.request:
            duplicates.append(BadLine(number=row.number, file=row.file, reason=f"the same as {before}"))
        else:
            reason = f"custom_id {shown(line.custom_id)} was used on {before} for another request"
            bad.append(BadLine(number=row.number, file=row.file, reason=reason))
    return list(lines.values()), bad, duplicates


def _line(row: _Placed, options: Mapping[str, Any]) -> Line:
    """Return the usable line; raise ValueError with the reason if it is not."""
    values = row.values
    if isinstance(values, str):
        raise ValueError(values)
    values = {name: value for name, value in values.items() if value is not None}  # left out, as by the service
    if unknown := [name for name in values if name not in FIELDS]:
        raise ValueError(f"unknown fields {shortened(', '.join(unknown))}; known are {', '.join(FIELDS)}")
    request = {**options, **{name: _typed(name, value) for name, value in values.items()}}
    custom_id = request.pop("custom_id", None)
    if not str(request.get("prompt", "")).strip():
        raise ValueError("prompt is empty; say what the video shows")
    _check_length({"custom_id": custom_id, **request})
    return Line(number=row.number, file=row.file, custom_id=custom_id or _content_id(request), request=request)


def _check_length(item: Values) -> None:
    """Raise ValueError naming a field that cannot be sent, or if the whole is too long."""
    if (length := encoding.num_bytes(item)) > LONGEST_LINE:
        longest = max(item, key=lambda name: len(str(item[name])))
        raise ValueError(f"has {length} bytes, most of them in {longest}; a line may have {LONGEST_LINE}")


def _typed(name: str, value: object) -> object:
    if name in WHOLE_FIELDS:
        return number(name, value, int)
    if name in NUMBER_FIELDS:
        return number(name, value, float)
    if name == "metadata":
        return value
    if isinstance(value, (dict, list, bytes, bool)):
        raise ValueError(f"{name} {shown(value)} is not text")
    return _text(name, value)


def _text(name: str, value: object) -> str:
    """Write a number as text, as for `seconds: 4`; raise ValueError if it has no plain notation."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} {shown(value)} is nothing that JSON can carry; leave it out")
    try:
        return str(value)
    except ValueError:  # an int of more than 4300 digits
        raise ValueError(f"{name} is a number of thousands of digits") from None


def number(name: str, value: object, kind: type[int] | type[float]) -> int | float:
    """Return a number, reading 7 and 7.0 alike; raise ValueError for one that the service would refuse."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # tables store integers in columns with empty cells as 7.0
    if kind is int and isinstance(value, str):
        value = _DECIMALS.sub("", value)  # and write them like that
    try:
        read = kind(plain(str(value)))
    except ValueError:
        raise ValueError(f"{name} {shown(value)} is not a {'whole ' if kind is int else ''}number") from None
    if isinstance(read, float) and not math.isfinite(read):
        raise ValueError(f"{name} {shown(value)} is not a finite number; write one")
    return read


def _content_id(request: Values) -> str:
    """Name a line by its content, so that it keeps its name when lines are added above it."""
    return "line-" + hashlib.sha256(_canonical(request).encode()).hexdigest()[:16]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
