"""The examples of docs/api.md run as they stand, but for the address."""

import re
import warnings
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
EXAMPLES = [code for code in CODE if "127.0.0.1:8400" in code]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.usefixtures("worker", "relay")
@pytest.mark.parametrize("code", EXAMPLES, ids=["videos", "chai_client", "batches"])
def test_an_example_runs(url: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the openai package announces the end of OpenAI's own service
        exec(code.replace("http://127.0.0.1:8400", url), names)
        if close := getattr(names["client"], "close", None):
            close()

    if "circle.mp4" in code:
        assert (tmp_path / "circle.mp4").stat().st_size > 100
    if "results" in names:
        assert [one["response"]["status_code"] for one in names["results"]] == [200, 200]
