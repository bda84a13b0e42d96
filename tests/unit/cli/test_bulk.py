"""Results of bulk runs."""

import csv
import json
from pathlib import Path

import pytest

from cli.bulk import Result, exit_code, write_results


def result(status: str = "completed", prompt: str = "a") -> Result:
    return Result(
        custom_id="x",
        prompt=prompt,
        status=status,
        path="full",
        seed=1,
        steps=30,
        seconds=2.5,
        file="v.mp4",
        error=None,
    )


def test_results_say_the_same_in_both_forms(tmp_path: Path) -> None:
    write_results(tmp_path, [result(prompt='red, "big"\nball')])

    (from_json,) = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    with (tmp_path / "results.csv").open(newline="") as stream:
        (from_csv,) = csv.DictReader(stream)
    assert list(from_json) == list(from_csv)
    assert from_json["prompt"] == from_csv["prompt"] == 'red, "big"\nball'
    assert from_json["seconds"] == float(from_csv["seconds"]) == 2.5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.csv", "results.jsonl"]


def test_a_prompt_cannot_become_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    write_results(tmp_path, [result(prompt='=HYPERLINK("http://x")')])

    with (tmp_path / "results.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["prompt"] == '\'=HYPERLINK("http://x")'


@pytest.mark.parametrize(
    ("statuses", "num_bad_lines", "code"),
    [
        (["completed"], 0, 0),
        (["completed", "failed"], 0, 1),
        (["cancelled"], 0, 1),
        (["completed"], 3, 2),
        (["failed"], 3, 1),  # a missing video weighs more than a bad line
        ([], 0, 0),
    ],
)
def test_the_exit_code_sums_up_a_run(statuses: list[str], num_bad_lines: int, code: int) -> None:
    assert exit_code([result(status) for status in statuses], num_bad_lines=num_bad_lines) == code
