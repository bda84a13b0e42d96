"""What the cache did, as tables for analysts."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from worker.cache import packed

Start = Callable[..., Any]  # Any: the Service of conftest
Export = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Export:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chai", "cache", "export", *args])
        try:
            code = main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        written = capsys.readouterr()
        return int(code or 0), written.out, written.err

    return run


def ran(start: Start) -> Any:
    service = start()
    service.run("a red fox in a snowy forest")
    service.run("a red fox sleeps, watercolour")
    service.run("a red fox sleeps, watercolour")
    service.run("two robots play chess", tenant="eve")
    return service


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_tables_hold_every_row_and_a_dictionary_every_column(start: Start, export: Export, tmp_path: Path) -> None:
    ran(start)

    code, out, _ = export(str(tmp_path / "out"), "--format", "csv", "--json")

    written = {Path(file).name: number for file, number in json.loads(out).items()}
    assert code == 0
    assert written == {"decisions.csv": 4, "events.csv": 4, "entries.csv": 2, "namespaces.csv": 2, "days.csv": 0}
    decisions = rows(tmp_path / "out/decisions.csv")
    assert [row["reason"] for row in decisions] == ["empty_cache", "entity_hit", "entity_hit", "empty_cache"]
    assert decisions[2]["earlier_job"] == decisions[1]["job"]  # asked again
    assert decisions[1]["earlier_job"] == ""
    assert float(decisions[1]["similarity"]) == pytest.approx(1.0, abs=1e-4)
    assert decisions[1]["same_threshold"] == "0.8"
    assert json.loads(decisions[1]["style"]) == ["watercolour"]
    near = packed.unpack(json.loads(decisions[1]["neighbours"]))
    assert "red fox" in {neighbour.text for neighbour in near}
    assert decisions[1]["outcome"] == "completed"
    assert float(decisions[1]["gpu_seconds"]) > 0
    text = (tmp_path / "out/README.md").read_text()
    for table in ("decisions", "events", "entries", "namespaces"):
        assert all(f"| `{name}` |" in text for name in rows(tmp_path / f"out/{table}.csv")[0])


def test_without_prompts_no_word_of_them_is_written(start: Start, export: Export, tmp_path: Path) -> None:
    ran(start)

    export(str(tmp_path), "--format", "csv", "--no-prompts")

    tables = [rows(file) for file in sorted(tmp_path.glob("*.csv"))]
    assert sum(map(len, tables)) == 12
    assert not any(word in json.dumps(tables) for word in ("fox", "robot", "snowy", "watercolour", "chess"))


def test_parquet_holds_the_same_with_types(start: Start, export: Export, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    ran(start)

    export(str(tmp_path))
    export(str(tmp_path), "--format", "csv")

    table = parquet.read_table(tmp_path / "decisions.parquet")
    assert table.column_names == list(rows(tmp_path / "decisions.csv")[0])
    assert table.column("reason").to_pylist() == [row["reason"] for row in rows(tmp_path / "decisions.csv")]
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert table.schema.field("nearest").metadata == {b"meaning": b"likeness of the nearest stored entity, a cosine"}


def test_one_namespace_and_some_days_are_what_is_asked_for(start: Start, export: Export, tmp_path: Path) -> None:
    service = ran(start)
    (eve,) = [entry.namespace_id for entry in service.entries() if entry.tenant == "eve"]

    export(str(tmp_path), "--format", "csv", "--namespace", str(eve), "--days", "1")

    assert [row["tenant"] for row in rows(tmp_path / "decisions.csv")] == ["eve"]
    assert [row["owner"] for row in rows(tmp_path / "namespaces.csv")] == ["eve"]


def test_an_unknown_format_is_refused(export: Export, tmp_path: Path) -> None:
    code, _, err = export(str(tmp_path), "--format", "xlsx")

    assert (code, "--format 'xlsx' is unknown; choose from parquet, csv" in err) == (2, True)


def test_an_export_that_breaks_off_leaves_the_tables_of_the_one_before(
    start: Start, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start().run("a red fox in a snowy forest")
    export(str(tmp_path), "--format", "csv")
    before = (tmp_path / "decisions.csv").read_text()

    def half(*_: object, **__: object) -> Any:
        yield [{"reason": "empty_cache"}]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("db.cache_rows.read", half)
    code, _, err = export(str(tmp_path), "--format", "csv")

    assert (code, err) == (1, "error: No space left on device\n")
    assert (tmp_path / "decisions.csv").read_text() == before
    assert list(tmp_path.glob("*.part")) == []
