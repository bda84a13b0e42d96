"""Files of prompts as rows: text with one prompt per line, CSV with a header, JSONL, Parquet, a folder, or stdin.

A row that cannot be read remains, with the reason in place of its values, and the rows after it are read. Only an error
that makes a whole file useless raises `BadInput`; in a folder it affects that file alone.
"""

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chai_client.encoding import shown
from cli.errors import BadInput
from shared.json_members import given_twice, members

Values = dict[str, Any]  # Any: a cell is text, a JSON value may be a number
Row = tuple[int, Values | str]  # line number, from 1; values, or why there are none

WHOLE_FIELDS = ("seed", "num_inference_steps", "fps")
NUMBER_FIELDS = ("guidance_scale",)
TEXT_FIELDS = ("prompt", "negative_prompt", "model", "size", "seconds", "mode")
FIELDS = ("custom_id", *TEXT_FIELDS, *WHOLE_FIELDS, *NUMBER_FIELDS, "metadata")
METADATA_COLUMN = "metadata."  # a column metadata.shelf holds metadata["shelf"]
LONGEST_FILE = 200 * 2**20  # bytes
STDIN = "-"
STDIN_NAME = "stdin"  # in messages
DELIMITERS = ",;\t"
SEPARATOR = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # written by spreadsheets above the header
BOMS = {  # of encodings that are not UTF-8; the longer mark first
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
PACKED = {  # first bytes of files that must first be unpacked or exported
    b"\x1f\x8b": "packed by gzip; unpack it: gunzip -c {name}",
    b"BZh": "packed by bzip2; unpack it: bunzip2 -c {name}",
    b"\xfd7zXZ\0": "packed by xz; unpack it: xz -dc {name}",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it: zstd -dc {name}",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"%PDF-": "a PDF; save its text",
}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d{1,2}", re.ASCII)  # 1,000 may be a thousand
_COLUMN = re.compile(r"[\w.-]*")  # one word, unlike parts of a sentence that contains the word prompt between commas
_OF_A_BATCH = ("custom_id", "method", "url", "body")
_CONVERTED = "iconv -t utf-8 -f cp1252 (western), gb18030 (Chinese), cp932 (Japanese) or cp949 (Korean)"
FOREIGN_BYTE = re.compile("[\udc80-\udcff]")  # `surrogateescape` decodes bytes that are not UTF-8 as these


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """One list, read."""

    name: str  # in messages
    content: str  # identifies it: the text, or a digest of a binary file
    rows: tuple[Row, ...]


def read_lists(source: Path) -> list[PromptFile]:
    """Return the lists at `source`: a file, every list of a folder in order of name, or stdin for `-`.

    Raises `BadInput` when nothing there can be read.
    """
    if str(source) == STDIN:
        return [_parsed(STDIN_NAME, from_stdin(), suffix="")]
    if source.is_dir():
        return [_read_or_named(file) for file in _lists_of(source)]
    return [_read(source)]


def read_any_columns(source: Path) -> PromptFile:
    """Return the file at `source`, or stdin for `-`, with whatever columns it has beside `prompt`.

    Raises `BadInput` when nothing there can be read.
    """
    if str(source) == STDIN:
        return _parsed(STDIN_NAME, from_stdin(), suffix="", only_known=False)
    return _read(source, only_known=False)


def readable(name: str, number: int, values: Values | str) -> Values:
    """Return the values of a line of the list `name`; raise `BadInput` if it could not be read."""
    if isinstance(values, str):
        raise BadInput(f"{name}, line {number}: {values}")
    return values


def read_prompts(source: Path) -> list[str]:
    """Return only the prompts at `source`, or of stdin for `-`.

    Raises `BadInput` if nothing there, or any one line, cannot be read.
    """
    listed = read_any_columns(source)
    found = []
    for number, values in listed.rows:
        prompt = readable(listed.name, number, values).get("prompt", "")
        if not isinstance(prompt, str) or not prompt.strip():
            what = f"prompt is {shown(prompt)}, not a text" if prompt else "there is no prompt"
            raise BadInput(f"{listed.name}, line {number}: {what}")
        found.append(prompt)
    if not found:
        raise BadInput(f"{listed.name} holds no prompt; write one in each line")
    return found


def _lists_of(folder: Path) -> list[Path]:
    try:
        named = (file for file in folder.iterdir() if file.suffix.lower() in READERS and file.name[0] != ".")
        files = sorted(file for file in named if not file.is_fifo())  # reading a pipe would block
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {error.strerror}") from error
    if not files:
        raise BadInput(f"{folder} holds no lists; put {', '.join(READERS)} files there")
    return files


def _read_or_named(file: Path) -> PromptFile:
    try:
        return _read(file)
    except BadInput as error:
        return PromptFile(name=str(file), content=str(error), rows=((1, str(error)),))


def _read(file: Path, *, only_known: bool = True) -> PromptFile:
    suffix = file.suffix.lower()
    if suffix not in READERS and (suffix or file.is_file()):  # a pipe (`<(command)`) has no suffix: its content decides
        raise BadInput(f"{file}: cannot tell what a {suffix or 'nameless'} file is; use {', '.join(READERS)}")
    try:
        with file.open("rb") as stream:
            content = stream.read(LONGEST_FILE + 1)
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    return _parsed(str(file), content, suffix=suffix, only_known=only_known)


def from_stdin() -> bytes:
    """Return stdin, up to one byte more than a list may have; raise `BadInput` if it is closed."""
    if sys.stdin is None:
        raise BadInput("- reads stdin, which is closed")
    if sys.stdin.isatty():
        print("reading prompts from the terminal, one a line; Ctrl-D ends the list", file=sys.stderr, flush=True)
    return sys.stdin.buffer.read(LONGEST_FILE + 1)


def _parsed(name: str, content: bytes, *, suffix: str, only_known: bool = True) -> PromptFile:
    if len(content) > LONGEST_FILE:
        raise BadInput(f"{name} has more than {LONGEST_FILE} bytes; split it into smaller lists")
    if said := next((said for mark, said in PACKED.items() if content.startswith(mark)), None):
        raise BadInput(f"{name} is {said.format(name=name)}")
    if suffix == PARQUET or (not suffix and content.startswith(b"PAR1")):
        rows = tuple(_foreign_named(_parquet_rows(name, content)))
        return PromptFile(name=name, content=hashlib.sha256(content).hexdigest(), rows=rows)
    text = _decoded(name, content)
    suffix = suffix or _guessed(text)
    found = READERS[suffix](name, text) if only_known or suffix not in CSV else _csv_rows(name, text, only_known=False)
    return PromptFile(name=name, content=text, rows=tuple(_foreign_named(found)))


def _decoded(name: str, content: bytes) -> str:
    """Decode as UTF-8, keeping invalid bytes as lone surrogates; refuse files in another encoding."""
    encoding = next((encoding for mark, encoding in BOMS.items() if content.startswith(mark)), None)
    if encoding is None and content[:400].count(0) > len(content[:400]) // 4:
        encoding = "utf-16"
    if encoding:
        command = f"iconv -f {encoding} -t utf-8"
        way_out = (
            f"convert what you send: ... | {command} | ..." if name == STDIN_NAME else f"convert it: {command} {name}"
        )
        raise BadInput(f"{name} is {encoding.upper()}, not UTF-8; {way_out}")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guessed(text: str) -> str:
    """Guess the format of a list without a name by its first non-empty line."""
    lines = (line.strip().strip("\ufeff") for line in text.split("\n"))
    first = next((line for line in lines if line and not SEPARATOR.fullmatch(line)), "")
    if first.startswith(("{", "[{")) or first == "[":
        return ".jsonl"
    names = [_column(name) for name in re.split(f"[{DELIMITERS}]", first)]
    return ".csv" if "prompt" in names and all(_COLUMN.fullmatch(name) for name in names) else ".txt"


def _foreign_named(rows: Iterator[Row]) -> Iterator[Row]:
    """Replace rows with bytes that are not UTF-8 by the reason."""
    for number, values in rows:
        text = values if isinstance(values, str) else "".join(_texts(values))
        yield number, _foreign(text) or values


def _foreign(text: str) -> str:
    """Return which byte of a text is not UTF-8; empty if all are."""
    found = FOREIGN_BYTE.search(text)
    byte = ord(found[0]) - 0xDC00 if found else 0
    return f"byte 0x{byte:02x} is not UTF-8; convert the file from what it is: {_CONVERTED}" if found else ""


def _texts(values: Values) -> Iterator[str]:
    for name, value in values.items():
        yield name
        if isinstance(value, str):
            yield value


def _text_rows(_name: str, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), 1):
        prompt = line.strip().strip("\ufeff").strip()  # concatenated lists have byte order marks inside
        if prompt and not prompt.startswith("#"):
            yield number, {"prompt": prompt}


def _json_rows(name: str, content: str) -> Iterator[Row]:
    if _is_array(content):
        raise BadInput(f"{name} is one JSON array; write an object a line: jq -c '.[]' {name}")
    for number, line in enumerate(content.split("\n"), 1):
        line = line.strip().strip("\ufeff")
        if not line:
            continue
        if FOREIGN_BYTE.search(line):
            yield number, line  # contains the byte: `_foreign_named` makes the reason
            continue
        yield number, _json_row(line)


def _is_array(content: str) -> bool:
    try:
        return content.lstrip("\ufeff \n\t").startswith("[") and isinstance(json.loads(content.strip("\ufeff")), list)
    except (ValueError, RecursionError):
        return False  # it has invalid lines


def _json_row(line: str) -> Values | str:
    try:
        value = json.loads(line, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        return f"broken JSON ({error})"
    except (ValueError, RecursionError):
        return "a number of thousands of digits, or brackets in thousands of brackets, is nothing that can be sent"
    if not isinstance(value, dict):
        return 'not a JSON object; write {"prompt": …}'
    if (twice := given_twice(value)) is not None:
        return f"{shown(twice)} is given twice; keep one"
    body = value.get("body")
    return _batch_row(value, body) if isinstance(body, dict) else value


def _batch_row(value: Values, body: Values) -> Values | str:
    """Read a line of OpenAI's batch format: {custom_id, method, url, body}."""
    if body.get("custom_id") is not None:
        return "custom_id stands inside body; it stands beside it"
    if unknown := [name for name in value if name not in _OF_A_BATCH]:
        return f"{shown(unknown[0])} stands beside body; there stand {', '.join(_OF_A_BATCH)}"
    for name, known in (("method", "POST"), ("url", "/v1/videos")):
        if value.get(name) not in (None, known):
            return f"{name} {shown(value[name])} is not {known}, which is what makes videos"
    return {**body, "custom_id": value.get("custom_id")}


def _csv_rows(name: str, content: str, *, only_known: bool = True) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FILE)  # a long cell is checked like any other and does not end the reading
    lines = io.StringIO(content, newline="").readlines()
    filled = (number for number, line in enumerate(lines) if line.strip())
    header = next(filled, None)
    if header is not None and SEPARATOR.fullmatch(lines[header].strip()):
        header = next(filled, None)
    if header is None:
        return
    delimiter = max(DELIMITERS, key=lines[header].count)
    names = [_column(cell) for cell in next(csv.reader([lines[header]], delimiter=delimiter))]
    index = next((place for place, column in enumerate(names) if column), 0)  # index of the first named column
    names = names[index:]
    _check_header(name, names, only_known=only_known)
    for number, cells in _records(lines, header + 1, delimiter):
        if isinstance(cells, str):
            yield number, cells
        elif any(cell.strip() for cell in cells):
            values = _named(names, cells[index:])
            yield number, _with_points(values) if delimiter != "," and isinstance(values, dict) else values


def _with_points(values: Values) -> Values:
    """Rewrite decimal commas (7,5, as in half of Europe) if commas do not separate cells."""
    numbers = (*NUMBER_FIELDS, *WHOLE_FIELDS, "seconds")
    return {
        name: value.replace(",", ".") if name in numbers and _DECIMAL_COMMA.fullmatch(value) else value
        for name, value in values.items()
    }


def _records(lines: Sequence[str], at: int, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the records from line `at` on, each with the number of its last line; a broken one affects only itself.

    An unclosed quote swallows the lines after it: reading continues after the line where it opened.
    """
    while at < len(lines):
        reader = csv.reader(iter(lines[at:]), delimiter=delimiter, strict=True)
        start = 0  # of the record, counted from `at`
        try:
            for cells in reader:
                yield at + reader.line_num, cells
                start = reader.line_num
            return
        except csv.Error as error:
            at += start + 1
            is_open = "end of data" in str(error)
            yield at, f"broken CSV ({'a quote opens here and never closes' if is_open else error})"


def _column(cell: str) -> str:
    name = cell.strip().strip("\ufeff\"'").strip()
    return name if name.startswith(METADATA_COLUMN) else name.lower()


def _is_known(name: str) -> bool:
    return name in FIELDS or (name.startswith(METADATA_COLUMN) and name != METADATA_COLUMN)


def _check_header(file: str, names: Sequence[str], *, only_known: bool) -> None:
    if reason := _foreign("".join(name for name in names if only_known or _is_known(name))):
        raise BadInput(f"{file}: the CSV header: {reason}")
    if "prompt" not in names:
        raise BadInput(f"the CSV header {list(names)} has no column prompt; known columns are {', '.join(FIELDS)}")
    if only_known and (unknown := [name for name in names if name and not _is_known(name)]):
        raise BadInput(f"unknown columns {', '.join(unknown)} in the CSV header; known are {', '.join(FIELDS)}")
    _check_twice(f"{file}: the CSV header", names)


def _check_twice(header: str, names: Sequence[str]) -> None:
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise BadInput(f"{header} names the column {twice[0]} twice; keep one")


def _named(names: Sequence[str], cells: Sequence[str]) -> Values | str:
    given = [(name, cell.strip()) for name, cell in zip(names, cells, strict=False) if cell.strip()]
    if any(cell.strip() for cell in cells[len(names) :]) or any(not name for name, _ in given):
        return "more cells than the header names; quote a prompt that holds commas"
    values: Values = {name: cell for name, cell in given if not name.startswith(METADATA_COLUMN)}
    if "metadata" in values:
        metadata = _json_cell(values["metadata"])
        if metadata is None:
            return f'metadata {shown(values["metadata"])} is not a JSON object; write {{"shelf": "b"}}'
        values["metadata"] = metadata
    return _with_metadata_columns(values, dict(given))


def _with_metadata_columns(values: Values, given: Values) -> Values | str:
    if (twice := given_twice(values)) is not None:
        return f"{shown(twice)} is given twice; keep one"
    columns = {name: value for name, value in given.items() if name.startswith(METADATA_COLUMN)}
    if not columns:
        return values
    metadata = values.get("metadata", {})
    if not isinstance(metadata, dict):
        return f"metadata {shown(metadata)} is not an object"
    own = {name.removeprefix(METADATA_COLUMN): value for name, value in columns.items()}
    if both := own.keys() & metadata.keys():
        return f"'{METADATA_COLUMN}{min(both)}' is given twice; keep one"
    return {**values, "metadata": {**metadata, **own}}


def _json_cell(cell: str) -> Values | None:
    """Read a cell that holds a JSON object, null counting as an empty one; None for anything else."""
    try:
        value = json.loads(cell, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return None
    return {} if value is None else value if isinstance(value, dict) else None


def _parquet_rows(name: str, content: bytes) -> Iterator[Row]:
    try:
        # Optional and large, and most lists are text. Any: it has no types.
        from pyarrow import parquet  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise BadInput(
            f"{name} is Parquet, which needs the package pyarrow: pip install pyarrow, or save the list as CSV or JSONL"
        ) from None
    number = 0
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        columns = list(file.schema_arrow.names)
        names = [_column(column) for column in columns]
        if "prompt" not in names:
            raise BadInput(f"{name} has the columns {columns} and none named prompt; known are {', '.join(FIELDS)}")
        _check_twice(f"{name}: the table", names)
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, _parquet_row({_column(column): value for column, value in row.items()})
    except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's own errors are of these kinds
        raise BadInput(f"{name} is no readable Parquet file ({error})") from error


def _parquet_row(row: Values) -> Values | str:
    given = {name: _as_text(value) for name, value in row.items() if value is not None}
    metadata = given.get("metadata")
    if isinstance(metadata, list) and all(isinstance(pair, tuple) for pair in metadata):  # the form of a map
        given["metadata"] = members(metadata)
    elif isinstance(metadata, str) and (found := _json_cell(metadata)) is not None:
        given["metadata"] = found
    values = {name: value for name, value in given.items() if not name.startswith(METADATA_COLUMN)}
    return _with_metadata_columns(values, given)


def _as_text(value: object) -> object:
    """Return text stored as untyped bytes; bytes that are not UTF-8 become a reason as in any file."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


PARQUET, CSV = ".parquet", (".csv", ".tsv")
READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".txt": _text_rows,
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".tsv": _csv_rows,
    ".ndjson": _json_rows,
    PARQUET: _text_rows,  # not text: has its own reader
}
