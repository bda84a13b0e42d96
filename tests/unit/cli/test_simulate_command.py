"""`chai cache simulate` on traces good and bad."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main

Chai = Callable[..., tuple[int, str, str]]
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def chai(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Chai:
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.delenv("CHAI_EMBEDDER", raising=False)

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chai", "cache", "simulate", *args])
        try:
            code = main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        written = capsys.readouterr()
        return int(code or 0), written.out, written.err

    return run


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", "", "holds no prompts; a trace has one a line"),
        ("notes.txt", "# nothing but a note\n\n", "holds no prompts"),
        ("columns.csv", "text,user\na cat,ann\n", "the CSV header ['text', 'user'] has no column prompt"),
        ("columns.jsonl", '{"text": "a cat"}\n', "line 1: prompt is None; a trace has the columns prompt"),
        ("broken.jsonl", '{"prompt": "a cat"}\n{"prompt": \n', "line 2: broken JSON"),
        ("broken.csv", 'prompt,user\n"a cat,ann\n', "line 2: broken CSV (a quote opens here and never closes)"),
        ("latin.txt", b"a cat\na caf\xe9\n", "line 2: byte 0xe9 is not UTF-8; convert the file"),
        ("chinese.txt", "a cat\n熊猫在竹林里\n".encode("gb18030"), "-f cp1252 (western), gb18030 (Chinese), "),
        ("wide.txt", "a cat".encode("utf-16"), "is UTF-16, not UTF-8; convert it: iconv"),
        ("time.jsonl", '{"prompt": "a cat", "time": "noon"}\n', "line 1: time is 'noon'; write seconds, or 2026-11-01"),
        ("times.csv", "prompt,time\na cat,1\na dog,\n", "line 3: no time, which other lines have"),
        ("bytes.csv", "prompt,bytes\na cat,none\n", "line 2: bytes is 'none'; it must be a whole number above 0"),
        ("some.doc", "a cat\n", "cannot tell what a .doc file is"),
    ],
)
def test_a_trace_that_cannot_be_replayed_is_refused_by_name_and_line(
    chai: Chai, tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    code, out, err = chai(str(file))

    assert (code, out) == (2, "")
    assert str(file) in err or "CSV header" in err
    assert message in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--policy", "mru"], "--policy 'mru' is unknown; choose from none, fifo, lru"),
        (["--policy", "lru,best"], "--policy 'best' is unknown"),
        (["--admission", "some"], "--admission 'some' is unknown; choose from all, second_sighting"),
        (["--isolation", "group"], "--isolation 'group' is unknown; choose from shared, tenant"),
        (["--capacity", "0"], "--capacity '0' cannot be used; write 10%, 110 entries or 500MiB, above 0"),
        (["--capacity", "10%,-1"], "--capacity '-1' cannot be used"),
        (["--capacity", "120%"], "--capacity '120%' cannot be used"),
        (["--capacity", f"{'9' * 400}GB"], "9GB' cannot be used"),
        (["--threshold", "1.5"], "--threshold '1.5' cannot be used; write .8, above 0 and at most 1"),
        (["--entry-bytes", "many"], "--entry-bytes 'many' is no number of bytes; write 1.3MB or 500KiB"),
        (["--embedder", "no/such"], "--embedder: embedder 'no/such' cannot be loaded"),
        (["--settings", '{"match": 3}'], "--settings match: Input should be an object"),
        (
            ["--warmup", "100", "--requests", "1000"],
            "the trace has 2 prompts; --warmup 100 and --requests 1000 need more",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused_with_the_way_out(
    chai: Chai, tmp_path: Path, args: list[str], message: str
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\na dog\n")

    code, out, err = chai(str(file), *args)

    assert (code, out) == (2, "")
    assert message in err


def test_the_last_line_is_one_object_with_rates_intervals_bounds_and_speed(chai: Chai) -> None:
    args = ("--warmup", "20", "--requests", "80", "--capacity", "10%", "--seeds", "3", "--json")

    code, out, _ = chai(str(DATA / "entities.jsonl"), *args)

    found = json.loads(out.splitlines()[-1])
    assert code == 0
    for name in ("entity_hit_rate", "prompt_hit_rate"):
        low, high = found[f"{name}_interval"]
        assert 0 <= low <= found[name] <= high <= 1
    assert found["prompt_hit_rate"] < found["entity_hit_rate"] <= found["clairvoyant"]
    assert found["clairvoyant"] <= found["bound_any_earlier_prompt"]
    assert 0 < found["top_donors_share"] <= 1
    assert found["decisions"] == 300
    assert found["decisions_per_minute"] > 0
    assert found["requests"] == 80


def test_several_policies_and_budgets_are_one_table_against_the_first(chai: Chai) -> None:
    args = ("--policy", "lru,lfu", "--capacity", "5%,50%", "--no-bounds", "--no-whole-prompt")

    code, out, _ = chai(str(DATA / "entities.jsonl"), *args)

    rows = [line.split() for line in out.splitlines()[1:5]]
    assert code == 0
    assert [(row[0], row[2]) for row in rows] == [("lru", "5%"), ("lfu", "5%"), ("lru", "50%"), ("lfu", "50%")]
    assert [row[-5][0] for row in rows[1:]] == ["+", "+", "+"]  # the first has least room
    assert float(rows[2][-3]) > 0  # the interval of the difference


def test_users_and_times_of_a_table_are_used(chai: Chai, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("time;user;prompt\n2026-11-01T08:02;bob;a red fox\n2026-11-01T08:00;ann;a red fox sleeps\n")

    code, out, err = chai(str(file), "--isolation", "shared,tenant", "--capacity", "9 entries", "--json")

    shared, apart = json.loads(out.splitlines()[-1])["runs"]
    assert code == 0
    assert (shared["entity_hit_rate"], apart["entity_hit_rate"]) == (0.5, 0.0)
    assert "is not in the order of its times" in err
