"""`chai cache export`: the rows of the cache as flat tables, Parquet or CSV, with a dictionary of their columns."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import local, output, places
from cli.cache.spaces import find_id
from cli.errors import BadInput
from shared.limits import A_CENTURY

if TYPE_CHECKING:
    from db.cache_rows import Column, Flat

SECRET = frozenset({"prompt", "entities", "matched", "neighbours", "style"})  # what tells words of a prompt
NEIGHBOURS = """`neighbours` holds `entries` (id, when made in seconds since 1970, marks of its prompt), `phrases`
(text, head, attributes, kind: 0 object, 1 scene, 2 whole prompt) and `rows` (entity of the prompt, number of the entry,
number of the phrase, likeness). Rows of older versions are lists of objects with the same under names."""


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Created if missing; existing files are replaced.")],
    namespace: Annotated[str | None, typer.Option(help="As `chai cache ls` shows it; else all.")] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0, max=A_CENTURY, help="How far back, in days; else everything that is kept."),
    ] = None,
    no_prompts: Annotated[bool, typer.Option("--no-prompts", help="Leave out every word of a prompt.")] = False,
    kind: Annotated[str | None, typer.Option("--format", help="parquet or csv; else parquet where pyarrow is.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the files and their rows for programs.")] = False,
) -> None:
    """Write decisions, events, entries and namespaces as tables, and README.md, which says what each column means."""
    from db import cache_rows
    from db.session import connect, sessions

    ending = _ending(kind)
    without = SECRET if no_prompts else frozenset()
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    folder.mkdir(parents=True, exist_ok=True)
    engine = connect(local.database_url(), pool_size=1, application="chai-cli")
    written: dict[str, int] = {}
    try:
        with sessions(engine)() as session:
            space_id = find_id(session, namespace)
            for flat in cache_rows.TABLES:
                file = folder / f"{flat.name}.{ending}"
                columns = [column for column in flat.columns if column.name not in without]
                parts = cache_rows.read(session, flat, since=since, namespace_id=space_id, without=without)
                write = _parquet if ending == "parquet" else _csv
                with places.whole(file) as partial:
                    written[str(file)] = write(partial, columns, parts)
    finally:
        engine.dispose()
    with places.whole(folder / "README.md") as partial:
        partial.write_text(dictionary(cache_rows.TABLES, without), encoding="utf-8")
    if as_json:
        output.print_json(written)
    else:
        output.print_table(("file", "rows"), [(file, str(rows)) for file, rows in written.items()])
        output.note(f"{folder / 'README.md'} says what the columns mean")


def _ending(kind: str | None) -> str:
    if kind not in (None, "parquet", "csv"):
        raise BadInput(f"--format {kind!r} is unknown; choose from parquet, csv")
    try:
        import pyarrow  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        if kind == "parquet":
            raise BadInput("--format parquet needs the package pyarrow: pip install pyarrow, or take csv") from None
        return "csv"
    return kind or "parquet"


def _csv(file: Path, columns: "Sequence[Column]", parts: Iterable[Sequence[Mapping[str, Any]]]) -> int:
    number = 0
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [column.name for column in columns])
        writer.writeheader()
        for part in parts:
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in part)
            number += len(part)
    return number


def _cell(value: Any) -> Any:  # Any: a cell
    return value.isoformat() if isinstance(value, datetime) else value


def _parquet(file: Path, columns: "Sequence[Column]", parts: Iterable[Sequence[Mapping[str, Any]]]) -> int:
    import pyarrow
    from pyarrow import parquet

    kinds = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "number": pyarrow.float64(),
        "time": pyarrow.timestamp("us", tz="UTC"),
    }
    schema = pyarrow.schema(
        [pyarrow.field(column.name, kinds[column.kind], metadata={"meaning": column.meaning}) for column in columns]
    )
    number = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pyarrow.Table.from_pylist([dict(row) for row in part], schema=schema))
            number += len(part)
    return number


def dictionary(tables: "Iterable[Flat]", without: frozenset[str]) -> str:
    """Return the dictionary of the tables, in Markdown."""
    return "\n".join(
        ["# Columns", "", *(line for flat in tables for line in _described(flat, without)), NEIGHBOURS, ""]
    )


def _described(flat: "Flat", without: frozenset[str]) -> Iterator[str]:
    yield from (f"## {flat.name}", "", flat.meaning, "", "| column | kind | meaning |", "|---|---|---|")
    for column in flat.columns:
        if column.name not in without:
            yield f"| `{column.name}` | {column.kind} | {column.meaning} |"
    yield ""
