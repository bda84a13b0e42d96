"""The page on policies is written by one command, and holds no prompt."""

import json
import random
from pathlib import Path

import pytest

from cli.main import main
from lab.experiments import policies

DATA = Path(__file__).parents[2] / "data"


def test_one_command_writes_every_table_and_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line)["prompt"] for line in (DATA / "entities.jsonl").read_text().splitlines()]
    asked = random.Random(2).choices(rows, k=320)
    trace, page, picture = tmp_path / "own.csv", tmp_path / "page.md", tmp_path / "plot.png"
    trace.write_text("user,prompt\n" + "".join(f'u{i % 3},"{p}"\n' for i, p in enumerate(asked) if '"' not in p))
    page.write_text(f"Before.\n{policies.BEGIN}old\n{policies.END}\nAfter.\n")
    monkeypatch.setattr(policies, "BUDGETS", (0.1,))
    monkeypatch.setattr(policies, "THRESHOLDS", (0.7, 0.8))
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    args = ["--prompts", str(trace), "--page", str(page), "--plot", str(picture), "--samples", "2"]
    monkeypatch.setattr("sys.argv", ["chai", "lab", "policies", *args])

    with pytest.raises(SystemExit, match="0"):
        main()

    text = page.read_text()
    assert text.startswith("Before.\n<!-- figures: begin -->\nEmbedder `use-multilingual-v3`")
    assert text.endswith("<!-- figures: end -->\nAfter.\n")
    assert all(f"\n| {name} | " in text for name in ("lru", "gdsf", "*clairvoyant*", "*any earlier prompt*", "0.80"))
    assert "isolation costs" in text
    assert not any(prompt in text for prompt in asked if len(prompt) > 20)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_page_without_marks_and_a_short_trace_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing to replace")
    with pytest.raises(ValueError, match="lacks the marks"):
        policies.put(page, "figures")

    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setattr("sys.argv", ["chai", "lab", "policies", "--prompts", str(DATA / "entities.jsonl")])
    with pytest.raises(SystemExit, match="2"):
        main()

    assert "entities has 227 prompts; at least 300 are needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("page", "plot", "said"),
    [
        ("plain.md", "plot.png", "plain.md lacks the marks <!-- figures: begin --> and <!-- figures: end -->"),
        ("none.md", "plot.png", "none.md: No such file or directory"),
        ("marked.md", "plain.md/plot.png", "plain.md: "),
    ],
)
def test_where_the_figures_cannot_go_is_told_before_they_are_made(
    page: str, plot: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.md").write_text("Nothing.\n")
    Path("marked.md").write_text(f"{policies.BEGIN}old\n{policies.END}\n")
    Path("own.txt").write_text("a red fox\n" * 300)
    monkeypatch.delattr(policies, "load")
    monkeypatch.setattr("sys.argv", ["chai", "lab", "policies", "--prompts", "own.txt", "--page", page, "--plot", plot])

    with pytest.raises(SystemExit):
        main()

    assert f"error: {said}" in capsys.readouterr().err
