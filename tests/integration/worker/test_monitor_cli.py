"""`chai monitor` on the rows of a service that has run."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cli.main import main
from worker.quality.shadow_reruns import check

Start = Callable[..., Any]  # Any: the Service of conftest
RED_FOX, FOXES = "a red fox runs through a snowy forest", ["a red fox on a pier", "a red fox in the desert"]


@pytest.fixture
def chai_monitor(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> Callable[..., tuple[str, str]]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CHAI_VAR_DIR", str(tmp_path / "var"))

    def run(*args: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["chai", "monitor", *args])
        with suppress(SystemExit):
            main()
        written = capsys.readouterr()
        return written.out, written.err

    return run


def test_without_checks_it_says_how_to_have_some(start: Start, chai_monitor: Callable[..., tuple[str, str]]) -> None:
    start().run(RED_FOX)

    assert chai_monitor() == (
        "",
        "no job was checked; CHAI_MONITOR_SHARE=0.02 lets workers check two jobs with a donor in a hundred\n",
    )


def test_it_shows_losses_thresholds_moves_and_cost(start: Start, chai_monitor: Callable[..., tuple[str, str]]) -> None:
    service = start(monitor_share=1.0, monitor_min_checks=2, monitor_tolerance=0.0)
    for prompt in (RED_FOX, *FOXES):
        check(service.runtime, service.run(prompt).id)

    found = json.loads(chai_monitor("--json")[0])
    table, notes = chai_monitor()

    (case,) = found["cases"]
    assert (case["model"], case["kind"], case["num_done"], case["threshold"]) == ("tiny", "object", 2, 1.01)
    assert case["seconds"] == found["gpu_seconds"] > 0
    assert found["share"] == pytest.approx(found["gpu_seconds"] / (found["gpu_seconds"] + found["jobs_gpu_seconds"]))
    assert [(move["old"], move["new"]) for move in found["moves"]] == [(0.0, 1.01)]
    assert "object  in use  distance  2       0     0     +0." in table
    assert "object: 0 -> 1.01, loss +" in notes
    assert "of GPU time" in notes
